use burn::tensor::{Bool, Int, Tensor};

/// Marks exactly `count` of the scores (all, where there are fewer): the lowest, and among equal ones
/// those that come first. Scores must not be NaN. Takes time proportional to their number.
///
/// ```
/// use burn_compress::prune::lowest;
/// assert_eq!(lowest(&[0.3, 0.1, 0.3, 0.2], 3), [true, true, false, true]);
/// ```
pub fn lowest(scores: &[f32], count: usize) -> Vec<bool> {
    if count == 0 {
        return vec![false; scores.len()];
    }
    if count >= scores.len() {
        return vec![true; scores.len()];
    }
    let mut order = scores.to_vec();
    let (below, threshold, _) = order.select_nth_unstable_by(count - 1, f32::total_cmp);
    let threshold = *threshold;
    let mut ties = count - below.iter().filter(|score| **score < threshold).count();
    scores
        .iter()
        .map(|&score| {
            let tie = score == threshold && ties > 0;
            ties -= usize::from(tie);
            tie || score < threshold
        })
        .collect()
}

/// [`lowest`] without leaving the scores' device, and without waiting for it. Scores must not be NaN.
///
/// The threshold is found bit by bit: its sign, its power of two, its mantissa, by counting the scores
/// below each candidate, 34 times. The result is that of [`lowest`] to the last tie, except that a
/// device that takes subnormal numbers for zero does so here.
///
/// Meant for masks that are recomputed while training; `lowest` is faster where the scores lie in the
/// processor's memory anyway.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::prune::lowest_on_device;
/// let scores = Tensor::<1>::from_data([0.3, 0.1, 0.3, 0.2], &Device::default());
/// let marked = lowest_on_device(scores, 3);
/// assert_eq!(marked.into_data().iter::<bool>().collect::<Vec<_>>(), [true, true, false, true]);
/// ```
pub fn lowest_on_device(scores: Tensor<1>, count: usize) -> Tensor<1, Bool> {
    let [total] = scores.dims();
    if count == 0 || count >= total {
        let none = Tensor::<1, Int>::zeros([total], &scores.device()).bool();
        return if count == 0 { none } else { none.bool_not() };
    }
    let Threshold {
        sizes,
        negative,
        found,
        above,
    } = Threshold::of(scores, count);
    let within = sizes
        .clone()
        .greater_equal(above.expand([total]))
        .bool_not();
    let under = sizes.lower(found.expand([total]));
    let ties = within.clone().bool_and(under.clone().bool_not());
    let below = under.mask_where(negative.expand([total]), within.bool_not());
    let missing = below.clone().int().sum().neg() + count as i64;
    let rank: Tensor<1, Int> = ties.clone().int().cumsum(0);
    let taken = ties.bool_and(rank.lower_equal(missing.expand([total])));
    below.bool_or(taken)
}

// Where the lowest scores end, in terms of sizes: of scores from `found` to below `above` some go, in
// order. Between the two lies no other float that the device knows.
struct Threshold {
    // The scores, or, where the threshold is negative, their negatives: the lowest are the largest.
    sizes: Tensor<1>,
    negative: Tensor<1, Bool>,
    found: Tensor<1>,
    // NaN where no float is greater than what was found.
    above: Tensor<1>,
}

// Steps of the exponent, from that of the least normal number up: largest first, each no larger than
// one more than all that follow together, so that each sum up to 255 is reached.
const EXPONENTS: [i32; 9] = [64, 64, 64, 32, 16, 8, 4, 2, 1];

impl Threshold {
    // At the `count`-th lowest score; `count` is at least 1, and less than the number of scores.
    fn of(scores: Tensor<1>, count: usize) -> Self {
        let [total] = scores.dims();
        let below = |scores: &Tensor<1>, bound: &Tensor<1>| {
            let bound = bound.clone().expand([total]);
            scores.clone().lower(bound).int().sum()
        };
        let zero = scores.clone().narrow(0, 0, 1).zeros_like();
        let negative = below(&scores, &zero).greater_equal_elem(count as i64);
        let sign = zero.ones_like().mask_fill(negative.clone(), -1.0);
        let sizes = scores.clone() * sign.expand([total]);
        // The k-th lowest of negative scores is the k-th greatest of their sizes.
        let count = Tensor::<1, Int>::full([1], count as i64, &scores.device());
        let mirrored = count.clone().neg() + (total as i64 + 1);
        let count = count.mask_where(negative.clone(), mirrored);

        let mut found = zero;
        let mut above = found.full_like(f32::NAN);
        // The candidate, where fewer than `count` sizes are below it: the threshold is no less. Else it
        // is less.
        let mut next = |found: &Tensor<1>, candidate: Tensor<1>| {
            let reached = below(&sizes, &candidate).lower(count.clone());
            above = candidate.clone().mask_where(reached.clone(), above.clone());
            found.clone().mask_where(reached, candidate)
        };
        let least = found.full_like(f32::MIN_POSITIVE);
        let mut power = least.clone();
        for exponent in EXPONENTS {
            let candidate = power.clone() * 2f32.powi(exponent);
            power = next(&power, candidate);
        }
        // Zero where even the least power is not reached.
        let reached = next(&found, least).greater_elem(0.0);
        found = found.mask_where(reached, power.clone());
        let mut bit = power;
        for _ in 0..f32::MANTISSA_DIGITS - 1 {
            bit = bit * 0.5;
            let candidate = found.clone() + bit.clone();
            found = next(&found, candidate);
        }
        Self {
            sizes,
            negative,
            found,
            above,
        }
    }
}

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
    let threshold = threshold(&scores, count).expand([total]);
    let below = scores.clone().lower(threshold.clone());
    let ties = scores.equal(threshold);
    let missing = below.clone().int().sum().neg() + count as i64;
    let rank: Tensor<1, Int> = ties.clone().int().cumsum(0);
    let taken = ties.bool_and(rank.lower_equal(missing.expand([total])));
    below.bool_or(taken)
}

// Steps of the exponent, from that of the least normal number up: largest first, each no larger than
// one more than all that follow together, so that each sum up to 254 is reached.
const EXPONENTS: [i32; 9] = [64, 64, 64, 32, 16, 8, 4, 2, 1];

// The `count`-th lowest score, `[1]`; `count` is at least 1, and less than the number of scores.
fn threshold(scores: &Tensor<1>, count: usize) -> Tensor<1> {
    let [total] = scores.dims();
    let below = |scores: &Tensor<1>, bound: &Tensor<1>| {
        let bound = bound.clone().expand([total]);
        scores.clone().lower(bound).int().sum()
    };
    // The k-th lowest of negative scores is the k-th greatest of their sizes.
    let zero = scores.clone().narrow(0, 0, 1).zeros_like();
    let negative = below(scores, &zero).greater_equal_elem(count as i64);
    let sign = zero.ones_like().mask_fill(negative.clone(), -1.0);
    let sizes = scores.clone() * sign.clone().expand([total]);
    let count = Tensor::<1, Int>::full([1], count as i64, &scores.device());
    let count = count
        .clone()
        .mask_where(negative, count.neg() + (total as i64 + 1));
    // The candidate, where fewer than `count` sizes are below it: then the threshold is no less.
    let reaches = |candidate: &Tensor<1>| below(&sizes, candidate).lower(count.clone());

    let least = zero.full_like(f32::MIN_POSITIVE);
    let normal = reaches(&least);
    let mut power = least;
    for exponent in EXPONENTS {
        let candidate = power.clone() * 2f32.powi(exponent);
        power = power.mask_where(reaches(&candidate), candidate);
    }
    let mut found = zero.mask_where(normal, power.clone());
    let mut bit = power;
    for _ in 0..f32::MANTISSA_DIGITS - 1 {
        bit = bit * 0.5;
        let candidate = found.clone() + bit.clone();
        found = found.mask_where(reaches(&candidate), candidate);
    }
    found * sign
}

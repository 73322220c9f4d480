use burn::tensor::{Bool, Int, Tensor, TensorData};

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
    lowest_of_each_on_device(vec![scores], &[count]).remove(0)
}

/// [`lowest_on_device`] of each of these, on one device, by hardly more operations than of one alone.
pub(crate) fn lowest_of_each_on_device(
    scores: Vec<Tensor<1>>,
    counts: &[usize],
) -> Vec<Tensor<1, Bool>> {
    let mut marked = Vec::with_capacity(scores.len());
    let (mut places, mut searched) = (Vec::new(), Vec::new());
    for (place, (scores, &count)) in scores.into_iter().zip(counts).enumerate() {
        let [total] = scores.dims();
        let none = Tensor::<1, Int>::zeros([total], &scores.device()).bool();
        marked.push(match count {
            0 => none,
            _ => none.bool_not(),
        });
        if (1..total).contains(&count) {
            places.push(place);
            searched.push((scores, count));
        }
    }
    if !searched.is_empty() {
        for (place, found) in places.into_iter().zip(Stack::of(searched).lowest()) {
            marked[place] = found;
        }
    }
    marked
}

// Scores of several groups as one matrix. Each group begins with a row of its own; its last row is
// filled up with its greatest score, which changes nothing for those in front of it.
struct Stack {
    scores: Tensor<2>,
    /// How many scores each group has, and how many of them are wanted.
    groups: Vec<(usize, usize)>,
    /// The group of each row, and a one in each group's line for each of its rows; none of one group.
    owners: Option<(Tensor<1, Int>, Tensor<2, Int>)>,
}

impl Stack {
    // Of each group fewer are wanted than there are, and at least one.
    fn of(of_each: Vec<(Tensor<1>, usize)>) -> Self {
        let groups: Vec<(usize, usize)> = of_each
            .iter()
            .map(|(scores, count)| (scores.dims()[0], *count))
            .collect();
        let total: usize = groups.iter().map(|(length, _)| length).sum();
        let width = match groups.len() {
            1 => total,
            // As many rows as columns, so that neither sums nor what is filled up are large.
            _ => (total as f64).sqrt().ceil() as usize,
        };
        let rows: Vec<usize> = groups.iter().map(|(n, _)| n.div_ceil(width)).collect();
        let matrices = of_each.into_iter().zip(&rows).map(|((scores, _), rows)| {
            let missing = rows * width - scores.dims()[0];
            let scores = match missing {
                0 => scores,
                _ => Tensor::cat(vec![scores.clone(), scores.max().expand([missing])], 0),
            };
            scores.reshape([*rows, width])
        });
        let scores = Tensor::cat(matrices.collect(), 0);
        let device = scores.device();
        let [height, _] = scores.dims();
        let owners = (groups.len() > 1).then(|| {
            let owners = rows.iter().enumerate();
            let owners: Vec<i64> = owners
                .flat_map(|(group, rows)| std::iter::repeat_n(group as i64, *rows))
                .collect();
            let ones = (0..groups.len() as i64)
                .flat_map(|group| owners.iter().map(move |owner| i64::from(*owner == group)));
            let ones = TensorData::new(ones.collect::<Vec<_>>(), [groups.len(), height]);
            let owners = TensorData::new(owners.clone(), [height]);
            (
                Tensor::from_data(owners, &device),
                Tensor::from_data(ones, &device),
            )
        });
        Self {
            scores,
            groups,
            owners,
        }
    }

    fn lowest(self) -> Vec<Tensor<1, Bool>> {
        let counts = self.numbers(|(_, count)| count);
        let Threshold {
            sizes,
            sign,
            found,
            above,
        } = Threshold::of(&self, counts.clone());
        let within = sizes.clone().greater_equal(self.spread(above)).bool_not();
        let under = sizes.lower(self.spread(found));
        let ties = within.clone().bool_and(under.clone().bool_not());
        let negative = self.spread(sign).lower_elem(0.0);
        let below = under.mask_where(negative, within.bool_not());
        let missing = counts - self.count(below.clone());
        let shape = ties.dims();
        let rank: Tensor<1, Int> = ties.clone().int().reshape([-1]).cumsum(0);
        let rank = rank.reshape(shape);
        let rank = match &self.owners {
            None => rank,
            Some(_) => {
                let of_each = self.count(ties.clone());
                rank - self.spread_numbers(of_each.clone().cumsum(0) - of_each)
            }
        };
        let taken = ties.bool_and(rank.lower_equal(self.spread_numbers(missing)));
        let marked: Tensor<1, Bool> = below.bool_or(taken).reshape([-1]);
        let width = shape[1];
        let mut start = 0;
        let groups = self.groups.iter().map(|(length, _)| {
            let of_group = marked.clone().narrow(0, start, *length);
            start += length.div_ceil(width) * width;
            of_group
        });
        groups.collect()
    }

    // A number for each group.
    fn numbers(&self, of: impl Fn((usize, usize)) -> usize) -> Tensor<1, Int> {
        let numbers: Vec<i64> = self.groups.iter().map(|group| of(*group) as i64).collect();
        let data = TensorData::new(numbers, [self.groups.len()]);
        Tensor::from_data(data, &self.scores.device())
    }

    // The number of marks in each group.
    fn count(&self, marked: Tensor<2, Bool>) -> Tensor<1, Int> {
        match &self.owners {
            None => marked.int().sum(),
            Some((_, ones)) => {
                let [groups, rows] = ones.dims();
                let of_rows = marked.int().sum_dim(1).reshape([1, rows]);
                (ones.clone() * of_rows).sum_dim(1).reshape([groups])
            }
        }
    }

    // Each group's value at all its scores.
    fn spread(&self, of_groups: Tensor<1>) -> Tensor<2> {
        let of_rows = match &self.owners {
            None => of_groups,
            Some((owners, _)) => of_groups.select(0, owners.clone()),
        };
        let [rows] = of_rows.dims();
        of_rows.reshape([rows, 1]).expand(self.scores.dims())
    }

    fn spread_numbers(&self, of_groups: Tensor<1, Int>) -> Tensor<2, Int> {
        let of_rows = match &self.owners {
            None => of_groups,
            Some((owners, _)) => of_groups.select(0, owners.clone()),
        };
        let [rows] = of_rows.dims();
        of_rows.reshape([rows, 1]).expand(self.scores.dims())
    }
}

// Where the lowest scores of each group end, in terms of sizes: of scores from `found` to below `above`
// some go, in order. Between the two lies no other float that the device knows.
struct Threshold {
    // The scores, or, where a group's threshold is negative, their negatives: the lowest are the largest.
    sizes: Tensor<2>,
    // Minus one where the threshold is negative, else one.
    sign: Tensor<1>,
    found: Tensor<1>,
    // NaN where no float is greater than what was found.
    above: Tensor<1>,
}

// Steps of the exponent, from that of the least normal number up: largest first, each no larger than
// one more than all that follow together, so that each sum up to 255 is reached.
const EXPONENTS: [i32; 9] = [64, 64, 64, 32, 16, 8, 4, 2, 1];

impl Threshold {
    // At the `count`-th lowest score of each group.
    fn of(stack: &Stack, count: Tensor<1, Int>) -> Self {
        let below = |scores: &Tensor<2>, bound: Tensor<1>| {
            stack.count(scores.clone().lower(stack.spread(bound)))
        };
        let scores = &stack.scores;
        let [height, width] = scores.dims();
        let flat = scores.clone().reshape([height * width]);
        // Each group has a score at least.
        let zero = flat.narrow(0, 0, stack.groups.len()).zeros_like();
        let negative = below(scores, zero.clone()).greater_equal(count.clone());
        let sign = zero.ones_like().mask_fill(negative.clone(), -1.0);
        let sizes = scores.clone() * stack.spread(sign.clone());
        // The k-th lowest of negative scores is the k-th greatest of their sizes.
        let totals = stack.numbers(|(length, _)| length.div_ceil(width) * width);
        let mirrored = totals - count.clone() + 1;
        let count = count.mask_where(negative, mirrored);

        let mut found = zero;
        let mut above = found.full_like(f32::NAN);
        // The candidate, where fewer than `count` sizes are below it: the threshold is no less. Else it
        // is less.
        let mut next = |found: &Tensor<1>, candidate: Tensor<1>| {
            let reached = below(&sizes, candidate.clone()).lower(count.clone());
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
            sign,
            found,
            above,
        }
    }
}

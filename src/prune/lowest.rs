use burn::tensor::{Bool, Int, Tensor};

/// Marks exactly `count` of the scores: the lowest, and among equal ones those that come first.
/// Scores must be finite. Takes time proportional to their number.
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

// Halvings of the interval that holds the threshold: enough to part any two scores that differ by
// more than 2^-60 of the greatest; closer ones count as equal.
const HALVINGS: usize = 60;

/// [`lowest`] without leaving the scores' device, and without waiting for it: the threshold is found
/// by halving an interval, counting the scores below its middle.
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
        let ones = scores.zeros_like().greater_equal_elem(0.0);
        return if count == 0 { ones.bool_not() } else { ones };
    }
    let marked_up_to =
        |bound: &Tensor<1>| scores.clone().lower_equal(bound.clone().expand([total]));
    let enough = |bound: &Tensor<1>| {
        marked_up_to(bound)
            .int()
            .sum()
            .greater_equal_elem(count as i64)
    };
    // Fewer than `count` scores are <= low; at least `count` are <= high.
    let mut high = scores.clone().max();
    let mut low = scores.clone().min();
    let all_at_minimum = enough(&low);
    for _ in 0..HALVINGS {
        let middle = (low.clone() + high.clone()) * 0.5;
        let enough = enough(&middle);
        high = high.mask_where(enough.clone(), middle.clone());
        low = middle.mask_where(enough, low);
    }
    // Where the lowest score alone is frequent enough, the interval has no room below it.
    let minimum = scores.clone().min();
    let high = high.mask_where(all_at_minimum.clone(), minimum);
    let below = marked_up_to(&low).bool_and(all_at_minimum.bool_not().expand([total]));
    let ties = marked_up_to(&high).bool_and(below.clone().bool_not());
    let missing = below.clone().int().sum().neg() + count as i64;
    let rank: Tensor<1, Int> = ties.clone().int().cumsum(0);
    let taken = ties.bool_and(rank.lower_equal(missing.expand([total])));
    below.bool_or(taken)
}

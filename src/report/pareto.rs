/// The Pareto front of (cost, score) pairs: indices of the points that no other point beats, in
/// order of rising cost.
///
/// Less cost and more score are better. A point is beaten if another is at least as good in both
/// and better in one; equal points do not beat each other. Points that are not numbers are left
/// out.
///
/// ```
/// use burn_compress::report::pareto_front;
///
/// let points = [(10.0, 91.0), (4.0, 90.0), (5.0, 89.0), (f64::NAN, 99.0)];
/// assert_eq!(pareto_front(&points), [1, 0]);
/// ```
#[must_use]
pub fn pareto_front(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<(usize, f64, f64)> = points
        .iter()
        .enumerate()
        .filter(|(_, (cost, score))| !cost.is_nan() && !score.is_nan())
        // Adding zero turns -0 to 0, which total_cmp would tell apart.
        .map(|(index, (cost, score))| (index, cost + 0.0, score + 0.0))
        .collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1).then(b.2.total_cmp(&a.2)));
    let mut best: Option<(f64, f64)> = None;
    order.retain(|&(_, cost, score)| match best {
        Some((_, top)) if score < top => false,
        Some(last @ (_, top)) if score == top => last == (cost, score),
        _ => {
            best = Some((cost, score));
            true
        }
    });
    order.into_iter().map(|(index, ..)| index).collect()
}

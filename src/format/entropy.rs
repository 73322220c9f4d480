use std::collections::HashMap;
use std::hash::Hash;

/// Least number of bits in which these symbols can be coded one by one: their count times their
/// entropy (Shannon 1948, "A Mathematical Theory of Communication"). No symbol takes 0 bits, and
/// so do any number of the same one.
///
/// ```
/// let codes = [0, 0, 0, 1];
/// let bits = burn_compress::format::entropy_bits(codes);
/// assert!((bits - 3.245).abs() < 1e-3);
/// ```
pub fn entropy_bits<T: Hash + Eq>(symbols: impl IntoIterator<Item = T>) -> f64 {
    let mut counts: HashMap<T, u64> = HashMap::new();
    let mut total = 0u64;
    for symbol in symbols {
        *counts.entry(symbol).or_default() += 1;
        total += 1;
    }
    // Summed in a fixed order: a hash map's order varies from run to run, and so would the last bit.
    let mut counts: Vec<u64> = counts.into_values().collect();
    counts.sort_unstable();
    counts
        .into_iter()
        .map(|count| -(count as f64) * (count as f64 / total as f64).log2())
        .sum::<f64>()
        .max(0.0)
}

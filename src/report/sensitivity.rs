use serde::{Deserialize, Serialize};

/// What the score loses when one layer alone is compressed, without training.
///
/// ```
/// use burn_compress::report::Sensitivity;
///
/// let layer = Sensitivity {
///     path: "conv1.weight".into(),
///     level: 0.8,
///     prune_drop: Some(1.5),
///     weight_bits: 4,
///     quantize_drop: Some(0.1),
/// };
/// assert!(layer.prune_drop > layer.quantize_drop); // leave this layer dense
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// The parameter's path in the module.
    pub path: String,
    /// Share of its weights removed, 0 to 1; 0 where pruning was not tried.
    pub level: f64,
    /// Points of the score lost when it alone is pruned to the level.
    pub prune_drop: Option<f64>,
    /// Bits of its weights; 32 where quantization was not tried.
    pub weight_bits: u32,
    /// Points of the score lost when it alone is quantized to these bits.
    pub quantize_drop: Option<f64>,
}

//! What is known of a compression beside the model.

use serde::{Deserialize, Serialize};

/// What a layer came to.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::attach::{Plan, Pruning};
/// let model = LinearConfig::new(8, 2).init(&Device::default());
/// let compressed = Plan::new().prune(Pruning::to(0.75)).apply(model)?;
/// let layer = &compressed.layers()[0];
/// assert_eq!((layer.weights, layer.removed, layer.bits), (16, 12, 32));
/// # Ok::<(), burn_compress::attach::AttachError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// Path of the parameter.
    pub path: String,
    /// Number of weights.
    pub weights: usize,
    /// Weights that are exactly zero.
    pub removed: usize,
    /// Bits of a code; 32 where the layer is not quantized.
    pub bits: u32,
}

/// What of a compression is not in the module's own record: saved with it, it lets training go on
/// where it was.
///
/// ```
/// let state = burn_compress::attach::State { step: 10, frozen: false, level: None };
/// let text = serde_json::to_string(&state)?;
/// assert_eq!(serde_json::from_str::<burn_compress::attach::State>(&text)?, state);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps of the optimizer so far.
    pub step: usize,
    /// Whether the masks are frozen.
    pub frozen: bool,
    /// The level that overrides the schedule, if one was set.
    pub level: Option<f64>,
}

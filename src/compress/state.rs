//! What is known of a compression beside the model.

use serde::{Deserialize, Serialize};

/// What a layer came to.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::compress::{Plan, Pruning};
/// let model = LinearConfig::new(8, 2).init(&Device::default());
/// let compressed = Plan::new().prune(Pruning::to(0.75)).apply(model)?;
/// let layer = &compressed.layers()[0];
/// assert_eq!((layer.weights, layer.removed, layer.bits), (16, 12, 32));
/// # Ok::<(), burn_compress::compress::CompressError>(())
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
    /// Whether pruning left it out, for it requires no gradient.
    pub frozen: bool,
    /// Whether pruning left it no more weights than [`Pruning::at_least`](super::Pruning::at_least)
    /// keeps: without the guard, it might have lost all.
    pub guarded: bool,
}

/// A pruning that did not go as far as its schedule.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::{compress::{Plan, Pruning}, schedule::Curve};
/// let model = LinearConfig::new(8, 2).init(&Device::default());
/// let schedule = Curve::Linear { from: 0.0, to: 0.5, start: 0, end: 100 };
/// let (model, compression) = Plan::new().prune(Pruning::along(schedule)).attach(model)?;
/// let compressed = compression.finish(model)?; // `step` was never called
/// let unfinished = compressed.unfinished().unwrap();
/// assert_eq!((unfinished.step, unfinished.end), (0, Some(100)));
/// assert_eq!((unfinished.level, unfinished.target), (0.0, Some(0.5)));
/// # Ok::<(), burn_compress::compress::CompressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unfinished {
    /// Steps that were taken: calls of [`Compression::step`](super::Compression::step).
    pub step: usize,
    /// The step at which the schedule ends, if it has an end.
    pub end: Option<usize>,
    /// The level that was reached.
    pub level: f64,
    /// The level at the schedule's end, if it has one.
    pub target: Option<f64>,
}

/// What of a compression is not in the module's own record: saved with it, it lets training go on
/// where it was.
///
/// ```
/// use burn_compress::compress::State;
/// let state = State { step: 10, ..State::default() };
/// let text = serde_json::to_string(&state)?;
/// assert_eq!(serde_json::from_str::<State>(&text)?, state);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps of the optimizer so far.
    pub step: usize,
    /// Whether the masks are frozen.
    pub frozen: bool,
    /// The level that overrides the schedule, if one was set.
    pub level: Option<f64>,
    /// The layers that were zero throughout when the plan was attached: not pruned, but not trained yet.
    /// Zeros of these do not count as removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untrained: Vec<String>,
}

use super::BoxError;
use crate::compress::CompressError;
use crate::graph::GraphError;

/// What can go wrong with compression without training.
///
/// ```
/// use burn_compress::reconstruct::ReconstructError;
/// let error = ReconstructError::Inputs { found: 3, least: 16 };
/// assert!(error.to_string().contains("give 16 or more"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconstructError {
    /// Too few inputs to tell anything of the layers.
    #[error(
        "{found} inputs do not show what layers compute: give {least} or more, better a thousand"
    )]
    Inputs {
        /// How many there were.
        found: usize,
        /// How many are needed.
        least: usize,
    },
    /// Inputs that are all the same.
    #[error("all {found} inputs are the same: give samples of the data that the model will see")]
    Constant {
        /// How many there were.
        found: usize,
    },
    /// An input, or what a layer makes of it, is NaN or infinite.
    #[error("{place} has a value that is not finite: give inputs that the model bears")]
    NotFinite {
        /// The input, or the layer.
        place: String,
    },
    /// A layer that no input reaches.
    #[error(
        "the inputs do not reach layer `{layer}`: {what}; exclude it from the selection, or give inputs that do"
    )]
    Unreached {
        /// Path of the layer.
        layer: String,
        /// What was seen.
        what: String,
    },
    /// A weight whose rows are not the output channels of the product that reads it.
    #[error(
        "layer `{layer}` is read as {dims:?} with its outputs on another axis: exclude it from the selection"
    )]
    Layout {
        /// Path of the layer.
        layer: String,
        /// Its dimensions.
        dims: Vec<usize>,
    },
    /// A level at which a layer's output says nothing any more.
    #[error(
        "at level {level} layer `{layer}` keeps nothing of its output: choose a lower level, keep more of each layer (`Pruning::at_least`), or exclude the layer"
    )]
    Unbearable {
        /// Path of the layer.
        layer: String,
        /// The level of the plan.
        level: f64,
    },
    /// The callback that is told of progress returned an error.
    #[error("stopped before layer `{layer}`: {source}")]
    Stopped {
        /// The layer that came next.
        layer: String,
        /// What the callback returned.
        source: BoxError,
    },
    /// The plan, its selection, or the module.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The captured graph, or a pass through it.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

use crate::format::FormatError;

/// What can be wrong with a network, its input or its file.
///
/// ```
/// use burn_compress::network::NetworkError;
/// let error = NetworkError::Step { layer: "fc1".into(), what: "2 weights for 3 inputs".into() };
/// assert_eq!(error.to_string(), "the step at fc1: 2 weights for 3 inputs");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A step that contradicts itself or the network.
    #[error("the step at {layer}: {what}")]
    Step {
        /// Its layer.
        layer: String,
        /// What is wrong.
        what: String,
    },
    /// An activation that cannot be quantized.
    #[error("the activation at {layer}: {what}")]
    Activation {
        /// Its layer.
        layer: String,
        /// What is wrong, and the way out.
        what: String,
    },
    /// Factors cannot be rounded to this number of bits.
    #[error("factors have no {bits} significant bits: choose 1 to 24")]
    FactorBits {
        /// The bits.
        bits: u32,
    },
    /// An input of other dimensions than the network takes.
    #[error("the input is {found:?}; the network takes {expected}")]
    Input {
        /// Its dimensions.
        found: Vec<usize>,
        /// Those of the network.
        expected: String,
    },
    /// A batch without a sample.
    #[error("a batch of 0 samples: a run needs at least 1")]
    EmptyBatch,
    /// An input with a number that is none, or infinite.
    #[error(
        "sample {sample} of the batch (from 0) holds {value} at its element {element}: give finite numbers, or leave the sample out"
    )]
    NotFinite {
        /// The first sample of the batch that holds one, from 0.
        sample: usize,
        /// The first such element of the sample.
        element: usize,
        /// What it is.
        value: f32,
    },
    /// A file.
    #[error(transparent)]
    Format(#[from] FormatError),
}

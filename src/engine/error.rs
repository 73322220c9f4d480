use crate::format::FormatError;
use crate::kernel::{Isa, KernelError};
use crate::network::NetworkError;

/// Why a model was not compiled, loaded or run.
///
/// ```
/// use burn_compress::engine::EngineError;
/// assert!(EngineError::Threads.to_string().contains("at least 1"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The network, or an operation that runs plainly.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// What was planned does not fit its kernels.
    #[error("{layer}: {source}; this is a fault of the engine, please report it")]
    Kernel {
        /// Path of the layer.
        layer: String,
        /// What is wrong.
        source: KernelError,
    },
    /// A batch without a sample.
    #[error("a batch of 0 samples: a run needs at least 1")]
    EmptyBatch,
    /// An input of another size.
    #[error(
        "the input holds {found} numbers, where a batch of {batch} samples of {each} numbers has {expected}"
    )]
    Input {
        /// Numbers given.
        found: usize,
        /// Samples asked for.
        batch: usize,
        /// Numbers of a sample.
        each: usize,
        /// Numbers needed.
        expected: usize,
    },
    /// Room for an output of another size.
    #[error(
        "room for {found} numbers, where the output has {expected}: give a slice of {expected}"
    )]
    Output {
        /// Numbers there is room for.
        found: usize,
        /// Numbers of the output.
        expected: usize,
    },
    /// An input that is NaN or infinite.
    #[error(
        "sample {sample} of the batch (from 0) holds {value} at its element {element}: give finite numbers, or leave the sample out"
    )]
    NotFinite {
        /// The first sample of the batch that holds one, from 0.
        sample: usize,
        /// The first such element of the sample.
        element: usize,
        /// What is there.
        value: f32,
    },
    /// No threads.
    #[error("0 threads: give at least 1")]
    Threads,
    /// An instruction set that the machine lacks.
    #[error("this machine has no {}: leave the choice to the engine", isa.name())]
    Isa {
        /// What was asked for.
        isa: Isa,
    },
    /// A result that is not the reference's, found by [`verify`](super::Program::verify).
    #[error(
        "{layer}: {op} on {} gives {found} at element {element}, where the reference has {expected}; compile \
         for another instruction set (`Options::isa`), and please report it", isa.name()
    )]
    Differs {
        /// Path of the layer.
        layer: String,
        /// Its operation.
        op: String,
        /// The instruction set.
        isa: Isa,
        /// The place in the result of one sample, the last axis fastest.
        element: usize,
        /// What the program gave.
        found: f32,
        /// What the reference has.
        expected: f32,
    },
    /// Too large for places of 32 bits.
    #[error(
        "{layer}: its tensors of {samples} samples take more than 4 GiB: give it smaller samples"
    )]
    TooLarge {
        /// Path of the layer.
        layer: String,
        /// Samples of a pass.
        samples: usize,
    },
}

impl From<KernelError> for EngineError {
    fn from(source: KernelError) -> Self {
        Self::Kernel {
            layer: "the engine".to_string(),
            source,
        }
    }
}

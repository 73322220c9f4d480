use crate::format::FormatError;
use crate::graph::GraphError;
use crate::kernel::{Isa, KernelError};

/// Why a model was not compiled, loaded or run.
///
/// ```
/// use burn_compress::engine::EngineError;
/// assert!(EngineError::Threads.to_string().contains("at least 1"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The model, or an operation that runs plainly.
    #[error(transparent)]
    Graph(#[from] GraphError),
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
    /// An input of another size.
    #[error("an input of {found} numbers, where {batch} images of {each} are {expected}")]
    Input {
        /// Numbers given.
        found: usize,
        /// Images asked for.
        batch: usize,
        /// Numbers of an image.
        each: usize,
        /// Numbers needed.
        expected: usize,
    },
    /// Room for an output of another size.
    #[error("room for {found} numbers, where the output has {expected}")]
    Output {
        /// Numbers there is room for.
        found: usize,
        /// Numbers of the output.
        expected: usize,
    },
    /// An input that is NaN or infinite.
    #[error("the input holds {value} at {place}: give finite numbers")]
    NotFinite {
        /// Its place in the input.
        place: usize,
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
    /// Too large for the memory, or for 32-bit places.
    #[error("{layer}: too large for {images} images")]
    TooLarge {
        /// Path of the layer.
        layer: String,
        /// Images of a pass.
        images: usize,
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

#[cfg(feature = "compress")]
use crate::{
    channels::ChannelError, compress::CompressError, graph::GraphError, macs::MacError,
    recipe::RecipeError, reconstruct::ReconstructError, report::ReportError,
    schedule::ScheduleError, search::SearchError, study::StudyError, train::TrainError,
};
use crate::{engine::EngineError, format::FormatError, network::NetworkError};

/// Any error of this library, for code that calls several of its modules.
///
/// ```
/// # #[cfg(feature = "compress")] {
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::compress::{Plan, Quantization};
/// use burn_compress::format::Scheme;
///
/// fn compress() -> Result<usize, burn_compress::Error> {
///     let model = LinearConfig::new(64, 10).init(&Device::default());
///     let scheme = Scheme::symmetric(4)?;
///     let compressed = Plan::new().quantize(Quantization::to(scheme)).apply(model)?;
///     Ok(compressed.layers().len())
/// }
/// assert_eq!(compress()?, 1);
/// # }
/// # Ok::<(), burn_compress::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scheme, a packed weight or a file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A schedule.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A model, a selection, or what is to be attached.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// Channels that are removed.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Channels(#[from] ChannelError),
    /// A graph.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Compression without training.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Reconstruct(#[from] ReconstructError),
    /// Training under compression.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A recipe.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A report.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A study.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Study(#[from] StudyError),
    /// A search.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The recording of a forward pass.
    #[cfg(feature = "compress")]
    #[error(transparent)]
    Macs(#[from] MacError),
    /// A network as data.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A program.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

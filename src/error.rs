use crate::attach::AttachError;
use crate::format::FormatError;
use crate::graph::GraphError;
use crate::recipe::RecipeError;
use crate::report::ReportError;
use crate::schedule::ScheduleError;
use crate::study::StudyError;
use crate::train::TrainError;
use crate::work::WorkError;

/// Any error of this library, for code that calls several of its rooms.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::attach::{Plan, Quantization};
/// use burn_compress::format::Scheme;
///
/// fn compress() -> Result<usize, burn_compress::Error> {
///     let model = LinearConfig::new(64, 10).init(&Device::default());
///     let scheme = Scheme::symmetric(4)?;
///     let compressed = Plan::new().quantize(Quantization::to(scheme)).apply(model)?;
///     Ok(compressed.layers().len())
/// }
/// assert_eq!(compress()?, 1);
/// # Ok::<(), burn_compress::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scheme, a packed weight or a file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A model, a selection, or what is to be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Training under compression.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A study.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// The recording of a forward pass.
    #[error(transparent)]
    Work(#[from] WorkError),
}

use std::path::PathBuf;

use crate::compress::CompressError;
use crate::format::FormatError;
use crate::graph::GraphError;
use crate::network::NetworkError;
use crate::recipe::RecipeError;
use crate::reconstruct::ReconstructError;
use crate::report::ReportError;
use crate::train::TrainError;

/// What can stop a study. What was finished before is kept.
///
/// ```
/// use burn_compress::{recipe::RecipeError, study::StudyError};
/// let error = StudyError::from(RecipeError::Empty);
/// assert!(error.to_string().contains("no level"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// The recipe cannot be followed.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The model cannot be compressed so.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// Training or scoring failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The rows make no report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A file could not be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The folder holds an unfinished or finished study of another recipe or model.
    #[error(
        "{} holds another study ({what} differs): choose another folder, or remove it",
        folder.display()
    )]
    AnotherStudy {
        /// The folder.
        folder: PathBuf,
        /// `the recipe` or `the model`.
        what: &'static str,
    },
    /// The model's forward pass cannot be quantized.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The network in whole numbers.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Compression without training.
    #[error(transparent)]
    Reconstruct(#[from] ReconstructError),
    /// The recipe compresses without training, but the study runs without a graph.
    #[error("the recipe reconstructs: call `run` or `run_quantized`, or leave it out of it")]
    WithoutGraph,
    /// The recipe reconstructs or quantizes activations, but the workload gives no inputs.
    #[error("the recipe {what}, but the workload gives no inputs: implement `Workload::inputs`")]
    NoInputs {
        /// `reconstructs` or `quantizes activations`.
        what: &'static str,
    },
    /// The recipe quantizes activations, but the study runs without a graph.
    #[error("the recipe quantizes activations: call `run_quantized`, or leave them out of it")]
    Activations,
    /// The study has no such row.
    #[error("the report has no row {row}: it has {rows} rows, counted from 0")]
    NoModel {
        /// Index of the row.
        row: usize,
        /// Rows there are.
        rows: usize,
    },
}

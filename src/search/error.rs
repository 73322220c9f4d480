use std::path::PathBuf;

use super::{BoxError, Candidate};
use crate::compress::CompressError;
use crate::engine::EngineError;
use crate::format::FormatError;
use crate::graph::GraphError;
use crate::macs::MacError;
use crate::network::NetworkError;
use crate::prune::PatternError;
use crate::reconstruct::ReconstructError;

/// What can stop a search. What was measured before is kept in its folder.
///
/// ```
/// use burn_compress::search::SearchError;
/// assert!(SearchError::NoScore.to_string().contains("Search::score"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// There is nothing to choose from.
    #[error("the search has no candidate: give `SearchOptions::candidates`")]
    NoCandidates,
    /// A candidate that occurs twice.
    #[error("the candidate `{candidate}` occurs twice: give each once")]
    Twice {
        /// The candidate.
        candidate: Candidate,
    },
    /// A number of the budget or of the options that makes no sense.
    #[error("{name} is {value}: {expected}")]
    Value {
        /// Which number.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it should be.
        expected: &'static str,
    },
    /// The budget is in points, and nothing gives any.
    #[error("the budget limits points, and there is no score: give one by `Search::score`")]
    NoScore,
    /// A score that is NaN or infinite.
    #[error("the score of `{model}` is {score}: scores must be finite")]
    Score {
        /// The model.
        model: String,
        /// Its score.
        score: f64,
    },
    /// The scoring function failed.
    #[error("scoring `{model}` failed: {source}")]
    Scoring {
        /// The model.
        model: String,
        /// What it returned.
        source: BoxError,
    },
    /// The callback that is told of progress returned an error.
    #[error("stopped: {source}")]
    Stopped {
        /// What it returned.
        source: BoxError,
    },
    /// What was measured before is of another search.
    #[error(
        "the measurements are of another model, of other inputs, or made with other options: make new ones"
    )]
    OtherMeasurements,
    /// The folder holds another search.
    #[error(
        "{} holds another search ({what} differs): choose another folder, or remove it",
        folder.display()
    )]
    AnotherSearch {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// The report has no such model.
    #[error("the report has no model {index}: it has {models}, counted from 0")]
    NoModel {
        /// Index of the model.
        index: usize,
        /// Models there are.
        models: usize,
    },
    /// A pattern whose numbers make none, or a level that it cannot come to.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The model, or the selection of its layers.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// Inputs, or a layer, that a reconstruction refuses.
    #[error(transparent)]
    Reconstruct(#[from] ReconstructError),
    /// The forward pass.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The count of multiply-adds.
    #[error(transparent)]
    Macs(#[from] MacError),
    /// A network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A program.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A scheme, or a file that could not be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
}

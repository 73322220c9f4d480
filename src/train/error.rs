use super::BoxError;
use crate::{compress::CompressError, format::FormatError, schedule::ScheduleError};

/// What can go wrong while training under compression.
///
/// ```
/// use burn_compress::train::TrainError;
/// let error = TrainError::Score { score: f64::NAN };
/// assert!(error.to_string().contains("NaN"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The model cannot be compressed so.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// A file could not be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A schedule says no sensible value.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The workload's own error.
    #[error("{action} failed: {source}")]
    Workload {
        /// What the workload was asked for.
        action: &'static str,
        /// Its error.
        source: BoxError,
    },
    /// An epoch of training did not tell its steps, so that masks and scales stood still.
    #[error(
        "the workload trained an epoch without calling `Epoch::step`: call it after each step of the optimizer"
    )]
    NoStep,
    /// An epoch of training took fewer steps than the workload says, so that schedules would end too early.
    #[error(
        "the workload trained {done} steps in an epoch and says {said}: give `steps_per_epoch` as it is"
    )]
    Steps {
        /// Steps taken.
        done: usize,
        /// Steps that `steps_per_epoch` says.
        said: usize,
    },
    /// The score is not a number that can be compared.
    #[error("the score is {score}: return a finite number, more is better")]
    Score {
        /// The score.
        score: f64,
    },
    /// A record does not fit the module or the optimizer.
    #[error("the checkpoint does not fit: {reason}")]
    Record {
        /// Why.
        reason: String,
    },
}

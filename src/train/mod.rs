//! Training under compression: the [`Workload`] that a user provides, refine-tune, the steered
//! threshold, seeds and checkpoints.

mod checkpoint;
mod distill;
mod error;
mod fine_tune;
#[cfg(feature = "learner")]
mod learner;
mod quantized;
mod refine;
mod seed;
mod steer;
mod workload;

pub use checkpoint::Checkpoint;
pub use distill::distillation_loss;
pub use error::TrainError;
pub use fine_tune::FineTune;
#[cfg(feature = "learner")]
pub use learner::Aware;
pub use quantized::QuantizedWorkload;
#[doc(hidden)]
pub use refine::REFINE_FACTOR;
pub use refine::{RefineTune, refine_rate};
pub use seed::seed;
#[doc(hidden)]
pub use seed::seed_at;
pub use steer::{Round, Steering};
pub use workload::{BoxError, Epoch, Workload};
pub(crate) use workload::{checked_score, observed};

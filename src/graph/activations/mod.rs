//! Where activations become integers, and at which scale.

mod branches;
mod calibrate;
mod coding;
mod distribution;
mod extremes;
mod histogram;
mod observe;
mod offset;
mod place;
mod plan;

pub use calibrate::Calibration;
pub use coding::Coding;
pub(crate) use place::{Factors, Placement};
pub use place::{Form, Site};
pub use plan::{Activations, Calibrator};

//! Where activations become integers, and at which scale.

mod branches;
mod calibrate;
mod coding;
mod distribution;
mod extremes;
mod form;
mod histogram;
mod observe;
mod offset;
mod place;
mod plan;

pub use calibrate::Calibration;
pub use coding::Coding;
pub use form::Form;
pub use place::ActivationQuantizer;
pub(crate) use place::{Factors, QuantizerPlacement};
pub use plan::{Activations, Calibrator};

//! What a model's forward pass computes: captured from an unmodified module, simplified, and run on
//! any Burn device with gradients.

mod activations;
mod apply;
mod capture;
mod draw;
mod error;
mod float_op;
mod lower;
mod node;
mod observe;
mod pass;
pub mod repair;
mod resolve;
mod simulate;
mod tensor;

pub use activations::{Activations, Calibration, Calibrator, Coding, Form, Site};
pub use capture::Fallback;
pub use error::GraphError;
pub use node::{Epilogue, Graph, Node, Norm, Parameter};
pub(crate) use observe::{input_columns, input_squares};
pub use simulate::{Packed, Quantized, SiteRow, SiteTable};
pub(crate) use simulate::{Pass, Reads, Setting, Walk, Weight, any, weights};
pub(crate) use tensor::{AnyTensor, along};

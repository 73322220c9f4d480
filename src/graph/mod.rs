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
mod one_sample;
mod pass;
mod recorded;
pub mod repair;
mod resolve;
mod simulate;
mod tensor;

pub use activations::{ActivationQuantizer, Activations, Calibration, Calibrator, Coding, Form};
pub use error::GraphError;
pub use node::{Epilogue, Graph, Node, Norm, Parameter};
pub(crate) use observe::{input_columns, input_squares};
pub use recorded::Fallback;
pub use simulate::{Packed, Quantized, QuantizerRow, QuantizerTable};
pub(crate) use simulate::{Pass, QuantizationConfig, Reads, Walk, Weight, any, weights};
pub(crate) use tensor::{AnyTensor, along};

//! What a model's forward pass computes: captured from an unmodified module, simplified, and run on
//! any Burn device with gradients.

mod activations;
mod apply;
mod bound;
mod capture;
mod draw;
mod error;
mod float_op;
pub mod integer;
mod lower;
mod node;
mod op;
mod pass;
pub mod repair;
mod resolve;
mod simulate;
mod tensor;
mod unary;

pub use activations::{Activations, Calibration, Calibrator, Coding, Form, Site};
pub use capture::Fallback;
pub use error::GraphError;
pub use float_op::FloatOp;
pub use node::{Constant, Dim, Epilogue, Graph, Node, Norm, Parameter, Value};
pub use op::{Binary, Op, Window};
pub use simulate::{Packed, Quantized, SiteRow, SiteTable};
pub use unary::Unary;

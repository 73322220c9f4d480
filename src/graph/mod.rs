//! What a model's forward pass computes: captured from an unmodified module, simplified, and run on
//! any Burn device with gradients.

mod apply;
mod bind;
mod capture;
mod error;
mod node;
mod op;
mod resolve;
mod run;
mod tensor;

pub use error::GraphError;
pub use node::{Constant, Dim, Epilogue, Graph, Node, Norm, Parameter, Value};
pub use op::{Binary, Op, Unary, Window};

//! A quantized graph in whole numbers: data, and the interpreter that defines its results.
//!
//! An [`IntegerModel`] is a list of [`Step`]s on centred codes (`code - zero_point`). Products are
//! summed exactly in `i32`; each sum becomes a float by single operations in a fixed order (see
//! [`Rescale`]) and a code by [`Requantize`](crate::format::Requantize). Nothing here depends on the
//! machine, the number of threads or how images are batched: it is what a simulation or a fast engine
//! is compared with, bit for bit. Only [`IntegerOp::Float`] steps leave that world, where a model keeps
//! layers in float.
//!
//! The interpreter is plain: it knows no Burn tensors and no instruction set.

mod check;
mod codes;
mod elementwise;
mod factors;
mod file;
mod float;
mod grid;
mod inspect;
mod model;
mod movement;
mod op;
mod product;
mod rescale;
mod run;
mod shape;
mod sink;
mod step;
mod window;

pub use codes::Codes;
pub use grid::Grid;
pub use model::{IntegerModel, Step};
pub(super) use movement::expand;
pub use op::IntegerOp;
pub use rescale::{Activation, Divide, Rescale, Weights};
pub use run::{Elements, Statistics, Traced};
pub(crate) use sink::Operand;
pub(super) use sink::{filled, reserve};
pub(crate) use step::execute_alone;

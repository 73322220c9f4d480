//! A network as data: its operations and weights, its file, and the interpreter that defines its results.
//!
//! A [`Network`] is a list of [`Step`]s on centred codes (`code - zero_point`). Products are
//! summed exactly in `i32`; each sum becomes a float by single operations in a fixed order (see
//! [`Rescale`]) and a code by [`Requantize`](crate::format::Requantize). Nothing here depends on the
//! machine, the number of threads or how images are batched: it is what a simulation or a fast engine
//! is compared with, bit for bit. Only [`StepOp::Float`] steps leave that world, where a model keeps
//! layers in float.
//!
//! The interpreter is plain: it knows no Burn tensors and no instruction set.

mod bound;
mod check;
mod codes;
mod elementwise;
mod error;
mod factors;
mod file;
mod float;
mod float_op;
mod grid;
mod inspect;
mod model;
mod movement;
mod multiples;
mod op;
mod product;
mod rescale;
mod run;
mod shape;
mod sink;
#[cfg(feature = "compress")]
mod snap;
mod step;
mod step_op;
mod sums;
mod unary;
mod value;
mod window;

pub use codes::Codes;
pub use error::NetworkError;
pub use float_op::FloatOp;
pub use grid::Grid;
pub use model::{Network, Step};
pub(crate) use movement::expand;
pub use op::{Binary, Op, Window};
pub use rescale::{Activation, Divide, Rescale, Weights};
pub use run::{Elements, Statistics, Traced};
pub(crate) use shape::MAX_RANK;
pub(crate) use sink::{Operand, filled, reserve};
pub(crate) use step::execute_alone;
pub use step_op::{Arithmetic, StepOp};
pub(crate) use sums::Over;
pub use unary::Unary;
pub use value::{Constant, Dim, Value};

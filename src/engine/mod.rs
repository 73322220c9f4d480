//! Runs a compressed model on a processor, fast: without Burn tensors, and without allocating.
//!
//! [`Program::compile`] takes an [`Network`](crate::network::Network), in whole numbers
//! or in floats, to operations on [cells](crate::kernel::Cell). Sixteen sites lie in the lanes of a
//! vector: sixteen images of a batch, four images in four tiles each, or sixteen tiles of one image, with
//! their halos. So every load is aligned whatever the offset of a weight, and a weight that is not zero is
//! a record of an offset and a value: zeros cost nothing.
//!
//! What cells cannot hold runs plainly, by the reference's own code, and [`Program::layers`] says so.

mod error;
mod isa_name;
mod layout;
mod lower;
mod options;
mod plan;
mod program;
mod run;
mod table;
mod tune;
mod warn;

pub use burn_compress_kernel::Isa;
pub use error::EngineError;
pub use options::{Choice, Options};
pub use program::Program;
pub use table::LayerRow;
pub use tune::cache::Choices;

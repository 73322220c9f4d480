//! Runs a compressed model on a processor, fast: without Burn tensors, and without allocating.
//!
//! [`Program::compile`] takes an [`Network`](crate::network::Network), in whole numbers
//! or in floats, to operations on [cells](crate::kernel::Cell). Sixteen sites lie in the lanes of a
//! vector: sixteen images of a batch, four images in four tiles each, or sixteen tiles of one image, with
//! their halos. So every load is aligned whatever the offset of a weight, and a weight that is not zero is
//! a record of an offset and a value: zeros cost nothing.
//!
//! What cells cannot hold runs plainly, by the reference's own code, and [`Program::layers`] says so.

mod arguments;
mod build;
mod by_line;
mod choices;
mod choose;
mod demand;
mod error;
mod float;
mod isa_name;
mod layout;
mod lines;
mod lower;
mod memory;
mod operation;
mod options;
mod pack;
mod plan;
mod plans;
mod prepare;
mod program;
mod rearrange;
mod reorder;
mod runner;
mod same;
mod sieve;
mod sites;
mod split;
mod stage;
mod table;
mod tile;
mod trial;
mod warn;
mod winograd;
mod workspace;

pub use burn_compress_kernel::Isa;
pub use choices::Choices;
pub use error::EngineError;
pub use options::{Choice, Options};
pub use program::Program;
pub use table::LayerRow;

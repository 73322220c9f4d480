//! Runs a compressed model on a processor, fast: without Burn tensors, and without allocating.
//!
//! [`Program::compile`] takes an [`Network`](crate::network::Network), in whole numbers or in floats, to
//! operations on [vector blocks](crate::kernel::VectorBlock). A vector has sixteen lanes: sixteen samples of
//! a batch, four samples in four tiles each, or sixteen tiles of one sample, with their halos. So every load
//! is aligned whatever the offset of a weight, and a weight that is not zero is a sparse entry of an offset
//! and a value: zeros cost nothing.
//!
//! What vector blocks cannot hold runs plainly, by the reference's own code, and [`Program::layers`] says so.

mod error;
mod isa_name;
mod layout;
mod lower;
mod memory;
mod options;
mod plan;
mod program;
mod rewrite;
mod run;
mod table;
mod tune;
mod verify;
mod warn;

pub use burn_compress_kernel::Isa;
pub use error::EngineError;
pub use memory::ProgramMemory;
pub use options::{Options, Tuning};
pub use program::Program;
pub use table::LayerProfile;
pub use tune::cache::TuningCache;
pub use verify::Verified;

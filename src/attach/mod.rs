//! Puts masks and quantizers on the parameters of any Burn module, reads them back, and takes them
//! off. The only place that touches Burn's reparameterization.
//!
//! The module keeps its type: a layer with something attached computes with the compressed weight
//! wherever it reads its parameter, in training and in validation, and its mask and scales are part
//! of every record that Burn makes of the module.

mod compression;
mod edit;
mod error;
mod layer;
mod plan;
mod reparameterization;
mod rows;
mod saved;
mod selection;

pub use compression::{Compression, LayerSummary, State, weights};
pub use error::AttachError;
pub use layer::{Layer, layers};
pub use plan::{Plan, Pruning, Quantization, Regrowth};
pub use reparameterization::CompressedWeight;
pub use saved::{Compressed, archive, load, unpack};
pub use selection::Selection;

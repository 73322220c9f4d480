//! Puts masks and quantizers on the parameters of any Burn module, reads them back, and takes them
//! off. The only place that touches Burn's reparameterization.
//!
//! The module keeps its type: a layer with something attached computes with the compressed weight
//! wherever it reads its parameter, in training and in validation, and its mask and scales are part
//! of every record that Burn makes of the module.

mod again;
mod assign;
mod begin;
mod begun;
mod bind;
mod compression;
mod edit;
mod elements;
mod error;
mod groups;
mod layer;
mod load;
mod masks;
mod observations;
mod plan;
mod quantization;
mod regrowth;
mod reparameterization;
mod rows;
mod saved;
mod selection;
mod snapshot;
mod state;
mod summary;
mod threshold;
mod warn;
mod weights;
mod zeros;

pub(crate) use begun::{Removal, Rows, with_values};
pub(crate) use bind::{Attached, effective, effective_codes, scaled};
pub use compression::Compression;
pub(crate) use edit::replace;
pub use error::CompressError;
pub(crate) use layer::attached_part;
pub use layer::{Layer, layers};
pub use load::{load, unpack};
pub use observations::Observations;
pub(crate) use observations::SavedSum;
pub use plan::{Plan, Pruning};
pub use quantization::Quantization;
pub use regrowth::Regrowth;
#[doc(hidden)]
pub use reparameterization::CompressedWeight;
pub use saved::{Compressed, archive};
pub use selection::Selection;
pub(crate) use snapshot::snapshot;
pub use state::{LayerSummary, State, Unfinished};
pub use weights::weights;
pub use zeros::Masks;

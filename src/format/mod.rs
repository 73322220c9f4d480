//! The bits a compressed weight is made of: the [`Scheme`] with the one definition of rounding and
//! saturation, packed codes, and the file.
//!
//! Nothing here knows Burn: training, export and loading all reach the same arithmetic.

mod archive;
mod atomic;
mod container;
mod elements;
mod entropy;
mod error;
mod pack;
mod payload;
mod requantize;
mod scheme;
mod view;

pub(crate) use archive::Description;
pub use archive::{Archive, Entry};
pub use atomic::write_atomically;
pub use container::{Container, Part};
pub use entropy::entropy_bits;
pub use error::FormatError;
pub use pack::{pack, packed_len, unpack};
pub use payload::{Dense, ElementType, Payload, Quantized};
pub use requantize::Requantize;
pub use scheme::{Granularity, Mapping, Scheme};
pub use view::WeightView;

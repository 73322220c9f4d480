//! The bits a compressed weight is made of: the [`Scheme`] with the one definition of rounding and
//! saturation, codes in few bytes, and the file.
//!
//! Nothing here knows Burn: training, export and loading all reach the same arithmetic.

mod archive;
mod atomic;
pub(crate) mod coded;
mod container;
mod elements;
mod encoding;
mod entropy;
mod entry;
mod error;
mod opened;
mod pack;
mod payload;
mod requantize;
mod scheme;
mod view;

pub use archive::Archive;
#[doc(hidden)]
pub use atomic::write_atomically;
pub(crate) use container::read;
#[doc(hidden)]
pub use container::{Container, Part};
pub(crate) use elements::same_bits;
#[doc(hidden)]
pub use entropy::entropy_bits;
pub use entry::Entry;
pub use error::FormatError;
pub(crate) use opened::{MOST_IN_A_BYTE, Opened};
#[doc(hidden)]
pub use pack::{pack_bits, packed_bytes, unpack_bits};
pub use payload::{Dense, ElementType, Payload, QuantizedWeight};
pub use requantize::Requantize;
pub use scheme::{Granularity, Mapping, Scheme};
pub use view::WeightView;

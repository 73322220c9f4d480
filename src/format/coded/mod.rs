//! Whole numbers in the fewest bytes: packed at their bits, with a bitmap where many are zero, or
//! coded near their entropy, whichever is smallest.
//!
//! Coded numbers are two streams, which a processor decodes at the same time. Of numbers with zeros
//! they are the gaps between those that are not zero, and those; of numbers without, the two halves.
//! Gaps take no more bits than a coded mask, and only as long to decode as there are numbers left.

pub(crate) mod adaptive;
mod floats;
mod fold;
mod model;
mod read;
mod stream;
mod token;
mod write;

pub(crate) use floats::{decode_floats, encode_floats};
pub(crate) use read::{Width, decode, width};
pub(crate) use write::encode;

/// Numbers that a byte can stand for, at most: what is read takes memory in proportion to the file.
pub(crate) const MOST_IN_A_BYTE: usize = 1024;

// The first byte: one of these forms, and the width above.
const PACKED: u8 = 0;
const BITMAP: u8 = 1;
const HALVES: u8 = 2;
const GAPS: u8 = 3;

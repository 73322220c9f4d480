//! How much of a layer is worked on at once.

/// Bytes of the input that positions may read that are worked on at once: all of an L1 cache.
pub(in crate::engine) const L1_BYTES: usize = 32 * 1024;

/// Positions of which registers hold the sums.
pub(in crate::engine) const POSITIONS: usize = 8;

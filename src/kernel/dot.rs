//! Products of bytes without an instruction set of their own: what the portable kernel makes sums of.
//!
//! Compilers make poor vectors of products of bytes with signs. They are given words of 16 bits instead,
//! two of which every processor multiplies and adds at once: on x86-64 by the instructions that all have,
//! elsewhere by loops over lanes of 32 bits. `tests/run/dot.rs` checks both on one machine.

#[cfg(not(target_arch = "x86_64"))]
mod arrays;
#[cfg(target_arch = "x86_64")]
mod sse2;

#[cfg(not(target_arch = "x86_64"))]
pub(super) use arrays::*;
#[cfg(target_arch = "x86_64")]
pub(super) use sse2::*;

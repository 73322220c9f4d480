//! Arithmetic on slices of [`VectorBlock`]s: no Burn, no graph. The vector kernels of burn-compress, for that
//! crate alone: nothing here is a stable interface.
//!
//! A kernel is written once over the lanes of an instruction set and compiled for each. [`Kernels`]
//! is a value that proves that the machine has the set it names. The portable one needs none, and is
//! what the others are tested against: in whole numbers all give the same bits.

#![deny(missing_docs)]

#[cfg(target_arch = "x86_64")]
mod amx;
mod assembly;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod blocks;
mod channels;
mod chunks;
mod convert;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod dot;
mod elementwise;
mod entries;
mod epilogue;
mod finish;
mod float_sums;
mod function;
mod gate;
mod helpers;
mod input;
mod isa;
mod lanes;
mod matrix;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod packed;
mod peak;
mod places;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
mod product;
mod resample;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
mod sliced;
mod slices;
mod specialize;
mod steps;
mod strided;
mod sums;
mod system;
mod taps;
mod team;
mod tiled;
mod windows;
mod winograd;

use std::fmt;

pub use assembly::{Assembly, LaneSources};
pub use block::VectorBlock;
pub use blocks::VectorBlocks;
pub use channels::{ChannelStep, Channels, Planes};
pub use convert::Convert;
pub use elementwise::Elementwise;
pub use entries::{FILTER_BLOCK, PackedWeights, SharedEntry, SparseEntry, TILE, TapEntry};
pub use epilogue::{Epilogue, Filter, Residual, Sink};
pub use function::Function;
pub use helpers::share_out;
pub use input::{Element, Frame, InputGrid};
pub use isa::{Isa, Kernels};
pub use matrix::MatrixProduct;
pub use packed::PackedRight;
pub use places::{Edges, Gather, LaneMap, Move};
pub use product::{Position, Product};
pub use resample::Resample;
pub use specialize::SHIFT;
pub use steps::{Access, StepWork, Steps};
pub use strided::Strided;
pub use system::HAS_CLOCK;
pub use team::Team;
pub use team::lock;
pub use windows::{Pooling, Windows};

use lanes::Lanes;

/// What is wrong with what a kernel was given.
///
/// ```
/// use burn_compress_kernel::KernelError;
/// assert!(KernelError::Memory.to_string().contains("vector blocks"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelError {
    /// Starts of sparse entries that do not rise to their number, tiles that do not fit their weights or are of
    /// floats, or what lies in a vector block from 2^26 on.
    Weights,
    /// An epilogue that does not fit its layer.
    Epilogue,
    /// Slices that are too short.
    Memory,
    /// Ranges of a step that overlap or lie outside.
    Access,
    /// A team that is too small, or at work.
    Team,
}

// By hand: built without crates whose features differ, the kernels are built once for all sets of features.
impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weights => {
                "the starts of a layer's entries do not rise to their number, tiles do not fit their \
                 weights, or an entry lies too far"
            }
            Self::Epilogue => "a layer's epilogue does not fit its filters or codes",
            Self::Memory => "a kernel was given fewer vector blocks than it works on",
            Self::Access => "a step writes what it reads, or what lies outside",
            Self::Team => "the threads are too few, or at work",
        })
    }
}

impl std::error::Error for KernelError {}

// A kernel, to be compiled for each instruction set.
trait Work {
    // SAFETY contract: the machine has the instruction set of `S`.
    unsafe fn run<S: Lanes>(self);
}

//! The kernels of every instruction set that the machine has, held to plain loops over plain arrays.

mod blocks;
mod channels;
mod codes;
mod elementwise;
mod exact;
mod floats;
mod frames;
mod functions;
mod gathered;
mod layer;
mod matrix;
mod places;
mod refusals;
mod refused_frames;
mod refused_products;
// WebAssembly has no threads.
#[cfg(not(target_family = "wasm"))]
mod steps;
mod strided;
#[cfg(not(target_family = "wasm"))]
mod team;
mod windows;

use burn_compress::kernel::{Isa, Kernels, Position, VectorBlock};

use proptest::test_runner::Config;

use super::noise::Noise;

/// No bounds.
pub const ALL: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);
/// What overflows where it is multiplied or added to.
pub const HUGE: usize = usize::MAX;

/// So many random cases of a test; at most as many as `BURN_COMPRESS_CASES` says, for an emulator.
pub fn cases(count: u32) -> Config {
    let most = std::env::var("BURN_COMPRESS_CASES").map(|most| most.parse().unwrap());
    Config::with_cases(most.map_or(count, |most: u32| most.min(count)))
}

/// The kernels of every instruction set that this machine has.
pub fn all() -> impl Iterator<Item = Kernels> {
    Isa::ALL.into_iter().filter_map(Kernels::of)
}

/// Vector blocks of bytes that tell each place from its neighbours: what is not written keeps them.
pub fn marked(count: usize) -> Vec<VectorBlock> {
    let mut blocks = vec![VectorBlock::default(); count];
    for (place, byte) in VectorBlock::bytes_mut(&mut blocks).iter_mut().enumerate() {
        *byte = (place * 37 + place / 64 * 11 + 5) as u8;
    }
    blocks
}

/// Weights of tiles, of which sixteen fours are a vector block.
pub fn weight_blocks(weights: &[[i8; 4]]) -> Vec<VectorBlock> {
    let mut blocks = vec![VectorBlock::default(); weights.len() / VectorBlock::LANES];
    let bytes = VectorBlock::bytes_mut(&mut blocks).iter_mut();
    for (byte, weight) in bytes.zip(weights.as_flattened()) {
        *byte = *weight as u8;
    }
    blocks
}

pub fn at(input: u32, output: u32, residual: u32) -> Position {
    Position {
        input,
        output,
        residual,
    }
}

/// A number within -1 and 1, of no few bits.
pub fn real(noise: &mut Noise) -> f32 {
    noise.within(-1_000_003, 1_000_003) as f32 / 1_000_003.0
}

/// The greater, as vectors have it: the second where they are equal or the first is no number.
pub fn within(t: f32, (least, most): (f32, f32)) -> f32 {
    let t = if t > least { t } else { least };
    if t < most { t } else { most }
}

/// Half to even, less the least code.
pub fn byte(t: f32, bounds: (f32, f32), low: i32) -> u8 {
    (within(t, bounds).round_ties_even() as i32 - low) as u8
}

#[test]
fn the_best_set_is_the_last_that_the_machine_has() {
    assert_eq!(all().last(), Some(Kernels::detect()));
    let plainest = match cfg!(all(target_arch = "wasm32", target_feature = "simd128")) {
        true => Isa::Simd128,
        false => Isa::Portable,
    };
    assert_eq!(all().next().map(Kernels::isa), Some(plainest));
    for kernels in all() {
        assert_eq!(Kernels::of(kernels.isa()), Some(kernels));
    }
    let mut names: Vec<_> = Isa::ALL.map(Isa::name).into();
    names.dedup();
    assert_eq!(names.len(), Isa::ALL.len());
}

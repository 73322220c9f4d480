//! A product whose weights lie in tiles, of sixteen filters each: what a matrix unit multiplies, or the
//! lanes where there is none.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::finish::pair;
use super::lanes::Lanes;
use super::specialize::{Specialization, specialized};
use super::sums::Run;
use super::{FILTER_BLOCK, PackedWeights, Position, TILE, VectorBlock, Work};

/// Blocks of filters of a tile.
const QUADS: usize = TILE / FILTER_BLOCK;
/// Vector blocks and, of each filter, groups of four weights that are worked through for all positions before
/// the next ones: with their operands they fill half of a first-level cache.
const SLICE: usize = 144;
/// Pairs of positions whose sums wait meanwhile.
const WAITING: usize = 16;
/// Positions whose epilogues run together: two pairs.
const TOGETHER: usize = 4;

/// Of sixteen filters the sums of sixteen lanes.
pub(super) type Sums = [VectorBlock; TILE];

/// `F` times sixteen filters at `P` positions.
///
/// Whoever makes one sees to it that, from every start and every one of `blocks`, `depth` vector blocks that
/// may be read lie `apart` vector blocks from each other, and that after each of `weights` there are `depth`
/// vector blocks for every one of `blocks`; `depth` is 1 to 16.
pub(super) struct TileRun<'a, const F: usize, const P: usize> {
    pub blocks: &'a [u32],
    /// Whether sums go on from what they are.
    pub more: bool,
    pub depth: usize,
    pub apart: usize,
    pub weights: [*const VectorBlock; F],
    pub starts: [*const u8; P],
}

/// What multiplies tiles.
pub(super) trait Multiply {
    /// Sums of products, of 32 bits, that wrap: for each sixteen filters those of each position.
    ///
    /// # Safety
    ///
    /// `run` is as [`TileRun`] says, and `sums` leads to `F` times `P` of them, all of which are written;
    /// they were before, where they go on.
    unsafe fn sums<const F: usize, const P: usize>(&self, run: &TileRun<F, P>, sums: *mut Sums);
}

/// The lanes in place of a matrix unit.
struct InLanes<S>(PhantomData<S>);

impl<S: Lanes> Multiply for InLanes<S> {
    #[inline(always)]
    unsafe fn sums<const F: usize, const P: usize>(&self, run: &TileRun<F, P>, sums: *mut Sums) {
        // SAFETY: by the contract; the machine has the set, as it runs `Tiled` by it.
        unsafe {
            for (place, filter) in (0..F * P).flat_map(|of| (0..TILE).map(move |f| (of, f))) {
                let to: *mut VectorBlock = (&raw mut (*sums.add(place))[filter]).cast();
                let mut sum = S::sums(0);
                for (tile, &block) in run.blocks.iter().enumerate() {
                    for row in 0..run.depth {
                        let block = block as usize + row * run.apart;
                        let bytes = S::bytes(run.starts[place % P].add(block * VectorBlock::BYTES));
                        let weights = run.weights[place / P].cast::<u32>();
                        let weights = weights.add((tile * TILE + filter) * run.depth + row);
                        sum = S::dot(sum, bytes, S::weights(u32::from_le(weights.read())));
                    }
                }
                let sum = match run.more {
                    true => S::add_integers(S::load_integers(to.cast()), S::total(sum)),
                    false => S::total(sum),
                };
                S::store_integers(to.cast(), sum);
            }
        }
    }
}

/// A run of a product in tiles.
pub(super) struct Tiled<'a> {
    pub run: Run<'a>,
    /// Whether there is a matrix unit.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub unit: bool,
}

impl Work for Tiled<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        #[cfg(target_arch = "x86_64")]
        if self.unit
            && let PackedWeights::Tiles { depth, .. } = *self.run.product.entries
        {
            // SAFETY: the unit is there, and `Product::new` has checked the depth.
            let unit = unsafe { amx::Unit::new(depth) };
            // SAFETY: by `Work::run`.
            return unsafe { self.by::<S, _>(&unit) };
        }
        // SAFETY: by `Work::run`.
        unsafe { self.by::<S, _>(&InLanes::<S>(PhantomData)) }
    }
}

impl Tiled<'_> {
    #[inline(always)]
    unsafe fn by<S: Lanes, M: Multiply>(&self, unit: &M) {
        // SAFETY: by `Work::run`.
        unsafe {
            match self.run.positions.len() {
                0 => {}
                1 => self.run.tiled::<S, M, 1>(unit),
                _ => self.run.tiled::<S, M, 2>(unit),
            }
        }
    }
}

impl Run<'_> {
    // SAFETY contract: as of `Work::run`, on codes; there are `P` positions, one or two.
    #[inline(always)]
    unsafe fn tiled<S: Lanes, M: Multiply, const P: usize>(&self, unit: &M) {
        let PackedWeights::Tiles { depth, blocks, .. } = &*self.product.entries else {
            return;
        };
        let positions = self.positions;
        // Of about the same length; none is empty where there are any tiles.
        let slices = (blocks.len() * depth).div_ceil(SLICE).max(1);
        let slice = blocks.len().div_ceil(slices).max(1);
        let slices = blocks.len().div_ceil(slice).max(1);
        let mut sums = [const { [const { MaybeUninit::<[Sums; 2]>::uninit() }; P] }; WAITING];
        let most = self.product.position_block.min(WAITING * P);
        for position_block in (0..positions.len()).step_by(most) {
            let end = (position_block + most).min(positions.len());
            // The last one again where they are odd.
            let chunks = (position_block..end).step_by(P).map(|place| {
                let place = place.min(positions.len() - P);
                &positions[place..place + P]
            });
            let mut first = self.filter_blocks.start;
            while first < self.filter_blocks.end {
                // Sixteen filters, and the next sixteen with them; the first and the last may be cut.
                let tile = |tiles: usize| (first / QUADS + tiles) * QUADS;
                let filter_blocks = first..tile(2).min(self.filter_blocks.end);
                for part in 0..slices {
                    let blocks = part * slice..((part + 1) * slice).min(blocks.len());
                    for (index, chunk) in chunks.clone().enumerate() {
                        // SAFETY: by the contract; a block has no more chunks than sums wait, and the first
                        // part writes all of these before any are read.
                        unsafe {
                            let to = sums.as_mut_ptr().add(index).cast();
                            match filter_blocks.end > tile(1) {
                                true => self.multiply::<M, 2, P>(unit, first, chunk, &blocks, to),
                                false => self.multiply::<M, 1, P>(unit, first, chunk, &blocks, to),
                            }
                        }
                        if part + 1 < slices {
                            continue;
                        }
                        // Two pairs of positions end together.
                        let even = index & !1;
                        let from = position_block + even * P;
                        let both = P == 2 && from + TOGETHER <= end;
                        // SAFETY: the sums of these positions are complete.
                        unsafe {
                            let sums = |of: usize| sums.as_ptr().add(of).cast();
                            if !both {
                                self.finish_tile::<S, P, P>(
                                    sums(index),
                                    filter_blocks.clone(),
                                    chunk,
                                );
                            } else if index > even {
                                let both = &positions[from..from + TOGETHER];
                                self.finish_tile::<S, P, TOGETHER>(
                                    sums(even),
                                    filter_blocks.clone(),
                                    both,
                                );
                            }
                        }
                    }
                }
                first = filter_blocks.end;
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply<M: Multiply, const F: usize, const P: usize>(
        &self,
        unit: &M,
        filter_block: usize,
        chunk: &[Position],
        part: &Range<usize>,
        sums: *mut Sums,
    ) {
        let PackedWeights::Tiles {
            depth,
            apart,
            blocks,
            weights,
            ..
        } = &*self.product.entries
        else {
            return;
        };
        // SAFETY: blocks of filters and positions are those that `Product::run` has checked, tiles are as
        // long as `Product::new` has, and the part is one of them.
        unsafe {
            let weights = |f: usize| {
                let group = (filter_block / QUADS + f) * blocks.len();
                weights.as_ptr().add((group + part.start) * depth)
            };
            let run = TileRun::<F, P> {
                blocks: blocks.get_unchecked(part.clone()),
                more: part.start > 0,
                depth: *depth,
                apart: *apart as usize,
                weights: std::array::from_fn(weights),
                starts: self.task(filter_block).starts::<P>(chunk),
            };
            unit.sums(&run, sums);
        }
    }

    #[inline(always)]
    unsafe fn finish_tile<S: Lanes, const P: usize, const N: usize>(
        &self,
        sums: *const Sums,
        filter_blocks: Range<usize>,
        chunk: &[Position],
    ) {
        // SAFETY: by the contract of `tiled`.
        unsafe {
            let task = self.task(filter_blocks.start);
            specialized!(task, true, S, C => self.finish_as::<S, C, P, N>(sums, filter_blocks, chunk))
        }
    }

    // Unoptimized, a frame of all of them inlined is 1.2 MB.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn finish_as<S: Lanes, C: Specialization, const P: usize, const N: usize>(
        &self,
        sums: *const Sums,
        filter_blocks: Range<usize>,
        chunk: &[Position],
    ) {
        let first = filter_blocks.start / QUADS;
        for filter_block in filter_blocks {
            // SAFETY: by the contract of `tiled`.
            unsafe {
                let task = self.task(filter_block);
                let sums = sums
                    .add((filter_block / QUADS - first) * P)
                    .cast::<VectorBlock>();
                // Those of each pair of positions lie behind the pair's before, of two tiles.
                let place =
                    |n: usize| (n / P * 2 * P + n % P) * TILE + filter_block % QUADS * FILTER_BLOCK;
                let residual = task.residual_blocks::<S, C, N>(chunk);
                macro_rules! finish {
                    ($f:literal) => {{
                        let start = S::splat_integer(task.start::<S, C>($f));
                        let mut totals = [start; N];
                        for (n, total) in totals.iter_mut().enumerate() {
                            let sum = sums.add(place(n) + $f);
                            *total = S::add_integers(S::load_integers(sum.cast()), start);
                        }
                        task.finish::<S, C, $f, N>(totals, chunk, &residual)
                    }};
                }
                let pairs = pair::<S, N>(finish!(0), finish!(1));
                task.write::<S, N>(pairs, pair::<S, N>(finish!(2), finish!(3)), chunk);
            }
        }
    }
}

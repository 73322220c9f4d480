//! A product whose weights lie in tiles, of sixteen filters each: what a matrix unit multiplies, or the
//! lanes where there is none.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::ends::{Case, by_case};
use super::finish::pair;
use super::lanes::Lanes;
use super::sums::Run;
use super::{Cell, Position, QUAD, Records, TILE, Work};

/// Quads of a tile.
const QUADS: usize = TILE / QUAD;
/// Cells and, of each filter, groups of four weights that are worked through for all positions before the
/// next ones: with their operands they fill half of a first-level cache.
const SLICE: usize = 144;
/// Pairs of positions whose sums wait meanwhile.
const WAITING: usize = 16;
/// Positions whose sums end together: two pairs.
const ENDS: usize = 4;

/// Of sixteen filters the sums of sixteen sites.
pub(super) type Sums = [Cell; TILE];

/// `F` times sixteen filters at `P` positions.
///
/// Whoever makes one sees to it that, from every start and every one of `cells`, `depth` cells that may
/// be read lie `apart` cells from each other, and that after each of `weights` there are `depth` cells
/// for every one of `cells`; `depth` is 1 to 16.
pub(super) struct TileRun<'a, const F: usize, const P: usize> {
    pub cells: &'a [u32],
    /// Whether sums go on from what they are.
    pub more: bool,
    pub depth: usize,
    pub apart: usize,
    pub weights: [*const Cell; F],
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
                let to: *mut Cell = (&raw mut (*sums.add(place))[filter]).cast();
                let mut sum = S::sums(0);
                for (tile, &cell) in run.cells.iter().enumerate() {
                    for row in 0..run.depth {
                        let cell = cell as usize + row * run.apart;
                        let bytes = S::bytes(run.starts[place % P].add(cell * Cell::BYTES));
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
            && let Records::Tiles { depth, .. } = *self.run.product.records
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
        let Records::Tiles { depth, cells, .. } = &*self.product.records else {
            return;
        };
        let positions = self.positions;
        // Of about the same length; none is empty where there are any tiles.
        let slices = (cells.len() * depth).div_ceil(SLICE).max(1);
        let slice = cells.len().div_ceil(slices).max(1);
        let slices = cells.len().div_ceil(slice).max(1);
        let mut sums = [const { [const { MaybeUninit::<[Sums; 2]>::uninit() }; P] }; WAITING];
        let most = self.product.block.min(WAITING * P);
        for block in (0..positions.len()).step_by(most) {
            let end = (block + most).min(positions.len());
            // The last one again where they are odd.
            let chunks = (block..end).step_by(P).map(|place| {
                let place = place.min(positions.len() - P);
                &positions[place..place + P]
            });
            let mut first = self.quads.start;
            while first < self.quads.end {
                // Sixteen filters, and the next sixteen with them; the first and the last may be cut.
                let tile = |tiles: usize| (first / QUADS + tiles) * QUADS;
                let quads = first..tile(2).min(self.quads.end);
                for part in 0..slices {
                    let cells = part * slice..((part + 1) * slice).min(cells.len());
                    for (index, chunk) in chunks.clone().enumerate() {
                        // SAFETY: by the contract; a block has no more chunks than sums wait, and the first
                        // part writes all of these before any are read.
                        unsafe {
                            let to = sums.as_mut_ptr().add(index).cast();
                            match quads.end > tile(1) {
                                true => self.multiply::<M, 2, P>(unit, first, chunk, &cells, to),
                                false => self.multiply::<M, 1, P>(unit, first, chunk, &cells, to),
                            }
                        }
                        if part + 1 < slices {
                            continue;
                        }
                        // Two pairs of positions end together.
                        let even = index & !1;
                        let from = block + even * P;
                        let both = P == 2 && from + ENDS <= end;
                        // SAFETY: the sums of these positions are complete.
                        unsafe {
                            let sums = |of: usize| sums.as_ptr().add(of).cast();
                            if !both {
                                self.end::<S, P, P>(sums(index), quads.clone(), chunk);
                            } else if index > even {
                                let both = &positions[from..from + ENDS];
                                self.end::<S, P, ENDS>(sums(even), quads.clone(), both);
                            }
                        }
                    }
                }
                first = quads.end;
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply<M: Multiply, const F: usize, const P: usize>(
        &self,
        unit: &M,
        quad: usize,
        chunk: &[Position],
        part: &Range<usize>,
        sums: *mut Sums,
    ) {
        let Records::Tiles {
            depth,
            apart,
            cells,
            weights,
            ..
        } = &*self.product.records
        else {
            return;
        };
        // SAFETY: quads and positions are those that `Product::run` has checked, tiles are as long as
        // `Product::new` has, and the part is one of them.
        unsafe {
            let weights = |f: usize| {
                let group = (quad / QUADS + f) * cells.len();
                weights.as_ptr().add((group + part.start) * depth)
            };
            let run = TileRun::<F, P> {
                cells: cells.get_unchecked(part.clone()),
                more: part.start > 0,
                depth: *depth,
                apart: *apart as usize,
                weights: std::array::from_fn(weights),
                starts: self.task(quad).starts::<P>(chunk),
            };
            unit.sums(&run, sums);
        }
    }

    #[inline(always)]
    unsafe fn end<S: Lanes, const P: usize, const N: usize>(
        &self,
        sums: *const Sums,
        quads: Range<usize>,
        chunk: &[Position],
    ) {
        // SAFETY: by the contract of `tiled`.
        unsafe {
            let task = self.task(quads.start);
            by_case!(task, true, S, C => self.end_as::<S, C, P, N>(sums, quads, chunk))
        }
    }

    // Unoptimized, a frame of all of them inlined is 1.2 MB.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn end_as<S: Lanes, C: Case, const P: usize, const N: usize>(
        &self,
        sums: *const Sums,
        quads: Range<usize>,
        chunk: &[Position],
    ) {
        let first = quads.start / QUADS;
        for quad in quads {
            // SAFETY: by the contract of `tiled`.
            unsafe {
                let task = self.task(quad);
                let sums = sums.add((quad / QUADS - first) * P).cast::<Cell>();
                // Those of each pair of positions lie behind the pair's before, of two tiles.
                let place = |n: usize| (n / P * 2 * P + n % P) * TILE + quad % QUADS * QUAD;
                let residual = task.residual_cells::<S, C, N>(chunk);
                macro_rules! end {
                    ($f:literal) => {{
                        let start = S::splat_integer(task.start::<S, C>($f));
                        let mut ends = [start; N];
                        for (n, end) in ends.iter_mut().enumerate() {
                            let sum = sums.add(place(n) + $f);
                            *end = S::add_integers(S::load_integers(sum.cast()), start);
                        }
                        task.finish::<S, C, $f, N>(ends, chunk, &residual)
                    }};
                }
                let pairs = pair::<S, N>(end!(0), end!(1));
                task.write::<S, N>(pairs, pair::<S, N>(end!(2), end!(3)), chunk);
            }
        }
    }
}

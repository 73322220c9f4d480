//! The loops of a product, over the lanes of an instruction set.

use super::chunks::{chunks, even};
use super::finish::{finish_filter_block, pair, totals};
use super::lanes::Lanes;
use super::specialize::{General, PreparedEpilogue, PreparedFilter, Specialization, specialized};
use super::{
    Epilogue, FILTER_BLOCK, PackedWeights, Position, Product, SharedEntry, SparseEntry, TapEntry,
    VectorBlock, Work,
};

pub(super) struct Run<'a> {
    pub product: &'a Product,
    pub filter_blocks: std::ops::Range<usize>,
    pub positions: &'a [Position],
    // From this vector block of the input on.
    pub input: &'a [VectorBlock],
    pub skipped: usize,
    pub residual: &'a [VectorBlock],
    // Of a slice that is the run's alone: the output's vector blocks from this one on.
    pub output: *mut VectorBlock,
    pub first: usize,
}

impl Work for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let product = self.product;
        // SAFETY: `Product::run` has checked that the planes of these blocks of filters, every position in
        // them and every sparse entry of every position lie within the slices.
        unsafe {
            if product.slices.is_some() {
                return self.sliced::<S>();
            }
            for position_block in self.positions.chunks(self.position_block::<S>()) {
                for filter_block in self.filter_blocks.clone() {
                    self.task(filter_block).filter_block::<S>(
                        product,
                        filter_block,
                        position_block,
                    );
                }
            }
        }
    }
}

impl Run<'_> {
    // Positions of a block: those of whole chunks.
    #[inline(always)]
    fn position_block<S: Lanes>(&self) -> usize {
        let shared = matches!(*self.product.entries, PackedWeights::Shared { .. });
        let most = match (shared, self.product.codes) {
            (false, true) => S::POSITIONS,
            (false, false) => S::FLOAT_POSITIONS,
            (true, true) => S::SHARED_POSITIONS,
            (true, false) => S::FLOAT_SHARED_POSITIONS,
        };
        let most = most.min(self.product.position_block);
        let (each, longer) = even(self.positions.len(), most);
        let chunks = self.product.position_block.div_ceil(most);
        chunks.saturating_mul(each + usize::from(longer > 0))
    }

    // SAFETY contract: the block of filters is one of the run's.
    #[inline(always)]
    pub(super) unsafe fn task(&self, filter_block: usize) -> Task<'_> {
        let product = self.product;
        let epilogue = product.epilogue();
        let residual = product.prepared.residual.plane * filter_block * product.residual_planes();
        // SAFETY: `Product::run` has checked that the planes of its blocks of filters lie within the slices.
        unsafe {
            Task {
                input: self.input.as_ptr().cast(),
                skipped: self.skipped,
                residual: self.residual.as_ptr().add(residual),
                output: self.output.add(
                    (filter_block - self.filter_blocks.start) * product.planes() * product.plane,
                ),
                first: self.first,
                epilogue,
                plane: product.plane,
                clamps: product.clamps,
                prepared: &product.prepared,
                filters: product
                    .prepared
                    .filters
                    .as_ptr()
                    .add(filter_block * FILTER_BLOCK)
                    .cast(),
            }
        }
    }
}

// One block of filters over one block.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) input: *const u8,
    skipped: usize,
    pub(super) residual: *const VectorBlock,
    pub(super) output: *mut VectorBlock,
    pub(super) first: usize,
    pub(super) epilogue: &'a Epilogue,
    pub(super) plane: usize,
    pub(super) clamps: bool,
    pub(super) prepared: &'a PreparedEpilogue,
    pub(super) filters: *const [PreparedFilter; FILTER_BLOCK],
}

impl Task<'_> {
    #[inline(always)]
    unsafe fn filter_block<S: Lanes>(
        self,
        product: &Product,
        filter_block: usize,
        position_block: &[Position],
    ) {
        // SAFETY: by `Work::run` above.
        unsafe {
            match (&*product.entries, product.codes) {
                (PackedWeights::Filter { entries, starts }, codes) => {
                    let at = |place: usize| {
                        *starts.get_unchecked(filter_block * FILTER_BLOCK + place) as usize
                    };
                    let of = |f: usize| entries.get_unchecked(at(f)..at(f + 1));
                    let entries: [&[SparseEntry]; FILTER_BLOCK] = [of(0), of(1), of(2), of(3)];
                    if codes {
                        macro_rules! call {
                            ($p:literal, $part:expr) => {
                                specialized!(self, is_usual::<S, $p>(), S, C =>
                                    for chunk in $part.chunks_exact($p) {
                                        self.codes_by_filter::<S, C, $p>(entries, chunk);
                                    })
                            };
                        }
                        chunks!(position_block, S::POSITIONS, product.position_block, call);
                    } else {
                        macro_rules! call {
                            ($p:literal, $part:expr) => {
                                for chunk in $part.chunks_exact($p) {
                                    self.floats_by_filter::<S, $p>(entries, chunk);
                                }
                            };
                        }
                        chunks!(
                            position_block,
                            S::FLOAT_POSITIONS,
                            product.position_block,
                            call
                        );
                    }
                }
                (PackedWeights::Depthwise { taps, entries }, _) => {
                    let each = taps.div_ceil(4);
                    let first = filter_block * each;
                    let entries = entries.get_unchecked(first..first + each);
                    for chunk in position_block.chunks_exact(1) {
                        self.depthwise::<S>(*taps, entries, chunk);
                    }
                }
                // `Tiled` and `Transformed` run them.
                (PackedWeights::Tiles { .. } | PackedWeights::Winograd { .. }, _) => {}
                (PackedWeights::Shared { entries, starts }, codes) => {
                    let at = |place: usize| *starts.get_unchecked(place) as usize;
                    let entries = entries.get_unchecked(at(filter_block)..at(filter_block + 1));
                    if codes {
                        macro_rules! call {
                            ($p:literal, $part:expr) => {
                                for chunk in $part.chunks_exact($p) {
                                    match S::FILTERS {
                                        4 => self.codes_shared::<S, 4, $p>(entries, chunk),
                                        2 => self.codes_shared::<S, 2, $p>(entries, chunk),
                                        _ => self.codes_shared::<S, 1, $p>(entries, chunk),
                                    }
                                }
                            };
                        }
                        chunks!(
                            position_block,
                            S::SHARED_POSITIONS,
                            product.position_block,
                            call
                        );
                    } else {
                        macro_rules! call {
                            ($p:literal, $part:expr) => {
                                for chunk in $part.chunks_exact($p) {
                                    match S::FLOAT_FILTERS {
                                        4 => self.floats_shared::<S, 4, $p>(entries, chunk),
                                        _ => self.floats_shared::<S, 2, $p>(entries, chunk),
                                    }
                                }
                            };
                        }
                        chunks!(
                            position_block,
                            S::FLOAT_SHARED_POSITIONS,
                            product.position_block,
                            call
                        );
                    }
                }
            }
        }
    }

    // Four filters, each of one of the four channels, at one position.
    #[inline(always)]
    unsafe fn depthwise<S: Lanes>(&self, taps: usize, entries: &[TapEntry], chunk: &[Position]) {
        // SAFETY: by `Work::run`.
        unsafe {
            let [start] = self.starts::<1>(chunk);
            let residual = self.residual_blocks::<S, General, 1>(chunk);
            let mut sums = [S::splat_integer(0); FILTER_BLOCK];
            let mut left = taps;
            for entry in entries {
                let blocks = entry.offsets.map(|offset| start.add(offset as usize));
                sums = S::dot_taps(sums, &blocks, &entry.weights, left.min(4));
                left = left.saturating_sub(4);
            }
            let sums = S::tap_totals(sums);
            macro_rules! finish {
                ($f:literal) => {{
                    let start = S::splat_integer(self.start::<S, General>($f));
                    let sums = [S::add_integers(sums[$f], start)];
                    self.finish::<S, General, $f, 1>(sums, chunk, &residual)
                }};
            }
            let first = pair::<S, 1>(finish!(0), finish!(1));
            let second = pair::<S, 1>(finish!(2), finish!(3));
            self.write::<S, 1>(first, second, chunk);
        }
    }

    #[inline(always)]
    pub(super) unsafe fn starts<const P: usize>(&self, chunk: &[Position]) -> [*const u8; P] {
        // SAFETY: a chunk has P positions, each within the input.
        unsafe {
            std::array::from_fn(|i| {
                // Each alone: of all in a vector, a compiler takes them apart again, which takes longer.
                let input = (&raw const chunk.get_unchecked(i).input).read_volatile();
                let block = input as usize - self.skipped;
                self.input.add(block * VectorBlock::BYTES)
            })
        }
    }

    // Unoptimized, a frame of all of them inlined is 1.9 MB, about the stack of a thread.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn codes_by_filter<S: Lanes, C: Specialization, const P: usize>(
        &self,
        entries: [&[SparseEntry]; FILTER_BLOCK],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let starts = self.starts::<P>(chunk);
            macro_rules! sums {
                ($f:literal) => {{
                    let mut sums = [S::sums(self.start::<S, C>($f)); P];
                    add::<S, P>(entries[$f], &starts, &mut sums);
                    sums
                }};
            }
            finish_filter_block!(self, S, C, P, chunk, sums);
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn codes_shared<S: Lanes, const F: usize, const P: usize>(
        &self,
        entries: &[SharedEntry],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let starts = self.starts::<P>(chunk);
            let residual = self.residual_blocks::<S, General, P>(chunk);
            macro_rules! sums {
                ($first:literal) => {{
                    let mut sums: [[S::Sums; P]; F] = std::array::from_fn(|f| {
                        [S::sums(self.start::<S, General>(($first + f) % FILTER_BLOCK)); P]
                    });
                    for entry in entries {
                        for (i, start) in starts.iter().enumerate() {
                            let bytes = S::bytes(start.add(entry.offset as usize));
                            for (f, sums) in sums.iter_mut().enumerate() {
                                let weights = S::weights(entry.bits[($first + f) % FILTER_BLOCK]);
                                sums[i] = S::dot(sums[i], bytes, weights);
                            }
                        }
                    }
                    sums
                }};
            }
            macro_rules! finish {
                ($f:literal, $sums:expr) => {
                    self.finish::<S, General, $f, P>(
                        totals::<S, P>($sums[$f % F]),
                        chunk,
                        &residual,
                    )
                };
            }
            // As many filters at a time as the registers hold.
            let (first, second) = match F {
                4 => {
                    let sums = sums!(0);
                    let first = pair::<S, P>(finish!(0, sums), finish!(1, sums));
                    (first, pair::<S, P>(finish!(2, sums), finish!(3, sums)))
                }
                2 => {
                    let sums = sums!(0);
                    let first = pair::<S, P>(finish!(0, sums), finish!(1, sums));
                    let sums = sums!(2);
                    (first, pair::<S, P>(finish!(2, sums), finish!(3, sums)))
                }
                _ => {
                    let first = pair::<S, P>(finish!(0, sums!(0)), finish!(1, sums!(1)));
                    (
                        first,
                        pair::<S, P>(finish!(2, sums!(2)), finish!(3, sums!(3))),
                    )
                }
            };
            self.write::<S, P>(first, second, chunk);
        }
    }
}

// Whether chunks are of so many positions that loops are compiled for all specializations of epilogues: as
// many as the registers hold, one less, and half of them, as tiles of two by two have. There is code enough.
#[inline(always)]
pub(super) fn is_usual<S: Lanes, const P: usize>() -> bool {
    [P, P + 1, 2 * P].contains(&S::POSITIONS)
}

// Adds to the sums of one filter.
#[inline(always)]
pub(super) unsafe fn add<S: Lanes, const P: usize>(
    entries: &[SparseEntry],
    starts: &[*const u8; P],
    sums: &mut [S::Sums; P],
) {
    let mut now = *sums;
    // SAFETY: by the callers.
    unsafe {
        for entry in entries {
            let weights = S::weights(entry.bits);
            for (sum, start) in now.iter_mut().zip(starts) {
                let bytes = S::bytes(start.add(entry.offset as usize));
                *sum = S::dot(*sum, bytes, weights);
            }
        }
    }
    *sums = now;
}

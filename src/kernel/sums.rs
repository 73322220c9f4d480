//! The loops of a product, over the lanes of an instruction set.

use super::chunks::{chunks, even};
use super::ends::{Any, Case, End, Ends, by_case};
use super::finish::{end_quad, pair, totals};
use super::lanes::Lanes;
use super::{Cell, Epilogue, Position, Product, QUAD, Record, Records, SharedRecord, Work};

pub(super) struct Run<'a> {
    pub product: &'a Product,
    pub quads: std::ops::Range<usize>,
    pub positions: &'a [Position],
    // From this cell of the input on.
    pub input: &'a [Cell],
    pub skipped: usize,
    pub residual: &'a [Cell],
    // Of a slice that is the run's alone: the output's cells from this one on.
    pub output: *mut Cell,
    pub first: usize,
}

impl Work for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let product = self.product;
        // SAFETY: `Product::run` has checked that the planes of these quads, every position in them and
        // every record of every position lie within the slices.
        unsafe {
            if product.slices.is_some() {
                return self.sliced::<S>();
            }
            for block in self.positions.chunks(self.block::<S>()) {
                for quad in self.quads.clone() {
                    self.task(quad).quad::<S>(product, quad, block);
                }
            }
        }
    }
}

impl Run<'_> {
    // Positions of a block: those of whole chunks.
    #[inline(always)]
    fn block<S: Lanes>(&self) -> usize {
        let shared = matches!(*self.product.records, Records::Shared { .. });
        let most = match (shared, self.product.codes) {
            (false, true) => S::POSITIONS,
            (false, false) => S::FLOAT_POSITIONS,
            (true, true) => S::SHARED_POSITIONS,
            (true, false) => S::FLOAT_SHARED_POSITIONS,
        };
        let most = most.min(self.product.block);
        let (each, longer) = even(self.positions.len(), most);
        let chunks = self.product.block.div_ceil(most);
        chunks.saturating_mul(each + usize::from(longer > 0))
    }

    // SAFETY contract: the quad is one of the run's.
    #[inline(always)]
    pub(super) unsafe fn task(&self, quad: usize) -> Task<'_> {
        let product = self.product;
        let epilogue = product.epilogue();
        let residual = product.ends.residual.plane * quad * product.residual_planes();
        // SAFETY: `Product::run` has checked that the planes of its quads lie within the slices.
        unsafe {
            Task {
                input: self.input.as_ptr().cast(),
                skipped: self.skipped,
                residual: self.residual.as_ptr().add(residual),
                output: self
                    .output
                    .add((quad - self.quads.start) * product.planes() * product.plane),
                first: self.first,
                epilogue,
                plane: product.plane,
                clamps: product.clamps,
                ends: &product.ends,
                filters: product.ends.filters.as_ptr().add(quad * QUAD).cast(),
            }
        }
    }
}

// One quad over one block.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) input: *const u8,
    skipped: usize,
    pub(super) residual: *const Cell,
    pub(super) output: *mut Cell,
    pub(super) first: usize,
    pub(super) epilogue: &'a Epilogue,
    pub(super) plane: usize,
    pub(super) clamps: bool,
    pub(super) ends: &'a Ends,
    pub(super) filters: *const [End; QUAD],
}

impl Task<'_> {
    #[inline(always)]
    unsafe fn quad<S: Lanes>(self, product: &Product, quad: usize, block: &[Position]) {
        // SAFETY: by `Work::run` above.
        unsafe {
            match (&*product.records, product.codes) {
                (Records::Filter { records, starts }, codes) => {
                    let at = |place: usize| *starts.get_unchecked(quad * QUAD + place) as usize;
                    let of = |f: usize| records.get_unchecked(at(f)..at(f + 1));
                    let records: [&[Record]; QUAD] = [of(0), of(1), of(2), of(3)];
                    if codes {
                        macro_rules! call {
                            ($p:literal, $part:expr) => {
                                by_case!(self, is_usual::<S, $p>(), S, C =>
                                    for chunk in $part.chunks_exact($p) {
                                        self.codes_by_filter::<S, C, $p>(records, chunk);
                                    })
                            };
                        }
                        chunks!(block, S::POSITIONS, product.block, call);
                    } else {
                        macro_rules! call {
                            ($p:literal, $part:expr) => {
                                for chunk in $part.chunks_exact($p) {
                                    self.floats_by_filter::<S, $p>(records, chunk);
                                }
                            };
                        }
                        chunks!(block, S::FLOAT_POSITIONS, product.block, call);
                    }
                }
                // `Tiled` and `Transformed` run them.
                (Records::Tiles { .. } | Records::Winograd { .. }, _) => {}
                (Records::Shared { records, starts }, codes) => {
                    let at = |place: usize| *starts.get_unchecked(place) as usize;
                    let records = records.get_unchecked(at(quad)..at(quad + 1));
                    if codes {
                        macro_rules! call {
                            ($p:literal, $part:expr) => {
                                for chunk in $part.chunks_exact($p) {
                                    match S::FILTERS {
                                        4 => self.codes_shared::<S, 4, $p>(records, chunk),
                                        2 => self.codes_shared::<S, 2, $p>(records, chunk),
                                        _ => self.codes_shared::<S, 1, $p>(records, chunk),
                                    }
                                }
                            };
                        }
                        chunks!(block, S::SHARED_POSITIONS, product.block, call);
                    } else {
                        macro_rules! call {
                            ($p:literal, $part:expr) => {
                                for chunk in $part.chunks_exact($p) {
                                    match S::FLOAT_FILTERS {
                                        4 => self.floats_shared::<S, 4, $p>(records, chunk),
                                        _ => self.floats_shared::<S, 2, $p>(records, chunk),
                                    }
                                }
                            };
                        }
                        chunks!(block, S::FLOAT_SHARED_POSITIONS, product.block, call);
                    }
                }
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn starts<const P: usize>(&self, chunk: &[Position]) -> [*const u8; P] {
        // SAFETY: a chunk has P positions, each within the input.
        unsafe {
            std::array::from_fn(|i| {
                // Each alone: of all in a vector, a compiler takes them apart again, which takes longer.
                let input = (&raw const chunk.get_unchecked(i).input).read_volatile();
                let cell = input as usize - self.skipped;
                self.input.add(cell * Cell::BYTES)
            })
        }
    }

    // Unoptimized, a frame of all of them inlined is 1.9 MB, about the stack of a thread.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn codes_by_filter<S: Lanes, C: Case, const P: usize>(
        &self,
        records: [&[Record]; QUAD],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let starts = self.starts::<P>(chunk);
            macro_rules! sums {
                ($f:literal) => {{
                    let mut sums = [S::sums(self.start::<S, C>($f)); P];
                    add::<S, P>(records[$f], &starts, &mut sums);
                    sums
                }};
            }
            end_quad!(self, S, C, P, chunk, sums);
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn codes_shared<S: Lanes, const F: usize, const P: usize>(
        &self,
        records: &[SharedRecord],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let starts = self.starts::<P>(chunk);
            let residual = self.residual_cells::<S, Any, P>(chunk);
            macro_rules! sums {
                ($first:literal) => {{
                    let mut sums: [[S::Sums; P]; F] = std::array::from_fn(|f| {
                        [S::sums(self.start::<S, Any>(($first + f) % QUAD)); P]
                    });
                    for record in records {
                        for (i, start) in starts.iter().enumerate() {
                            let bytes = S::bytes(start.add(record.offset as usize));
                            for (f, sums) in sums.iter_mut().enumerate() {
                                let weights = S::weights(record.bits[($first + f) % QUAD]);
                                sums[i] = S::dot(sums[i], bytes, weights);
                            }
                        }
                    }
                    sums
                }};
            }
            macro_rules! end {
                ($f:literal, $sums:expr) => {
                    self.finish::<S, Any, $f, P>(totals::<S, P>($sums[$f % F]), chunk, &residual)
                };
            }
            // As many filters at a time as the registers hold.
            let (first, second) = match F {
                4 => {
                    let sums = sums!(0);
                    let first = pair::<S, P>(end!(0, sums), end!(1, sums));
                    (first, pair::<S, P>(end!(2, sums), end!(3, sums)))
                }
                2 => {
                    let sums = sums!(0);
                    let first = pair::<S, P>(end!(0, sums), end!(1, sums));
                    let sums = sums!(2);
                    (first, pair::<S, P>(end!(2, sums), end!(3, sums)))
                }
                _ => {
                    let first = pair::<S, P>(end!(0, sums!(0)), end!(1, sums!(1)));
                    (first, pair::<S, P>(end!(2, sums!(2)), end!(3, sums!(3))))
                }
            };
            self.write::<S, P>(first, second, chunk);
        }
    }
}

// Whether chunks are of so many positions that loops are compiled for all cases of ends: as many as the
// registers hold, one less, and half of them, as tiles of two by two have. There is code enough.
#[inline(always)]
pub(super) fn is_usual<S: Lanes, const P: usize>() -> bool {
    [P, P + 1, 2 * P].contains(&S::POSITIONS)
}

// Adds to the sums of one filter.
#[inline(always)]
pub(super) unsafe fn add<S: Lanes, const P: usize>(
    records: &[Record],
    starts: &[*const u8; P],
    sums: &mut [S::Sums; P],
) {
    let mut now = *sums;
    // SAFETY: by the callers.
    unsafe {
        for record in records {
            let weights = S::weights(record.bits);
            for (sum, start) in now.iter_mut().zip(starts) {
                let bytes = S::bytes(start.add(record.offset as usize));
                *sum = S::dot(*sum, bytes, weights);
            }
        }
    }
    *sums = now;
}

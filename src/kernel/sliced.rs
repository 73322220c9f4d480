//! A product whose input is more than a first-level cache holds: a slice of its channels at a time, for
//! some filters, whose sums wait in memory meanwhile.

use super::chunks::chunks;
use super::ends::Any;
use super::lanes::Lanes;
use super::sums::{Run, add, pair, totals};
use super::{Position, QUAD, Records, SharedRecord};

/// Quads whose sums wait: with a slice of the input they fill the cache.
const GROUP: usize = 8;

impl Run<'_> {
    // SAFETY contract: as of `Work::run`, on codes.
    #[inline(always)]
    pub(super) unsafe fn sliced<S: Lanes>(&self) {
        let positions = self.positions;
        macro_rules! call {
            ($p:literal, $chunk:expr) => {
                // SAFETY: by the contract.
                unsafe { self.chunk::<S, $p>($chunk) }
            };
        }
        match self.product.records {
            Records::Filter { .. } => chunks!(positions, S::POSITIONS, call),
            Records::Shared { .. } => chunks!(positions, S::SHARED_POSITIONS, call),
            Records::Tiles { .. } | Records::Winograd { .. } => {}
        }
    }

    // Asks for the records of a slice, which lie in many places: no processor sees them coming.
    #[inline(always)]
    fn prefetch<S: Lanes>(&self, quad: usize, slice: usize) {
        let (Some(slices), true) = (&self.product.slices, quad < self.quads.end) else {
            return;
        };
        match &self.product.records {
            Records::Filter { records, .. } => {
                for filter in quad * QUAD..(quad + 1) * QUAD {
                    ask::<S, _>(records, slices.range(filter, slice));
                }
            }
            Records::Shared { records, .. } => ask::<S, _>(records, slices.range(quad, slice)),
            Records::Tiles { .. } | Records::Winograd { .. } => {}
        }
    }

    // Unoptimized, a frame of all of them inlined is 1.9 MB, about the stack of a thread.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn chunk<S: Lanes, const P: usize>(&self, chunk: &[Position]) {
        let mut first = self.quads.start;
        while first < self.quads.end {
            let last = (first + GROUP).min(self.quads.end);
            // SAFETY: by the contract.
            unsafe { self.group::<S, P>(first..last, chunk) };
            first = last;
        }
    }

    #[inline(always)]
    unsafe fn group<S: Lanes, const P: usize>(
        &self,
        quads: std::ops::Range<usize>,
        chunk: &[Position],
    ) {
        let Some(slices) = &self.product.slices else {
            return;
        };
        // SAFETY: quads, chunks and records are those that `Product::run` has checked; `slices` splits
        // the records of each filter, or quad, within its own.
        unsafe {
            let starts = self.task(quads.start).starts::<P>(chunk);
            let mut waiting = [[[S::sums(0); P]; QUAD]; GROUP];
            for (sums, quad) in waiting.iter_mut().zip(quads.clone()) {
                let task = self.task(quad);
                for (filter, sums) in sums.iter_mut().enumerate() {
                    *sums = [S::sums(task.start::<S, Any>(filter)); P];
                }
            }
            for slice in 0..slices.count {
                for (sums, quad) in waiting.iter_mut().zip(quads.clone()) {
                    self.prefetch::<S>(quad + GROUP, slice);
                    match &self.product.records {
                        Records::Filter { records, .. } => {
                            for (f, sums) in sums.iter_mut().enumerate() {
                                let range = slices.range(quad * QUAD + f, slice);
                                add::<S, P>(records.get_unchecked(range), &starts, sums);
                            }
                        }
                        Records::Shared { records, .. } => {
                            let records = records.get_unchecked(slices.range(quad, slice));
                            match S::FILTERS {
                                4 => add_shared::<S, 4, P>(records, &starts, sums),
                                2 => add_shared::<S, 2, P>(records, &starts, sums),
                                _ => add_shared::<S, 1, P>(records, &starts, sums),
                            }
                        }
                        // They have no slices.
                        Records::Tiles { .. } | Records::Winograd { .. } => {}
                    }
                }
            }
            for (sums, quad) in waiting.iter().zip(quads) {
                let task = self.task(quad);
                macro_rules! end {
                    ($f:literal) => {
                        task.finish::<S, Any, $f, P>(totals::<S, P>(sums[$f]), chunk)
                    };
                }
                let first = pair::<S, P>(end!(0), end!(1));
                let second = pair::<S, P>(end!(2), end!(3));
                task.write::<S, P>(first, second, chunk);
            }
        }
    }
}

#[inline(always)]
fn ask<S: Lanes, R>(records: &[R], range: std::ops::Range<usize>) {
    const LINE: usize = 64;
    let records = records.get(range).unwrap_or(&[]);
    let first = records.as_ptr().cast::<u8>();
    for byte in (0..size_of_val(records)).step_by(LINE) {
        S::prefetch(first.wrapping_add(byte).cast());
    }
}

// Adds to the sums of a quad, as many filters at a time as the registers hold.
#[inline(always)]
unsafe fn add_shared<S: Lanes, const F: usize, const P: usize>(
    records: &[SharedRecord],
    starts: &[*const u8; P],
    sums: &mut [[S::Sums; P]; QUAD],
) {
    for (part, sums) in sums.chunks_exact_mut(F).enumerate() {
        // SAFETY: by the callers.
        unsafe {
            let mut now: [[S::Sums; P]; F] = std::array::from_fn(|f| sums[f]);
            for record in records {
                for (i, start) in starts.iter().enumerate() {
                    let bytes = S::bytes(start.add(record.offset as usize));
                    for (f, sums) in now.iter_mut().enumerate() {
                        let weights = S::weights(record.bits[(part * F + f) % QUAD]);
                        sums[i] = S::dot(sums[i], bytes, weights);
                    }
                }
            }
            for (sums, now) in sums.iter_mut().zip(now) {
                *sums = now;
            }
        }
    }
}

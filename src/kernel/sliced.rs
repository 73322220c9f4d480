//! A product whose input is more than a first-level cache holds: a slice of its channels at a time, for
//! some filters, whose sums wait in memory meanwhile.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::chunks::chunks;
use super::ends::{Any, Case, by_case};
use super::finish::{end_quad, pair};
use super::float_sums::add_floats;
use super::lanes::Lanes;
use super::sums::{Run, add, is_usual};
use super::{Position, QUAD, Records, SharedRecord};

/// Quads whose sums wait: more would read a slice less often, and fill a cache with sums.
const GROUP: usize = 32;
/// Quads ahead of which records are asked for.
const AHEAD: usize = 8;

// The sums of a quad, by filter.
type Waiting<T, const P: usize> = [[T; P]; QUAD];

// Runs a loop over the slices, and the quads of a group, with the sums of a quad that wait. There are two
// slices at least: the first writes the sums that wait, the others read them.
macro_rules! by_slice {
    ($run:expr, $lanes:ident, $sums:ty, $slices:expr, $quads:expr,
        ($slice:ident, $quad:ident, $task:ident, $waiting:ident) => $call:expr) => {{
        let mut all: [MaybeUninit<$sums>; GROUP] = [const { MaybeUninit::uninit() }; GROUP];
        for $slice in 0..$slices.count {
            for ($waiting, $quad) in all.iter_mut().zip($quads.clone()) {
                $run.prefetch::<$lanes>($quad, $slice, &$quads);
                let $task = $run.task($quad);
                $call
            }
        }
    }};
}

impl Run<'_> {
    // SAFETY contract: as of `Work::run`.
    #[inline(always)]
    pub(super) unsafe fn sliced<S: Lanes>(&self) {
        let positions = self.positions;
        // SAFETY: by the contract.
        unsafe {
            let task = self.task(self.quads.start);
            macro_rules! by_filter {
                ($p:literal, $part:expr) => {
                    by_case!(task, is_usual::<S, $p>(), S, C =>
                        for chunk in $part.chunks_exact($p) {
                            self.chunk::<S, C, $p, false>(chunk);
                        })
                };
            }
            macro_rules! shared {
                ($p:literal, $part:expr) => {
                    for chunk in $part.chunks_exact($p) {
                        self.chunk::<S, Any, $p, true>(chunk);
                    }
                };
            }
            macro_rules! floats {
                ($p:literal, $part:expr) => {
                    for chunk in $part.chunks_exact($p) {
                        self.floats::<S, $p>(chunk);
                    }
                };
            }
            match *self.product.records {
                Records::Filter { .. } if !self.product.codes => {
                    chunks!(positions, S::FLOAT_POSITIONS, S::FLOAT_POSITIONS, floats)
                }
                Records::Filter { .. } => chunks!(positions, S::POSITIONS, S::POSITIONS, by_filter),
                Records::Shared { .. } => {
                    chunks!(positions, S::SHARED_POSITIONS, S::SHARED_POSITIONS, shared)
                }
                Records::Tiles { .. } | Records::Winograd { .. } => {}
            }
        }
    }

    // Asks for the records that come a few quads after these, which lie in many places: no processor sees
    // them coming.
    #[inline(always)]
    fn prefetch<S: Lanes>(&self, quad: usize, slice: usize, group: &Range<usize>) {
        let Some(slices) = &self.product.slices else {
            return;
        };
        let (quad, slice) = match quad + AHEAD {
            next if next < group.end => (next, slice),
            next if slice + 1 < slices.count => (next - group.len(), slice + 1),
            next => (next, 0),
        };
        if quad >= self.quads.end {
            return;
        }
        match &*self.product.records {
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
    unsafe fn chunk<S: Lanes, C: Case, const P: usize, const SHARED: bool>(
        &self,
        chunk: &[Position],
    ) {
        for quads in self.groups() {
            // SAFETY: by the contract.
            unsafe { self.group::<S, C, P, SHARED>(quads, chunk) };
        }
    }

    // Quads whose sums wait together.
    fn groups(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let end = self.quads.end;
        let firsts = (self.quads.start..end).step_by(GROUP);
        firsts.map(move |first| first..(first + GROUP).min(end))
    }

    // Compiled for one kind of records alone.
    #[inline(always)]
    unsafe fn group<S: Lanes, C: Case, const P: usize, const SHARED: bool>(
        &self,
        quads: Range<usize>,
        chunk: &[Position],
    ) {
        let Some(slices) = &self.product.slices else {
            return;
        };
        // SAFETY: quads, chunks and records are those that `Product::run` has checked; `slices` splits
        // the records of each filter, or quad, within its own.
        unsafe {
            let starts = self.task(quads.start).starts::<P>(chunk);
            by_slice!(self, S, Waiting<S::Sums, P>, slices, quads, (slice, quad, task, waiting) => {
                let sums = waiting.as_mut_ptr().cast::<[S::Sums; P]>();
                match &*self.product.records {
                    Records::Filter { records, .. } if !SHARED => {
                        macro_rules! made {
                            ($f:expr, $from:expr) => {{
                                let range = slices.range(quad * QUAD + $f, slice);
                                let mut now = $from;
                                add::<S, P>(records.get_unchecked(range), &starts, &mut now);
                                now
                            }};
                        }
                        if slice == 0 {
                            for f in 0..QUAD {
                                let start = [S::sums(task.start::<S, C>(f)); P];
                                sums.add(f).write(made!(f, start));
                            }
                        } else if slice + 1 < slices.count {
                            for f in 0..QUAD {
                                let sums = sums.add(f);
                                sums.write(made!(f, sums.read()));
                            }
                        } else {
                            macro_rules! last {
                                ($f:literal) => {
                                    made!($f, sums.add($f).read())
                                };
                            }
                            end_quad!(task, S, C, P, chunk, last);
                        }
                    }
                    Records::Shared { records, .. } if SHARED => {
                        if slice == 0 {
                            for f in 0..QUAD {
                                sums.add(f).write([S::sums(task.start::<S, C>(f)); P]);
                            }
                        }
                        let sums = waiting.assume_init_mut();
                        let records = records.get_unchecked(slices.range(quad, slice));
                        match S::FILTERS {
                            4 => add_shared::<S, 4, P>(records, &starts, sums),
                            2 => add_shared::<S, 2, P>(records, &starts, sums),
                            _ => add_shared::<S, 1, P>(records, &starts, sums),
                        }
                        if slice + 1 == slices.count {
                            macro_rules! last {
                                ($f:literal) => {
                                    sums[$f]
                                };
                            }
                            end_quad!(task, S, C, P, chunk, last);
                        }
                    }
                    // Of the other kind, or without slices.
                    _ => {}
                }
            });
        }
    }

    // SAFETY contract: as of `Work::run`, on floats, each filter with its own records.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn floats<S: Lanes, const P: usize>(&self, chunk: &[Position]) {
        let (Some(slices), Records::Filter { records, .. }) =
            (&self.product.slices, &*self.product.records)
        else {
            return;
        };
        for quads in self.groups() {
            // SAFETY: as in `group`.
            unsafe {
                let starts = self.task(quads.start).starts::<P>(chunk);
                by_slice!(self, S, Waiting<S::Floats, P>, slices, quads, (slice, quad, task, waiting) => {
                    let sums = waiting.as_mut_ptr().cast::<[S::Floats; P]>();
                    macro_rules! filter {
                        ($f:literal) => {
                            let mut now = match slice {
                                0 => task.start_floats::<S, P>($f),
                                _ => sums.add($f).read(),
                            };
                            let range = slices.range(quad * QUAD + $f, slice);
                            let records = records.get_unchecked(range);
                            add_floats::<S, P>(records, &starts, &mut now);
                            match slice + 1 < slices.count {
                                true => sums.add($f).write(now),
                                false => task.finish_floats::<S, $f, P>(now, chunk),
                            }
                        };
                    }
                    filter!(0);
                    filter!(1);
                    filter!(2);
                    filter!(3);
                });
            }
        }
    }
}

#[inline(always)]
fn ask<S: Lanes, R>(records: &[R], range: Range<usize>) {
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

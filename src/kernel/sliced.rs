//! A product whose input is more than a first-level cache holds: a slice of its channels at a time, for
//! some filters, whose sums wait in memory meanwhile.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::chunks::chunks;
use super::finish::{finish_filter_block, pair};
use super::float_sums::add_floats;
use super::lanes::Lanes;
use super::specialize::{General, Specialization, specialized};
use super::sums::{Run, add, is_usual};
use super::{FILTER_BLOCK, PackedWeights, Position, SharedEntry};

/// Blocks of filters whose sums wait: more would read a slice less often, and fill a cache with sums.
const GROUP: usize = 32;
/// Blocks of filters ahead of which sparse entries are asked for.
const AHEAD: usize = 8;

// The sums of a block of filters, by filter.
type Waiting<T, const P: usize> = [[T; P]; FILTER_BLOCK];

// Runs a loop over the slices, and the blocks of filters of a group, with the sums of a block of filters that
// wait. There are two slices at least: the first writes the sums that wait, the others read them.
macro_rules! by_slice {
    ($run:expr, $lanes:ident, $sums:ty, $slices:expr, $filter_blocks:expr,
        ($slice:ident, $filter_block:ident, $task:ident, $waiting:ident) => $call:expr) => {{
        let mut all: [MaybeUninit<$sums>; GROUP] = [const { MaybeUninit::uninit() }; GROUP];
        for $slice in 0..$slices.count {
            for ($waiting, $filter_block) in all.iter_mut().zip($filter_blocks.clone()) {
                $run.prefetch::<$lanes>($filter_block, $slice, &$filter_blocks);
                let $task = $run.task($filter_block);
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
            let task = self.task(self.filter_blocks.start);
            macro_rules! by_filter {
                ($p:literal, $part:expr) => {
                    specialized!(task, is_usual::<S, $p>(), S, C =>
                        for chunk in $part.chunks_exact($p) {
                            self.chunk::<S, C, $p, false>(chunk);
                        })
                };
            }
            macro_rules! shared {
                ($p:literal, $part:expr) => {
                    for chunk in $part.chunks_exact($p) {
                        self.chunk::<S, General, $p, true>(chunk);
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
            macro_rules! shared_floats {
                ($p:literal, $part:expr) => {
                    for chunk in $part.chunks_exact($p) {
                        self.shared_floats::<S, $p>(chunk);
                    }
                };
            }
            match *self.product.entries {
                PackedWeights::Filter { .. } if !self.product.codes => {
                    chunks!(positions, S::FLOAT_POSITIONS, S::FLOAT_POSITIONS, floats)
                }
                PackedWeights::Shared { .. } if !self.product.codes => {
                    let most = S::FLOAT_SHARED_POSITIONS;
                    chunks!(positions, most, most, shared_floats)
                }
                PackedWeights::Filter { .. } => {
                    chunks!(positions, S::POSITIONS, S::POSITIONS, by_filter)
                }
                PackedWeights::Shared { .. } => {
                    chunks!(positions, S::SHARED_POSITIONS, S::SHARED_POSITIONS, shared)
                }
                PackedWeights::Depthwise { .. }
                | PackedWeights::Tiles { .. }
                | PackedWeights::Winograd { .. } => {}
            }
        }
    }

    // Asks for the sparse entries that come a few blocks of filters after these, which lie in many places: no
    // processor sees them coming.
    #[inline(always)]
    fn prefetch<S: Lanes>(&self, filter_block: usize, slice: usize, group: &Range<usize>) {
        let Some(slices) = &self.product.slices else {
            return;
        };
        let (filter_block, slice) = match filter_block + AHEAD {
            next if next < group.end => (next, slice),
            next if slice + 1 < slices.count => (next - group.len(), slice + 1),
            next => (next, 0),
        };
        if filter_block >= self.filter_blocks.end {
            return;
        }
        match &*self.product.entries {
            PackedWeights::Filter { entries, .. } => {
                for filter in filter_block * FILTER_BLOCK..(filter_block + 1) * FILTER_BLOCK {
                    ask::<S, _>(entries, slices.range(filter, slice));
                }
            }
            PackedWeights::Shared { entries, .. } => {
                ask::<S, _>(entries, slices.range(filter_block, slice))
            }
            PackedWeights::Depthwise { .. }
            | PackedWeights::Tiles { .. }
            | PackedWeights::Winograd { .. } => {}
        }
    }

    // Unoptimized, a frame of all of them inlined is 1.9 MB, about the stack of a thread.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn chunk<S: Lanes, C: Specialization, const P: usize, const SHARED: bool>(
        &self,
        chunk: &[Position],
    ) {
        for filter_blocks in self.groups() {
            // SAFETY: by the contract.
            unsafe { self.group::<S, C, P, SHARED>(filter_blocks, chunk) };
        }
    }

    // Blocks of filters whose sums wait together.
    fn groups(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let end = self.filter_blocks.end;
        let firsts = (self.filter_blocks.start..end).step_by(GROUP);
        firsts.map(move |first| first..(first + GROUP).min(end))
    }

    // Compiled for one kind of sparse entries alone.
    #[inline(always)]
    unsafe fn group<S: Lanes, C: Specialization, const P: usize, const SHARED: bool>(
        &self,
        filter_blocks: Range<usize>,
        chunk: &[Position],
    ) {
        let Some(slices) = &self.product.slices else {
            return;
        };
        // SAFETY: blocks of filters, chunks and sparse entries are those that `Product::run` has checked;
        // `slices` splits the sparse entries of each filter, or block of filters, within its own.
        unsafe {
            let starts = self.task(filter_blocks.start).starts::<P>(chunk);
            by_slice!(self, S, Waiting<S::Sums, P>, slices, filter_blocks, (slice, filter_block, task, waiting) => {
                let sums = waiting.as_mut_ptr().cast::<[S::Sums; P]>();
                match &*self.product.entries {
                    PackedWeights::Filter { entries, .. } if !SHARED => {
                        macro_rules! made {
                            ($f:expr, $from:expr) => {{
                                let range = slices.range(filter_block * FILTER_BLOCK + $f, slice);
                                let mut now = $from;
                                add::<S, P>(entries.get_unchecked(range), &starts, &mut now);
                                now
                            }};
                        }
                        if slice == 0 {
                            for f in 0..FILTER_BLOCK {
                                let start = [S::sums(task.start::<S, C>(f)); P];
                                sums.add(f).write(made!(f, start));
                            }
                        } else if slice + 1 < slices.count {
                            for f in 0..FILTER_BLOCK {
                                let sums = sums.add(f);
                                sums.write(made!(f, sums.read()));
                            }
                        } else {
                            macro_rules! last {
                                ($f:literal) => {
                                    made!($f, sums.add($f).read())
                                };
                            }
                            finish_filter_block!(task, S, C, P, chunk, last);
                        }
                    }
                    PackedWeights::Shared { entries, .. } if SHARED => {
                        if slice == 0 {
                            for f in 0..FILTER_BLOCK {
                                sums.add(f).write([S::sums(task.start::<S, C>(f)); P]);
                            }
                        }
                        let sums = waiting.assume_init_mut();
                        let entries = entries.get_unchecked(slices.range(filter_block, slice));
                        match S::FILTERS {
                            4 => add_shared::<S, 4, P>(entries, &starts, sums),
                            2 => add_shared::<S, 2, P>(entries, &starts, sums),
                            _ => add_shared::<S, 1, P>(entries, &starts, sums),
                        }
                        if slice + 1 == slices.count {
                            macro_rules! last {
                                ($f:literal) => {
                                    sums[$f]
                                };
                            }
                            finish_filter_block!(task, S, C, P, chunk, last);
                        }
                    }
                    // Of the other kind, or without slices.
                    _ => {}
                }
            });
        }
    }

    // SAFETY contract: as of `Work::run`, on floats, each filter with its own sparse entries.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn floats<S: Lanes, const P: usize>(&self, chunk: &[Position]) {
        let (Some(slices), PackedWeights::Filter { entries, .. }) =
            (&self.product.slices, &*self.product.entries)
        else {
            return;
        };
        for filter_blocks in self.groups() {
            // SAFETY: as in `group`.
            unsafe {
                let starts = self.task(filter_blocks.start).starts::<P>(chunk);
                by_slice!(self, S, Waiting<S::Floats, P>, slices, filter_blocks, (slice, filter_block, task, waiting) => {
                    let sums = waiting.as_mut_ptr().cast::<[S::Floats; P]>();
                    macro_rules! filter {
                        ($f:literal) => {
                            let mut now = match slice {
                                0 => task.start_floats::<S, P>($f),
                                _ => sums.add($f).read(),
                            };
                            let range = slices.range(filter_block * FILTER_BLOCK + $f, slice);
                            let entries = entries.get_unchecked(range);
                            add_floats::<S, P>(entries, &starts, &mut now);
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

impl Run<'_> {
    // SAFETY contract: as of `Work::run`, on floats, whose filters share their sparse entries.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn shared_floats<S: Lanes, const P: usize>(&self, chunk: &[Position]) {
        let (Some(slices), PackedWeights::Shared { entries, .. }) =
            (&self.product.slices, &*self.product.entries)
        else {
            return;
        };
        for filter_blocks in self.groups() {
            // SAFETY: as in `group`.
            unsafe {
                let starts = self.task(filter_blocks.start).starts::<P>(chunk);
                by_slice!(self, S, Waiting<S::Floats, P>, slices, filter_blocks, (slice, filter_block, task, waiting) => {
                    let sums = waiting.as_mut_ptr().cast::<[S::Floats; P]>();
                    if slice == 0 {
                        for f in 0..FILTER_BLOCK {
                            sums.add(f).write(task.start_floats::<S, P>(f));
                        }
                    }
                    let sums = waiting.assume_init_mut();
                    let entries = entries.get_unchecked(slices.range(filter_block, slice));
                    match S::FLOAT_FILTERS {
                        4 => add_shared_floats::<S, 4, P>(entries, &starts, sums),
                        _ => add_shared_floats::<S, 2, P>(entries, &starts, sums),
                    }
                    if slice + 1 == slices.count {
                        task.finish_floats::<S, 0, P>(sums[0], chunk);
                        task.finish_floats::<S, 1, P>(sums[1], chunk);
                        task.finish_floats::<S, 2, P>(sums[2], chunk);
                        task.finish_floats::<S, 3, P>(sums[3], chunk);
                    }
                });
            }
        }
    }
}

// Adds to the sums of a block of filters in floats, as many filters at a time as the registers hold.
#[inline(always)]
unsafe fn add_shared_floats<S: Lanes, const F: usize, const P: usize>(
    entries: &[SharedEntry],
    starts: &[*const u8; P],
    sums: &mut [[S::Floats; P]; FILTER_BLOCK],
) {
    for (part, sums) in sums.chunks_exact_mut(F).enumerate() {
        // SAFETY: by the callers.
        unsafe {
            let mut now: [[S::Floats; P]; F] = std::array::from_fn(|f| sums[f]);
            for entry in entries {
                for (i, start) in starts.iter().enumerate() {
                    let x = S::load(start.add(entry.offset as usize).cast());
                    for (f, sums) in now.iter_mut().enumerate() {
                        let bits = entry.bits[(part * F + f) % FILTER_BLOCK];
                        sums[i] = S::multiply_add(x, S::splat(f32::from_bits(bits)), sums[i]);
                    }
                }
            }
            for (sums, now) in sums.iter_mut().zip(now) {
                *sums = now;
            }
        }
    }
}

#[inline(always)]
fn ask<S: Lanes, R>(entries: &[R], range: Range<usize>) {
    const LINE: usize = 64;
    let entries = entries.get(range).unwrap_or(&[]);
    let first = entries.as_ptr().cast::<u8>();
    for byte in (0..size_of_val(entries)).step_by(LINE) {
        S::prefetch(first.wrapping_add(byte).cast());
    }
}

// Adds to the sums of a block of filters, as many filters at a time as the registers hold.
#[inline(always)]
unsafe fn add_shared<S: Lanes, const F: usize, const P: usize>(
    entries: &[SharedEntry],
    starts: &[*const u8; P],
    sums: &mut [[S::Sums; P]; FILTER_BLOCK],
) {
    for (part, sums) in sums.chunks_exact_mut(F).enumerate() {
        // SAFETY: by the callers.
        unsafe {
            let mut now: [[S::Sums; P]; F] = std::array::from_fn(|f| sums[f]);
            for entry in entries {
                for (i, start) in starts.iter().enumerate() {
                    let bytes = S::bytes(start.add(entry.offset as usize));
                    for (f, sums) in now.iter_mut().enumerate() {
                        let weights = S::weights(entry.bits[(part * F + f) % FILTER_BLOCK]);
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

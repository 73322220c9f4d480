//! Convolutions of floats with three by three taps, transformed (Winograd 1980; Lavin and Gray 2016,
//! "Fast algorithms for convolutional neural networks"): F(2x2, 3x3) makes two by two results at a time, with
//! 16 products for each channel and filter instead of 36; F(4x4, 3x3) four by four with 36 instead of 144.

use std::mem::MaybeUninit;

use super::lanes::Lanes;
use super::sums::{Run, Task};
use super::{FILTER_BLOCK, PackedWeights, Position, VectorBlock, Work};

/// Transformed vector blocks of all channels that lie ready on the stack, 144 KiB.
const READY: usize = 2304;

/// Sums that wait for all of their places, 36 KiB.
const WAITING: usize = FILTER_BLOCK * places(4) * 4;

/// Places of a window, and as many of a transformed one, for so many results in a line: two or four.
pub(super) const fn places(side: usize) -> usize {
    (side + 2) * (side + 2)
}

/// The most channels, of which one window is ready then; none for other sides.
pub(super) const fn channels(side: usize) -> usize {
    match side {
        2 | 4 => READY / places(side),
        _ => 0,
    }
}

/// A run of a product whose weights are transformed.
pub(super) struct Transformed<'a>(pub Run<'a>);

impl Work for Transformed<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let PackedWeights::Winograd { channels, side, .. } = *self.0.product.entries else {
            return;
        };
        let windows = self.0.positions.len() / (side * side);
        let most = READY / places(side) / channels.max(1);
        let most = most.min(WAITING / FILTER_BLOCK / places(side));
        let size = at_a_time(windows, most.min(S::FLOAT_SHARED_POSITIONS));
        // Here alone, as each of the loops would have its own.
        let mut ready = [const { MaybeUninit::<VectorBlock>::uninit() }; READY + places(4)];
        let mut sums = [const { MaybeUninit::<VectorBlock>::uninit() }; WAITING];
        let ready = Ready {
            blocks: ready.as_mut_ptr().cast(),
            sums: sums.as_mut_ptr().cast(),
        };
        // SAFETY: by `Work::run`; so many windows of all channels, and their sums of a block of filters, fit
        // (of two blocks of filters where it is one window), and there are as many windows.
        unsafe {
            match (side, size) {
                (2, 6) if S::FLOAT_SHARED_POSITIONS >= 6 => self.0.windows::<S, 6, 4, 2>(ready),
                (2, 4) if S::FLOAT_SHARED_POSITIONS >= 4 => self.0.windows::<S, 4, 4, 2>(ready),
                (2, 3) if S::FLOAT_SHARED_POSITIONS >= 3 => self.0.windows::<S, 3, 4, 2>(ready),
                (2, 2) if S::FLOAT_SHARED_POSITIONS >= 2 => self.0.windows::<S, 2, 4, 2>(ready),
                (2, _) => self.0.windows::<S, 1, 4, 2>(ready),
                (_, 4) if S::FLOAT_SHARED_POSITIONS >= 4 => self.0.windows::<S, 4, 6, 4>(ready),
                (_, 3) if S::FLOAT_SHARED_POSITIONS >= 3 => self.0.windows::<S, 3, 6, 4>(ready),
                (_, 2) if S::FLOAT_SHARED_POSITIONS >= 2 => self.0.windows::<S, 2, 6, 4>(ready),
                _ => self.0.windows::<S, 1, 6, 4>(ready),
            }
        }
    }
}

// Windows to make together: no more than there are, few of them twice, rather many than few.
fn at_a_time(windows: usize, most: usize) -> usize {
    let sizes = [6, 4, 3, 2].into_iter();
    let sizes = sizes.filter(|&size| size <= most.min(windows));
    sizes
        .min_by_key(|size| windows.next_multiple_of(*size))
        .unwrap_or(1)
}

/// Memory of a run.
#[derive(Clone, Copy)]
struct Ready {
    /// Transformed windows.
    blocks: *mut VectorBlock,
    /// Of a type of its own for every number of windows.
    sums: *mut u8,
}

/// By filter, row and column of a transformed window of side `N`, and window.
type Sums<const P: usize, const N: usize> = [[[[MaybeUninit<VectorBlock>; P]; N]; N]; FILTER_BLOCK];

impl Run<'_> {
    // `P` windows at a time, whose side is `N` and that of their results `R`, two less.
    //
    // SAFETY contract: as of `Work::run`; there are `P` windows, and `ready` leads to vector blocks for all
    // places of all channels of so many, and one for each place, and to aligned sums of a block of filters,
    // which are nobody else's; of two blocks of filters where `P` is one.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn windows<S: Lanes, const P: usize, const N: usize, const R: usize>(
        &self,
        ready: Ready,
    ) {
        let (ready, sums) = (ready.blocks, ready.sums.cast::<Sums<P, N>>());
        let windows = self.positions.len() / (R * R);
        for first in (0..windows).step_by(P) {
            // The last ones with those before them.
            let first = first.min(windows - P) * R * R;
            let chunk = &self.positions[first..first + P * R * R];
            // SAFETY: by the contract.
            unsafe {
                self.transform::<S, P, N, R>(chunk, ready);
                let mut filter_block = self.filter_blocks.start;
                while filter_block < self.filter_blocks.end {
                    // With one window, four filters load more than they multiply.
                    let both = P == 1
                        && S::FLOAT_FILTERS == 4
                        && filter_block + 1 < self.filter_blocks.end;
                    match S::FLOAT_FILTERS {
                        4 if both => {
                            let sums = [&mut *sums, &mut *sums.add(1)];
                            self.sums::<S, 2, 4, P, N>(filter_block, ready, sums);
                        }
                        4 => self.sums::<S, 1, 4, P, N>(filter_block, ready, [&mut *sums]),
                        _ => self.sums::<S, 1, 2, P, N>(filter_block, ready, [&mut *sums]),
                    }
                    for of in 0..1 + usize::from(both) {
                        self.task(filter_block)
                            .results::<S, P, N, R>(&*sums.add(of), chunk);
                        filter_block += 1;
                    }
                }
            }
        }
    }

    // Makes ready `Bᵀ d B` of each channel's windows: by place, channel and window.
    #[inline(always)]
    unsafe fn transform<S: Lanes, const P: usize, const N: usize, const R: usize>(
        &self,
        chunk: &[Position],
        ready: *mut VectorBlock,
    ) {
        let PackedWeights::Winograd {
            channels,
            apart,
            below,
            beside,
            ..
        } = *self.product.entries
        else {
            return;
        };
        let (below, beside) = (below as usize, beside as usize);
        for channel in 0..channels {
            for (window, position) in chunk.iter().step_by(R * R).enumerate() {
                // SAFETY: `Product::run` has checked that windows lie in the input.
                unsafe {
                    let first = position.input as usize - self.skipped;
                    let first = first + channel * apart as usize;
                    let from = self.input.as_ptr().add(first);
                    let none = S::splat(0.0);
                    let mut columns = [[none; N]; N];
                    // No closures here: a compiler may leave them calls, of no instruction set.
                    for (column, to) in columns.iter_mut().enumerate() {
                        for (row, value) in to.iter_mut().enumerate() {
                            let block = from.add(row * below + column * beside);
                            *value = S::load(block.cast());
                        }
                        *to = windowed::<S, N>(*to);
                    }
                    for row in 0..N {
                        let mut line = [none; N];
                        for (value, column) in line.iter_mut().zip(&columns) {
                            *value = column[row];
                        }
                        let line = windowed::<S, N>(line);
                        for (column, value) in line.into_iter().enumerate() {
                            let place = (row * N + column) * stride::<P>(channels);
                            S::store(ready.add(place + channel * P + window).cast(), value);
                        }
                    }
                }
            }
        }
    }

    // The sums of the filters of `Q` blocks of filters, `F` of each at a time.
    #[inline(always)]
    unsafe fn sums<S: Lanes, const Q: usize, const F: usize, const P: usize, const N: usize>(
        &self,
        filter_block: usize,
        ready: *const VectorBlock,
        mut all: [&mut Sums<P, N>; Q],
    ) {
        let PackedWeights::Winograd {
            channels, weights, ..
        } = &*self.product.entries
        else {
            return;
        };
        // SAFETY: `Product::new` has checked the number of weights, and `transform` has made ready what
        // is read.
        unsafe {
            for place in 0..N * N {
                for part in (0..FILTER_BLOCK).step_by(F) {
                    let mut sums = [[[S::splat(0.0); P]; F]; Q];
                    // The one place that all results hold once.
                    if place == N + 1 {
                        for (q, sums) in sums.iter_mut().enumerate() {
                            let filters = &*self.task(filter_block + q).filters;
                            for (f, sums) in sums.iter_mut().enumerate() {
                                let offset = filters[(part + f) % FILTER_BLOCK].filter.offset;
                                *sums = [S::splat(offset); P];
                            }
                        }
                    }
                    let first = (filter_block * N * N + place) * channels * FILTER_BLOCK + part;
                    let weights = weights.as_ptr().add(first);
                    let further = N * N * channels * FILTER_BLOCK;
                    let ready = ready.add(place * stride::<P>(*channels));
                    for channel in 0..*channels {
                        let ready = ready.add(channel * P);
                        let weights = weights.add(channel * FILTER_BLOCK);
                        for window in 0..P {
                            let x = S::load(ready.add(window).cast());
                            for (q, sums) in sums.iter_mut().enumerate() {
                                for (f, sums) in sums.iter_mut().enumerate() {
                                    let weight = S::splat(*weights.add(q * further + f));
                                    sums[window] = S::multiply_add(x, weight, sums[window]);
                                }
                            }
                        }
                    }
                    for (all, sums) in all.iter_mut().zip(sums) {
                        for (all, sums) in all[part..].iter_mut().zip(sums) {
                            for (to, sum) in all[place / N][place % N].iter_mut().zip(sums) {
                                S::store(to.as_mut_ptr().cast(), sum);
                            }
                        }
                    }
                }
            }
        }
    }
}

// Vector blocks from a place of a transformed window to the next: an odd number, since planes a power of two
// apart would share few sets of a cache.
fn stride<const P: usize>(channels: usize) -> usize {
    (channels * P) | 1
}

impl Task<'_> {
    // `Aᵀ m A`, and what follows.
    #[inline(always)]
    unsafe fn results<S: Lanes, const P: usize, const N: usize, const R: usize>(
        &self,
        sums: &Sums<P, N>,
        chunk: &[Position],
    ) {
        macro_rules! filter {
            ($f:literal) => {
                for (window, chunk) in chunk.chunks_exact(R * R).enumerate() {
                    // SAFETY: `sums` are complete; by `Work::run`.
                    unsafe {
                        let none = S::splat(0.0);
                        let mut columns = [[none; R]; N];
                        for (column, to) in columns.iter_mut().enumerate() {
                            let mut line = [none; N];
                            for (row, sum) in line.iter_mut().enumerate() {
                                *sum = S::load(sums[$f][row][column][window].as_ptr().cast());
                            }
                            *to = result::<S, N, R>(line);
                        }
                        for (row, chunk) in chunk.chunks_exact(R).enumerate() {
                            let mut line = [none; N];
                            for (value, column) in line.iter_mut().zip(&columns) {
                                *value = column[row];
                            }
                            let line = result::<S, N, R>(line);
                            self.finish_floats::<S, $f, R>(line, chunk);
                        }
                    }
                }
            };
        }
        filter!(0);
        filter!(1);
        filter!(2);
        filter!(3);
    }
}

// A line of a window, times `B`.
#[inline(always)]
unsafe fn windowed<S: Lanes, const N: usize>(line: [S::Floats; N]) -> [S::Floats; N] {
    let mut to = line;
    // SAFETY: the machine has the set, by the callers.
    unsafe {
        if N == 4 {
            let [a, b, c, d] = [line[0], line[1], line[2], line[3]];
            to[0] = S::subtract(a, c);
            to[1] = S::add(b, c);
            to[2] = S::subtract(c, b);
            to[3] = S::subtract(b, d);
        } else {
            let [a, b, c] = [line[0], line[1], line[2]];
            let [d, e, f] = [line[3], line[4], line[5]];
            let even = S::multiply_add(c, S::splat(-4.0), e);
            let odd = S::multiply_add(b, S::splat(-4.0), d);
            let [even_too, odd_too] = [S::subtract(e, c), S::subtract(d, b)];
            to[0] = S::multiply_add(a, S::splat(4.0), S::multiply_add(c, S::splat(-5.0), e));
            to[1] = S::add(even, odd);
            to[2] = S::subtract(even, odd);
            to[3] = S::multiply_add(odd_too, S::splat(2.0), even_too);
            to[4] = S::multiply_add(odd_too, S::splat(-2.0), even_too);
            to[5] = S::multiply_add(b, S::splat(4.0), S::multiply_add(d, S::splat(-5.0), f));
        }
    }
    to
}

// A line of sums, times `A`.
#[inline(always)]
unsafe fn result<S: Lanes, const N: usize, const R: usize>(line: [S::Floats; N]) -> [S::Floats; R] {
    // SAFETY: the machine has the set, by the callers.
    unsafe {
        let mut to = [line[0]; R];
        let [sum, apart] = [S::add(line[1], line[2]), S::subtract(line[1], line[2])];
        if N == 4 {
            to[0] = S::add(line[0], sum);
            to[1] = S::subtract(apart, line[3]);
        } else {
            let [more, further] = [S::add(line[3], line[4]), S::subtract(line[3], line[4])];
            to[0] = S::add(S::add(line[0], sum), more);
            to[1] = S::multiply_add(further, S::splat(2.0), apart);
            to[2] = S::multiply_add(more, S::splat(4.0), sum);
            to[3] = S::add(S::multiply_add(further, S::splat(8.0), apart), line[5]);
        }
        to
    }
}

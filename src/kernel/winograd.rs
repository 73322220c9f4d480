//! Convolutions of floats with three by three taps, transformed (Winograd 1980; Lavin and Gray 2016,
//! "Fast algorithms for convolutional neural networks", F(2x2, 3x3)): two by two results at a time, with 16
//! products for each channel and filter instead of 36.

use std::mem::MaybeUninit;

use super::lanes::Lanes;
use super::sums::{Run, Task};
use super::{Cell, Position, QUAD, Records, Work};

/// Places of a window, four by four, and as many of a transformed one.
pub(super) const PLACES: usize = 16;
/// Results that are made together, two by two.
pub(super) const RESULTS: usize = 4;
/// Transformed cells of all channels that lie ready on the stack, 128 KiB.
const READY: usize = 2048;
/// The most channels, of which one window is ready then.
pub(super) const CHANNELS: usize = READY / PLACES;

/// The taps of a filter's channel, `[row][column]`, as [`Records::Winograd`] holds them: `G g Gᵀ`.
pub(super) fn transform(taps: [f32; 9]) -> [f32; PLACES] {
    let line = |[a, b, c]: [f64; 3]| [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c];
    let taps = taps.map(f64::from);
    let columns: [[f64; 4]; 3] = std::array::from_fn(|x| line([taps[x], taps[3 + x], taps[6 + x]]));
    std::array::from_fn(|at| {
        let [row, column] = [at / 4, at % 4];
        line([columns[0][row], columns[1][row], columns[2][row]])[column] as f32
    })
}

/// A run of a product whose weights are transformed.
pub(super) struct Transformed<'a>(pub Run<'a>);

impl Work for Transformed<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let Records::Winograd { channels, .. } = self.0.product.records else {
            return;
        };
        let windows = self.0.positions.len() / RESULTS;
        let most = (CHANNELS / channels.max(1)).min(S::FLOAT_SHARED_POSITIONS);
        let mut ready = [const { MaybeUninit::<Cell>::uninit() }; READY + PLACES];
        let ready = ready.as_mut_ptr().cast();
        // SAFETY: by `Work::run`; so many windows of all channels fit, and there are as many.
        unsafe {
            match at_a_time(windows, most) {
                6 if S::FLOAT_SHARED_POSITIONS >= 6 => self.0.windows::<S, 6>(ready),
                4 if S::FLOAT_SHARED_POSITIONS >= 4 => self.0.windows::<S, 4>(ready),
                3 if S::FLOAT_SHARED_POSITIONS >= 3 => self.0.windows::<S, 3>(ready),
                2 if S::FLOAT_SHARED_POSITIONS >= 2 => self.0.windows::<S, 2>(ready),
                _ => self.0.windows::<S, 1>(ready),
            }
        }
    }
}

// Windows to make together: no more than there are, few of them twice, rather many than few.
fn at_a_time(windows: usize, most: usize) -> usize {
    let sizes = [6, 4, 3, 2]
        .into_iter()
        .filter(|&size| size <= most.min(windows));
    sizes
        .min_by_key(|size| windows.next_multiple_of(*size))
        .unwrap_or(1)
}

impl Run<'_> {
    // SAFETY contract: as of `Work::run`; there are `P` windows, and `ready` leads to cells for all places
    // of all channels of so many.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn windows<S: Lanes, const P: usize>(&self, ready: *mut Cell) {
        let windows = self.positions.len() / RESULTS;
        let mut sums = [const { [[const { MaybeUninit::uninit() }; P]; PLACES] }; QUAD];
        for first in (0..windows).step_by(P) {
            // The last ones with those before them.
            let first = first.min(windows - P) * RESULTS;
            let chunk = &self.positions[first..first + P * RESULTS];
            // SAFETY: by the contract.
            unsafe {
                self.transform::<S, P>(chunk, ready);
                for quad in self.quads.clone() {
                    match S::FLOAT_FILTERS {
                        4 => self.sums::<S, 4, P>(quad, ready, &mut sums),
                        _ => self.sums::<S, 2, P>(quad, ready, &mut sums),
                    }
                    self.task(quad).results::<S, P>(&sums, chunk);
                }
            }
        }
    }

    // Makes ready `Bᵀ d B` of each channel's windows: by place, channel and window.
    #[inline(always)]
    unsafe fn transform<S: Lanes, const P: usize>(&self, chunk: &[Position], ready: *mut Cell) {
        let Records::Winograd {
            channels,
            apart,
            pitch,
            ..
        } = self.product.records
        else {
            return;
        };
        for channel in 0..channels {
            for (window, position) in chunk.iter().step_by(RESULTS).enumerate() {
                // SAFETY: `Product::run` has checked that windows of four by four lie in the input.
                unsafe {
                    let first = position.input as usize + channel * apart as usize;
                    let from = self.input.as_ptr().add(first);
                    let pitch = pitch as usize;
                    macro_rules! column {
                        ($c:literal) => {
                            windowed::<S>([
                                S::load(from.add($c).cast()),
                                S::load(from.add(pitch + $c).cast()),
                                S::load(from.add(2 * pitch + $c).cast()),
                                S::load(from.add(3 * pitch + $c).cast()),
                            ])
                        };
                    }
                    let columns = [column!(0), column!(1), column!(2), column!(3)];
                    for row in 0..4 {
                        let all = windowed::<S>(columns.map(|column| column[row]));
                        for (column, value) in all.into_iter().enumerate() {
                            let place = (row * 4 + column) * stride::<P>(channels);
                            S::store(ready.add(place + channel * P + window).cast(), value);
                        }
                    }
                }
            }
        }
    }

    // The sums of a quad's filters: by filter, place and window.
    #[inline(always)]
    unsafe fn sums<S: Lanes, const F: usize, const P: usize>(
        &self,
        quad: usize,
        ready: *const Cell,
        all: &mut Sums<P>,
    ) {
        // The one place that all four results hold once.
        const CENTRE: usize = 5;
        let Records::Winograd {
            channels, weights, ..
        } = &self.product.records
        else {
            return;
        };
        // SAFETY: `Product::new` has checked the number of weights, and `transform` has made ready what
        // is read.
        unsafe {
            let task = self.task(quad);
            for place in 0..PLACES {
                let first = (quad * PLACES + place) * channels;
                for part in (0..QUAD).step_by(F) {
                    let mut sums: [[S::Floats; P]; F] = std::array::from_fn(|f| {
                        let start = match place {
                            CENTRE => (&*task.filters)[(part + f) % QUAD].filter.offset,
                            _ => 0.0,
                        };
                        [S::splat(start); P]
                    });
                    let weights = weights.as_ptr().add(first * QUAD + part);
                    let ready = ready.add(place * stride::<P>(*channels));
                    for channel in 0..*channels {
                        let ready = ready.add(channel * P);
                        let weights = weights.add(channel * QUAD);
                        for window in 0..P {
                            let x = S::load(ready.add(window).cast());
                            for (f, sums) in sums.iter_mut().enumerate() {
                                let weight = S::splat(*weights.add(f));
                                sums[window] = S::multiply_add(x, weight, sums[window]);
                            }
                        }
                    }
                    for (all, sums) in all[part..].iter_mut().zip(sums) {
                        for (to, sum) in all[place].iter_mut().zip(sums) {
                            S::store(to.as_mut_ptr().cast(), sum);
                        }
                    }
                }
            }
        }
    }
}

// Cells from a place of a transformed window to the next: an odd number, since planes a power of two apart
// would share few sets of a cache.
fn stride<const P: usize>(channels: usize) -> usize {
    (channels * P) | 1
}

/// By filter, place and window.
type Sums<const P: usize> = [[[MaybeUninit<Cell>; P]; PLACES]; QUAD];

impl Task<'_> {
    // `Aᵀ m A`, and what follows.
    #[inline(always)]
    unsafe fn results<S: Lanes, const P: usize>(&self, sums: &Sums<P>, chunk: &[Position]) {
        macro_rules! filter {
            ($f:literal) => {
                for (window, chunk) in chunk.chunks_exact(RESULTS).enumerate() {
                    // SAFETY: `sums` are complete; by `Work::run`.
                    unsafe {
                        // No closures: a compiler may leave them calls, of no instruction set.
                        macro_rules! sum {
                            ($row:literal, $column:literal) => {
                                S::load(sums[$f][$row * 4 + $column][window].as_ptr().cast())
                            };
                        }
                        macro_rules! column {
                            ($c:literal) => {
                                result::<S>([sum!(0, $c), sum!(1, $c), sum!(2, $c), sum!(3, $c)])
                            };
                        }
                        let columns = [column!(0), column!(1), column!(2), column!(3)];
                        let [a, b] = result::<S>(columns.map(|column| column[0]));
                        let [c, d] = result::<S>(columns.map(|column| column[1]));
                        self.finish_floats::<S, $f, RESULTS>([a, b, c, d], chunk);
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
unsafe fn windowed<S: Lanes>([a, b, c, d]: [S::Floats; 4]) -> [S::Floats; 4] {
    // SAFETY: the machine has the set, by the callers.
    unsafe {
        [
            S::subtract(a, c),
            S::add(b, c),
            S::subtract(c, b),
            S::subtract(b, d),
        ]
    }
}

// A line of sums, times `A`.
#[inline(always)]
unsafe fn result<S: Lanes>([a, b, c, d]: [S::Floats; 4]) -> [S::Floats; 2] {
    // SAFETY: the machine has the set, by the callers.
    unsafe { [S::add(S::add(a, b), c), S::subtract(S::subtract(b, c), d)] }
}

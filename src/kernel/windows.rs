//! Poolings over vector blocks: the greatest or the sum of each window.

use std::ops::Range;

use super::lanes::Lanes;
use super::product::{length, outputs};
use super::specialize::SHIFT;
use super::{KernelError, Kernels, Position, Sink, VectorBlock, Work};

/// So many floats are summed before the sum joins those of others: a sum of thousands, one after the other,
/// loses four digits where they are all alike.
const PART: usize = 64;

/// What becomes of a window.
///
/// ```
/// use burn_compress_kernel::Pooling;
/// assert_ne!(Pooling::Max, Pooling::Sum { multiplier: 0.25, start: 0, across: 1 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pooling {
    /// The greatest.
    Max,
    /// The sum times a factor.
    Sum {
        /// The factor.
        multiplier: f32,
        /// Of codes: what makes up for their zero point, in a sum of a window.
        start: i32,
        /// So many neighbouring lanes are parts of one sample, whose sums are added: 1, 2, 4, 8 or 16.
        across: usize,
    },
}

/// Windows over planes of vector blocks.
///
/// ```
/// use burn_compress_kernel::{VectorBlock, Kernels, Pooling, Position, Sink, Windows};
/// let windows = Windows {
///     pooling: Pooling::Sum { multiplier: 0.5, start: 0, across: 1 },
///     taps: vec![0, 1],
///     positions: vec![Position { input: 0, output: 0, residual: 0 }],
///     planes: (2, 1),
///     divisors: vec![],
///     bounds: (f32::NEG_INFINITY, f32::INFINITY),
///     sink: Sink::Floats,
/// };
/// let input = [VectorBlock::of_floats(1.0), VectorBlock::of_floats(3.0)];
/// let mut output = [VectorBlock::default()];
/// windows.run(Kernels::detect(), &input, &mut output)?;
/// assert_eq!(output[0], VectorBlock::of_floats(2.0));
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// What becomes of them.
    pub pooling: Pooling,
    /// Vector blocks of a window, from its start.
    pub taps: Vec<u32>,
    /// Where windows start and results go, and which divisors they have (as the place of a residual).
    pub positions: Vec<Position>,
    /// What sums are divided by after the factor, lane by lane; none: 1.
    pub divisors: Vec<VectorBlock>,
    /// Vector blocks from a plane to the next, of the input and of the output.
    pub planes: (usize, usize),
    /// Bounds of a sum; of codes, whole numbers that a byte of the sink holds.
    pub bounds: (f32, f32),
    /// Bytes, or floats; the input is of the same kind.
    pub sink: Sink,
}

impl Windows {
    /// All planes of the input, as many as `output` has, one after the other.
    ///
    /// Fails with [`KernelError::Memory`] where a window or a result lies outside its plane, and with
    /// [`KernelError::Epilogue`] where a bound of a sum is no number, or more than a byte holds, samples
    /// have other numbers of lanes, or there are no such divisors.
    pub fn run(
        &self,
        kernels: Kernels,
        input: &[VectorBlock],
        output: &mut [VectorBlock],
    ) -> Result<(), KernelError> {
        let (_, last) = outputs(&self.positions);
        let fits = self.input(&self.positions) <= self.planes.0 && last < self.planes.1;
        if !fits && !self.positions.is_empty() {
            return Err(KernelError::Memory);
        }
        let planes = output.len().checked_div(self.planes.1).unwrap_or(0);
        self.run_part(
            kernels,
            (planes, 0..self.positions.len()),
            input,
            (output, 0),
        )
    }

    /// Some positions of so many planes, the first of which has `first` vector blocks before the first one of
    /// `output`. Planes may lie in turns, line by line.
    ///
    /// Fails with [`KernelError::Memory`] where there are no such positions, or a window or a result lies
    /// outside, and with [`KernelError::Epilogue`] as [`run`](Self::run).
    ///
    /// ```
    /// use burn_compress_kernel::{VectorBlock, Kernels, Pooling, Position, Sink, Windows};
    /// // Two lines, each of two planes of one vector block.
    /// let line = |line: u32| Position { input: 2 * line, output: 2 * line, residual: 0 };
    /// let windows = Windows {
    ///     pooling: Pooling::Max,
    ///     taps: vec![0],
    ///     positions: vec![line(0), line(1)],
    ///     planes: (1, 1),
    ///     divisors: vec![],
    ///     bounds: (f32::NEG_INFINITY, f32::INFINITY),
    ///     sink: Sink::Floats,
    /// };
    /// let input = [1.0, 2.0, 3.0, 4.0].map(VectorBlock::of_floats);
    /// let mut second = [VectorBlock::default(); 2];
    /// windows.run_part(Kernels::detect(), (2, 1..2), &input, (&mut second, 2))?;
    /// assert_eq!(second, [3.0, 4.0].map(VectorBlock::of_floats));
    /// # Ok::<(), burn_compress_kernel::KernelError>(())
    /// ```
    pub fn run_part(
        &self,
        kernels: Kernels,
        (planes, positions): (usize, Range<usize>),
        input: &[VectorBlock],
        (output, first): (&mut [VectorBlock], usize),
    ) -> Result<(), KernelError> {
        if let Pooling::Sum { across, .. } = self.pooling {
            let divides = across.is_power_of_two() && across <= VectorBlock::LANES;
            let divides = divides && (across == 1 || self.divisors.is_empty());
            if !divides || !self.sink.holds(self.bounds) {
                return Err(KernelError::Epilogue);
            }
        }
        let positions = self.positions.get(positions).ok_or(KernelError::Memory)?;
        let divides = |position: &Position| (position.residual as usize) < self.divisors.len();
        if !self.divisors.is_empty() && !positions.iter().all(divides) {
            return Err(KernelError::Epilogue);
        }
        if planes == 0 || positions.is_empty() {
            return Ok(());
        }
        let (least, last) = outputs(positions);
        let read = length(planes, self.planes.0, self.input(positions));
        let written = length(planes, self.planes.1, last.saturating_add(1));
        if read.is_none_or(|read| input.len() < read)
            || least < first
            || written.is_none_or(|written| output.len() < written - first)
        {
            return Err(KernelError::Memory);
        }
        kernels.dispatch(Run {
            windows: self,
            planes,
            positions,
            input,
            output,
            first,
        });
        Ok(())
    }

    // Vector blocks of a plane that windows at these positions need.
    fn input(&self, positions: &[Position]) -> usize {
        let last = positions.iter().map(|position| position.input as usize);
        let reach = self.taps.iter().max().copied().unwrap_or(0) as usize;
        let last = last.max().unwrap_or(0).saturating_add(reach);
        last.saturating_add(1)
    }
}

struct Run<'a> {
    windows: &'a Windows,
    planes: usize,
    positions: &'a [Position],
    input: &'a [VectorBlock],
    output: &'a mut [VectorBlock],
    first: usize,
}

impl Work for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let windows = self.windows;
        for plane in 0..self.planes {
            let from = &self.input[plane * windows.planes.0..];
            for position in self.positions {
                let from = &from[position.input as usize..];
                let place = plane * windows.planes.1 + position.output as usize - self.first;
                let to = &mut self.output[place..][..1];
                match (windows.pooling, windows.sink) {
                    (Pooling::Max, Sink::Codes { .. }) => max_bytes(from, &windows.taps, to),
                    (Pooling::Max, Sink::Floats) => max_floats(from, &windows.taps, to),
                    (Pooling::Sum { across: 1, .. }, _) => {
                        let divisors = windows.divisors_of(position);
                        // SAFETY: by the caller.
                        unsafe { windows.of_lanes::<S>(from, divisors, &mut to[0]) };
                    }
                    (Pooling::Sum { .. }, Sink::Codes { low }) => windows.codes(low, from, to),
                    (Pooling::Sum { .. }, Sink::Floats) => windows.floats(from, to),
                }
            }
        }
    }
}

#[inline(always)]
fn max_bytes(from: &[VectorBlock], taps: &[u32], to: &mut [VectorBlock]) {
    let mut most = [0u8; VectorBlock::BYTES];
    for &tap in taps {
        let bytes = VectorBlock::bytes(&from[tap as usize..][..1]);
        most.iter_mut()
            .zip(bytes)
            .for_each(|(most, &x)| *most = x.max(*most));
    }
    VectorBlock::bytes_mut(to).copy_from_slice(&most);
}

#[inline(always)]
fn max_floats(from: &[VectorBlock], taps: &[u32], to: &mut [VectorBlock]) {
    let mut most = [f32::NEG_INFINITY; VectorBlock::LANES];
    for &tap in taps {
        let floats = VectorBlock::floats(&from[tap as usize..][..1]);
        let each = most.iter_mut().zip(floats);
        each.for_each(|(most, &x)| *most = if x > *most { x } else { *most });
    }
    VectorBlock::floats_mut(to).copy_from_slice(&most);
}

impl Windows {
    #[inline(always)]
    fn divisors_of(&self, position: &Position) -> Option<&VectorBlock> {
        self.divisors.get(position.residual as usize)
    }

    // Each lane's own sums. SAFETY contract: the machine has the instruction set of `S`.
    #[inline(always)]
    unsafe fn of_lanes<S: Lanes>(
        &self,
        from: &[VectorBlock],
        divisors: Option<&VectorBlock>,
        to: &mut VectorBlock,
    ) {
        let Pooling::Sum {
            multiplier, start, ..
        } = self.pooling
        else {
            return;
        };
        // SAFETY: vector blocks are whole and aligned; the set is there, by the caller.
        unsafe {
            let (multiplier, least) = (S::splat(multiplier), S::splat(self.bounds.0));
            let most = S::splat(self.bounds.1);
            // No closures, which a compiler may leave calls, of no instruction set.
            macro_rules! bounded {
                ($sum:expr) => {{
                    let t = S::multiply($sum, multiplier);
                    let t = match divisors {
                        Some(divisors) => {
                            S::divide(t, S::load(std::ptr::from_ref(divisors).cast()))
                        }
                        None => t,
                    };
                    S::min(S::max(t, least), most)
                }};
            }
            let Sink::Codes { low } = self.sink else {
                let mut sum = S::splat(0.0);
                for taps in self.taps.chunks(PART) {
                    let mut part = S::splat(0.0);
                    for &tap in taps {
                        let block = std::ptr::from_ref(&from[tap as usize]);
                        part = S::add(part, S::load(block.cast()));
                    }
                    sum = S::add(sum, part);
                }
                S::store(std::ptr::from_mut(to).cast(), bounded!(sum));
                return;
            };
            let mut sums = [S::splat_integer(start); 4];
            for &tap in &self.taps {
                let block = std::ptr::from_ref(&from[tap as usize]);
                let block = S::load_integers(block.cast());
                sums[0] = S::byte::<0>(block, sums[0]);
                sums[1] = S::byte::<1>(block, sums[1]);
                sums[2] = S::byte::<2>(block, sums[2]);
                sums[3] = S::byte::<3>(block, sums[3]);
            }
            macro_rules! code {
                ($place:literal) => {
                    S::round(bounded!(S::to_floats(sums[$place])))
                };
            }
            let (first, second) = (S::pair(code!(0), code!(1)), S::pair(code!(2), code!(3)));
            let codes = S::pack(first, second, low.wrapping_neg() as i16);
            S::store_integers(std::ptr::from_mut(to).cast(), codes);
        }
    }

    #[inline(always)]
    fn codes(&self, low: i32, from: &[VectorBlock], to: &mut [VectorBlock]) {
        let Pooling::Sum {
            multiplier,
            start,
            across,
        } = self.pooling
        else {
            return;
        };
        let mut sums = [0i32; VectorBlock::BYTES];
        for &tap in &self.taps {
            let bytes = VectorBlock::bytes(&from[tap as usize..][..1]);
            sums.iter_mut()
                .zip(bytes)
                .for_each(|(sum, &x)| *sum = sum.wrapping_add(i32::from(x)));
        }
        let of = |sum: i32| {
            let t = sum.wrapping_add(start) as f32 * multiplier;
            code(t, self.bounds, low)
        };
        let to = VectorBlock::bytes_mut(to);
        for (to, sums) in to.chunks_mut(4 * across).zip(sums.chunks_mut(4 * across)) {
            // Halves onto each other, until the four of a lane are left.
            let mut length = sums.len();
            while length > 4 {
                length /= 2;
                let (to, from) = sums.split_at_mut(length);
                let pairs = to.iter_mut().zip(&from[..length]);
                pairs.for_each(|(to, from)| *to = to.wrapping_add(*from));
            }
            let codes = [of(sums[0]), of(sums[1]), of(sums[2]), of(sums[3])];
            to.chunks_exact_mut(4)
                .for_each(|to| to.copy_from_slice(&codes));
        }
    }

    #[inline(always)]
    fn floats(&self, from: &[VectorBlock], to: &mut [VectorBlock]) {
        let Pooling::Sum {
            multiplier, across, ..
        } = self.pooling
        else {
            return;
        };
        let mut sums = [0f32; VectorBlock::LANES];
        for taps in self.taps.chunks(PART) {
            let mut part = [0f32; VectorBlock::LANES];
            for &tap in taps {
                let floats = VectorBlock::floats(&from[tap as usize..][..1]);
                part.iter_mut().zip(floats).for_each(|(sum, &x)| *sum += x);
            }
            sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
        for sums in sums.chunks_mut(across) {
            sums.fill(sums.iter().sum());
        }
        let (least, most) = self.bounds;
        for (to, sum) in VectorBlock::floats_mut(to).iter_mut().zip(sums) {
            *to = (sum * multiplier).max(least).min(most);
        }
    }
}

// Bounds are whole numbers within 16 bits.
#[inline(always)]
pub(super) fn code(t: f32, (least, most): (f32, f32), low: i32) -> u8 {
    let t = if t > least { t } else { least };
    let t = if t < most { t } else { most };
    (((t + SHIFT) - SHIFT) as i32 - low) as u8
}

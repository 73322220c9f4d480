//! Steps on each element: sums and products of two tensors, changes of grid, functions, tables.

use super::lanes::Lanes;
use super::windows::code;
use super::{Function, KernelError, Kernels, Sink, VectorBlock, Work};

/// A step on each element.
///
/// ```
/// use burn_compress_kernel::{VectorBlock, Elementwise, Kernels, Sink};
/// let add = Elementwise::Add {
///     factors: (1.0, 2.0),
///     lows: (0, 0),
///     bounds: (f32::NEG_INFINITY, f32::INFINITY),
///     sink: Sink::Floats,
/// };
/// let (a, b) = ([VectorBlock::of_floats(1.0)], [VectorBlock::of_floats(3.0)]);
/// let mut output = [VectorBlock::default()];
/// add.run(Kernels::detect(), &[&a, &b], &mut output)?;
/// assert_eq!(output[0], VectorBlock::of_floats(7.0));
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Elementwise {
    /// `a * factors.0`, then `+ b * factors.1`, within bounds; all operands and the result are bytes, or all
    /// floats.
    Add {
        /// The factors.
        factors: (f32, f32),
        /// The operands' centred codes of byte 0.
        lows: (i32, i32),
        /// Bounds; of codes, whole numbers that a byte of the sink holds.
        bounds: (f32, f32),
        /// The result.
        sink: Sink,
    },
    /// `a * b * factor` within bounds; all operands and the result are bytes, or all floats.
    Multiply {
        /// The factor.
        factor: f32,
        /// The operands' centred codes of byte 0.
        lows: (i32, i32),
        /// Bounds; of codes, whole numbers that a byte of the sink holds.
        bounds: (f32, f32),
        /// The result.
        sink: Sink,
    },
    /// `a * factor` within bounds; operand and result are of one kind.
    Scale {
        /// The factor.
        factor: f32,
        /// The operand's centred code of byte 0.
        low: i32,
        /// Bounds; of codes, whole numbers that a byte of the sink holds.
        bounds: (f32, f32),
        /// The result.
        sink: Sink,
    },
    /// A function of each float.
    Function(Function),
    /// The byte that stands for each byte.
    Table(Box<[u8; 256]>),
}

impl Elementwise {
    /// Number of operands. The second of two may be one vector block, which stands for as many as the output has.
    pub fn operands(&self) -> usize {
        match self {
            Self::Add { .. } | Self::Multiply { .. } => 2,
            Self::Scale { .. } | Self::Function(_) | Self::Table(_) => 1,
        }
    }

    /// All elements.
    ///
    /// Fails with [`KernelError::Memory`] where an operand is shorter than the output and not one block that
    /// stands for all, or one is missing, and with [`KernelError::Epilogue`] where a bound is no number, or of codes more than a
    /// byte holds.
    pub fn run(
        &self,
        kernels: Kernels,
        operands: &[&[VectorBlock]],
        output: &mut [VectorBlock],
    ) -> Result<(), KernelError> {
        let long = operands.iter().enumerate().all(|(place, blocks)| {
            blocks.len() >= output.len() || (place == 1 && blocks.len() == 1)
        });
        if operands.len() != self.operands() || !long {
            return Err(KernelError::Memory);
        }
        if !self.holds() {
            return Err(KernelError::Epilogue);
        }
        kernels.dispatch(Run {
            step: self,
            operands,
            output,
        });
        Ok(())
    }

    fn holds(&self) -> bool {
        match self {
            Self::Add { bounds, sink, .. }
            | Self::Multiply { bounds, sink, .. }
            | Self::Scale { bounds, sink, .. } => sink.holds(*bounds),
            Self::Function(_) | Self::Table(_) => true,
        }
    }
}

struct Run<'a> {
    step: &'a Elementwise,
    operands: &'a [&'a [VectorBlock]],
    output: &'a mut [VectorBlock],
}

impl Work for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let Self {
            step,
            operands,
            output,
        } = self;
        let first = operands[0];
        // One block stands for as many as the output has.
        let second = |at: usize| match operands[1] {
            [one] => one,
            many => &many[at],
        };
        // SAFETY: the machine has the set, by the caller; each reference is to a whole aligned vector block.
        unsafe {
            match step {
                Elementwise::Add {
                    factors,
                    lows,
                    bounds,
                    sink,
                } => {
                    let factors = (S::splat(factors.0), S::splat(factors.1));
                    for (at, to) in output.iter_mut().enumerate() {
                        let (a, b) = (&first[at], second(at));
                        match *sink {
                            Sink::Codes { low } => {
                                let (a, b) = (channels::<S>(a, lows.0), channels::<S>(b, lows.1));
                                let mut t = a;
                                for (channel, t) in t.iter_mut().enumerate() {
                                    *t = add::<S>(a[channel], b[channel], factors);
                                }
                                write_codes::<S>(to, *bounds, low, t);
                            }
                            Sink::Floats => {
                                let t = add::<S>(floats::<S>(a), floats::<S>(b), factors);
                                write_floats::<S>(to, *bounds, t);
                            }
                        }
                    }
                }
                Elementwise::Multiply {
                    factor,
                    lows,
                    bounds,
                    sink,
                } => {
                    let times = S::splat(*factor);
                    let exact = [lows.0, lows.1]
                        .iter()
                        .all(|low| low.unsigned_abs() < EXACT);
                    for (at, to) in output.iter_mut().enumerate() {
                        let (a, b) = (&first[at], second(at));
                        match *sink {
                            Sink::Codes { low } if exact => {
                                let (a, b) = (channels::<S>(a, lows.0), channels::<S>(b, lows.1));
                                let mut t = a;
                                for (channel, t) in t.iter_mut().enumerate() {
                                    *t = S::multiply(S::multiply(a[channel], b[channel]), times);
                                }
                                write_codes::<S>(to, *bounds, low, t);
                            }
                            Sink::Codes { low } => {
                                let to = VectorBlock::bytes_mut(std::slice::from_mut(to));
                                let [a, b] =
                                    [a, b].map(|of| VectorBlock::bytes(std::slice::from_ref(of)));
                                for (to, (&a, &b)) in to.iter_mut().zip(a.iter().zip(b)) {
                                    let a = i32::from(a).wrapping_add(lows.0);
                                    let b = i32::from(b).wrapping_add(lows.1);
                                    *to = code(a.wrapping_mul(b) as f32 * factor, *bounds, low);
                                }
                            }
                            Sink::Floats => {
                                let t = S::multiply(floats::<S>(a), floats::<S>(b));
                                write_floats::<S>(to, *bounds, S::multiply(t, times));
                            }
                        }
                    }
                }
                Elementwise::Scale {
                    factor,
                    low: from,
                    bounds,
                    sink,
                } => {
                    let times = S::splat(*factor);
                    for (a, to) in first.iter().zip(output) {
                        match *sink {
                            Sink::Codes { low } => {
                                let mut t = channels::<S>(a, *from);
                                for t in &mut t {
                                    *t = S::multiply(*t, times);
                                }
                                write_codes::<S>(to, *bounds, low, t);
                            }
                            Sink::Floats => {
                                write_floats::<S>(to, *bounds, S::multiply(floats::<S>(a), times));
                            }
                        }
                    }
                }
                Elementwise::Function(function) => {
                    function.each(VectorBlock::floats(first), VectorBlock::floats_mut(output));
                }
                Elementwise::Table(table) => {
                    for (from, to) in first.iter().zip(output) {
                        let from = S::load_integers(std::ptr::from_ref(from).cast());
                        let found = S::lookup(table, from);
                        S::store_integers(std::ptr::from_mut(to).cast(), found);
                    }
                }
            }
        }
    }
}

// Products of two bytes, each with a term below this, are whole numbers that a float holds.
const EXACT: u32 = 1 << 11;

// The centred codes of the four channels of a block.
//
// SAFETY contract: the machine has the instruction set of `S`.
#[inline(always)]
unsafe fn channels<S: Lanes>(block: &VectorBlock, low: i32) -> [S::Floats; 4] {
    // SAFETY: by the contract; a vector block is aligned.
    unsafe {
        let codes = S::load_integers(std::ptr::from_ref(block).cast());
        let low = S::splat_integer(low);
        [
            S::to_floats(S::byte::<0>(codes, low)),
            S::to_floats(S::byte::<1>(codes, low)),
            S::to_floats(S::byte::<2>(codes, low)),
            S::to_floats(S::byte::<3>(codes, low)),
        ]
    }
}

// SAFETY contract: as above.
#[inline(always)]
unsafe fn floats<S: Lanes>(block: &VectorBlock) -> S::Floats {
    // SAFETY: by the contract; a vector block is aligned.
    unsafe { S::load(std::ptr::from_ref(block).cast()) }
}

// SAFETY contract: as above.
#[inline(always)]
unsafe fn add<S: Lanes>(a: S::Floats, b: S::Floats, by: (S::Floats, S::Floats)) -> S::Floats {
    // SAFETY: by the contract.
    unsafe { S::add(S::multiply(a, by.0), S::multiply(b, by.1)) }
}

// SAFETY contract: as above, and bounds that the sink holds.
#[inline(always)]
unsafe fn write_codes<S: Lanes>(
    to: &mut VectorBlock,
    (least, most): (f32, f32),
    low: i32,
    t: [S::Floats; 4],
) {
    // SAFETY: by the contract; a vector block is aligned.
    unsafe {
        let (least, most) = (S::splat(least), S::splat(most));
        let mut codes = [S::splat_integer(0); 4];
        for (code, t) in codes.iter_mut().zip(t) {
            *code = S::round(S::min(S::max(t, least), most));
        }
        let [a, b, c, d] = codes;
        let codes = S::pack(S::pair(a, b), S::pair(c, d), -low as i16);
        S::store_integers(std::ptr::from_mut(to).cast(), codes);
    }
}

// SAFETY contract: as above.
#[inline(always)]
unsafe fn write_floats<S: Lanes>(to: &mut VectorBlock, (least, most): (f32, f32), t: S::Floats) {
    // SAFETY: by the contract; a vector block is aligned.
    unsafe {
        let t = S::min(S::max(t, S::splat(least)), S::splat(most));
        S::store(std::ptr::from_mut(to).cast(), t);
    }
}

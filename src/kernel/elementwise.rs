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
        // One block for all: block by block, each beside it.
        if let [a, [b]] = self.operands
            && self.output.len() > 1
        {
            for (a, to) in a.chunks(1).zip(self.output.chunks_mut(1)) {
                let one = Run {
                    step: self.step,
                    operands: &[a, &[*b]],
                    output: to,
                };
                // SAFETY: by the caller.
                unsafe { one.run_all::<S>() }
            }
            return;
        }
        // SAFETY: by the caller.
        unsafe { self.run_all::<S>() }
    }
}

impl Run<'_> {
    // SAFETY contract: the machine has the instruction set of `S`.
    #[inline(always)]
    unsafe fn run_all<S: Lanes>(self) {
        let output = self.output;
        match self.step {
            Elementwise::Add {
                factors,
                lows,
                bounds,
                sink: Sink::Codes { low },
            } => {
                let [a, b] = [self.operands[0], self.operands[1]].map(VectorBlock::bytes);
                let pairs = a.iter().zip(b);
                for (to, (&a, &b)) in VectorBlock::bytes_mut(output).iter_mut().zip(pairs) {
                    let t = i32::from(a).wrapping_add(lows.0) as f32 * factors.0;
                    let other = i32::from(b).wrapping_add(lows.1) as f32 * factors.1;
                    *to = code(t + other, *bounds, *low);
                }
            }
            Elementwise::Add {
                factors,
                bounds,
                sink: Sink::Floats,
                ..
            } => {
                let [a, b] = [self.operands[0], self.operands[1]].map(VectorBlock::floats);
                let pairs = a.iter().zip(b);
                for (to, (&a, &b)) in VectorBlock::floats_mut(output).iter_mut().zip(pairs) {
                    let t = a * factors.0 + b * factors.1;
                    *to = t.max(bounds.0).min(bounds.1);
                }
            }
            Elementwise::Multiply {
                factor,
                lows,
                bounds,
                sink: Sink::Codes { low },
            } => {
                let [a, b] = [self.operands[0], self.operands[1]].map(VectorBlock::bytes);
                let pairs = a.iter().zip(b);
                for (to, (&a, &b)) in VectorBlock::bytes_mut(output).iter_mut().zip(pairs) {
                    let a = i32::from(a).wrapping_add(lows.0);
                    let product = a.wrapping_mul(i32::from(b).wrapping_add(lows.1));
                    *to = code(product as f32 * factor, *bounds, *low);
                }
            }
            Elementwise::Multiply {
                factor,
                bounds,
                sink: Sink::Floats,
                ..
            } => {
                let [a, b] = [self.operands[0], self.operands[1]].map(VectorBlock::floats);
                let pairs = a.iter().zip(b);
                for (to, (&a, &b)) in VectorBlock::floats_mut(output).iter_mut().zip(pairs) {
                    *to = (a * b * factor).max(bounds.0).min(bounds.1);
                }
            }
            Elementwise::Function(function) => {
                let floats = VectorBlock::floats(self.operands[0]);
                function.each(floats, VectorBlock::floats_mut(output));
            }
            Elementwise::Scale {
                factor,
                low: from,
                bounds,
                sink: Sink::Codes { low },
            } => {
                let bytes = VectorBlock::bytes(self.operands[0]);
                for (to, &a) in VectorBlock::bytes_mut(output).iter_mut().zip(bytes) {
                    let t = i32::from(a).wrapping_add(*from) as f32 * factor;
                    *to = code(t, *bounds, *low);
                }
            }
            Elementwise::Scale {
                factor,
                bounds,
                sink: Sink::Floats,
                ..
            } => {
                let floats = VectorBlock::floats(self.operands[0]);
                for (to, &a) in VectorBlock::floats_mut(output).iter_mut().zip(floats) {
                    *to = (a * factor).max(bounds.0).min(bounds.1);
                }
            }
            Elementwise::Table(table) => {
                let bytes = VectorBlock::bytes(self.operands[0]);
                let each = VectorBlock::bytes_mut(output).iter_mut().zip(bytes);
                each.for_each(|(to, &a)| *to = table[usize::from(a)]);
            }
        }
    }
}

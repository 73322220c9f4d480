//! Steps on each element: sums of two tensors, changes of grid, tables.

use super::lanes::Lanes;
use super::windows::code;
use super::{KernelError, Kernels, Sink, VectorBlock, Work};

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
    /// The byte that stands for each byte.
    Table(Box<[u8; 256]>),
}

impl Elementwise {
    /// Number of operands.
    pub fn operands(&self) -> usize {
        match self {
            Self::Add { .. } => 2,
            Self::Scale { .. } | Self::Table(_) => 1,
        }
    }

    /// All elements.
    ///
    /// Fails with [`KernelError::Memory`] where an operand is shorter than the output, or one is
    /// missing, and with [`KernelError::Epilogue`] where a bound is no number, or of codes more than a
    /// byte holds.
    pub fn run(
        &self,
        kernels: Kernels,
        operands: &[&[VectorBlock]],
        output: &mut [VectorBlock],
    ) -> Result<(), KernelError> {
        let long = operands.iter().all(|blocks| blocks.len() >= output.len());
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
            Self::Add { bounds, sink, .. } | Self::Scale { bounds, sink, .. } => {
                sink.holds(*bounds)
            }
            Self::Table(_) => true,
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

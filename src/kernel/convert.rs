//! Codes that become floats, and floats that become codes: four channels in a plane, or one.

use super::lanes::Lanes;
use super::{InputGrid, KernelError, Kernels, VectorBlock, Work};

/// A change between codes and floats.
///
/// ```
/// use burn_compress_kernel::{Convert, Kernels, VectorBlock};
/// let from = [VectorBlock::of_bytes(3)];
/// let mut to = [VectorBlock::default()];
/// let convert = Convert::Floats { scale: 0.5, offset: 1.0, low: -1 };
/// convert.run(Kernels::detect(), 2, &from, &mut to)?;
/// assert_eq!(to[0], VectorBlock::of_floats(2.0));
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Convert {
    /// Codes to floats: `scale * code + offset`, each operation rounded.
    Floats {
        /// The factor.
        scale: f32,
        /// The term.
        offset: f32,
        /// The centred code of byte 0.
        low: i32,
    },
    /// Codes to the float that stands for each byte.
    Table(Box<[f32; 256]>),
    /// Floats to codes: `(x - offset) / scale`, rounded half to even.
    Codes(InputGrid),
}

impl Convert {
    /// Whether it makes floats.
    pub fn makes_floats(&self) -> bool {
        !matches!(self, Self::Codes(_))
    }

    /// Some vector blocks of the channel that is the byte `byte` of a plane of codes; other bytes stay.
    ///
    /// Fails with [`KernelError::Memory`] where there are fewer operands than results, and with
    /// [`KernelError::Epilogue`] where there is no such byte, or bytes do not hold the grid.
    pub fn run(
        &self,
        kernels: Kernels,
        byte: usize,
        from: &[VectorBlock],
        to: &mut [VectorBlock],
    ) -> Result<(), KernelError> {
        let fits = match self {
            Self::Codes(grid) => grid.fits(),
            _ => true,
        };
        if byte > 3 || !fits {
            return Err(KernelError::Epilogue);
        }
        if from.len() < to.len() {
            return Err(KernelError::Memory);
        }
        kernels.dispatch(Run {
            convert: self,
            byte,
            from,
            to,
        });
        Ok(())
    }
}

struct Run<'a> {
    convert: &'a Convert,
    byte: usize,
    from: &'a [VectorBlock],
    to: &'a mut [VectorBlock],
}

impl Work for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let shift = 8 * self.byte as u32;
        match self.convert {
            Convert::Floats { scale, offset, low } => {
                let codes = VectorBlock::integers(self.from);
                for (to, &four) in VectorBlock::floats_mut(self.to).iter_mut().zip(codes) {
                    let code = ((four >> shift) & 0xff).wrapping_add(*low);
                    *to = scale * code as f32 + offset;
                }
            }
            Convert::Table(table) => {
                let codes = VectorBlock::integers(self.from);
                for (to, &four) in VectorBlock::floats_mut(self.to).iter_mut().zip(codes) {
                    *to = table[((four >> shift) & 0xff) as usize];
                }
            }
            Convert::Codes(grid) => {
                // SAFETY: by the caller.
                unsafe { codes::<S>(grid, shift, self.from, self.to) }
            }
        }
    }
}

// SAFETY contract: the machine has the instruction set of `S`.
#[inline(always)]
unsafe fn codes<S: Lanes>(
    grid: &InputGrid,
    shift: u32,
    from: &[VectorBlock],
    to: &mut [VectorBlock],
) {
    // SAFETY: vector blocks are whole and aligned; the set is there, by the caller.
    unsafe {
        let (scale, offset) = (S::splat(grid.scale), S::splat(grid.offset));
        let (low, high) = (S::splat(grid.low as f32), S::splat(grid.high as f32));
        for (to, from) in to.chunks_exact_mut(1).zip(from) {
            let values = S::load(std::ptr::from_ref(from).cast());
            let t = S::divide(S::subtract(values, offset), scale);
            let rounded = S::round(S::min(S::max(t, low), high));
            let mut codes = [VectorBlock::default()];
            S::store_integers(std::ptr::from_mut(&mut codes[0]).cast(), rounded);
            let codes = VectorBlock::integers(&codes);
            for (to, code) in VectorBlock::integers_mut(to).iter_mut().zip(codes) {
                *to = (*to & !(0xff << shift)) | (code.wrapping_sub(grid.low) << shift);
            }
        }
    }
}

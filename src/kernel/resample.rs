//! Elements that are weighted sums of a few of a plane: interpolation, and means of uneven windows.

use super::assembly::{LaneSources, Maps, by_block};
use super::lanes::Lanes;
use super::{KernelError, Kernels, VectorBlock, Work};

/// One plane of floats made of another. Each vector block is a sum, in the order of its taps, of a vector block
/// whose lanes come from anywhere, times a factor of its column, then times one of its row.
///
/// ```
/// use burn_compress_kernel::{Kernels, Resample, VectorBlock};
/// let mut resample = Resample::default();
/// let tap = |block: usize| {
///     let lanes = std::array::from_fn(|lane| Some((0, block * 16 + lane)));
///     (lanes, [0.5; 16], [1.0; 16])
/// };
/// resample.push(0, &[tap(0), tap(1)]);
/// let from = [1.0, 4.0].map(VectorBlock::of_floats);
/// let mut to = [VectorBlock::default()];
/// resample.run(Kernels::detect(), &from, &mut to)?;
/// assert_eq!(to[0], VectorBlock::of_floats(2.5));
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resample {
    // Where results go, and the end of their taps.
    blocks: Vec<(u32, u32)>,
    taps: Vec<Tap>,
    // The vector blocks that a tap's lanes come from, each with its map.
    parts: Vec<(u32, u32)>,
    maps: Maps,
    factors: Vec<VectorBlock>,
    // Vector blocks that must be there to read and to write.
    needs: (usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Tap {
    // The end of its parts, and its factors of column and row.
    parts: u32,
    factors: [u32; 2],
}

// The map of a vector block that is taken as it is.
const WHOLE: u32 = u32::MAX;

impl Resample {
    /// One more vector block to write: for each tap where its lanes come from (the one source; none: zero), and
    /// its factors by column and by row.
    pub fn push(&mut self, to: u32, taps: &[(LaneSources, [f32; 16], [f32; 16])]) {
        self.needs.1 = self.needs.1.max((to as usize).saturating_add(1));
        for (lanes, column, row) in taps {
            for ((_, from), map) in by_block(lanes) {
                self.needs.0 = self.needs.0.max(from + 1);
                let whole = (map.iter().enumerate()).all(|(lane, &from)| from == lane as i32);
                let map = if whole { WHOLE } else { self.maps.index(map) };
                self.parts.push((from as u32, map));
            }
            let factors = [self.factor(column), self.factor(row)];
            self.taps.push(Tap {
                parts: self.parts.len() as u32,
                factors,
            });
        }
        self.blocks.push((to, self.taps.len() as u32));
    }

    // Where factors lie; those of a row follow each other, and repeat.
    fn factor(&mut self, factors: &[f32; 16]) -> u32 {
        let mut block = [VectorBlock::default()];
        VectorBlock::floats_mut(&mut block).copy_from_slice(factors);
        let known = self.factors.iter().rposition(|known| *known == block[0]);
        known.unwrap_or_else(|| {
            self.factors.push(block[0]);
            self.factors.len() - 1
        }) as u32
    }

    /// One plane. Fails with [`KernelError::Memory`] where a vector block lies outside.
    pub fn run(
        &self,
        kernels: Kernels,
        from: &[VectorBlock],
        to: &mut [VectorBlock],
    ) -> Result<(), KernelError> {
        if from.len() < self.needs.0 || to.len() < self.needs.1 {
            return Err(KernelError::Memory);
        }
        kernels.dispatch(Run {
            resample: self,
            from,
            to,
        });
        Ok(())
    }
}

struct Run<'a> {
    resample: &'a Resample,
    from: &'a [VectorBlock],
    to: &'a mut [VectorBlock],
}

impl Work for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let Self { resample, from, to } = self;
        let (mut tap, mut part) = (0, 0);
        for &(place, taps) in &resample.blocks {
            // SAFETY: vector blocks are whole and aligned; the set is there by the contract of `Work`.
            unsafe {
                // Adding to -0 changes nothing.
                let mut sum = S::splat(-0.0);
                while tap < taps as usize {
                    let Tap { parts, factors } = resample.taps[tap];
                    let mut lanes = S::splat_integer(0);
                    while part < parts as usize {
                        let (block, map) = resample.parts[part];
                        let block = std::ptr::from_ref(&from[block as usize]);
                        let block = S::load_integers(block.cast());
                        lanes = match map {
                            WHOLE => block,
                            map => S::permute(block, &resample.maps.all[map as usize], lanes),
                        };
                        part += 1;
                    }
                    // No closure, which a compiler may leave a call, of no instruction set.
                    let [column, row] = factors;
                    let column = std::ptr::from_ref(&resample.factors[column as usize]);
                    let row = std::ptr::from_ref(&resample.factors[row as usize]);
                    let (column, row) = (S::load(column.cast()), S::load(row.cast()));
                    let product = S::multiply(S::multiply(S::as_floats(lanes), column), row);
                    sum = S::add(sum, product);
                    tap += 1;
                }
                let to = std::ptr::from_mut(&mut to[place as usize]);
                S::store(to.cast(), sum);
            }
        }
    }
}

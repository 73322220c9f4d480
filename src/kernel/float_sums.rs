//! The loops of a product of floats.

use super::lanes::Lanes;
use super::sums::Task;
use super::{FILTER_BLOCK, Position, SharedEntry, SparseEntry};

impl Task<'_> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) unsafe fn floats_by_filter<S: Lanes, const P: usize>(
        &self,
        entries: [&[SparseEntry]; FILTER_BLOCK],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let starts = self.starts::<P>(chunk);
            macro_rules! filter {
                ($f:literal) => {
                    let mut sums = self.start_floats::<S, P>($f);
                    add_floats::<S, P>(entries[$f], &starts, &mut sums);
                    self.finish_floats::<S, $f, P>(sums, chunk);
                };
            }
            filter!(0);
            filter!(1);
            filter!(2);
            filter!(3);
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) unsafe fn floats_shared<S: Lanes, const F: usize, const P: usize>(
        &self,
        entries: &[SharedEntry],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let starts = self.starts::<P>(chunk);
            macro_rules! filters {
                ($first:literal) => {
                    let mut sums: [[S::Floats; P]; F] = std::array::from_fn(|f| {
                        [S::splat((&*self.filters)[($first + f) % FILTER_BLOCK].filter.offset); P]
                    });
                    for entry in entries {
                        for (i, start) in starts.iter().enumerate() {
                            let x = S::load(start.add(entry.offset as usize).cast());
                            for (f, sums) in sums.iter_mut().enumerate() {
                                let weight = S::splat(f32::from_bits(
                                    entry.bits[($first + f) % FILTER_BLOCK],
                                ));
                                sums[i] = S::multiply_add(x, weight, sums[i]);
                            }
                        }
                    }
                    macro_rules! finish {
                        ($f:literal) => {
                            if $f >= $first && $f < $first + F {
                                self.finish_floats::<S, $f, P>(sums[($f - $first) % F], chunk);
                            }
                        };
                    }
                    finish!(0);
                    finish!(1);
                    finish!(2);
                    finish!(3);
                };
            }
            filters!(0usize);
            if F == 2 {
                filters!(2usize);
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn start_floats<S: Lanes, const P: usize>(
        &self,
        filter: usize,
    ) -> [S::Floats; P] {
        // SAFETY: by `Work::run`.
        unsafe { [S::splat((&*self.filters)[filter].filter.offset); P] }
    }

    #[inline(always)]
    pub(super) unsafe fn finish_floats<S: Lanes, const F: usize, const P: usize>(
        &self,
        sums: [S::Floats; P],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let (least, most) = self.epilogue.bounds;
            let (least, most) = (S::splat(least), S::splat(most));
            for (i, sum) in sums.into_iter().enumerate() {
                let position = chunk.get_unchecked(i);
                let place = position.output as usize - self.first;
                let t = match self.epilogue.residual {
                    Some(residual) => {
                        let from = position.residual as usize;
                        let block = self.residual.add(F * residual.plane + from);
                        let factor = S::splat(residual.factor);
                        S::multiply_add(S::load(block.cast()), factor, sum)
                    }
                    None => sum,
                };
                let t = S::min(S::max(t, least), most);
                S::store(self.output.add(F * self.plane + place).cast(), t);
            }
        }
    }
}

// Adds to the sums of one filter.
#[inline(always)]
pub(super) unsafe fn add_floats<S: Lanes, const P: usize>(
    entries: &[SparseEntry],
    starts: &[*const u8; P],
    sums: &mut [S::Floats; P],
) {
    let mut now = *sums;
    // SAFETY: by the callers.
    unsafe {
        for entry in entries {
            let weight = S::splat(f32::from_bits(entry.bits));
            for (sum, start) in now.iter_mut().zip(starts) {
                let x = S::load(start.add(entry.offset as usize).cast());
                *sum = S::multiply_add(x, weight, *sum);
            }
        }
    }
    *sums = now;
}

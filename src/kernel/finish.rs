//! From the sums of a block of filters to what is written: codes, or floats.

use super::lanes::Lanes;
use super::specialize::Specialization;
use super::sums::Task;
use super::{Position, Sink};

// Runs the epilogue of, and writes, the sums of a block of filters, given by filter: each before the next
// one's are made.
macro_rules! finish_filter_block {
    ($task:expr, $lanes:ident, $specialization:ident, $positions:ident, $chunk:expr, $sums:ident) => {{
        let task = &$task;
        let residual = task.residual_blocks::<$lanes, $specialization, $positions>($chunk);
        let first =
            task.requantize::<$lanes, $specialization, 0, $positions>($sums!(0), $chunk, &residual);
        let second =
            task.requantize::<$lanes, $specialization, 1, $positions>($sums!(1), $chunk, &residual);
        let before = pair::<$lanes, $positions>(first, second);
        let before = before.map(|pair| $lanes::optimization_barrier_pair(pair));
        let first =
            task.requantize::<$lanes, $specialization, 2, $positions>($sums!(2), $chunk, &residual);
        let second =
            task.requantize::<$lanes, $specialization, 3, $positions>($sums!(3), $chunk, &residual);
        let after = pair::<$lanes, $positions>(first, second);
        task.write::<$lanes, $positions>(before, after, $chunk);
    }};
}

pub(super) use finish_filter_block;

impl Task<'_> {
    // Whether its epilogue is a specialized one.
    #[inline(always)]
    pub(super) fn is_specialized<S: Lanes>(&self) -> bool {
        // What is shifted becomes codes.
        S::FUSED && self.prepared.shifted && self.prepared.exact_residual && !self.clamps
    }

    // What the sums of a filter of the block of filters start at, as `finish` takes them.
    #[inline(always)]
    pub(super) unsafe fn start<S: Lanes, C: Specialization>(&self, filter: usize) -> i32 {
        // SAFETY: by `Work::run`.
        let prepared = unsafe { &(&*self.filters)[filter] };
        let start = match C::SPECIALIZED || self.prepared.shifted && S::FUSED {
            true => prepared.shifted_start,
            false => prepared.filter.start,
        };
        match S::SIGNED {
            true => start.wrapping_add(prepared.lacking),
            false => start,
        }
    }

    // The codes of a filter's sums, which are made before what is written after this.
    #[inline(always)]
    pub(super) unsafe fn requantize<S: Lanes, C: Specialization, const F: usize, const P: usize>(
        &self,
        sums: [S::Sums; P],
        chunk: &[Position],
        residual: &[S::Integers; P],
    ) -> [S::Integers; P] {
        // SAFETY: by `Work::run`.
        unsafe {
            let codes = self.finish::<S, C, F, P>(totals::<S, P>(sums), chunk, residual);
            codes.map(|codes| S::optimization_barrier(codes))
        }
    }

    // SAFETY contract: as of `Work::run`; of codes.
    #[inline(always)]
    unsafe fn residual_block<S: Lanes>(&self, chunk: &[Position], position: usize) -> S::Integers {
        // SAFETY: by the contract.
        unsafe {
            let place = chunk.get_unchecked(position).residual as usize;
            S::load_integers(self.residual.add(place).cast())
        }
    }

    // What is added to the four filters of the block, read once for all where it is known to be there and
    // registers hold it.
    #[inline(always)]
    pub(super) unsafe fn residual_blocks<S: Lanes, C: Specialization, const P: usize>(
        &self,
        chunk: &[Position],
    ) -> [S::Integers; P] {
        // SAFETY: by `Work::run`.
        unsafe {
            let mut blocks = [S::splat_integer(0); P];
            if C::RESIDUAL && S::HOLDS_RESIDUAL {
                for (i, block) in blocks.iter_mut().enumerate() {
                    *block = S::optimization_barrier(self.residual_block::<S>(chunk, i));
                }
            }
            blocks
        }
    }

    // From sums of whole numbers to codes, which are given back, or to floats, which are written.
    #[inline(always)]
    pub(super) unsafe fn finish<S: Lanes, C: Specialization, const F: usize, const P: usize>(
        &self,
        sums: [S::Integers; P],
        chunk: &[Position],
        residual: &[S::Integers; P],
    ) -> [S::Integers; P] {
        // SAFETY: by `Work::run`.
        unsafe {
            let prepared = &(&*self.filters)[F];
            let multiplier = S::splat(prepared.filter.multiplier);
            let offset = S::splat(prepared.filter.offset);
            let mut results = [S::splat(0.0); P];
            if C::SPECIALIZED || self.prepared.shifted && S::FUSED {
                let unshift = S::splat(prepared.unshift);
                for (t, sum) in results.iter_mut().zip(sums) {
                    let scaled = S::multiply_add(S::as_floats(sum), multiplier, unshift);
                    *t = S::add(scaled, offset);
                }
            } else {
                for (t, sum) in results.iter_mut().zip(sums) {
                    let scaled = S::multiply(S::to_floats(sum), multiplier);
                    *t = S::add(scaled, offset);
                }
            }
            if C::RESIDUAL || (!C::SPECIALIZED && self.epilogue.residual.is_some()) {
                let factor = S::splat(self.prepared.residual.factor);
                let low = S::splat_integer(self.prepared.residual.low);
                for (i, t) in results.iter_mut().enumerate() {
                    let codes = match C::RESIDUAL && S::HOLDS_RESIDUAL {
                        true => residual[i],
                        false => self.residual_block::<S>(chunk, i),
                    };
                    let code = match F {
                        0 => S::byte::<0>(codes, low),
                        1 => S::byte::<1>(codes, low),
                        2 => S::byte::<2>(codes, low),
                        _ => S::byte::<3>(codes, low),
                    };
                    let code = S::to_floats(code);
                    *t = match C::SPECIALIZED || self.prepared.exact_residual {
                        true => S::multiply_add(code, factor, *t),
                        false => S::add(*t, S::multiply(code, factor)),
                    };
                }
            }
            if !C::SPECIALIZED && self.clamps {
                let (least, most) = self.epilogue.bounds;
                let (least, most) = (S::splat(least), S::splat(most));
                for t in &mut results {
                    *t = S::min(S::max(*t, least), most);
                }
            }
            let mut codes = [S::splat_integer(0); P];
            if C::SPECIALIZED || self.epilogue.sink != Sink::Floats {
                for (code, t) in codes.iter_mut().zip(results) {
                    *code = S::round(t);
                }
            } else {
                for (i, t) in results.into_iter().enumerate() {
                    let place = chunk.get_unchecked(i).output as usize - self.first;
                    S::store(self.output.add(F * self.plane + place).cast(), t);
                }
            }
            codes
        }
    }

    #[inline(always)]
    pub(super) unsafe fn write<S: Lanes, const P: usize>(
        &self,
        first: [S::Pairs; P],
        second: [S::Pairs; P],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            macro_rules! codes {
                ($term:expr) => {
                    for i in 0..P {
                        let codes = S::pack(first[i], second[i], $term);
                        let place = chunk.get_unchecked(i).output as usize - self.first;
                        S::store_integers(self.output.add(place).cast(), codes);
                    }
                };
            }
            match self.epilogue.sink {
                // Behind a ReLU: adding nothing is left out.
                Sink::Codes { low: 0 } => codes!(0),
                Sink::Codes { low } => codes!(-low as i16),
                Sink::Floats => {}
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn totals<S: Lanes, const P: usize>(sums: [S::Sums; P]) -> [S::Integers; P] {
    // SAFETY: the machine has the set, by the callers.
    unsafe {
        let mut totals = [S::splat_integer(0); P];
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = S::total(sum);
        }
        totals
    }
}

#[inline(always)]
pub(super) unsafe fn pair<S: Lanes, const P: usize>(
    first: [S::Integers; P],
    second: [S::Integers; P],
) -> [S::Pairs; P] {
    // SAFETY: the machine has the set, by the callers.
    std::array::from_fn(|i| unsafe { S::pair(first[i], second[i]) })
}

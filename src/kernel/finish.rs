//! From the sums of a quad to what is written: codes, or floats.

use super::ends::Case;
use super::lanes::Lanes;
use super::sums::Task;
use super::{Position, Sink};

// Ends and writes the sums of a quad, given by filter: each before the next one's are made.
macro_rules! end_quad {
    ($task:expr, $lanes:ident, $case:ident, $positions:ident, $chunk:expr, $sums:ident) => {{
        let task = &$task;
        let residual = task.residual_cells::<$lanes, $case, $positions>($chunk);
        let first = task.end::<$lanes, $case, 0, $positions>($sums!(0), $chunk, &residual);
        let second = task.end::<$lanes, $case, 1, $positions>($sums!(1), $chunk, &residual);
        let before = pair::<$lanes, $positions>(first, second);
        let before = before.map(|pair| $lanes::made_pair(pair));
        let first = task.end::<$lanes, $case, 2, $positions>($sums!(2), $chunk, &residual);
        let second = task.end::<$lanes, $case, 3, $positions>($sums!(3), $chunk, &residual);
        let after = pair::<$lanes, $positions>(first, second);
        task.write::<$lanes, $positions>(before, after, $chunk);
    }};
}

pub(super) use end_quad;

impl Task<'_> {
    // Whether its ends are of the known cases.
    #[inline(always)]
    pub(super) fn is_known<S: Lanes>(&self) -> bool {
        // What is shifted becomes codes.
        S::FUSED && self.ends.shifted && self.ends.exact_residual && !self.clamps
    }

    // What the sums of a filter of the quad start at, as `finish` takes them.
    #[inline(always)]
    pub(super) unsafe fn start<S: Lanes, C: Case>(&self, filter: usize) -> i32 {
        // SAFETY: by `Work::run`.
        let end = unsafe { &(&*self.filters)[filter] };
        match C::KNOWN || self.ends.shifted && S::FUSED {
            true => end.shifted_start,
            false => end.filter.start,
        }
    }

    // The codes of a filter's sums, which end before what is written after this.
    #[inline(always)]
    pub(super) unsafe fn end<S: Lanes, C: Case, const F: usize, const P: usize>(
        &self,
        sums: [S::Sums; P],
        chunk: &[Position],
        residual: &[S::Integers; P],
    ) -> [S::Integers; P] {
        // SAFETY: by `Work::run`.
        unsafe {
            let codes = self.finish::<S, C, F, P>(totals::<S, P>(sums), chunk, residual);
            codes.map(|codes| S::made(codes))
        }
    }

    // SAFETY contract: as of `Work::run`; of codes.
    #[inline(always)]
    unsafe fn residual_cell<S: Lanes>(&self, chunk: &[Position], position: usize) -> S::Integers {
        // SAFETY: by the contract.
        unsafe {
            let place = chunk.get_unchecked(position).residual as usize;
            S::load_integers(self.residual.add(place).cast())
        }
    }

    // What is added to the four filters of the quad, read once for all where it is known to be there and
    // registers hold it.
    #[inline(always)]
    pub(super) unsafe fn residual_cells<S: Lanes, C: Case, const P: usize>(
        &self,
        chunk: &[Position],
    ) -> [S::Integers; P] {
        // SAFETY: by `Work::run`.
        unsafe {
            let mut cells = [S::splat_integer(0); P];
            if C::RESIDUAL && S::HOLDS_RESIDUAL {
                for (i, cell) in cells.iter_mut().enumerate() {
                    *cell = S::made(self.residual_cell::<S>(chunk, i));
                }
            }
            cells
        }
    }

    // From sums of whole numbers to codes, which are given back, or to floats, which are written.
    #[inline(always)]
    pub(super) unsafe fn finish<S: Lanes, C: Case, const F: usize, const P: usize>(
        &self,
        sums: [S::Integers; P],
        chunk: &[Position],
        residual: &[S::Integers; P],
    ) -> [S::Integers; P] {
        // SAFETY: by `Work::run`.
        unsafe {
            let end = &(&*self.filters)[F];
            let multiplier = S::splat(end.filter.multiplier);
            let offset = S::splat(end.filter.offset);
            let mut ends = [S::splat(0.0); P];
            if C::KNOWN || self.ends.shifted && S::FUSED {
                let unshift = S::splat(end.unshift);
                for (t, sum) in ends.iter_mut().zip(sums) {
                    let scaled = S::multiply_add(S::as_floats(sum), multiplier, unshift);
                    *t = S::add(scaled, offset);
                }
            } else {
                for (t, sum) in ends.iter_mut().zip(sums) {
                    let scaled = S::multiply(S::to_floats(sum), multiplier);
                    *t = S::add(scaled, offset);
                }
            }
            if C::RESIDUAL || (!C::KNOWN && self.epilogue.residual.is_some()) {
                let factor = S::splat(self.ends.residual.factor);
                let low = S::splat_integer(self.ends.residual.low);
                for (i, t) in ends.iter_mut().enumerate() {
                    let codes = match C::RESIDUAL && S::HOLDS_RESIDUAL {
                        true => residual[i],
                        false => self.residual_cell::<S>(chunk, i),
                    };
                    let code = match F {
                        0 => S::byte::<0>(codes, low),
                        1 => S::byte::<1>(codes, low),
                        2 => S::byte::<2>(codes, low),
                        _ => S::byte::<3>(codes, low),
                    };
                    let code = S::to_floats(code);
                    *t = match C::KNOWN || self.ends.exact_residual {
                        true => S::multiply_add(code, factor, *t),
                        false => S::add(*t, S::multiply(code, factor)),
                    };
                }
            }
            if !C::KNOWN && self.clamps {
                let (least, most) = self.epilogue.bounds;
                let (least, most) = (S::splat(least), S::splat(most));
                for t in &mut ends {
                    *t = S::min(S::max(*t, least), most);
                }
            }
            let mut codes = [S::splat_integer(0); P];
            if C::KNOWN || self.epilogue.sink != Sink::Floats {
                for (code, t) in codes.iter_mut().zip(ends) {
                    *code = S::round(t);
                }
            } else {
                for (i, t) in ends.into_iter().enumerate() {
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
                        let codes = S::quad(first[i], second[i], $term);
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

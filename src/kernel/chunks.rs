//! Positions in chunks, of which the registers hold the sums.

/// Positions of each of as few chunks as `most` allows, and how many of these have one more: a short one
/// costs nearly as much as a whole one.
#[inline(always)]
pub(super) fn even(positions: usize, most: usize) -> (usize, usize) {
    if positions <= most {
        return (positions, 0);
    }
    let chunks = positions.div_ceil(most);
    (positions / chunks, positions % chunks)
}

// Runs a loop over positions that are whole chunks, of so many each, once or twice: for the longer ones and
// the others. Chunks are of `$most` positions at most, for which the loop is compiled, or of `$few`, if that
// is less. It must be no closure, which a compiler may leave a call, of no instruction set.
macro_rules! chunks {
    ($positions:expr, $most:expr, $few:expr, $call:ident) => {{
        let positions: &[Position] = $positions;
        let (each, longer) = $crate::chunks::even(positions.len(), $most.min($few));
        let (first, rest) = positions.split_at(longer * (each + 1));
        for (size, part) in [(each + 1, first), (each, rest)] {
            match size {
                _ if part.is_empty() => {}
                8 if $most >= 8 => $call!(8, part),
                7 if $most >= 7 => $call!(7, part),
                6 if $most >= 6 => $call!(6, part),
                5 if $most >= 5 => $call!(5, part),
                4 if $most >= 4 => $call!(4, part),
                3 if $most >= 3 => $call!(3, part),
                2 if $most >= 2 => $call!(2, part),
                _ => $call!(1, part),
            }
        }
    }};
}

pub(super) use chunks;

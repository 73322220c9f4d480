//! Whole numbers without a sign.

/// Numbers on both sides of zero by turns, 0, -1, 1, -2, … as 0, 1, 2, 3, …, as far as there are any on
/// both; then those of the longer side. The numbers from the least to the greatest are 0, 1, 2, … in
/// some order, so that none is left out.
#[derive(Clone, Copy)]
pub(super) struct Fold {
    /// How far the shorter side reaches.
    both: u32,
    /// Whether the longer side is that below zero.
    below: bool,
}

impl Fold {
    /// Of numbers from `low` (at most 0) to `high` (at least 0).
    pub fn of(low: i32, high: i32) -> Self {
        let (below, above) = (low.unsigned_abs(), high.unsigned_abs());
        Self {
            both: below.min(above),
            below: below > above,
        }
    }

    pub fn fold(self, number: i32) -> u32 {
        match number.unsigned_abs() {
            size if size > self.both => self.both + size,
            size => 2 * size - u32::from(number < 0),
        }
    }

    #[inline(always)]
    pub fn unfold(self, folded: u32) -> i32 {
        let (size, below) = match folded > 2 * self.both {
            true => (folded - self.both, self.below),
            false => (folded.div_ceil(2), folded % 2 == 1),
        };
        match below {
            true => (size as i32).wrapping_neg(),
            false => size as i32,
        }
    }

    /// As one number, and back; none where it is no fold.
    pub fn to_number(self) -> usize {
        (self.both as usize) << 1 | usize::from(self.below)
    }

    pub fn from_number(number: usize) -> Option<Self> {
        let both = u32::try_from(number >> 1).ok()?;
        let below = number & 1 == 1;
        (both <= i32::MAX as u32).then_some(Self { both, below })
    }
}

/// The least and the greatest of finite values, and how many are zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extremes {
    pub low: f32,
    pub high: f32,
    pub zeros: u64,
}

impl Extremes {
    /// None of no values, and where one is not finite.
    pub fn of(values: &[f32]) -> Option<Self> {
        let first = *values.first()?;
        let (mut low, mut high, mut zeros) = (first, first, 0);
        for values in values.chunks(1 << 24) {
            let lanes = Lanes::of(values, first);
            low = lanes.low.into_iter().fold(low, f32::min);
            high = lanes.high.into_iter().fold(high, f32::max);
            zeros += lanes
                .zeros
                .iter()
                .map(|count| u64::from(*count))
                .sum::<u64>();
            if lanes.finite.iter().any(|product| product.is_nan()) {
                return None;
            }
        }
        Some(Self { low, high, zeros })
    }
}

// As many values side by side as the processor's vectors hold, a few times over.
const LANES: usize = 16;

struct Lanes {
    low: [f32; LANES],
    high: [f32; LANES],
    zeros: [u32; LANES],
    /// Zero as long as all values are finite: any other times zero is NaN.
    finite: [f32; LANES],
}

impl Lanes {
    fn of(values: &[f32], first: f32) -> Self {
        let mut lanes = Self {
            low: [first; LANES],
            high: [first; LANES],
            zeros: [0; LANES],
            finite: [0.0; LANES],
        };
        let (rows, rest) = values.as_chunks::<LANES>();
        for row in rows {
            lanes.see(row);
        }
        // Once more the first value fills a last row; it may be zero, which is no further one.
        if !rest.is_empty() {
            let mut row = [first; LANES];
            row[..rest.len()].copy_from_slice(rest);
            lanes.see(&row);
            if first == 0.0 {
                for zeros in &mut lanes.zeros[rest.len()..] {
                    *zeros -= 1;
                }
            }
        }
        lanes
    }

    #[inline(always)]
    fn see(&mut self, row: &[f32; LANES]) {
        for (lane, value) in row.iter().copied().enumerate() {
            self.low[lane] = if value < self.low[lane] {
                value
            } else {
                self.low[lane]
            };
            self.high[lane] = if value > self.high[lane] {
                value
            } else {
                self.high[lane]
            };
            self.zeros[lane] += u32::from(value == 0.0);
            self.finite[lane] += value * 0.0;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    // Values of any sign and size, many of them zero, none of them in order.
    pub fn numbers(count: usize) -> Vec<f32> {
        let number = |index: usize| match index * 7919 % 1009 {
            0..300 => [0.0, -0.0][index % 2],
            rest => (rest as f32 - 700.0) * 0.013 * (1.0 + (index % 17) as f32),
        };
        (0..count).map(number).collect()
    }

    #[test]
    fn extremes_are_those_of_a_plain_search() {
        for count in [1, 2, 15, 16, 17, 1000, 4099] {
            for offset in [0.0, 3.0, -200.0] {
                let values: Vec<f32> = numbers(count).iter().map(|x| x + offset).collect();
                let found = Extremes::of(&values).unwrap();
                assert_eq!(
                    found.low,
                    values.iter().copied().fold(f32::INFINITY, f32::min)
                );
                let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(found.high, high);
                let zeros = values.iter().filter(|value| **value == 0.0).count();
                assert_eq!(found.zeros, zeros as u64);
            }
        }
        assert!(Extremes::of(&[]).is_none());
    }

    #[test]
    fn what_is_not_finite_is_seen_wherever_it_is() {
        for count in [1, 16, 37] {
            for place in 0..count {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut values = numbers(count);
                    values[place] = bad;
                    assert!(
                        Extremes::of(&values).is_none(),
                        "{bad} at {place} of {count}"
                    );
                }
            }
        }
    }
}

use super::coding::{excludes_zero, middle};
use super::extremes::Extremes;

// Bins of each half.
const BINS: usize = 2048;

// The least bound: bins of a smaller one are more for each unit than a float tells.
const LEAST: f64 = 1e-35;

/// How often values occurred, in bins of equal width to both sides of a centre. Grows by doubling its
/// width, so that no value is ever left out and none is counted in a wrong bin.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    /// Zero, or the middle of the first values where they lie far from it.
    centre: f32,
    /// Upper end of the outermost bin, from the centre on; 0 before the first value other than zero.
    bound: f64,
    below: Vec<u64>,
    above: Vec<u64>,
    /// Zeros, where they are the centre.
    zeros: u64,
    low: f32,
    high: f32,
}

// How often values fall in each bin, above and below the centre in turn; the centre among those above.
fn count(values: &[f32], centre: f32, bins_per_unit: f32) -> Vec<u32> {
    // Several counts of each bin: many values in a row are the same, often zero, and a count that was
    // just written takes long to be read again.
    const COUNTS: usize = 4;
    let mut counts = vec![[0u32; COUNTS]; 2 * BINS];
    let mut places = [0u16; 1024];
    for values in values.chunks(places.len()) {
        for (place, value) in places.iter_mut().zip(values) {
            // From -0.0 to 0.0.
            let value = value - centre + 0.0;
            let bin = (value.abs() * bins_per_unit).min((BINS - 1) as f32) as i32;
            *place = (2 * bin + i32::from(value < 0.0)) as u16;
        }
        let (rows, rest) = places[..values.len()].as_chunks::<COUNTS>();
        for row in rows {
            for (of, place) in row.iter().enumerate() {
                counts[usize::from(*place)][of] += 1;
            }
        }
        for place in rest {
            counts[usize::from(*place)][0] += 1;
        }
    }
    counts.iter().map(|counts| counts.iter().sum()).collect()
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            centre: 0.0,
            bound: 0.0,
            below: vec![0; BINS],
            above: vec![0; BINS],
            zeros: 0,
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
        }
    }

    /// Counts the values whose extremes these are; around their middle, if they are the first, lie far
    /// from zero and may be coded so (`free`).
    pub fn add(&mut self, values: &[f32], extremes: &Extremes, free: bool) {
        let is_first = self.low > self.high;
        if is_first && free && excludes_zero(extremes.low, extremes.high) {
            self.centre = middle(extremes.low, extremes.high);
        }
        self.low = self.low.min(extremes.low);
        self.high = self.high.max(extremes.high);
        let centre = f64::from(self.centre);
        let ends = [extremes.low, extremes.high].map(|end| (f64::from(end) - centre).abs());
        let greatest = ends[0].max(ends[1]);
        let zeros = match self.centre == 0.0 {
            true => extremes.zeros,
            false => 0,
        };
        self.zeros += zeros;
        if greatest == 0.0 && self.centre == 0.0 {
            return;
        }
        if self.bound == 0.0 {
            self.bound = greatest
                .max(LEAST)
                .max(centre.abs() * f64::from(f32::EPSILON));
        }
        while self.bound < greatest {
            self.bound *= 2.0;
            for half in [&mut self.below, &mut self.above] {
                for bin in 0..BINS / 2 {
                    half[bin] = half[2 * bin] + half[2 * bin + 1];
                }
                half[BINS / 2..].fill(0);
            }
        }
        let bins_per_unit = (BINS as f64 / self.bound) as f32;
        for values in values.chunks(1 << 24) {
            let counts = count(values, self.centre, bins_per_unit);
            for (bin, pair) in counts.chunks_exact(2).enumerate() {
                self.above[bin] += u64::from(pair[0]);
                self.below[bin] += u64::from(pair[1]);
            }
        }
        // Zeros were counted among what is barely above.
        self.above[0] -= zeros;
    }

    /// What the bins' numbers are relative to.
    pub fn centre(&self) -> f32 {
        self.centre
    }

    /// The least and the greatest value.
    pub fn extremes(&self) -> (f32, f32) {
        (self.low, self.high)
    }

    /// The width of a bin.
    pub fn width(&self) -> f32 {
        (self.bound / BINS as f64) as f32
    }

    /// The middle of each bin that is not empty less the centre, rising, and how often it occurred.
    pub fn bins(&self) -> Vec<(f32, u64)> {
        let width = self.width();
        let half = |bins: &[u64], sign: f32| -> Vec<(f32, u64)> {
            let bins = bins.iter().enumerate().filter(|(_, count)| **count > 0);
            let middle = |bin: usize| (sign * (bin as f32 + 0.5) * width).clamp(f32::MIN, f32::MAX);
            bins.map(|(bin, count)| (middle(bin), *count)).collect()
        };
        let mut all = half(&self.below, -1.0);
        all.reverse();
        if self.zeros > 0 {
            all.push((0.0, self.zeros));
        }
        all.extend(half(&self.above, 1.0));
        all
    }

    /// The mean of the values' squares.
    pub fn mean_square(&self) -> f64 {
        let bins = self.bins();
        let square = |middle: f32| (f64::from(self.centre) + f64::from(middle)).powi(2);
        let sum: f64 = (bins.iter())
            .map(|(middle, count)| square(*middle) * *count as f64)
            .sum();
        let count: u64 = bins.iter().map(|(_, count)| count).sum();
        sum / count.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::extremes::tests::numbers;
    use super::*;

    fn add(histogram: &mut Histogram, values: &[f32]) {
        histogram.add(values, &Extremes::of(values).unwrap(), true);
    }

    #[test]
    fn every_value_is_counted_in_its_bin() {
        let mut histogram = Histogram::new();
        let batches = [
            numbers(1),
            numbers(2053),
            vec![0.0; 5],
            vec![-900.0, 0.125, 0.5],
        ];
        for batch in &batches {
            add(&mut histogram, batch);
        }
        let mut expected = Histogram::new();
        expected.bound = histogram.bound;
        assert!(expected.bound >= 900.0);
        for value in batches.iter().flatten() {
            let bin = (f64::from(value.abs()) / histogram.bound * BINS as f64) as usize;
            match *value {
                0.0 => expected.zeros += 1,
                value if value > 0.0 => expected.above[bin.min(BINS - 1)] += 1,
                _ => expected.below[bin.min(BINS - 1)] += 1,
            }
        }
        assert_eq!(histogram.zeros, expected.zeros);
        let total = |bins: &[u64]| bins.iter().sum::<u64>();
        for (found, expected) in [
            (&histogram.above, &expected.above),
            (&histogram.below, &expected.below),
        ] {
            assert_eq!(total(found), total(expected));
            // A value at an edge may be counted to the other side of it.
            let apart: u64 = found
                .iter()
                .zip(expected)
                .map(|(a, b)| a.abs_diff(*b))
                .sum();
            assert!(
                apart * 100 <= total(expected),
                "{apart} of {}",
                total(expected)
            );
        }
    }

    #[test]
    fn many_equal_values_are_counted_each() {
        let mut histogram = Histogram::new();
        histogram.add(
            &vec![1.0; 5001],
            &Extremes::of(&vec![1.0; 5001]).unwrap(),
            false,
        );
        assert_eq!(histogram.above[BINS - 1], 5001);
        assert_eq!(histogram.bins().len(), 1);
    }

    #[test]
    fn growing_moves_no_count_far() {
        let mut histogram = Histogram::new();
        let mut seen: Vec<f32> = Vec::new();
        let sizes = [0.0, 1e-3, 0.5, 0.4, 3.0, 1e-6, 700.0];
        for (batch, size) in sizes.into_iter().enumerate() {
            let values: Vec<f32> = numbers(101 + batch).iter().map(|x| x * size).collect();
            add(&mut histogram, &values);
            seen.extend(values);
            let bins = histogram.bins();
            let total: u64 = bins.iter().map(|(_, count)| count).sum();
            assert_eq!(total, seen.len() as u64);
            // Up to any bound as many as there are, but for the values of one bin.
            let width = histogram.width();
            let bounds = [-9.0, -0.3, -1e-4, 0.0, 1e-4, 0.3, 7.0];
            for bound in bounds.map(|share| share * size) {
                let below = |bound: f32| seen.iter().filter(|v| **v <= bound).count() as u64;
                let counted = bins.iter().filter(|(centre, _)| *centre <= bound);
                let counted: u64 = counted.map(|(_, count)| count).sum();
                assert!(below(bound - width) <= counted && counted <= below(bound + width));
            }
        }
    }

    #[test]
    fn values_far_from_zero_have_bins_of_their_own() {
        let batch: Vec<f32> = (0..5000)
            .map(|i| 290.0 + (i % 1000) as f32 * 0.02)
            .collect();
        let mut histogram = Histogram::new();
        add(&mut histogram, &batch);
        add(&mut histogram, &[280.0; 3]);
        assert!(histogram.width() < 0.02);
        let bins = histogram.bins();
        assert!(bins.len() > 500, "{}", bins.len());
        assert_eq!(bins.iter().map(|(_, count)| count).sum::<u64>(), 5003);
        assert_eq!(histogram.extremes(), (280.0, batch[999]));
        assert!((histogram.mean_square() / 90_000.0 - 1.0).abs() < 0.01);
        // Zeros, too, where they are not the centre.
        add(&mut histogram, &[0.0; 7]);
        let least = histogram.bins()[0];
        assert_eq!(least.1, 7);
        assert!((histogram.centre() + least.0).abs() <= histogram.width());
    }

    #[test]
    fn tiny_and_huge_values_are_counted() {
        for batch in [vec![1e-40, 0.0, -1e-42], vec![3e38, -3e38, 0.0, 1.0]] {
            let mut histogram = Histogram::new();
            add(&mut histogram, &batch);
            add(&mut histogram, &[f32::MAX, f32::MIN]);
            let bins = histogram.bins();
            let total: u64 = bins.iter().map(|(_, count)| count).sum();
            assert_eq!(total, batch.len() as u64 + 2);
            assert!(bins.iter().all(|(middle, _)| middle.is_finite()));
        }
    }
}

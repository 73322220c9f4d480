use super::extremes::Extremes;
use crate::format::Scheme;

// Bins of each half.
const BINS: usize = 2048;

/// How often values occurred, in bins of equal width to both sides of zero. Grows by doubling its
/// width, so that no value is ever left out and none is counted in a wrong bin.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    /// Upper end of the outermost bin; 0 before the first value other than zero.
    bound: f32,
    negative: Vec<u64>,
    positive: Vec<u64>,
    zeros: u64,
    pub low: f32,
    pub high: f32,
}

// How often values fall in each bin, positive and negative ones in turn; zeros among the positive.
fn count(values: &[f32], bins_per_unit: f32) -> Vec<u32> {
    // Several counts of each bin: many values in a row are the same, often zero, and a count that was
    // just written takes long to be read again.
    const COUNTS: usize = 4;
    let mut counts = vec![[0u32; COUNTS]; 2 * BINS];
    let mut places = [0u16; 1024];
    for values in values.chunks(places.len()) {
        for (place, value) in places.iter_mut().zip(values) {
            // From -0.0 to 0.0.
            let value = value + 0.0;
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
            bound: 0.0,
            negative: vec![0; BINS],
            positive: vec![0; BINS],
            zeros: 0,
            low: 0.0,
            high: 0.0,
        }
    }

    /// Counts the values whose extremes these are.
    pub fn add(&mut self, values: &[f32], extremes: &Extremes) {
        self.low = self.low.min(extremes.low);
        self.high = self.high.max(extremes.high);
        self.zeros += extremes.zeros;
        let greatest = extremes.high.abs().max(extremes.low.abs());
        if greatest == 0.0 {
            return;
        }
        if self.bound == 0.0 {
            self.bound = greatest;
        }
        while self.bound < greatest {
            self.bound *= 2.0;
            for half in [&mut self.negative, &mut self.positive] {
                for bin in 0..BINS / 2 {
                    half[bin] = half[2 * bin] + half[2 * bin + 1];
                }
                half[BINS / 2..].fill(0);
            }
        }
        let bins_per_unit = BINS as f32 / self.bound;
        for values in values.chunks(1 << 24) {
            let counts = count(values, bins_per_unit);
            for (bin, pair) in counts.chunks_exact(2).enumerate() {
                self.positive[bin] += u64::from(pair[0]);
                self.negative[bin] += u64::from(pair[1]);
            }
        }
        // Zeros were counted among what is barely positive.
        self.positive[0] -= extremes.zeros;
    }

    // The centre of a bin that is not empty, and how often it occurred.
    fn bins(&self) -> Vec<(f32, u64)> {
        let width = self.bound / BINS as f32;
        let half = |bins: &[u64], sign: f32| -> Vec<(f32, u64)> {
            let bins = bins.iter().enumerate().filter(|(_, count)| **count > 0);
            bins.map(|(bin, count)| (sign * (bin as f32 + 0.5) * width, *count))
                .collect()
        };
        let mut all = half(&self.negative, -1.0);
        all.reverse();
        if self.zeros > 0 {
            all.push((0.0, self.zeros));
        }
        all.extend(half(&self.positive, 1.0));
        all
    }

    /// The range that leaves out this share of the values at each end.
    pub fn percentile(&self, outside: f64) -> (f32, f32) {
        let bins = self.bins();
        let total: u64 = bins.iter().map(|(_, count)| count).sum();
        let left_out = (total as f64 * outside.clamp(0.0, 0.5)) as u64;
        let end = |mut bins: Box<dyn Iterator<Item = &(f32, u64)> + '_>| {
            let mut seen = 0;
            bins.by_ref()
                .find(|(_, count)| {
                    seen += count;
                    seen > left_out
                })
                .map_or(0.0, |(centre, _)| *centre)
        };
        let width = self.bound / BINS as f32 / 2.0;
        let low = (end(Box::new(bins.iter())) - width).max(self.low);
        let high = (end(Box::new(bins.iter().rev())) + width).min(self.high);
        (low.min(0.0), high.max(0.0))
    }

    /// The range, of a hundred that leave out ever more of what is far from zero, whose codes lie closest
    /// to the values.
    pub fn least_squares(&self, scheme: &Scheme) -> (f32, f32) {
        let bins = self.bins();
        self.best(100, |low, high| {
            let (scale, zero_point) = super::parameters(low, high, scheme);
            let error = |&(centre, count): &(f32, u64)| {
                let code = scheme.quantize(centre, scale, zero_point);
                let difference = scheme.dequantize(code, scale, zero_point) - centre;
                f64::from(difference).powi(2) * count as f64
            };
            bins.iter().map(error).sum()
        })
    }

    /// The range, of the same hundred, whose codes have the distribution that diverges least from that of the
    /// values (after Migacz 2017). Values outside of the range are next to impossible in it.
    pub fn entropy(&self, scheme: &Scheme) -> (f32, f32) {
        // Zeros have a code of their own under every range; they would hide the others.
        let mut bins = self.bins();
        bins.retain(|(centre, _)| *centre != 0.0);
        let total: f64 = bins.iter().map(|(_, count)| *count as f64).sum();
        let (first, last) = scheme.code_range();
        self.best(100, |low, high| {
            let (scale, zero_point) = super::parameters(low, high, scheme);
            let codes: Vec<usize> = bins
                .iter()
                .map(|(centre, _)| (scheme.quantize(*centre, scale, zero_point) - first) as usize)
                .collect();
            // Values within the range, spread evenly over the bins of their code.
            let mut mass = vec![0.0; (last - first + 1) as usize];
            let mut spread = vec![0u64; mass.len()];
            for ((centre, count), code) in bins.iter().zip(&codes) {
                if (low..=high).contains(centre) {
                    mass[*code] += *count as f64;
                    spread[*code] += 1;
                }
            }
            let inside: f64 = mass.iter().sum();
            let divergence = bins.iter().zip(&codes).map(|((centre, count), code)| {
                let p = *count as f64 / total;
                // What saturates is seen as nothing of its own: a small share, lest it be infinite.
                let q = match (low..=high).contains(centre) {
                    true => mass[*code] / spread[*code] as f64 / inside,
                    false => 1e-6 / total,
                };
                p * (p / q).ln()
            });
            divergence.sum()
        })
    }

    fn best(&self, candidates: usize, cost: impl Fn(f32, f32) -> f64) -> (f32, f32) {
        // The longer side gives way first: an outlier on one must not cost the other.
        let greatest = self.high.max(-self.low);
        let ranges = (1..=candidates).rev().map(|candidate| {
            let bound = greatest * (candidate as f32 / candidates as f32);
            (self.low.max(-bound), self.high.min(bound))
        });
        let costs = ranges.map(|(low, high)| (cost(low, high), (low, high)));
        costs
            .min_by(|(a, _), (b, _)| a.total_cmp(b))
            .map_or((self.low, self.high), |(_, range)| range)
    }
}

#[cfg(test)]
mod tests {
    use super::super::extremes::tests::numbers;
    use super::*;

    fn add(histogram: &mut Histogram, values: &[f32]) {
        histogram.add(values, &Extremes::of(values).unwrap());
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
            let bin = (value.abs() / histogram.bound * BINS as f32) as usize;
            match *value {
                0.0 => expected.zeros += 1,
                value if value > 0.0 => expected.positive[bin.min(BINS - 1)] += 1,
                _ => expected.negative[bin.min(BINS - 1)] += 1,
            }
        }
        assert_eq!(histogram.zeros, expected.zeros);
        let total = |bins: &[u64]| bins.iter().sum::<u64>();
        for (found, expected) in [
            (&histogram.positive, &expected.positive),
            (&histogram.negative, &expected.negative),
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
        add(&mut histogram, &vec![1.0; 5001]);
        assert_eq!(histogram.positive[BINS - 1], 5001);
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
            let width = histogram.bound / BINS as f32;
            let bounds = [-9.0, -0.3, -1e-4, 0.0, 1e-4, 0.3, 7.0];
            for bound in bounds.map(|share| share * size) {
                let below = |bound: f32| seen.iter().filter(|v| **v <= bound).count() as u64;
                let counted = bins.iter().filter(|(centre, _)| *centre <= bound);
                let counted: u64 = counted.map(|(_, count)| count).sum();
                assert!(below(bound - width) <= counted && counted <= below(bound + width));
            }
        }
    }
}

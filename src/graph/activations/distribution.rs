//! The range that codes of a distribution cover best.

use std::collections::BTreeMap;

use super::coding::{Coding, is_far};
use super::histogram::Histogram;
use crate::format::Scheme;

/// Ranges looked at.
const CANDIDATES: usize = 100;

/// How often the values of one quantizer occurred.
pub(super) struct Distribution {
    /// Values less the reference, rising.
    bins: Vec<(f32, u64)>,
    reference: f32,
    /// Half the width of a bin.
    half: f32,
    /// The least and the greatest value.
    low: f32,
    high: f32,
    /// Whether codes may stand for values around an offset.
    free: bool,
}

impl Distribution {
    /// Of all values of some tensors, each divided by its factor.
    pub fn of(parts: &[(&Histogram, f32)], free: bool) -> Self {
        let ends = parts.iter().map(|(histogram, factor)| {
            let (low, high) = histogram.extremes();
            (low / factor, high / factor)
        });
        let (mut low, mut high) = ends.fold((f32::MAX, f32::MIN), |(low, high), end| {
            (low.min(end.0), high.max(end.1))
        });
        if !is_far(low, high) {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        let (bins, reference, width) = match parts {
            [(histogram, 1.0)] => (histogram.bins(), histogram.centre(), histogram.width()),
            parts => {
                let width = parts.iter().map(|(of, factor)| of.width() / factor);
                let width = width.fold(0.0, f32::max);
                (merged(parts, width), 0.0, width)
            }
        };
        Self {
            bins,
            reference,
            half: width / 2.0,
            low,
            high,
            free: free && is_far(low, high),
        }
    }

    fn value(&self, bin: f32) -> f32 {
        self.reference + bin
    }

    /// The range that leaves out this share of the values at each end.
    pub fn percentile(&self, outside: f64) -> (f32, f32) {
        let total: u64 = self.bins.iter().map(|(_, count)| count).sum();
        let left_out = (total as f64 * outside.clamp(0.0, 0.5)) as u64;
        let end = |mut bins: Box<dyn Iterator<Item = &(f32, u64)> + '_>| {
            let mut seen = 0;
            bins.find(|(_, count)| {
                seen += count;
                seen > left_out
            })
            .map_or(0.0, |(bin, _)| self.value(*bin))
        };
        let low = end(Box::new(self.bins.iter())) - self.half;
        let high = end(Box::new(self.bins.iter().rev())) + self.half;
        (low.max(self.low), high.min(self.high))
    }

    /// The range, of a hundred that leave out ever more of what is far from the middle, whose codes lie
    /// closest to the values.
    pub fn least_squares(&self, scheme: &Scheme) -> (f32, f32) {
        self.best(|low, high| {
            let coding = Coding::of(low, high, scheme, self.free);
            let shift = self.reference - coding.offset;
            let error = |&(bin, count): &(f32, u64)| {
                let value = bin + shift;
                let code = scheme.quantize(value, coding.scale, coding.zero_point);
                let coded = scheme.dequantize(code, coding.scale, coding.zero_point);
                (f64::from(coded) - f64::from(value)).powi(2) * count as f64
            };
            self.bins.iter().map(error).sum()
        })
    }

    /// The range, of the same hundred, whose codes have the distribution that diverges least from that of the
    /// values (after Migacz 2017). Values outside of the range are next to impossible in it.
    pub fn entropy(&self, scheme: &Scheme) -> (f32, f32) {
        // Zeros have a code of their own under every range; they would hide the others.
        let bins = self.bins.iter().filter(|(bin, _)| self.value(*bin) != 0.0);
        let bins: Vec<(f32, u64)> = bins.copied().collect();
        let total: f64 = bins.iter().map(|(_, count)| *count as f64).sum();
        let (first, last) = scheme.code_range();
        self.best(|low, high| {
            let coding = Coding::of(low, high, scheme, self.free);
            let shift = self.reference - coding.offset;
            let code = |bin: f32| {
                let code = scheme.quantize(bin + shift, coding.scale, coding.zero_point);
                (code - first) as usize
            };
            let codes: Vec<usize> = bins.iter().map(|(bin, _)| code(*bin)).collect();
            let is_inside = |bin: f32| (low..=high).contains(&self.value(bin));
            // Values within the range, spread evenly over the bins of their code.
            let mut mass = vec![0.0; (last - first + 1) as usize];
            let mut spread = vec![0u64; mass.len()];
            for ((bin, count), code) in bins.iter().zip(&codes) {
                if is_inside(*bin) {
                    mass[*code] += *count as f64;
                    spread[*code] += 1;
                }
            }
            let inside: f64 = mass.iter().sum();
            let divergence = bins.iter().zip(&codes).map(|((bin, count), code)| {
                let p = *count as f64 / total;
                // What saturates is seen as nothing of its own: a small share, lest it be infinite.
                let q = match is_inside(*bin) {
                    true => mass[*code] / spread[*code] as f64 / inside,
                    false => 1e-6 / total,
                };
                p * (p / q).ln()
            });
            divergence.sum()
        })
    }

    fn best(&self, cost: impl Fn(f32, f32) -> f64) -> (f32, f32) {
        // The longer side gives way first: an outlier on one must not cost the other.
        let middle = match self.free {
            true => self.median(),
            false => 0.0,
        };
        let greatest = (self.high - middle).max(middle - self.low);
        let ranges = (1..=CANDIDATES).rev().map(|candidate| {
            let bound = greatest * (candidate as f32 / CANDIDATES as f32);
            (self.low.max(middle - bound), self.high.min(middle + bound))
        });
        let costs = ranges.map(|(low, high)| (cost(low, high), (low, high)));
        costs
            .min_by(|(a, _), (b, _)| a.total_cmp(b))
            .map_or((self.low, self.high), |(_, range)| range)
    }

    fn median(&self) -> f32 {
        let total: u64 = self.bins.iter().map(|(_, count)| count).sum();
        let mut seen = 0;
        let bin = self.bins.iter().find(|(_, count)| {
            seen += count;
            2 * seen >= total
        });
        let median = bin.map_or(self.low, |(bin, _)| self.value(*bin));
        median.clamp(self.low, self.high)
    }
}

// The bins of several histograms in new ones of this width, zeros apart.
fn merged(parts: &[(&Histogram, f32)], width: f32) -> Vec<(f32, u64)> {
    let mut zeros = 0;
    let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
    let width = f64::from(width).max(f64::MIN_POSITIVE);
    for (histogram, factor) in parts {
        for (bin, count) in histogram.bins() {
            let value = f64::from(histogram.centre()) + f64::from(bin);
            match value == 0.0 {
                true => zeros += count,
                false => {
                    let place = (value / f64::from(*factor) / width).floor();
                    *counts.entry(place as i64).or_default() += count;
                }
            }
        }
    }
    let value = |place: i64| ((place as f64 + 0.5) * width) as f32;
    let mut bins: Vec<(f32, u64)> = (counts.into_iter())
        .map(|(place, count)| (value(place), count))
        .collect();
    if zeros > 0 {
        let place = bins.partition_point(|(bin, _)| *bin < 0.0);
        bins.insert(place, (0.0, zeros));
    }
    bins
}

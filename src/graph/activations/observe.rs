use super::branches::Branch;
use super::coding::{Coding, is_far, middle};
use super::distribution::Distribution;
use super::extremes::Extremes;
use super::histogram::Histogram;
use super::{Calibrator, QuantizerPlacement};
use crate::format::Scheme;

/// What the tensors of all quantizers were in the batches so far.
#[derive(Debug, Clone)]
pub(super) struct Observations {
    calibrator: Calibrator,
    /// By slot; none of a tensor without a quantizer, or whose values are another's.
    tensors: Vec<Option<Tensor>>,
    quantizers: Vec<Observed>,
}

/// The values of one tensor.
#[derive(Debug, Clone)]
struct Tensor {
    quantizer: usize,
    range: Range,
    histogram: Option<Histogram>,
}

/// The extremes of all values of a quantizer: of the batches before, and of this one so far.
#[derive(Debug, Clone, Default)]
struct Observed {
    /// Whether its codes may stand for values around an offset.
    free: bool,
    range: Range,
    now: Option<(f32, f32)>,
}

/// The extremes of batches: the outermost, or their moving averages.
#[derive(Debug, Clone, Copy, Default)]
struct Range(Option<(f64, f64)>);

impl Range {
    fn add(&mut self, (low, high): (f32, f32), calibrator: Calibrator) {
        let seen = (f64::from(low), f64::from(high));
        let before = self.0.unwrap_or(seen);
        self.0 = Some(match calibrator {
            Calibrator::MovingAverage { momentum } => {
                let mean = |before: f64, now: f64| before * momentum + now * (1.0 - momentum);
                (mean(before.0, seen.0), mean(before.1, seen.1))
            }
            _ => (before.0.min(seen.0), before.1.max(seen.1)),
        });
    }

    fn ends(self) -> Option<(f32, f32)> {
        self.0.map(|(low, high)| (low as f32, high as f32))
    }
}

impl Observations {
    pub fn new(placement: &QuantizerPlacement, calibrator: Calibrator) -> Self {
        let needs = matches!(
            calibrator,
            Calibrator::Percentile { .. } | Calibrator::Entropy | Calibrator::LeastSquares
        );
        let tensor = |slot: usize| {
            placement.makes_values(slot).then_some(())?;
            Some(Tensor {
                quantizer: placement.quantizer_of_slot(slot)?,
                range: Range::default(),
                histogram: needs.then(Histogram::new),
            })
        };
        let quantizer = |group: &Option<usize>| Observed {
            free: group.is_some(),
            ..Observed::default()
        };
        Self {
            calibrator,
            tensors: (0..=placement.graph.nodes.len()).map(tensor).collect(),
            quantizers: placement.offset_groups.iter().map(quantizer).collect(),
        }
    }

    /// Whether it wants to see the tensor of a slot.
    pub fn wants(&self, slot: usize) -> bool {
        self.tensors[slot].is_some()
    }

    /// The values of a tensor in this batch, whose extremes these are.
    pub fn see(&mut self, slot: usize, values: &[f32], extremes: &Extremes) {
        let Some(tensor) = &mut self.tensors[slot] else {
            return;
        };
        let quantizer = &mut self.quantizers[tensor.quantizer];
        let (low, high) = (extremes.low, extremes.high);
        tensor.range.add((low, high), self.calibrator);
        if let Some(histogram) = &mut tensor.histogram {
            histogram.add(values, extremes, quantizer.free);
        }
        let now = quantizer.now.unwrap_or((low, high));
        quantizer.now = Some((now.0.min(low), now.1.max(high)));
    }

    /// Ends a batch: one range of each quantizer, whatever tensors share it.
    pub fn end_batch(&mut self) {
        for quantizer in &mut self.quantizers {
            if let Some(now) = quantizer.now.take() {
                quantizer.range.add(now, self.calibrator);
            }
        }
    }

    /// About what a quantizer's codes will be centred on, as far as is known.
    pub fn offset(&self, quantizer: usize) -> f32 {
        let quantizer = &self.quantizers[quantizer];
        let ends = (quantizer.range.ends().into_iter()).chain(quantizer.now);
        let union = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        match union {
            Some((low, high)) if quantizer.free && is_far(low, high) => middle(low, high),
            _ => 0.0,
        }
    }

    /// What is known of a tensor's values.
    pub fn branch(&self, slot: usize) -> Option<Branch> {
        let tensor = self.tensors[slot].as_ref()?;
        let (low, high) = tensor.range.ends()?;
        let mean_square = match &tensor.histogram {
            Some(histogram) => histogram.mean_square(),
            // As if all values were as frequent.
            None => f64::from(low.abs().max(high.abs())).powi(2) / 3.0,
        };
        Some(Branch {
            low,
            high,
            mean_square,
        })
    }

    /// The codes of each quantizer; none before any data.
    pub fn codings(&self, placement: &QuantizerPlacement) -> Option<Vec<Coding>> {
        let quantizers = placement.quantizers.iter().enumerate();
        let ranges = quantizers.map(|(quantizer, of)| self.range(quantizer, placement, &of.scheme));
        let ranges: Vec<(f32, f32)> = ranges.collect::<Option<_>>()?;
        let coding = |quantizer: usize| {
            let (low, high) = ranges[quantizer];
            let scheme = &placement.quantizers[quantizer].scheme;
            let Some(group) = placement.offset_groups[quantizer] else {
                return Coding::around(0.0, low, high, scheme);
            };
            // One offset for all that keep it.
            let members = placement.offset_groups.iter().zip(&ranges);
            let members = members.filter(|(of, _)| **of == Some(group));
            let all = members.fold((low, high), |(low, high), (_, range)| {
                (low.min(range.0), high.max(range.1))
            });
            let offset = Coding::of(all.0, all.1, scheme, true).offset;
            Coding::around(offset, low, high, scheme)
        };
        Some((0..ranges.len()).map(coding).collect())
    }

    // What the codes of a quantizer have to cover.
    fn range(
        &self,
        quantizer: usize,
        placement: &QuantizerPlacement,
        scheme: &Scheme,
    ) -> Option<(f32, f32)> {
        let tensors = self.tensors.iter().enumerate();
        let tensors = tensors.filter_map(|(slot, tensor)| Some((slot, tensor.as_ref()?)));
        let own: Vec<(usize, &Tensor)> = tensors
            .filter(|(_, of)| of.quantizer == quantizer)
            .collect();
        let histograms: Option<Vec<(&Histogram, f32)>> = (own.iter())
            .map(|(slot, of)| Some((of.histogram.as_ref()?, placement.factor_of_slot(*slot))))
            .collect();
        let together = self.quantizers[quantizer].range.ends()?;
        let Some(histograms) = histograms else {
            let ends = own.iter().map(|(slot, of)| {
                let ((low, high), factor) = (of.range.ends()?, placement.factor_of_slot(*slot));
                Some((low / factor, high / factor, factor))
            });
            let ends: Vec<(f32, f32, f32)> = ends.collect::<Option<_>>()?;
            if ends.iter().all(|(_, _, factor)| *factor == 1.0) {
                return Some(together);
            }
            let least = ends.iter().map(|end| end.0).fold(f32::MAX, f32::min);
            let greatest = ends.iter().map(|end| end.1).fold(f32::MIN, f32::max);
            return Some((least, greatest));
        };
        let free = placement.offset_groups[quantizer].is_some();
        let distribution = Distribution::of(&histograms, free);
        Some(match self.calibrator {
            Calibrator::Percentile { outside } => distribution.percentile(outside),
            Calibrator::Entropy => distribution.entropy(scheme),
            _ => distribution.least_squares(scheme),
        })
    }
}

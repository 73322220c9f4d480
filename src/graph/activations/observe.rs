use super::branches::Branch;
use super::coding::{Coding, is_far, middle};
use super::distribution::Distribution;
use super::extremes::Extremes;
use super::histogram::Histogram;
use super::{Calibrator, Placement};
use crate::format::Scheme;

/// What the tensors of all sites were in the batches so far.
#[derive(Debug, Clone)]
pub(super) struct Observations {
    calibrator: Calibrator,
    /// By slot; none of a tensor without a site, or whose values are another's.
    tensors: Vec<Option<Tensor>>,
    sites: Vec<Site>,
}

/// The values of one tensor.
#[derive(Debug, Clone)]
struct Tensor {
    site: usize,
    range: Range,
    histogram: Option<Histogram>,
}

/// The extremes of all values of a site: of the batches before, and of this one so far.
#[derive(Debug, Clone, Default)]
struct Site {
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
    pub fn new(placement: &Placement, calibrator: Calibrator) -> Self {
        let needs = matches!(
            calibrator,
            Calibrator::Percentile { .. } | Calibrator::Entropy | Calibrator::LeastSquares
        );
        let tensor = |slot: usize| {
            placement.makes_values(slot).then_some(())?;
            Some(Tensor {
                site: placement.site_of_slot(slot)?,
                range: Range::default(),
                histogram: needs.then(Histogram::new),
            })
        };
        let site = |group: &Option<usize>| Site {
            free: group.is_some(),
            ..Site::default()
        };
        Self {
            calibrator,
            tensors: (0..=placement.graph.nodes.len()).map(tensor).collect(),
            sites: placement.offset_groups.iter().map(site).collect(),
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
        let site = &mut self.sites[tensor.site];
        let (low, high) = (extremes.low, extremes.high);
        tensor.range.add((low, high), self.calibrator);
        if let Some(histogram) = &mut tensor.histogram {
            histogram.add(values, extremes, site.free);
        }
        let now = site.now.unwrap_or((low, high));
        site.now = Some((now.0.min(low), now.1.max(high)));
    }

    /// Ends a batch: one range of each site, whatever tensors share it.
    pub fn end_batch(&mut self) {
        for site in &mut self.sites {
            if let Some(now) = site.now.take() {
                site.range.add(now, self.calibrator);
            }
        }
    }

    /// About what a site's codes will be centred on, as far as is known.
    pub fn offset(&self, site: usize) -> f32 {
        let site = &self.sites[site];
        let ends = (site.range.ends().into_iter()).chain(site.now);
        let union = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        match union {
            Some((low, high)) if site.free && is_far(low, high) => middle(low, high),
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

    /// The codes of each site; none before any data.
    pub fn codings(&self, placement: &Placement) -> Option<Vec<Coding>> {
        let sites = placement.sites.iter().enumerate();
        let ranges = sites.map(|(site, of)| self.range(site, placement, &of.scheme));
        let ranges: Vec<(f32, f32)> = ranges.collect::<Option<_>>()?;
        let coding = |site: usize| {
            let (low, high) = ranges[site];
            let scheme = &placement.sites[site].scheme;
            let Some(group) = placement.offset_groups[site] else {
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

    // What the codes of a site have to cover.
    fn range(&self, site: usize, placement: &Placement, scheme: &Scheme) -> Option<(f32, f32)> {
        let tensors = self.tensors.iter().enumerate();
        let tensors = tensors.filter_map(|(slot, tensor)| Some((slot, tensor.as_ref()?)));
        let own: Vec<(usize, &Tensor)> = tensors.filter(|(_, of)| of.site == site).collect();
        let histograms: Option<Vec<(&Histogram, f32)>> = (own.iter())
            .map(|(slot, of)| Some((of.histogram.as_ref()?, placement.factor_of_slot(*slot))))
            .collect();
        let together = self.sites[site].range.ends()?;
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
        let free = placement.offset_groups[site].is_some();
        let distribution = Distribution::of(&histograms, free);
        Some(match self.calibrator {
            Calibrator::Percentile { outside } => distribution.percentile(outside),
            Calibrator::Entropy => distribution.entropy(scheme),
            _ => distribution.least_squares(scheme),
        })
    }
}

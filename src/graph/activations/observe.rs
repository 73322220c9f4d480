use super::extremes::Extremes;
use super::histogram::Histogram;
use super::{Calibrator, parameters};
use crate::format::Scheme;

/// What one site's values were.
#[derive(Debug, Clone)]
pub(super) struct Observer {
    calibrator: Calibrator,
    range: Option<(f64, f64)>,
    histogram: Option<Histogram>,
}

impl Observer {
    pub fn new(calibrator: Calibrator) -> Self {
        let needs = matches!(
            calibrator,
            Calibrator::Percentile { .. } | Calibrator::Entropy | Calibrator::LeastSquares
        );
        Self {
            calibrator,
            range: None,
            histogram: needs.then(Histogram::new),
        }
    }

    // The extremes of a batch.
    fn add(&mut self, low: f32, high: f32) {
        let seen = (f64::from(low), f64::from(high));
        let before = self.range.unwrap_or(seen);
        self.range = Some(match self.calibrator {
            Calibrator::MovingAverage { momentum } => {
                let mean = |before: f64, now: f64| before * momentum + now * (1.0 - momentum);
                (mean(before.0, seen.0), mean(before.1, seen.1))
            }
            _ => (before.0.min(seen.0), before.1.max(seen.1)),
        });
    }

    /// Shows it the values of a batch, whose extremes these are.
    pub fn add_values(&mut self, values: &[f32], extremes: &Extremes) {
        self.add(extremes.low, extremes.high);
        if let Some(histogram) = &mut self.histogram {
            histogram.add(values, extremes);
        }
    }

    /// Scale and zero point; none before any data.
    pub fn finish(&self, scheme: &Scheme) -> Option<(f32, i32)> {
        let (low, high) = self.range?;
        let (low, high) = match (&self.histogram, self.calibrator) {
            (Some(histogram), Calibrator::Percentile { outside }) => histogram.percentile(outside),
            (Some(histogram), Calibrator::Entropy) => histogram.entropy(scheme),
            (Some(histogram), _) => histogram.least_squares(scheme),
            (None, _) => (low as f32, high as f32),
        };
        Some(parameters(low, high, scheme))
    }
}

//! What each candidate costs each layer.

use super::solve::Constraint;
use super::{Candidate, Limit, Measurements};
use crate::macs::MacCount;

/// Costs of each layer and candidate, and those of all else.
pub(super) struct Costs {
    each: Vec<Vec<f64>>,
    rest: f64,
}

pub(super) struct Tables {
    candidates: Vec<Candidate>,
    pub damages: Vec<Vec<f64>>,
    time: Costs,
    bytes: Costs,
    macs: Costs,
}

impl Tables {
    /// Of candidates that were all measured.
    pub fn new(
        found: &Measurements,
        candidates: &[Candidate],
        batch: usize,
        macs: &MacCount,
    ) -> Self {
        let timings = candidates.iter().filter_map(|of| found.timing(of));
        let timings: Vec<_> = timings.collect();
        let layers = 0..found.layers.len();
        let table = |of: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
            let row = |layer| (0..timings.len()).map(|at| of(layer, at)).collect();
            layers.clone().map(row).collect()
        };
        // A call is on several threads and does more than its layers: by how much, whole networks tell.
        let factors = timings.iter().map(|timing| {
            let pass = timing.rest + timing.layers.iter().sum::<f64>();
            timing.milliseconds / pass.max(f64::MIN_POSITIVE)
        });
        let factor = match timings.iter().all(|timing| timing.layers.is_empty()) {
            true => batch as f64 / 1e3,
            false => median(factors),
        };
        let rest_bytes = timings
            .iter()
            .map(|timing| timing.bytes as f64 - timing.layer_bytes.iter().sum::<f64>());
        let selected = |path: &str| {
            let selected = found.layers.iter().any(|layer| layer.layer == path);
            selected.then_some(0)
        };
        let damages = found.layers.iter().map(|layer| {
            let shares = candidates.iter().map(|candidate| {
                let share = layer.damage(candidate).and_then(|damage| damage.share);
                share.unwrap_or(f64::INFINITY)
            });
            let shares: Vec<f64> = shares.collect();
            match shares.iter().any(|share| share.is_finite()) {
                true => shares,
                // Nothing is left of it, whatever is done.
                false => vec![1.0; shares.len()],
            }
        });
        Self {
            candidates: candidates.to_vec(),
            damages: damages.collect(),
            time: Costs {
                each: table(&|layer, at| timings[at].layers[layer] * factor),
                rest: median(timings.iter().map(|timing| timing.rest)) * factor,
            },
            bytes: Costs {
                each: table(&|layer, at| timings[at].layer_bytes[layer]),
                rest: median(rest_bytes),
            },
            macs: Costs {
                each: table(&|layer, at| {
                    (timings[at].left[layer] * found.layers[layer].uses) as f64
                }),
                rest: macs.total(selected) as f64,
            },
        }
    }

    fn costs(&self, of: Limit) -> Option<&Costs> {
        match of {
            Limit::Time => Some(&self.time),
            Limit::Bytes => Some(&self.bytes),
            Limit::Macs => Some(&self.macs),
            Limit::Points => None,
        }
    }

    /// What a choice will cost.
    pub fn predicted(&self, of: Limit, choice: &[usize]) -> f64 {
        self.costs(of).map_or(0.0, |costs| {
            let each = costs.each.iter().zip(choice);
            costs.rest + each.map(|(of, at)| of[*at]).sum::<f64>()
        })
    }

    /// The costs of layers that a limit of all leaves.
    pub fn constraint(&self, of: Limit, limit: f64) -> Option<Constraint> {
        let costs = self.costs(of)?;
        Some(Constraint {
            costs: costs.each.clone(),
            limit: limit - costs.rest,
        })
    }

    /// The damage of a choice: the sum over layers.
    pub fn damage(&self, choice: &[usize]) -> f64 {
        let each = self.damages.iter().zip(choice);
        each.map(|(of, at)| of[*at]).sum()
    }

    /// The place of a candidate.
    pub fn place(&self, candidate: &Candidate) -> Option<usize> {
        self.candidates.iter().position(|of| of == candidate)
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

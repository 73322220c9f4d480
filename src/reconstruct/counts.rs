//! How many weights each layer loses.

use super::layer::Orders;
use super::levels::cheapest;
use super::networks::Network;
use super::run::Stage;
use super::{BoxError, Progress, ReconstructError};
use crate::compress::{Removal, Rows};
use crate::graph::GraphError;
use crate::prune::{Scope, erk};

impl<F: FnMut(&Progress<'_>) -> Result<(), BoxError>> Stage<'_, F> {
    // How many weights each layer loses.
    pub(super) fn counts<'b>(
        &mut self,
        network: impl Fn() -> Result<Network<'b>, GraphError>,
    ) -> Result<Vec<usize>, ReconstructError> {
        let mut counts = vec![0; self.rows.len()];
        let Some(removal) = self.begun.removal.filter(|_| self.what.weights) else {
            return Ok(counts);
        };
        let Removal {
            level,
            pattern,
            scope,
            at_least,
        } = removal;
        let takes: Vec<usize> = (0..self.rows.len())
            .filter(|layer| self.rows[*layer].takes_part)
            .collect();
        let views: Vec<_> = takes
            .iter()
            .map(|layer| &self.rows[*layer].layer.view)
            .collect();
        let (total, _) = pattern.count(level, views.iter().copied());
        let levels = match scope {
            Scope::Layer => Some(vec![level; views.len()]),
            Scope::Erk => Some(erk(level, &views)),
            Scope::Global => None,
        };
        let gone = |rows: &Rows| {
            let removed = rows.removed.iter().flatten();
            removed.filter(|removed| **removed).count()
        };
        // No layer is emptied.
        let most = |rows: &Rows, level: f64| {
            let length = rows.values.len();
            (length - at_least.weights(level, length)).saturating_sub(gone(rows))
        };
        if let Some(levels) = levels {
            for ((layer, level), view) in takes.iter().zip(levels).zip(views) {
                let rows = &self.rows[*layer];
                let (count, _) = pattern.count(level, std::iter::once(view));
                counts[*layer] = count.saturating_sub(gone(rows)).min(most(rows, level));
            }
            return Ok(counts);
        }
        let mut all = Vec::new();
        let mut original = network()?;
        for node in 0..self.graph.nodes().len() {
            if let Some(product) = self.products.iter().find(|p| p.node == node).copied() {
                self.progress(node)?;
                if let Some(layer) = product.layer.filter(|layer| takes.contains(layer)) {
                    let seen = self.see(&product, layer, &original, &original)?;
                    if seen.moments.is_dead() {
                        return Err(self.unreached(layer));
                    }
                    let rows = &self.rows[layer];
                    let centred = self.is_centred(&product);
                    let problems = seen.moments.problems(&self.before[layer], centred);
                    // An output that is always the same loses nothing.
                    let share = match seen.result.variance() {
                        variance if variance > 0.0 => variance.recip(),
                        _ => 0.0,
                    };
                    let importance: Vec<f64> = seen.factors.iter().map(|a| a * a * share).collect();
                    all.extend(Orders::new(pattern, rows, &problems).costs(&importance, |_| layer));
                }
            }
            original.advance(node)?;
        }
        let already: usize = takes.iter().map(|layer| gone(&self.rows[*layer])).sum();
        let most = |layer: usize| most(&self.rows[layer], level);
        let found = cheapest(all, counts.len(), most, total.saturating_sub(already));
        for (count, (_, weights)) in counts.iter_mut().zip(found) {
            *count = weights;
        }
        Ok(counts)
    }
}

//! How many weights each layer loses.

use super::layer::Orders;
use super::levels::{Cost, cheapest};
use super::networks::Network;
use super::run::{Product, Stage};
use super::{BoxError, Progress, ReconstructError};
use crate::compress::{Removal, Rows};
use crate::graph::GraphError;
use crate::prune::{Pattern, Scope, erk};

impl<F: FnMut(&Progress<'_>) -> Result<(), BoxError>> Stage<'_, F> {
    // How many weights each layer loses.
    pub(super) fn counts<'b>(
        &mut self,
        network: impl Fn() -> Result<Network<'b>, GraphError>,
    ) -> Result<Vec<usize>, ReconstructError> {
        let mut counts = vec![0; self.rows.len()];
        if !self.what.weights {
            return Ok(counts);
        }
        let mut removals: Vec<Removal> = Vec::new();
        for removal in self.rows.iter().filter_map(|rows| rows.removal) {
            if removals.iter().all(|known| known.entry != removal.entry) {
                removals.push(removal);
            }
        }
        let (together, apart): (Vec<Removal>, Vec<Removal>) =
            (removals.into_iter()).partition(|removal| removal.scope == Scope::Global);
        for removal in apart {
            let takes = self.takes(&removal);
            let views: Vec<_> = (takes.iter())
                .map(|layer| &self.rows[*layer].layer.view)
                .collect();
            let levels = match removal.scope {
                Scope::Erk => erk(removal.level, &views),
                _ => vec![removal.level; views.len()],
            };
            for (layer, level) in takes.iter().zip(levels) {
                counts[*layer] = count(&removal, &self.rows[*layer], level);
            }
        }
        if together.is_empty() {
            return Ok(counts);
        }
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); together.len()];
        let mut original = network()?;
        for node in 0..self.graph.nodes().len() {
            if let Some(product) = self.products.iter().find(|p| p.node == node).copied() {
                self.progress(node)?;
                if let Some(layer) = product.layer
                    && let Some(removal) = self.rows[layer].removal
                    && let Some(at) = (together.iter()).position(|of| of.entry == removal.entry)
                {
                    costs[at].extend(self.costs(&product, layer, removal.pattern, &original)?);
                }
            }
            original.advance(node)?;
        }
        for (removal, costs) in together.iter().zip(costs) {
            let takes = self.takes(removal);
            let views = takes.iter().map(|layer| &self.rows[*layer].layer.view);
            let (total, _) = removal.pattern.count(removal.level, views);
            let already: usize = takes.iter().map(|layer| gone(&self.rows[*layer])).sum();
            let most = |layer: usize| most(removal, &self.rows[layer], removal.level);
            let left = total.saturating_sub(already);
            let found = cheapest(costs, counts.len(), most, left);
            for layer in takes {
                counts[layer] = found[layer].1;
            }
        }
        Ok(counts)
    }

    // The layers of a pruning.
    fn takes(&self, removal: &Removal) -> Vec<usize> {
        let of = |rows: &Rows| rows.removal.is_some_and(|own| own.entry == removal.entry);
        (0..self.rows.len())
            .filter(|layer| of(&self.rows[*layer]))
            .collect()
    }

    // What the units of a layer cost its output.
    fn costs(
        &self,
        product: &Product,
        layer: usize,
        pattern: Pattern,
        original: &Network<'_>,
    ) -> Result<Vec<Cost>, ReconstructError> {
        let seen = self.see(product, layer, original, original)?;
        if seen.moments.is_dead() {
            return Err(self.unreached(layer));
        }
        let rows = &self.rows[layer];
        let centred = self.is_centred(product);
        let problems = seen.moments.problems(&self.before[layer], centred);
        let importance = seen.importance();
        Ok(Orders::new(pattern, rows, &problems).costs(&importance, |_| layer))
    }
}

/// How many weights of a layer go at a level of its own.
pub(super) fn count(removal: &Removal, rows: &Rows, level: f64) -> usize {
    let view = std::iter::once(&rows.layer.view);
    let (count, _) = removal.pattern.count(level, view);
    let most = most(removal, rows, level);
    count.saturating_sub(gone(rows)).min(most)
}

fn gone(rows: &Rows) -> usize {
    let removed = rows.removed.iter().flatten();
    removed.filter(|removed| **removed).count()
}

// The most weights that go: no layer is emptied.
fn most(removal: &Removal, rows: &Rows, level: f64) -> usize {
    let length = rows.values.len();
    (length - removal.at_least.weights(level, length)).saturating_sub(gone(rows))
}

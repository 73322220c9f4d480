//! What compressing a layer alone would cost its output, without compressing anything.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Tensor;

use super::counts::count;
use super::inputs::checked;
use super::layer::{Orders, solve};
use super::networks::Network;
use super::run::{Stage, products};
use super::{BoxError, Progress, ReconstructError, Reconstruction};
use crate::compress::{Observations, Plan, Pruning, Removal, Selection};
use crate::format::Scheme;
use crate::graph::{Graph, QuantizationConfig};
use crate::prune::{AtLeast, Pattern, Scope};

/// What a layer is compressed to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    pub pattern: Pattern,
    /// 0 where nothing is removed.
    pub level: f64,
    pub scheme: Option<Scheme>,
}

/// Who asks for damages.
pub(crate) trait Inquiry {
    /// What is to be tried of a layer, by the path of its weight.
    fn trials(&mut self, layer: &str) -> Result<Vec<Trial>, BoxError>;

    /// The damage of each: the error of the layer's output, as a share of the variance of its result, a
    /// residual included. None where the layer does not bear it.
    fn found(&mut self, layer: &str, damages: Vec<Option<f64>>) -> Result<(), BoxError>;
}

/// Tries each layer of a selection alone, with inputs and outputs of the original.
pub(crate) fn damages<M: Module, const D: usize>(
    selection: &Selection,
    module: M,
    graph: &Graph,
    batches: impl IntoIterator<Item = Tensor<D>>,
    inquiry: &mut impl Inquiry,
) -> Result<(), ReconstructError> {
    let plan = Plan::new().select(selection.clone());
    let plan = plan.prune(Pruning::to(0.0));
    let (module, _, rows) = plan.begun(module, false, &Observations::default())?;
    let device = module.devices().into_iter().next().unwrap_or_default();
    let batches = checked(batches, &device)?;
    let setting = QuantizationConfig::in_floats(graph.clone(), Default::default());
    let stage = Stage {
        what: Reconstruction::default(),
        graph,
        device,
        products: products(graph, &rows)?,
        before: rows.iter().map(|rows| rows.values.clone()).collect(),
        rows,
        changed: BTreeMap::new(),
        on_progress: |_: &Progress<'_>| Ok(()),
        done: 0,
    };
    let mut original = Network::new(graph, &setting, &module, &batches)?;
    let mut seen = vec![false; stage.rows.len()];
    for node in 0..graph.nodes().len() {
        if let Some(product) = stage.products.iter().find(|p| p.node == node)
            && let Some(layer) = product.layer
            && !std::mem::replace(&mut seen[layer], true)
        {
            let path = stage.rows[layer].layer.path.clone();
            let stopped = |source| ReconstructError::Stopped {
                layer: path.clone(),
                source,
            };
            let trials = inquiry.trials(&path).map_err(stopped)?;
            if !trials.is_empty() {
                let seen = stage.see(product, layer, &original, &original)?;
                if seen.moments.is_dead() {
                    return Err(stage.unreached(layer));
                }
                let damages = stage.damages(product, layer, &seen, &trials);
                inquiry.found(&path, damages).map_err(stopped)?;
            }
        }
        original.advance(node)?;
    }
    Ok(())
}

impl<F: FnMut(&Progress<'_>) -> Result<(), BoxError>> Stage<'_, F> {
    fn damages(
        &self,
        product: &super::run::Product,
        layer: usize,
        seen: &super::see::Seen,
        trials: &[Trial],
    ) -> Vec<Option<f64>> {
        let rows = &self.rows[layer];
        let problems = (seen.moments).problems(&self.before[layer], self.is_centred(product));
        let importance = seen.importance();
        // One order serves all levels of a pattern.
        let mut orders: Vec<(Pattern, Orders)> = Vec::new();
        let damage = |trial: &Trial| {
            let mut rows = rows.clone();
            if trial.level > 0.0 {
                let known = orders.iter().position(|(known, _)| *known == trial.pattern);
                let at = known.unwrap_or_else(|| {
                    let found = Orders::new(trial.pattern, &rows, &problems);
                    orders.push((trial.pattern, found));
                    orders.len() - 1
                });
                let removal = Removal {
                    entry: 0,
                    level: trial.level,
                    pattern: trial.pattern,
                    scope: Scope::Layer,
                    at_least: AtLeast::default(),
                };
                let count = count(&removal, &rows, trial.level);
                orders[at].1.mark(&mut rows, &importance, count);
            }
            let scheme = trial.scheme.as_ref();
            let (error, _) = solve(&mut rows, &problems, &importance, scheme, &self.device)?;
            error.is_finite().then_some(error)
        };
        trials.iter().map(damage).collect()
    }
}

//! The stage: from a plan and inputs to a compressed module.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::inputs::checked;
use super::layer::{Orders, solve};
use super::networks::Network;
use super::see::Seen;
use super::{BoxError, Progress, ReconstructError, Reconstruction};
use crate::compress::{Compressed, Observations, Plan, Rows, with_values};
use crate::graph::{Graph, GraphError, QuantizationConfig};
use crate::network::{Op, Value};
use crate::prune::Scope;

/// A product of the graph whose weight is a parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub node: usize,
    pub parameter: usize,
    /// The place of its layer among the plan's.
    pub layer: Option<usize>,
    pub groups: usize,
    /// Whether it alone reads its weight.
    pub alone: bool,
}

pub(super) struct Stage<'a, F> {
    pub what: Reconstruction,
    pub graph: &'a Graph,
    pub device: Device,
    pub products: Vec<Product>,
    pub rows: Vec<Rows>,
    /// The stored weights, before anything changed.
    pub before: Vec<Vec<f32>>,
    /// Parameters that statistics changed.
    pub changed: BTreeMap<usize, Vec<f32>>,
    pub on_progress: F,
    pub done: usize,
}

// `capture` gives the graph of a module for inputs of a shape.
pub(super) fn run<M: Module, const D: usize>(
    what: Reconstruction,
    plan: &Plan,
    seen: &Observations,
    module: M,
    capture: impl FnOnce(&M, [usize; D]) -> Result<Graph, GraphError>,
    batches: impl IntoIterator<Item = Tensor<D>>,
    on_progress: impl FnMut(&Progress<'_>) -> Result<(), BoxError>,
) -> Result<Compressed<M>, ReconstructError> {
    let (module, begun, rows) = plan.begun(module, !what.weights, seen)?;
    let device = module.devices().into_iter().next().unwrap_or_default();
    let batches = checked(batches, &device)?;
    let mut shape = [1; D];
    if let Some(batch) = batches.first() {
        shape.copy_from_slice(&batch.dims());
    }
    let graph = capture(&module, shape)?;
    let setting = QuantizationConfig::in_floats(graph.clone(), Default::default());
    let products = products(&graph, &rows)?;
    let mut stage = Stage {
        what,
        graph: &graph,
        device,
        products,
        before: rows.iter().map(|rows| rows.values.clone()).collect(),
        rows,
        changed: BTreeMap::new(),
        on_progress,
        done: 0,
    };
    let network = || Network::new(&graph, &setting, &module, &batches);
    let counts = stage.counts(network)?;
    let (mut original, mut present) = (network()?, network()?);
    if !what.weights {
        for product in &stage.products {
            if let Some(layer) = product.layer {
                present.put_rows(product.parameter, &stage.rows[layer]);
            }
        }
    }
    for node in 0..graph.nodes().len() {
        if let Some(product) = stage.products.iter().find(|p| p.node == node).copied() {
            stage.step(product, &original, &mut present, &counts)?;
        }
        original.advance(node)?;
        present.advance(node)?;
    }
    let Stage { rows, changed, .. } = stage;
    let parameters = graph.parameters();
    let changed = changed.into_iter().map(|(index, values)| {
        let parameter = &parameters[index];
        (parameter.path.clone(), parameter.dims.clone(), values)
    });
    Ok(begun.finish(with_values(module, changed), rows)?)
}

// The products whose weights are parameters; fails where a layer of the plan has none, or one that reads
// it in other rows.
pub(super) fn products(graph: &Graph, rows: &[Rows]) -> Result<Vec<Product>, ReconstructError> {
    let mut products = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        let (true, [_, Value::Parameter(parameter)]) = (node.op.has_weights(), &node.inputs[..])
        else {
            continue;
        };
        let known = &graph.parameters()[*parameter];
        let Some(layout) = known.layout(&node.op) else {
            continue;
        };
        let layer = rows.iter().position(|rows| rows.layer.path == known.path);
        if let Some(layer) = layer
            && !rows[layer].layer.view.has_rows_of(&layout)
        {
            return Err(ReconstructError::Layout {
                layer: known.path.clone(),
                dims: known.dims.clone(),
            });
        }
        products.push(Product {
            node: index,
            parameter: *parameter,
            layer,
            groups: match node.op {
                Op::Convolution { groups, .. } | Op::TransposedConvolution { groups, .. } => groups,
                _ => 1,
            },
            alone: uses(graph, Value::Parameter(*parameter)) == 1,
        });
    }
    for (layer, rows) in rows.iter().enumerate() {
        if !products.iter().any(|product| product.layer == Some(layer)) {
            return Err(ReconstructError::Unreached {
                layer: rows.layer.path.clone(),
                what: "no product of the forward pass reads it".to_string(),
            });
        }
    }
    Ok(products)
}

pub(super) fn uses(graph: &Graph, value: Value) -> usize {
    let operands = graph.nodes().iter().flat_map(|node| node.operands());
    operands.filter(|operand| *operand == value).count()
}

impl<F: FnMut(&Progress<'_>) -> Result<(), BoxError>> Stage<'_, F> {
    pub(super) fn progress(&mut self, node: usize) -> Result<(), ReconstructError> {
        let is_global = |rows: &Rows| rows.removal.is_some_and(|of| of.scope == Scope::Global);
        let looks = self.what.weights && self.rows.iter().any(is_global);
        let progress = Progress {
            layer: &self.graph.nodes()[node].layer,
            done: self.done,
            of: self.products.len() * if looks { 2 } else { 1 },
        };
        (self.on_progress)(&progress).map_err(|source| ReconstructError::Stopped {
            layer: progress.layer.to_string(),
            source,
        })?;
        self.done += 1;
        Ok(())
    }

    pub(super) fn unreached(&self, layer: usize) -> ReconstructError {
        ReconstructError::Unreached {
            layer: self.rows[layer].layer.path.clone(),
            what: "its inputs are zero throughout".to_string(),
        }
    }

    pub(super) fn not_finite(&self, node: usize) -> ReconstructError {
        ReconstructError::NotFinite {
            place: format!("layer `{}`", self.graph.nodes()[node].layer),
        }
    }

    pub(super) fn unbearable(&self, layer: usize, level: f64) -> ReconstructError {
        ReconstructError::Unbearable {
            layer: self.rows[layer].layer.path.clone(),
            level,
        }
    }

    // Solves a product's layer, and puts its statistics back.
    fn step(
        &mut self,
        product: Product,
        original: &Network<'_>,
        present: &mut Network<'_>,
        counts: &[usize],
    ) -> Result<(), ReconstructError> {
        self.progress(product.node)?;
        let node = &self.graph.nodes()[product.node];
        let first = self
            .products
            .iter()
            .find(|p| p.parameter == product.parameter);
        let first = first.is_some_and(|first| first.node == product.node);
        let solves = product.layer.filter(|_| self.what.weights && first);
        let seen = match solves {
            Some(layer) => {
                let seen = self.see(&product, layer, original, present)?;
                let level = self.rows[layer]
                    .removal
                    .map_or(0.0, |removal| removal.level);
                if seen.moments.is_dead() {
                    return Err(match level > 0.0 {
                        true => self.unbearable(layer, level),
                        false => self.unreached(layer),
                    });
                }
                let centred = self.is_centred(&product);
                let problems = seen.moments.problems(&self.before[layer], centred);
                let importance: Vec<f64> = seen.factors.iter().map(|a| a * a).collect();
                let rows = &mut self.rows[layer];
                if let Some(removal) = rows.removal {
                    let orders = Orders::new(removal.pattern, rows, &problems);
                    orders.mark(rows, &importance, counts[layer]);
                }
                let scheme = rows.scheme;
                let lost = solve(rows, &problems, &importance, scheme.as_ref(), &self.device);
                let unbearable =
                    |(lost, all): (f64, f64)| level > 0.0 && all > 0.0 && lost > BEARABLE * all;
                if lost.is_none_or(unbearable) {
                    return Err(self.unbearable(layer, level));
                }
                present.put_rows(product.parameter, rows);
                seen
            }
            None => {
                let channels = node.dims[node.op.channel_axis(node.dims.len())].at(1);
                let mut seen = Seen {
                    factors: original.factors(product.node, channels)?,
                    ..Seen::default()
                };
                for batch in 0..original.batches() {
                    self.outputs(&product, batch, original, present, &mut seen)?;
                }
                seen
            }
        };
        if !seen.is_finite() {
            return Err(self.not_finite(product.node));
        }
        match self.what.statistics {
            true => self.put_back(&product, &seen, present),
            false => Ok(()),
        }
    }
}

/// The share of its output's variance that a layer may lose.
const BEARABLE: f64 = 0.999;

//! The stage: from a plan and inputs to a compressed module.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, s};

use super::channels::{Statistics, output_rows};
use super::inputs::checked;
use super::layer::{Orders, dims, solve};
use super::levels::cheapest;
use super::moments::Moments;
use super::networks::{Network, times};
use super::{Progress, ReconstructError, Reconstruction};
use crate::compress::{Begun, Compressed, Plan, Removal, Rows, with_values};
use crate::format::Granularity;
use crate::graph::{AnyTensor, Fallback, Graph, GraphError, Setting, input_columns, input_squares};
use crate::network::{Binary, Op, Value};
use crate::prune::{Scope, erk};

/// A product of the graph whose weight is a parameter.
#[derive(Debug, Clone, Copy)]
struct Product {
    node: usize,
    parameter: usize,
    /// The place of its layer among the plan's.
    layer: Option<usize>,
    groups: usize,
    /// Whether it alone reads its weight.
    alone: bool,
}

struct Stage<'a, F> {
    what: Reconstruction,
    graph: &'a Graph,
    begun: &'a Begun,
    device: Device,
    products: Vec<Product>,
    rows: Vec<Rows>,
    /// The stored weights, before anything changed.
    before: Vec<Vec<f32>>,
    /// Parameters that statistics changed.
    changed: BTreeMap<usize, Vec<f32>>,
    on_progress: F,
    done: usize,
}

pub(super) fn run<M: Module, const D: usize, const E: usize>(
    what: Reconstruction,
    plan: &Plan,
    module: M,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    batches: impl IntoIterator<Item = Tensor<D>>,
    on_progress: impl FnMut(&Progress<'_>),
) -> Result<Compressed<M>, ReconstructError> {
    let (module, begun, rows) = plan.begun(module, !what.weights)?;
    let device = module.devices().into_iter().next().unwrap_or_default();
    let batches = checked(batches, &device)?;
    let mut shape = [1; D];
    if let Some(batch) = batches.first() {
        shape.copy_from_slice(&batch.dims());
    }
    let graph = Graph::capture_with(&module, shape, Fallback::Float, forward)?.simplify();
    let setting = Setting::in_floats(graph.clone(), Default::default());
    let products = products(&graph, &rows)?;
    let mut stage = Stage {
        what,
        graph: &graph,
        begun: &begun,
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
fn products(graph: &Graph, rows: &[Rows]) -> Result<Vec<Product>, ReconstructError> {
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

fn uses(graph: &Graph, value: Value) -> usize {
    let operands = graph.nodes().iter().flat_map(|node| node.operands());
    operands.filter(|operand| *operand == value).count()
}

impl<F: FnMut(&Progress<'_>)> Stage<'_, F> {
    fn progress(&mut self, node: usize) {
        let looks = self.begun.removal.is_some() && self.what.weights;
        let progress = Progress {
            layer: &self.graph.nodes()[node].layer,
            done: self.done,
            of: self.products.len() * if looks { 2 } else { 1 },
        };
        (self.on_progress)(&progress);
        self.done += 1;
    }

    // The parameter that can take up a constant in each channel of a product's result, and the factor of
    // its batch norm.
    fn shift_of(&self, product: &Product) -> (Option<usize>, Option<usize>) {
        let epilogue = self.graph.nodes()[product.node].epilogue;
        let own = |value: Value| match value {
            Value::Parameter(index) => {
                let path = &self.graph.parameters()[index].path;
                let selected = self.rows.iter().any(|rows| rows.layer.path == *path);
                (uses(self.graph, value) == 1 && !selected).then_some(index)
            }
            _ => None,
        };
        match (epilogue.norm, epilogue.bias) {
            (Some(norm), _) => match (own(norm.beta), own(norm.gamma)) {
                (Some(beta), Some(gamma)) => (Some(beta), Some(gamma)),
                _ => (None, None),
            },
            (None, Some(bias)) => (own(bias), None),
            _ => (None, None),
        }
    }

    fn is_centred(&self, product: &Product) -> bool {
        self.what.statistics && self.shift_of(product).0.is_some()
    }

    // How many weights each layer loses.
    fn counts<'b>(
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
        if let Some(levels) = levels {
            for ((layer, level), view) in takes.iter().zip(levels).zip(views) {
                let (count, _) = pattern.count(level, std::iter::once(view));
                counts[*layer] = count.saturating_sub(gone(&self.rows[*layer]));
            }
            return Ok(counts);
        }
        let mut all = Vec::new();
        let mut original = network()?;
        for node in 0..self.graph.nodes().len() {
            if let Some(product) = self.products.iter().find(|p| p.node == node).copied() {
                self.progress(node);
                if let Some(layer) = product.layer.filter(|layer| takes.contains(layer)) {
                    let seen = self.see(&product, layer, &original, &original)?;
                    if seen.moments.is_dead() {
                        return Err(self.unreached(layer));
                    }
                    let rows = &self.rows[layer];
                    let centred = self.is_centred(&product);
                    let problems = seen.moments.problems(&self.before[layer], centred);
                    let share = 1.0 / seen.result.variance().max(f64::MIN_POSITIVE);
                    let importance: Vec<f64> = seen.factors.iter().map(|a| a * a * share).collect();
                    all.extend(Orders::new(pattern, rows, &problems).costs(&importance, |_| layer));
                }
            }
            original.advance(node)?;
        }
        let already: usize = takes.iter().map(|layer| gone(&self.rows[*layer])).sum();
        let most = |layer: usize| {
            let rows = &self.rows[layer];
            let length = rows.values.len();
            (length - at_least.weights(level, length)).saturating_sub(gone(rows))
        };
        let found = cheapest(all, counts.len(), most, total.saturating_sub(already));
        for (count, (_, weights)) in counts.iter_mut().zip(found) {
            *count = weights;
        }
        Ok(counts)
    }

    fn unreached(&self, layer: usize) -> ReconstructError {
        ReconstructError::Unreached {
            layer: self.rows[layer].layer.path.clone(),
            what: "its inputs are zero throughout".to_string(),
        }
    }

    fn unbearable(&self, layer: usize, level: f64) -> ReconstructError {
        ReconstructError::Unbearable {
            layer: self.rows[layer].layer.path.clone(),
            level,
        }
    }

    // What a product sees and should give.
    fn see(
        &self,
        product: &Product,
        layer: usize,
        original: &Network<'_>,
        present: &Network<'_>,
    ) -> Result<Seen, ReconstructError> {
        let node = &self.graph.nodes()[product.node];
        let rows = &self.rows[layer];
        let name = &node.layer;
        let factors = original.factors(product.node, rows.layer.view.rows())?;
        let mut moments = Moments::new(dims(rows, product.groups));
        let (mut squares, mut places) = (Vec::<f64>::new(), 0.0);
        let mut seen = Seen {
            own: Statistics::default(),
            wanted: Statistics::default(),
            result: Statistics::default(),
            factors,
            moments: Moments::new([0, 0, 0]),
        };
        for batch in 0..original.batches() {
            let wanted = self.outputs(product, batch, original, present, &mut seen)?;
            let input = present.operand(batch, node.inputs[0]);
            match input_columns(&node.op, &input) {
                Some(inputs) => {
                    let wanted = output_rows(&node.op, product.groups, wanted);
                    let [_, columns, places] = inputs.dims();
                    let stride = Moments::stride(columns, places * original.batches());
                    let (inputs, wanted) = (every(inputs, stride), every(wanted, stride));
                    moments.add(name, inputs, wanted)?;
                }
                None => {
                    let found = AnyTensor::from(input_squares(&node.op, &input));
                    let found = found.read(name)?;
                    squares.resize(found.len(), 0.0);
                    for (sum, value) in squares.iter_mut().zip(found) {
                        *sum += f64::from(value);
                    }
                    let elements: usize = input.dims().iter().product();
                    places += (elements / squares.len().max(1)) as f64;
                }
            }
        }
        if !squares.is_empty() {
            let taps = rows.layer.view.taps().max(1);
            let squares: Vec<f64> = (squares.iter())
                .flat_map(|square| std::iter::repeat_n(*square, taps))
                .collect();
            moments = Moments::of_squares(
                dims(rows, product.groups),
                &squares,
                places,
                &self.before[layer],
            );
        }
        if !moments.is_finite() {
            let place = format!("layer `{name}`");
            return Err(ReconstructError::NotFinite { place });
        }
        seen.moments = moments;
        Ok(seen)
    }

    // The output wanted, without epilogue: the original's own, and what makes up for what the residual
    // lost.
    fn outputs(
        &self,
        product: &Product,
        batch: usize,
        original: &Network<'_>,
        present: &Network<'_>,
        seen: &mut Seen,
    ) -> Result<AnyTensor, ReconstructError> {
        let node = &self.graph.nodes()[product.node];
        let name = &node.layer;
        let own = original.bare(batch, product.node);
        let axis = node.op.channel_axis(own.dims().len());
        let mut wanted = own.clone();
        let mut result = times(own.clone(), &seen.factors, axis);
        if let Some(add) = node.epilogue.add {
            let residual = original.operand(batch, add);
            result = result.binary(residual.clone(), Binary::Add);
            if !std::ptr::eq(original, present) {
                let lost = residual.binary(present.operand(batch, add), Binary::Subtract);
                let inverse: Vec<f64> = (seen.factors.iter())
                    .map(|a| {
                        if a.abs() > LEAST_FACTOR {
                            a.recip()
                        } else {
                            0.0
                        }
                    })
                    .collect();
                wanted = wanted.binary(times(lost, &inverse, axis), Binary::Add);
            }
        }
        seen.own.add(name, own, axis)?;
        seen.wanted.add(name, wanted.clone(), axis)?;
        seen.result.add(name, result, axis)?;
        Ok(wanted)
    }

    // Solves a product's layer, and puts its statistics back.
    fn step(
        &mut self,
        product: Product,
        original: &Network<'_>,
        present: &mut Network<'_>,
        counts: &[usize],
    ) -> Result<(), ReconstructError> {
        self.progress(product.node);
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
                let level = self.begun.removal.map_or(0.0, |removal| removal.level);
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
                if let Some(removal) = self.begun.removal
                    && rows.takes_part
                {
                    let orders = Orders::new(removal.pattern, rows, &problems);
                    orders.mark(rows, &importance, counts[layer]);
                }
                let scheme = self.begun.scheme();
                let lost = solve(rows, &problems, &importance, scheme.as_ref(), &self.device);
                if lost.is_none_or(|lost| level > 0.0 && lost > BEARABLE) {
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
        match self.what.statistics {
            true => self.put_back(&product, &seen, present),
            false => Ok(()),
        }
    }

    // Mean and variance of each channel, folded into batch norm, bias and weights.
    fn put_back(
        &mut self,
        product: &Product,
        seen: &Seen,
        present: &mut Network<'_>,
    ) -> Result<(), ReconstructError> {
        let node = &self.graph.nodes()[product.node];
        let mut found = Statistics::default();
        for batch in 0..present.batches() {
            let output = present.bare(batch, product.node);
            let axis = node.op.channel_axis(output.dims().len());
            found.add(&node.layer, output, axis)?;
        }
        let (shift, gamma) = self.shift_of(product);
        let layer = product.layer.filter(|_| product.alone);
        let by_row = match self.begun.scheme() {
            Some(scheme) => scheme.granularity() != Granularity::Tensor,
            None => true,
        };
        let scales_rows = gamma.is_none() && layer.is_some() && by_row;
        // For each channel, the factor and the term of the output without epilogue.
        let corrections = (0..seen.factors.len()).map(|channel| {
            let (mean, variance) = found.of(channel);
            let (_, wanted) = seen.own.of(channel);
            let factor = match gamma.is_some() || scales_rows {
                true => factor(variance, wanted),
                false => 1.0,
            };
            (factor, seen.wanted.of(channel).0 - factor * mean)
        });
        let corrections: Vec<(f64, f64)> = corrections.collect();
        if let (Some(beta), Some(gamma), Some(norm)) = (shift, gamma, node.epilogue.norm) {
            let mean = present.values(norm.mean)?;
            let bias = match node.epilogue.bias {
                Some(bias) => present.values(bias)?,
                None => vec![0.0; mean.len()],
            };
            let (mut gammas, mut betas) = (present.values(norm.gamma)?, present.values(norm.beta)?);
            for (channel, (factor, term)) in corrections.iter().enumerate() {
                // `a (f y + t) + c` in place of `a y + c`.
                let a = seen.factors[channel];
                let around = f64::from(bias[channel]) - f64::from(mean[channel]);
                let beta = f64::from(betas[channel]) + a * around * (1.0 - factor) + a * term;
                betas[channel] = beta as f32;
                gammas[channel] = (f64::from(gammas[channel]) * factor) as f32;
            }
            self.change(beta, betas, present);
            self.change(gamma, gammas, present);
            return Ok(());
        }
        if let (Some(layer), true) = (layer, scales_rows) {
            let rows = &mut self.rows[layer];
            scale_rows(rows, corrections.iter().map(|(factor, _)| *factor));
            present.put_rows(product.parameter, rows);
        }
        if let (Some(bias), None) = (shift, gamma) {
            let values = self.graph.nodes()[product.node].epilogue.bias;
            let mut values = match values {
                Some(value) => present.values(value)?,
                None => return Ok(()),
            };
            for (value, (_, term)) in values.iter_mut().zip(&corrections) {
                *value = (f64::from(*value) + term) as f32;
            }
            self.change(bias, values, present);
        }
        Ok(())
    }

    fn change(&mut self, parameter: usize, values: Vec<f32>, present: &mut Network<'_>) {
        present.put(parameter, &values);
        self.changed.insert(parameter, values);
    }
}

/// A channel that its batch norm multiplies by less makes up for nothing.
const LEAST_FACTOR: f64 = 1e-6;

/// The share of its output's variance that a layer may lose.
const BEARABLE: f64 = 0.999;

/// What a product sees and should give.
#[derive(Default)]
struct Seen {
    /// The original's output without epilogue, the one wanted, and the result before its activation.
    own: Statistics,
    wanted: Statistics,
    result: Statistics,
    /// Of each channel in the epilogue.
    factors: Vec<f64>,
    moments: Moments,
}

// Every n-th place.
fn every(tensor: Tensor<3>, stride: usize) -> Tensor<3> {
    match stride {
        0 | 1 => tensor,
        _ => tensor.slice(s![.., .., ..;stride as isize]),
    }
}

// What turns one variance into another; ones where there is none.
fn factor(found: f64, wanted: f64) -> f64 {
    let factor = (wanted / found).sqrt();
    match factor.is_finite() && found > wanted * 1e-4 {
        true => factor,
        false => 1.0,
    }
}

// Multiplies each row, and its scales.
fn scale_rows(rows: &mut Rows, factors: impl Iterator<Item = f64>) {
    let columns = rows.layer.view.columns().max(1);
    let each = rows.values.len() / columns;
    for (row, factor) in factors.enumerate() {
        let factor = factor as f32;
        if let Some((scales, _)) = &mut rows.ranges {
            let of_row = scales.len() / each.max(1);
            let scales = &mut scales[row * of_row..][..of_row];
            let old: Vec<f32> = scales.to_vec();
            if scales.iter().any(|scale| !(scale * factor).is_normal()) {
                continue;
            }
            scales.iter_mut().for_each(|scale| *scale *= factor);
            let length = columns / of_row.max(1);
            let values = rows.values[row * columns..][..columns].chunks_mut(length);
            for ((values, old), new) in values.zip(old).zip(scales.iter()) {
                for value in values {
                    *value = (*value / old).round() * new;
                }
            }
            continue;
        }
        for value in &mut rows.values[row * columns..][..columns] {
            *value *= factor;
        }
    }
}

//! Tensors of several ranges that a concatenation joins: each with a scale of its own, where all that
//! read the whole have a factor for each channel.

use std::collections::HashMap;

use super::super::repair::{channels, layout};
use super::super::{Graph, Node};
use super::{Factors, Form, QuantizerPlacement};
use crate::network::{Dim, Op, Value};

/// The tensors of a quantizer that come together, and what reads them so.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    pub quantizer: usize,
    /// The slots of the tensors with values of their own.
    pub branches: Vec<usize>,
    /// All slots of the quantizer, and whose values they hold.
    pub members: Vec<(usize, Origin)>,
    /// The nodes that read several at once.
    pub readers: Vec<Reader>,
}

/// Whose values a tensor holds, by slot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    One(usize),
    /// One for each place on an axis.
    Channels {
        axis: usize,
        each: Vec<usize>,
    },
}

/// What the weights of a reader say of the branches.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reader {
    /// A factor for each channel: nothing is lost.
    Factors,
    /// For each output channel of a product, what its weights for each branch are.
    Product { node: usize, rows: Vec<Vec<Row>> },
}

/// The weights of an output channel for the channels of a branch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Row {
    pub count: usize,
    pub squares: f64,
    pub greatest: f64,
}

/// What is known of a branch's values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch {
    pub low: f32,
    pub high: f32,
    pub mean_square: f64,
}

/// Shares of a branch's range that its scale follows: none, as much as equalization does, all.
const POWERS: [f64; 3] = [0.0, 0.5, 1.0];

/// Scales of their own are for branches that gain by them: at most this share of the noise stays.
const NOISE: f64 = 0.5;

impl Joined {
    /// The joined tensors of all quantizers.
    pub fn find(placement: &QuantizerPlacement) -> Vec<Self> {
        let graph = &placement.graph;
        let count = graph.nodes.len();
        let mut whole = vec![true; placement.quantizers.len()];
        let mut origins: Vec<Option<Origin>> = vec![None; count + 1];
        for slot in std::iter::once(count).chain(0..count) {
            let Some(quantizer) = placement.quantizer_of_slot(slot) else {
                continue;
            };
            origins[slot] = match placement.makes_values(slot) {
                true => Some(Origin::One(slot)),
                false => moved(graph, slot, &origins),
            };
            whole[quantizer] &= origins[slot].is_some();
        }
        let channels = |value: Value| match &origins[graph.slot(value)?] {
            Some(Origin::Channels { axis, .. }) => Some(*axis),
            _ => None,
        };
        let own = used_once(graph);
        let mut readers: Vec<Vec<Reader>> = vec![Vec::new(); whole.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            for (place, value) in node.operands().enumerate() {
                let (Some(axis), Some(quantizer)) = (channels(value), placement.quantizer(value))
                else {
                    continue;
                };
                let form = placement.forms[index];
                let is_first = place == 0;
                match form {
                    Form::Move => {}
                    Form::Rescale if is_first && axis == node.op.channel_axis(node.dims.len()) => {
                        readers[quantizer].push(Reader::Factors);
                    }
                    Form::Product if is_first && takes_factors(graph, node, axis, &own) => {
                        let rows = Vec::new();
                        readers[quantizer].push(Reader::Product { node: index, rows });
                    }
                    _ => whole[quantizer] = false,
                }
            }
        }
        if let (Some(_), Some(quantizer)) =
            (channels(graph.output), placement.quantizer(graph.output))
        {
            whole[quantizer] = false;
        }
        let quantizers = readers.into_iter().enumerate();
        let quantizers =
            quantizers.filter(|(quantizer, readers)| whole[*quantizer] && !readers.is_empty());
        quantizers
            .map(|(quantizer, readers)| {
                let slots = (0..=count)
                    .filter(|&slot| placement.quantizer_of_slot(slot) == Some(quantizer));
                let members = slots.filter_map(|slot| Some((slot, origins[slot].clone()?)));
                let members: Vec<(usize, Origin)> = members.collect();
                let branches = members
                    .iter()
                    .filter(|(slot, _)| placement.makes_values(*slot));
                Self {
                    quantizer,
                    branches: branches.map(|(slot, _)| *slot).collect(),
                    members,
                    readers,
                }
            })
            .collect()
    }

    /// Looks at the weights of a product that reads several branches, as the graph holds them.
    pub fn weigh(&mut self, graph: &Graph, product: usize, weights: &[f32]) {
        let layout = layout(graph, product);
        let slot = graph.slot(graph.nodes[product].inputs[0]);
        let origin = self.members.iter().find(|(of, _)| Some(*of) == slot);
        let Some((_, Origin::Channels { each, .. })) = origin else {
            return;
        };
        let branches = &self.branches;
        let place = |slot: &usize| branches.iter().position(|of| of == slot).unwrap_or(0);
        let branch: Vec<usize> = each.iter().map(place).collect();
        let mut found = vec![vec![Row::default(); branches.len()]; layout.rows()];
        for (place, weight) in weights.iter().enumerate() {
            let (input, output) = channels(&layout, place);
            let row = &mut found[output][branch[input]];
            let size = f64::from(weight.abs());
            row.count += 1;
            row.squares += size * size;
            row.greatest = row.greatest.max(size);
        }
        for reader in &mut self.readers {
            if let Reader::Product { node, rows } = reader
                && *node == product
            {
                *rows = found.clone();
            }
        }
    }

    /// The products that read several branches.
    pub fn products(&self) -> Vec<usize> {
        let products = self.readers.iter().filter_map(|reader| match reader {
            Reader::Product { node, .. } => Some(*node),
            Reader::Factors => None,
        });
        products.collect()
    }

    /// Gives each tensor of the quantizer its scale next to the quantizer's, by branch.
    pub fn place(&self, placement: &mut QuantizerPlacement, factors: &[f32]) {
        let branches = self.branches.iter().copied();
        let factor: HashMap<usize, f32> = branches.zip(factors.iter().copied()).collect();
        for (slot, origin) in &self.members {
            placement.factors[*slot] = match origin {
                Origin::One(branch) => Factors::All(factor[branch]),
                Origin::Channels { axis, each } => Factors::Channels {
                    axis: *axis,
                    each: each.iter().map(|branch| factor[branch]).collect(),
                },
            };
        }
        // An offset would be another one in each branch.
        let group = placement.offset_groups[self.quantizer];
        for of in &mut placement.offset_groups {
            if *of == group {
                *of = None;
            }
        }
    }

    /// The factor of each branch's scale that leaves the least noise; none where one scale for all is
    /// about as good. `steps` is the number of codes of an activation less one, `levels` the greatest
    /// code of a weight, `apart` whether each output channel has a scale.
    pub fn factors(&self, of: &[Branch], steps: f64, levels: f64, apart: bool) -> Option<Vec<f32>> {
        let size = |branch: &Branch| f64::from(branch.low.abs().max(branch.high.abs()));
        let largest = of.iter().map(size).fold(0.0, f64::max);
        let factors = |power: f64| -> Vec<f64> {
            let factor = of.iter().map(|branch| (size(branch) / largest).powf(power));
            factor
                .map(|factor| match factor.is_normal() {
                    true => factor,
                    false => 1.0,
                })
                .collect()
        };
        let noise = |power: &f64| self.noise(of, &factors(*power), steps, levels, apart);
        let noises = POWERS.map(|power| noise(&power));
        let best = (0..POWERS.len()).min_by(|a, b| noises[*a].total_cmp(&noises[*b]))?;
        let gains = noises[best] < NOISE * noises[0];
        gains.then(|| {
            factors(POWERS[best])
                .into_iter()
                .map(|f| f as f32)
                .collect()
        })
    }

    // The mean share of noise in what the readers make, by rounding activations and weights.
    fn noise(&self, of: &[Branch], factors: &[f64], steps: f64, levels: f64, apart: bool) -> f64 {
        let ends = of.iter().zip(factors);
        let high = ends
            .clone()
            .map(|(of, f)| f64::from(of.high) / f)
            .fold(0.0, f64::max);
        let low = ends
            .map(|(of, f)| f64::from(of.low) / f)
            .fold(0.0, f64::min);
        let step = (high - low) / steps;
        // Of numbers rounded to a step.
        let rounding = |step: f64| step * step / 12.0;
        let activation = |branch: usize| rounding(step * factors[branch]);
        let share = |noise: f64, signal: f64| match signal > 0.0 {
            true => noise / signal,
            false => 0.0,
        };
        let each = self.readers.iter().map(|reader| match reader {
            Reader::Factors => {
                let shares = (0..of.len()).map(|b| share(activation(b), of[b].mean_square));
                shares.sum::<f64>() / of.len().max(1) as f64
            }
            Reader::Product { rows, .. } => {
                let greatest = |row: &Vec<Row>| {
                    let sizes = row.iter().zip(factors).map(|(row, f)| row.greatest * f);
                    sizes.fold(0.0, f64::max)
                };
                let most = rows.iter().map(greatest).fold(0.0, f64::max);
                let shares = rows.iter().map(|row| {
                    let weight_step = match apart {
                        true => greatest(row) / levels,
                        false => most / levels,
                    };
                    let (mut noise, mut signal) = (0.0, 0.0);
                    for (branch, row) in row.iter().enumerate() {
                        let square = of[branch].mean_square;
                        noise += row.squares * activation(branch);
                        noise +=
                            row.count as f64 * rounding(weight_step / factors[branch]) * square;
                        signal += row.squares * square;
                    }
                    share(noise, signal)
                });
                shares.sum::<f64>() / rows.len().max(1) as f64
            }
        });
        each.sum()
    }
}

// Whether a product's weights can take the factors of its input's channels.
fn takes_factors(graph: &Graph, node: &Node, axis: usize, own: &[bool]) -> bool {
    let Some(Value::Parameter(weight)) = node.inputs.get(1) else {
        return false;
    };
    let rank = graph.dims(node.inputs[0]).len();
    node.op.has_weights() && node.op.channel_axis(rank) == axis && own[*weight]
}

// Whether each parameter is read once, by any name.
fn used_once(graph: &Graph) -> Vec<bool> {
    let path = |index: usize| graph.parameters[index].path.as_str();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for value in graph.nodes.iter().flat_map(Node::operands) {
        if let Value::Parameter(index) = value {
            *uses.entry(path(index)).or_default() += 1;
        }
    }
    let once = |index: usize| uses.get(path(index)) == Some(&1);
    (0..graph.parameters.len()).map(once).collect()
}

// Whose values the result of a movement holds; none where that is no matter of channels.
fn moved(graph: &Graph, index: usize, origins: &[Option<Origin>]) -> Option<Origin> {
    let node = &graph.nodes[index];
    let operands = node
        .inputs
        .iter()
        .map(|value| origins[graph.slot(*value)?].clone());
    let operands: Vec<Origin> = operands.collect::<Option<_>>()?;
    let first = operands.first()?;
    if let Origin::One(_) = first
        && operands.iter().all(|operand| operand == first)
    {
        return Some(first.clone());
    }
    if let Op::Concatenate { axis } = node.op {
        let mut joined = Vec::new();
        for (value, operand) in node.inputs.iter().zip(operands) {
            match (operand, graph.dims(*value)[axis]) {
                (Origin::One(slot), Dim::Fixed(length)) => joined.extend(vec![slot; length]),
                (Origin::Channels { axis: along, each }, _) if along == axis => joined.extend(each),
                _ => return None,
            }
        }
        return Some(Origin::Channels { axis, each: joined });
    }
    let Origin::Channels { axis, each } = first else {
        return None;
    };
    let (axis, from) = (*axis, graph.dims(node.inputs[0]));
    let (axis, each) = match &node.op {
        Op::MaxPool { .. } | Op::UpsampleNearest if axis == 1 => (axis, each.clone()),
        Op::Pad { padding, .. } if padding.get(axis) == Some(&(0, 0)) => (axis, each.clone()),
        Op::Slice { ranges } => {
            let (start, _, step) = *ranges.get(axis)?;
            let Dim::Fixed(length) = node.dims[axis] else {
                return None;
            };
            let place = |place: usize| each.get(start + place * step).copied();
            (axis, (0..length).map(place).collect::<Option<_>>()?)
        }
        Op::Permute { axes } => (axes.iter().position(|of| *of == axis)?, each.clone()),
        // Flattened from the channels on.
        Op::Reshape if axis == 1 && node.dims.len() == 2 && node.dims[0] == from[0] => {
            let Dim::Fixed(length) = node.dims[1] else {
                return None;
            };
            let repeated = length / each.len().max(1);
            let each = each.iter().flat_map(|slot| vec![*slot; repeated]);
            (1, each.collect())
        }
        _ => return None,
    };
    Some(Origin::Channels { axis, each })
}

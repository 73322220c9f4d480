//! Which tensors of a graph become integers, and which share a scale.

use serde::{Deserialize, Serialize};

use super::super::{Graph, GraphError, Node};
use super::form::{Form, form, only_summed};
use super::offset::{self, root};
use crate::format::{Scheme, WeightView};
use crate::network::{Grid, NetworkError};
use crate::network::{Op, Value};

/// A quantized activation: the codes of one or more tensors that share a scale.
///
/// ```
/// # use burn_compress::graph::ActivationQuantizer;
/// fn show(quantizer: &ActivationQuantizer) -> String {
///     format!("{}: {} bits, zero point {}", quantizer.layer, quantizer.scheme.bits(), quantizer.zero_point)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActivationQuantizer {
    /// The layer whose result it is, or `input`.
    pub layer: String,
    /// The operation whose result it is.
    pub op: String,
    /// The codes.
    pub scheme: Scheme,
    /// The code of the offset: of zero, where that is 0.
    pub zero_point: i32,
    /// The real value of the zero point: 0, or the middle of a range that lies far from zero, where
    /// nothing that reads the activation needs zero among its codes.
    pub offset: f32,
}

impl ActivationQuantizer {
    /// The least and the greatest code, less the zero point.
    pub(crate) fn centred_range(&self) -> (i32, i32) {
        let (low, high) = self.scheme.code_range();
        (low - self.zero_point, high - self.zero_point)
    }
}

/// A graph, and where it is quantized.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QuantizerPlacement {
    pub graph: Graph,
    /// For each node.
    pub forms: Vec<Form>,
    /// The quantizer of the input, if it is quantized.
    pub input: Option<usize>,
    /// The quantizer of each node's result, if it is quantized.
    pub nodes: Vec<Option<usize>>,
    pub quantizers: Vec<ActivationQuantizer>,
    /// For each quantizer the number of its group, if its codes may stand for values around an offset, which
    /// is the same for all quantizers of a group.
    pub offset_groups: Vec<Option<usize>>,
    /// For each slot what its tensor's scale is, next to that of its quantizer.
    pub factors: Vec<Factors>,
}

/// The scale of a tensor next to that of its quantizer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Factors {
    All(f32),
    /// One for each place on an axis: those of tensors that were joined. The weights of what reads it
    /// make up for them.
    Channels {
        axis: usize,
        each: Vec<f32>,
    },
}

impl QuantizerPlacement {
    /// `quantized` tells whether a parameter has codes for a product whose channels lie so in it, as the
    /// module holds it; `scheme` and `input_scheme` are those of activations and
    /// of the graph's input.
    pub fn new(
        graph: Graph,
        quantized: impl Fn(&str, &WeightView) -> bool,
        scheme: Scheme,
        input_scheme: Scheme,
    ) -> Self {
        let only_summed = only_summed(&graph);
        let weight = |op: &Op, index: usize| {
            let parameter = &graph.parameters[index];
            let layout = parameter.layout(op);
            only_summed[index] && layout.is_some_and(|layout| quantized(&parameter.path, &layout))
        };
        let depend = graph.depend_on_input();
        let fixed = |value: Value| matches!(value, Value::Node(index) if !depend[index]);
        let nodes = graph.nodes.iter();
        let forms = nodes.map(|node| match form(&graph, node, &weight) {
            // What is made of parameters has no codes of an activation.
            Form::Product if node.inputs.iter().copied().any(fixed) => Form::Float,
            form => form,
        });
        let mut forms: Vec<Form> = forms.collect();
        let count = graph.nodes.len();
        let slot = |value: Value| graph.slot(value);
        // Whether anyone needs the codes of a node's result; the last is the input.
        let mut wanted = vec![false; count + 1];
        for index in (0..count).rev() {
            if forms[index] != Form::Product && !wanted[index] {
                forms[index] = Form::Float;
            }
            if forms[index] == Form::Float {
                continue;
            }
            let node = &graph.nodes[index];
            let activations = node.inputs.iter().copied().chain(node.epilogue.add);
            for slot in activations.filter_map(slot) {
                wanted[slot] = true;
            }
        }
        // Tensors that share a scale have one root.
        let mut parent: Vec<usize> = (0..=count).collect();
        for (index, node) in graph.nodes.iter().enumerate() {
            if forms[index] == Form::Move {
                for operand in node.inputs.iter().copied().filter_map(slot) {
                    let (a, b) = (root(&parent, operand), root(&parent, index));
                    // The input first, then the earliest.
                    let (first, later) = match a == count || (b != count && a < b) {
                        true => (a, b),
                        false => (b, a),
                    };
                    parent[later] = first;
                }
            }
        }
        let mut quantizers = Vec::new();
        let mut quantizer_of = vec![None; count + 1];
        for tensor in std::iter::once(count).chain(0..count) {
            if !wanted[tensor] {
                continue;
            }
            let first = root(&parent, tensor);
            if quantizer_of[first].is_none() {
                quantizer_of[first] = Some(quantizers.len());
                quantizers.push(match graph.nodes.get(first) {
                    Some(node) => ActivationQuantizer {
                        layer: node.layer.clone(),
                        op: node.op.name().to_string(),
                        scheme,
                        zero_point: 0,
                        offset: 0.0,
                    },
                    None => ActivationQuantizer {
                        layer: "input".to_string(),
                        op: "input".to_string(),
                        scheme: input_scheme,
                        zero_point: 0,
                        offset: 0.0,
                    },
                });
            }
            quantizer_of[tensor] = quantizer_of[first];
        }
        // A root that only shares its scale is no quantizer of its own.
        for (tensor, quantizer) in quantizer_of.iter_mut().enumerate() {
            if !wanted[tensor] {
                *quantizer = None;
            }
        }
        let quantizer = |value: Value| quantizer_of[graph.slot(value)?];
        let offset_groups = offset::groups(&graph, &forms, quantizers.len(), quantizer);
        let input = quantizer_of.pop().flatten();
        Self {
            factors: vec![Factors::All(1.0); count + 1],
            graph,
            forms,
            input,
            nodes: quantizer_of,
            quantizers,
            offset_groups,
        }
    }

    /// The quantizer of a tensor, if it is quantized.
    pub fn quantizer(&self, value: Value) -> Option<usize> {
        match value {
            Value::Input => self.input,
            Value::Node(index) => self.nodes[index],
            _ => None,
        }
    }

    /// A graph with nothing quantized.
    pub fn floats(graph: Graph) -> Self {
        let count = graph.nodes.len();
        Self {
            graph,
            forms: vec![Form::Float; count],
            input: None,
            nodes: vec![None; count],
            quantizers: Vec::new(),
            offset_groups: Vec::new(),
            factors: vec![Factors::All(1.0); count + 1],
        }
    }

    /// The quantizer of a slot.
    pub fn quantizer_of_slot(&self, slot: usize) -> Option<usize> {
        self.nodes.get(slot).copied().unwrap_or(self.input)
    }

    /// The scale of a tensor next to that of its quantizer; 1 where the channels have their own.
    pub fn factor(&self, value: Value) -> f32 {
        let slot = self.graph.slot(value);
        slot.map_or(1.0, |slot| self.factor_of_slot(slot))
    }

    /// The same of a slot.
    pub fn factor_of_slot(&self, slot: usize) -> f32 {
        match self.factors[slot] {
            Factors::All(factor) => factor,
            Factors::Channels { .. } => 1.0,
        }
    }

    /// The scales of a tensor's channels next to that of its quantizer, where they have their own.
    pub fn channel_factors(&self, value: Value) -> Option<(usize, &[f32])> {
        match &self.factors[self.graph.slot(value)?] {
            Factors::All(_) => None,
            Factors::Channels { axis, each } => Some((*axis, each)),
        }
    }

    /// The layer whose result a slot is.
    pub fn layer(&self, slot: usize) -> &str {
        match self.graph.nodes.get(slot) {
            Some(node) => &node.layer,
            None => "input",
        }
    }

    /// Whether the tensor of a slot holds values of its own, not those of another one moved.
    pub fn makes_values(&self, slot: usize) -> bool {
        self.forms.get(slot) != Some(&Form::Move)
    }

    /// The real values of a tensor's codes, if it is quantized, where `scales` are those of the quantizers.
    pub fn grid(&self, value: Value, scales: &[f32]) -> Result<Option<Grid>, GraphError> {
        let Some(quantizer) = self.quantizer(value) else {
            return Ok(None);
        };
        let of = &self.quantizers[quantizer];
        let scale = scales[quantizer] * self.factor(value);
        let grid = Grid::new(of.scheme, scale, of.zero_point);
        let grid = grid.and_then(|grid| grid.with_offset(of.offset));
        let grid = grid.map_err(|error| NetworkError::Activation {
            layer: of.layer.clone(),
            what: format!(
                "{error}: lower the learning rate, or calibrate with inputs that the model bears"
            ),
        });
        Ok(Some(grid?))
    }

    /// Each quantizer with its scale, where `scales` are those of the quantizers; a row for each tensor that
    /// has another scale.
    pub fn rows(&self, scales: &[f32]) -> Vec<(ActivationQuantizer, f32)> {
        let count = self.graph.nodes.len();
        let slots = || std::iter::once(count).chain(0..count);
        let mut rows = Vec::new();
        for (quantizer, (of, scale)) in self.quantizers.iter().zip(scales).enumerate() {
            let own = slots().filter(|slot| self.quantizer_of_slot(*slot) == Some(quantizer));
            let own = own.filter(|slot| self.makes_values(*slot));
            let own: Vec<usize> = own.collect();
            if own.iter().all(|slot| self.factor_of_slot(*slot) == 1.0) {
                rows.push((of.clone(), *scale));
                continue;
            }
            rows.extend(own.into_iter().map(|slot| {
                let node = self.graph.nodes.get(slot);
                let row = ActivationQuantizer {
                    layer: self.layer(slot).to_string(),
                    op: node.map_or("input", |node| node.op.name()).to_string(),
                    ..of.clone()
                };
                (row, scale * self.factor_of_slot(slot))
            }));
        }
        rows
    }

    /// What the codes of a tensor are around.
    pub fn offset(&self, value: Value) -> f32 {
        self.quantizer(value)
            .map_or(0.0, |quantizer| self.quantizers[quantizer].offset)
    }

    /// Where the channels of a product lie among those of all products, and how many they are.
    pub fn correction_of(&self, index: usize) -> (usize, usize) {
        let before = (0..index).map(|index| self.channels(index)).sum();
        (before, self.channels(index))
    }

    /// The output channels of a product with weights; 0 of any other node.
    pub fn channels(&self, index: usize) -> usize {
        let node = &self.graph.nodes[index];
        if self.forms[index] != Form::Product || !node.op.has_weights() {
            return 0;
        }
        let axis = node.op.channel_axis(node.dims.len());
        node.dims[axis].at(1)
    }

    /// The nodes that compute in floats although they do arithmetic.
    pub fn in_float(&self) -> impl Iterator<Item = &Node> + '_ {
        let nodes = self.graph.nodes.iter().zip(&self.forms);
        nodes
            .filter(|(node, form)| **form == Form::Float && !node.op.is_movement())
            .map(|(node, _)| node)
    }
}

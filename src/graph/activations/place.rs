//! Which tensors of a graph become integers, and which share a scale.

use serde::{Deserialize, Serialize};

use super::super::integer::Grid;
use super::super::{Binary, Graph, GraphError, Node, Op, Value};
use crate::format::{Scheme, WeightView};

/// How a node computes in the quantized graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Integer products, summed in integers.
    Product,
    /// A sum or a product of two integer tensors, or of one and a parameter.
    Arithmetic,
    /// An integer sum over windows or axes.
    Sum,
    /// A factor and an offset for each channel.
    Affine,
    /// A function looked up for each code.
    Table,
    /// Codes moved as they are: the result shares its scale with the operands.
    Movement,
    /// In floats.
    Float,
}

/// A quantized activation: the codes of one or more tensors that share a scale.
///
/// ```
/// # use burn_compress::graph::Site;
/// fn show(site: &Site) -> String {
///     format!("{}: {} bits, zero point {}", site.layer, site.scheme.bits(), site.zero_point)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The layer whose result it is, or `input`.
    pub layer: String,
    /// The operation whose result it is.
    pub op: String,
    /// The codes.
    pub scheme: Scheme,
    /// The code of zero.
    pub zero_point: i32,
}

impl Site {
    /// Its codes at this scale.
    ///
    /// Fails with [`GraphError::Activation`] where the scale is not positive and finite.
    pub(crate) fn grid(&self, scale: f32) -> Result<Grid, GraphError> {
        let grid = Grid::new(self.scheme, scale, self.zero_point);
        grid.map_err(|_| GraphError::Activation {
            layer: self.layer.clone(),
            what: format!(
                "its scale is {scale}, which is not positive and finite: lower the learning rate, or \
                 calibrate with inputs that the model bears"
            ),
        })
    }

    /// The least and the greatest code, less the zero point.
    pub(crate) fn centred_range(&self) -> (i32, i32) {
        let (low, high) = self.scheme.code_range();
        (low - self.zero_point, high - self.zero_point)
    }
}

/// A graph, and where it is quantized.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placement {
    pub graph: Graph,
    /// For each node.
    pub forms: Vec<Form>,
    /// The site of the input, if it is quantized.
    pub input: Option<usize>,
    /// The site of each node's result, if it is quantized.
    pub nodes: Vec<Option<usize>>,
    pub sites: Vec<Site>,
}

impl Placement {
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
            if forms[index] == Form::Movement {
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
        let mut sites = Vec::new();
        let mut site_of = vec![None; count + 1];
        for tensor in std::iter::once(count).chain(0..count) {
            if !wanted[tensor] {
                continue;
            }
            let first = root(&parent, tensor);
            if site_of[first].is_none() {
                site_of[first] = Some(sites.len());
                sites.push(match graph.nodes.get(first) {
                    Some(node) => Site {
                        layer: node.layer.clone(),
                        op: node.op.name().to_string(),
                        scheme,
                        zero_point: 0,
                    },
                    None => Site {
                        layer: "input".to_string(),
                        op: "input".to_string(),
                        scheme: input_scheme,
                        zero_point: 0,
                    },
                });
            }
            site_of[tensor] = site_of[first];
        }
        // A root that only shares its scale is no site of its own.
        for (tensor, site) in site_of.iter_mut().enumerate() {
            if !wanted[tensor] {
                *site = None;
            }
        }
        let input = site_of.pop().flatten();
        Self {
            graph,
            forms,
            input,
            nodes: site_of,
            sites,
        }
    }

    /// The site of a tensor, if it is quantized.
    pub fn site(&self, value: Value) -> Option<usize> {
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
            sites: Vec::new(),
        }
    }

    /// Whether a tensor holds values of its own, not those of another one moved.
    pub fn makes_values(&self, value: Value) -> bool {
        match value {
            Value::Node(index) => self.forms[index] != Form::Movement,
            _ => true,
        }
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

fn root(parent: &[usize], mut tensor: usize) -> usize {
    while parent[tensor] != tensor {
        tensor = parent[tensor];
    }
    tensor
}

// Whether each parameter is read as the weight of products alone: its codes are then all that is needed.
fn only_summed(graph: &Graph) -> Vec<bool> {
    let mut only = vec![true; graph.parameters.len()];
    for node in &graph.nodes {
        let summed =
            node.op.has_weights() && node.inputs.first().is_some_and(|v| v.is_activation());
        for (place, value) in node.operands().enumerate() {
            if let Value::Parameter(index) = value {
                only[index] &= summed && place == 1;
            }
        }
    }
    if let Value::Parameter(index) = graph.output {
        only[index] = false;
    }
    only
}

// What a node can do if its operands are codes.
fn form(graph: &Graph, node: &Node, quantized: &impl Fn(&Op, usize) -> bool) -> Form {
    let activations = node.inputs.iter().filter(|v| v.is_activation()).count();
    let weight = |value: Option<&Value>| match value {
        Some(Value::Parameter(index)) => quantized(&node.op, *index),
        _ => false,
    };
    if activations == 0 {
        // Of parameters alone: there are no codes to compute with.
        return Form::Float;
    }
    match &node.op {
        Op::Convolution { .. } | Op::TransposedConvolution { .. } | Op::Linear => {
            match weight(node.inputs.get(1)) && activations == 1 {
                true => Form::Product,
                false => Form::Float,
            }
        }
        Op::MatMul if activations == 2 => Form::Product,
        Op::Binary(Binary::Add | Binary::Subtract | Binary::Multiply) if activations == 2 => {
            Form::Arithmetic
        }
        // A parameter less an activation has no place in the requantization.
        Op::Binary(Binary::Add | Binary::Multiply) if activations == 1 => Form::Arithmetic,
        Op::BatchNorm { .. } => Form::Affine,
        Op::AveragePool { ceil: false, .. } | Op::Mean { .. } | Op::Sum { .. } => Form::Sum,
        Op::AdaptiveAveragePool { rank, output } => {
            let dims = graph.dims(node.inputs[0]);
            let spatial = &dims[dims.len() - rank..];
            let output = &output[2 - rank..];
            let even = spatial.iter().zip(output).all(|(length, output)| {
                matches!(length, super::super::Dim::Fixed(length) if length % output == 0)
            });
            match even {
                true => Form::Sum,
                false => Form::Float,
            }
        }
        Op::Unary(_) => Form::Table,
        op if op.is_movement() && activations == node.inputs.len() => Form::Movement,
        _ => Form::Float,
    }
}

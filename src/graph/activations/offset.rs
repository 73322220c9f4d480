//! Which quantizers may code around another number than zero.

use super::super::{Graph, Node};
use super::Form;
use crate::network::{Binary, Op, Value};

/// For each quantizer the number of its group, if its codes may stand for values around an offset; quantizers
/// of one group have the same. Padding puts zeros among the values, a product of two activations has no place
/// for what an offset adds to it, and neither has a sum of two.
pub(super) fn groups(
    graph: &Graph,
    forms: &[Form],
    count: usize,
    quantizer: impl Fn(Value) -> Option<usize>,
) -> Vec<Option<usize>> {
    let mut parent: Vec<usize> = (0..count).collect();
    let mut free = vec![true; count];
    for (index, node) in graph.nodes.iter().enumerate() {
        let result = quantizer(Value::Node(index));
        let form = forms[index];
        for (place, value) in node.inputs.iter().enumerate() {
            let Some(read) = quantizer(*value) else {
                continue;
            };
            free[read] &= bears(node, form, place);
            // A mean keeps the offset.
            if let (Form::Sum, Some(result)) = (form, result) {
                let (a, b) = (root(&parent, read), root(&parent, result));
                parent[a.max(b)] = a.min(b);
            }
        }
        if let Some(result) = result {
            free[result] &= gives(node, form);
        }
    }
    let group = |quantizer: usize| root(&parent, quantizer);
    let bound = |of: usize| (0..count).any(|quantizer| group(quantizer) == of && !free[quantizer]);
    (0..count)
        .map(|quantizer| Some(group(quantizer)).filter(|group| !bound(*group)))
        .collect()
}

// Whether an operand may be coded around an offset: what that adds goes into the result's offset.
fn bears(node: &Node, form: Form, place: usize) -> bool {
    match form {
        Form::Float | Form::Rescale | Form::Table => true,
        Form::Product => place == 0 && node.op.sums_all_weights(),
        Form::Move => !matches!(node.op, Op::Pad { .. }),
        Form::Arithmetic => adds_constant(node),
        Form::Sum => node.op.is_mean(),
    }
}

// Whether a result may be coded around an offset.
fn gives(node: &Node, form: Form) -> bool {
    match form {
        Form::Float | Form::Rescale | Form::Table | Form::Product | Form::Move => true,
        Form::Arithmetic => adds_constant(node),
        Form::Sum => node.op.is_mean(),
    }
}

fn adds_constant(node: &Node) -> bool {
    let activations = node.inputs.iter().filter(|v| v.is_activation()).count();
    node.op == Op::Binary(Binary::Add) && activations == 1
}

/// The first of the tensors, or quantizers, that were joined with this one.
pub(super) fn root(parent: &[usize], mut tensor: usize) -> usize {
    while parent[tensor] != tensor {
        tensor = parent[tensor];
    }
    tensor
}

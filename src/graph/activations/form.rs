//! How a node computes, by its operation and its operands.

use serde::{Deserialize, Serialize};

use super::super::{Graph, Node};
use crate::network::{Binary, Op, Value};

/// How a node computes in the quantized graph: the form of the step that it becomes
/// ([`StepOp`](crate::network::StepOp)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Form {
    /// Integer products, summed in integers.
    Product,
    /// A sum or a product of two integer tensors, or of one and a parameter.
    Arithmetic,
    /// An integer sum over windows or axes.
    Sum,
    /// A factor and an offset for each channel.
    Rescale,
    /// A function looked up for each code.
    Table,
    /// Codes moved as they are: the result shares its scale with the operands.
    Move,
    /// In floats.
    Float,
}

/// Whether each parameter is read as the weight of products alone: its codes are then all that is needed.
pub(super) fn only_summed(graph: &Graph) -> Vec<bool> {
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

/// What a node can do if its operands are codes.
pub(super) fn form(graph: &Graph, node: &Node, quantized: &impl Fn(&Op, usize) -> bool) -> Form {
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
        op if op.has_weights() => match weight(node.inputs.get(1)) && activations == 1 {
            true => Form::Product,
            false => Form::Float,
        },
        Op::MatMul if activations == 2 => Form::Product,
        Op::Binary(Binary::Add | Binary::Subtract | Binary::Multiply) if activations == 2 => {
            Form::Arithmetic
        }
        // A parameter less an activation has no place in the requantization.
        Op::Binary(Binary::Add | Binary::Multiply) if activations == 1 => Form::Arithmetic,
        Op::BatchNorm { .. } => Form::Rescale,
        op if op.sums().is_some() => match op.sum_of_codes(&graph.dims(node.inputs[0])) {
            Some(_) => Form::Sum,
            None => Form::Float,
        },
        Op::Unary(_) => Form::Table,
        op if op.is_movement() && activations == node.inputs.len() => Form::Move,
        _ => Form::Float,
    }
}

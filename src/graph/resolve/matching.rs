//! What a node is, for patterns of several.

use crate::graph::node::Graph;
use crate::network::{Binary, Op, Unary, Value};

/// The operation and the first operand of the node that gives a value, where it has no epilogue.
pub(super) fn made(graph: &Graph, value: Value) -> Option<(&Op, Value)> {
    let Value::Node(index) = value else {
        return None;
    };
    let node = &graph.nodes[index];
    let bare = node.epilogue.operands().next().is_none() && node.epilogue.activation.is_none();
    bare.then(|| node.inputs.first().map(|input| (&node.op, *input)))?
}

/// The two operands of the node that computes a value by this operation.
pub(super) fn pair(graph: &Graph, value: Value, f: Binary) -> Option<(Value, Value)> {
    let Value::Node(index) = value else {
        return None;
    };
    match (made(graph, value)?, graph.nodes[index].inputs.as_slice()) {
        ((Op::Binary(found), _), [left, right]) if *found == f => Some((*left, *right)),
        _ => None,
    }
}

/// The operand of a function.
pub(super) fn of(graph: &Graph, value: Value, is: impl Fn(Unary) -> bool) -> Option<Value> {
    match made(graph, value)? {
        (Op::Unary(function), input) if is(*function) => Some(input),
        _ => None,
    }
}

/// The node becomes another operation.
pub(super) fn become_op(graph: &mut Graph, index: usize, op: Op, inputs: Vec<Value>) -> bool {
    graph.nodes[index].op = op;
    graph.nodes[index].inputs = inputs;
    true
}

/// The value of a constant whose elements are equal, repeated or not.
pub(super) fn uniform(graph: &Graph, value: Value) -> Option<f32> {
    match value {
        Value::Constant(index) => {
            let (first, rest) = graph.constants[index].values.split_first()?;
            rest.iter().all(|value| value == first).then_some(*first)
        }
        _ => match made(graph, value)? {
            (Op::Expand | Op::Reshape, source) => uniform(graph, source),
            _ => None,
        },
    }
}

//! Products whose channels can be rescaled against those of the next one.

use std::collections::HashMap;

use super::super::{Graph, Node, Norm};
use crate::network::{Op, Over, Unary, Value};

/// A product, and the one that alone reads its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub first: usize,
    pub second: usize,
}

/// The pairs of a simplified graph, in order.
pub(super) fn find(graph: &Graph) -> Vec<Found> {
    let users = graph.users();
    // By path: a parameter may be read as it is and transposed.
    let path = |index: usize| graph.parameters[index].path.as_str();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for operand in graph.nodes.iter().flat_map(Node::operands) {
        if let Value::Parameter(index) = operand {
            *uses.entry(path(index)).or_default() += 1;
        }
    }
    let own = |value: Value| matches!(value, Value::Parameter(index) if uses.get(path(index)) == Some(&1));
    let firsts = (0..graph.nodes.len()).filter(|&index| begins(&graph.nodes[index], own));
    firsts
        .filter_map(|first| {
            let mut last = first;
            loop {
                let [next] = users[last][..] else {
                    return None;
                };
                if graph.output == Value::Node(last) {
                    return None;
                }
                let node = &graph.nodes[next];
                // Not as a residual.
                if node.inputs.first() != Some(&Value::Node(last)) {
                    return None;
                }
                if node.op.has_weights() {
                    let same = channels(graph, Value::Node(last), node)
                        == channels(graph, Value::Node(first), &graph.nodes[first]);
                    let fits = same && own(node.inputs[1]);
                    return fits.then_some(Found {
                        first,
                        second: next,
                    });
                }
                if !keeps_scale(node) {
                    return None;
                }
                last = next;
            }
        })
        .collect()
}

// The axis of a tensor's channels as a product sees them, from the end, and their number.
fn channels(graph: &Graph, value: Value, product: &Node) -> (usize, usize) {
    let dims = graph.dims(value);
    let axis = product.op.channel_axis(dims.len());
    (dims.len() - axis, dims[axis].at(1))
}

// A product whose result scales with its own parameters, which nothing else uses.
fn begins(node: &Node, own: impl Fn(Value) -> bool) -> bool {
    let epilogue = &node.epilogue;
    let weight = match node.inputs.get(1) {
        Some(weight) if node.op.has_weights() => *weight,
        _ => return false,
    };
    let scalable = match epilogue.norm {
        Some(Norm { gamma, beta, .. }) => own(gamma) && own(beta),
        None => own(weight) && epilogue.bias.is_none_or(&own),
    };
    matches!(weight, Value::Parameter(_))
        && scalable
        && epilogue.add.is_none()
        && epilogue.activation.is_none_or(is_homogeneous)
}

// Whether `f(sx) = s f(x)` for each positive `s`.
fn is_homogeneous(function: Unary) -> bool {
    match function {
        Unary::Relu | Unary::LeakyRelu { .. } | Unary::Abs | Unary::MulScalar(_) => true,
        Unary::Clamp { min, max } => {
            (min == 0.0 || min == f32::NEG_INFINITY) && (max == 0.0 || max == f32::INFINITY)
        }
        _ => false,
    }
}

// Whether a channel of the result scales with that of the operand, and stays where it is.
fn keeps_scale(node: &Node) -> bool {
    let plain = node.epilogue.operands().next().is_none()
        && node.epilogue.activation.is_none_or(is_homogeneous);
    plain
        && match &node.op {
            Op::Unary(function) => is_homogeneous(*function),
            Op::MaxPool { .. } | Op::UpsampleNearest | Op::UpsampleBilinear { .. } => true,
            // Of places alone, not of channels.
            op => matches!(
                op.sums(),
                Some((Over::Windows { .. } | Over::Shares { .. }, _))
            ),
        }
}

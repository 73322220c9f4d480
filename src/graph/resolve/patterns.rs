//! Functions that Burn expresses in several operations, as the one that they mean.

use super::super::{Binary, Graph, Op, Unary, Value};

/// Recognizes them; what only their parts used is left, for a pass to remove.
pub(super) fn recognize(mut graph: Graph) -> Graph {
    for index in 0..graph.nodes.len() {
        let found = gated(&graph, index)
            .or_else(|| gelu(&graph, index))
            .or_else(|| means(&graph, index));
        if let Some((op, input)) = found {
            let node = &mut graph.nodes[index];
            node.op = op;
            node.inputs = vec![input];
        }
    }
    super::super::pass::dead(graph)
}

fn op(graph: &Graph, value: Value) -> Option<(&Op, &[Value])> {
    match value {
        Value::Node(index) => {
            let node = &graph.nodes[index];
            Some((&node.op, &node.inputs))
        }
        _ => None,
    }
}

// `x f(x)`: SiLU and hard-swish.
fn gated(graph: &Graph, index: usize) -> Option<(Op, Value)> {
    let node = &graph.nodes[index];
    let (Op::Binary(Binary::Multiply), [a, b]) = (&node.op, node.inputs.as_slice()) else {
        return None;
    };
    [(*a, *b), (*b, *a)].into_iter().find_map(|(x, gate)| {
        let (Op::Unary(function), [of]) = op(graph, gate)? else {
            return None;
        };
        let sixth = |alpha: f32| (alpha - 1.0 / 6.0).abs() < 1e-6;
        let meant = match *function {
            Unary::Sigmoid => Unary::Silu,
            Unary::HardSigmoid { alpha, beta } if sixth(alpha) && beta == 0.5 => Unary::HardSwish,
            _ => return None,
        };
        (*of == x).then_some((Op::Unary(meant), x))
    })
}

// `0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))`, as Burn writes it.
fn gelu(graph: &Graph, index: usize) -> Option<(Op, Value)> {
    let scalar = |value: Value, expected: Unary| {
        let (Op::Unary(found), [of]) = op(graph, value)? else {
            return None;
        };
        let close = |a: f32, b: f32| (a - b).abs() < 1e-5;
        let same = match (*found, expected) {
            (Unary::MulScalar(a), Unary::MulScalar(b))
            | (Unary::AddScalar(a), Unary::AddScalar(b))
            | (Unary::Power(a), Unary::Power(b)) => close(a, b),
            (a, b) => a == b,
        };
        same.then_some(*of)
    };
    let pair = |value: Value, expected: Binary| {
        let (Op::Binary(found), [a, b]) = op(graph, value)? else {
            return None;
        };
        (*found == expected).then_some((*a, *b))
    };
    let product = scalar(Value::Node(index), Unary::MulScalar(0.5))?;
    let (x, one_plus) = pair(product, Binary::Multiply)?;
    let tanh = scalar(one_plus, Unary::AddScalar(1.0))?;
    let inner = scalar(scalar(tanh, Unary::Tanh)?, Unary::MulScalar(0.797_884_6))?;
    let (first, cubed) = pair(inner, Binary::Add)?;
    let cube = scalar(cubed, Unary::MulScalar(0.044_715))?;
    let of = scalar(cube, Unary::Power(3.0))?;
    (first == x && of == x).then_some((Op::Unary(Unary::GeluTanh), x))
}

// A mean over one axis of a mean over another.
fn means(graph: &Graph, index: usize) -> Option<(Op, Value)> {
    let node = &graph.nodes[index];
    let Op::Mean { axes } = &node.op else {
        return None;
    };
    let (Op::Mean { axes: before }, [of]) = op(graph, node.inputs[0])? else {
        return None;
    };
    let mut axes: Vec<usize> = axes.iter().chain(before).copied().collect();
    axes.sort_unstable();
    axes.dedup();
    Some((Op::Mean { axes }, *of))
}

//! Norms that are written out: layer norm over the last axis, group and instance norm.

use super::matching::{become_op, made, of, pair, uniform};
use crate::graph::node::Graph;
use crate::network::{Binary, Dim, Op, Unary};
use crate::network::{Constant, Value};

pub(super) fn apply(graph: &mut Graph, index: usize) -> bool {
    normalized(graph, index) || grouped(graph, index) || scaled(graph, index)
}

// `(x - mean) / √(variance + epsilon)`, over the last axis.
fn normalized(graph: &mut Graph, index: usize) -> bool {
    let Some((input, epsilon)) = find(graph, Value::Node(index)) else {
        return false;
    };
    let Some(Dim::Fixed(length)) = graph.dims(input).last().copied() else {
        return false;
    };
    let inputs = vec![
        input,
        vector(graph, length, 1.0),
        vector(graph, length, 0.0),
    ];
    become_op(graph, index, Op::LayerNorm { epsilon }, inputs)
}

fn find(graph: &Graph, value: Value) -> Option<(Value, f32)> {
    let (centered, deviation) = pair(graph, value, Binary::Divide)?;
    let raised = of(graph, deviation, |f| f == Unary::Sqrt)?;
    let Some((Op::Unary(Unary::AddScalar(epsilon)), variance)) = made(graph, raised) else {
        return None;
    };
    let squares = mean(graph, variance)?;
    let (input, average) = pair(graph, centered, Binary::Subtract)?;
    let square = of(graph, squares, |f| f == Unary::Power(2.0))?;
    (square == centered && mean(graph, average)? == input).then_some((input, *epsilon))
}

// What a value is the mean of, over the last axis.
fn mean(graph: &Graph, value: Value) -> Option<Value> {
    match made(graph, value)? {
        (Op::Mean { axes }, input) if axes.as_slice() == [graph.dims(input).len() - 1] => {
            Some(input)
        }
        _ => None,
    }
}

// A norm of each group's elements in a row.
fn grouped(graph: &mut Graph, index: usize) -> bool {
    let node = &graph.nodes[index];
    let found = node.inputs.first().and_then(|input| {
        let Some((Op::LayerNorm { epsilon }, rows)) = made(graph, *input) else {
            return None;
        };
        let Some((Op::Reshape, source)) = made(graph, rows) else {
            return None;
        };
        let (dims, rows) = (graph.dims(source), graph.dims(rows));
        let (&[batch, Dim::Fixed(groups), _], [first, Dim::Fixed(channels), ..]) =
            (rows.as_slice(), dims.as_slice())
        else {
            return None;
        };
        let plain = is_plain(graph, *input) && batch == *first && channels % groups == 0;
        let back = node.op == Op::Reshape && node.dims == dims;
        (plain && back).then_some((source, groups, *epsilon, *channels))
    });
    let Some((source, groups, epsilon, channels)) = found else {
        return false;
    };
    let (gamma, beta) = (vector(graph, channels, 1.0), vector(graph, channels, 0.0));
    let op = Op::GroupNorm { groups, epsilon };
    become_op(graph, index, op, vec![source, gamma, beta])
}

// A norm times a vector and plus a vector, where it had none.
fn scaled(graph: &mut Graph, index: usize) -> bool {
    let value = Value::Node(index);
    for (f, place) in [(Binary::Multiply, GAMMA), (Binary::Add, BETA)] {
        let Some((left, right)) = pair(graph, value, f) else {
            continue;
        };
        for (norm, factor) in [(left, right), (right, left)] {
            if let Some((op, vector)) = with(graph, norm, factor, place)
                && graph.dims(norm) == graph.nodes[index].dims
                && let Value::Node(source) = norm
            {
                let mut inputs = graph.nodes[source].inputs.clone();
                if op != graph.nodes[source].op {
                    inputs = plain_inputs(graph, &op, inputs[0]);
                }
                inputs[place] = vector;
                return become_op(graph, index, op, inputs);
            }
        }
    }
    false
}

// Places of a norm's operands.
const GAMMA: usize = 1;
const BETA: usize = 2;

// What a norm is with a vector in a place that is free.
fn with(graph: &Graph, norm: Value, factor: Value, place: usize) -> Option<(Op, Value)> {
    let (op, input) = made(graph, norm)?;
    let Value::Node(index) = norm else {
        return None;
    };
    let dims = graph.dims(norm);
    let (vector, axis) = along(graph, factor, dims.len())?;
    let op = match op {
        Op::GroupNorm { .. } if axis == 1 => op.clone(),
        Op::LayerNorm { .. } if axis + 1 == dims.len() => op.clone(),
        // An instance norm along one axis.
        Op::LayerNorm { epsilon } if axis == 1 && dims.len() == 3 && is_plain(graph, norm) => {
            let Dim::Fixed(groups) = graph.dims(input)[1] else {
                return None;
            };
            let epsilon = *epsilon;
            return Some((Op::GroupNorm { groups, epsilon }, vector));
        }
        _ => return None,
    };
    let inputs = &graph.nodes[index].inputs;
    let free = |place: usize, neutral: f32| uniform(graph, inputs[place]) == Some(neutral);
    // What is added is not multiplied any more.
    let free = match place {
        GAMMA => free(GAMMA, 1.0) && free(BETA, 0.0),
        _ => free(BETA, 0.0),
    };
    free.then_some((op, vector))
}

// A group norm's operands where nothing scales it.
fn plain_inputs(graph: &mut Graph, op: &Op, input: Value) -> Vec<Value> {
    let channels = match op {
        Op::GroupNorm { groups, .. } => *groups,
        _ => 0,
    };
    let (gamma, beta) = (vector(graph, channels, 1.0), vector(graph, channels, 0.0));
    vec![input, gamma, beta]
}

// The vector that a value is along one axis of a tensor of this rank, and the axis.
fn along(graph: &Graph, value: Value, rank: usize) -> Option<(Value, usize)> {
    let dims = graph.dims(value);
    let Some((Op::Reshape, source)) = made(graph, value) else {
        return (dims.len() == 1).then_some((value, rank - 1));
    };
    let long = dims.iter().position(|dim| *dim != Dim::Fixed(1))?;
    let vector = graph.dims(source).as_slice() == [dims[long]];
    let others = dims[long + 1..].iter().all(|dim| *dim == Dim::Fixed(1));
    (vector && others && dims.len() <= rank).then_some((source, long + rank - dims.len()))
}

fn is_plain(graph: &Graph, norm: Value) -> bool {
    let Value::Node(index) = norm else {
        return false;
    };
    match graph.nodes[index].inputs.as_slice() {
        [_, gamma, beta] => {
            uniform(graph, *gamma) == Some(1.0) && uniform(graph, *beta) == Some(0.0)
        }
        _ => false,
    }
}

fn vector(graph: &mut Graph, length: usize, value: f32) -> Value {
    graph.constants.push(Constant {
        dims: vec![length],
        values: vec![value; length],
    });
    Value::Constant(graph.constants.len() - 1)
}

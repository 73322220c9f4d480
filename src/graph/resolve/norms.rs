//! Norms that are written out: layer norm over the last axis, group and instance norm.

use super::patterns::{become_op, made, of, pair, uniform};
use crate::graph::node::{Constant, Graph, Value};
use crate::graph::{Binary, Dim, Op, Unary};

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
    for (f, place, neutral) in [(Binary::Multiply, 1, 1.0), (Binary::Add, 2, 0.0)] {
        let Some((left, right)) = pair(graph, value, f) else {
            continue;
        };
        for (norm, factor) in [(left, right), (right, left)] {
            if let Some((op, inputs)) = take(graph, norm, factor, place, neutral)
                && graph.dims(norm) == graph.nodes[index].dims
            {
                return become_op(graph, index, op, inputs);
            }
        }
    }
    false
}

fn take(
    graph: &Graph,
    norm: Value,
    factor: Value,
    place: usize,
    neutral: f32,
) -> Option<(Op, Vec<Value>)> {
    let (op, _) = made(graph, norm)?;
    let Value::Node(index) = norm else {
        return None;
    };
    let mut inputs = graph.nodes[index].inputs.clone();
    let dims = graph.dims(norm);
    let (vector, axis) = along(graph, factor, dims.len())?;
    let op = match op {
        Op::GroupNorm { .. } if axis == 1 => op.clone(),
        Op::LayerNorm { .. } if axis + 1 == dims.len() => op.clone(),
        // The channels of an instance norm along one axis.
        Op::LayerNorm { epsilon } if axis == 1 && dims.len() == 3 && is_plain(graph, norm) => {
            let Dim::Fixed(channels) = dims[1] else {
                return None;
            };
            let position = |value: f32| {
                let wanted = Constant {
                    dims: vec![channels],
                    values: vec![value; channels],
                };
                graph.constants.iter().position(|known| *known == wanted)
            };
            // Where its other vector is not known yet, nothing is changed.
            let other = if place == 1 { 0.0 } else { 1.0 };
            inputs[3 - place] = Value::Constant(position(other)?);
            return {
                inputs[place] = vector;
                let epsilon = *epsilon;
                Some((
                    Op::GroupNorm {
                        groups: channels,
                        epsilon,
                    },
                    inputs,
                ))
            };
        }
        _ => return None,
    };
    if uniform(graph, inputs[place]) != Some(neutral) {
        return None;
    }
    // A shift is not scaled.
    if place == 1 && uniform(graph, inputs[2]) != Some(0.0) {
        return None;
    }
    inputs[place] = vector;
    Some((op, inputs))
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

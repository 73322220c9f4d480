//! What Burn expresses in several operations becomes the one operation that they mean.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use super::matching::{become_op, made, of, pair, uniform};
use super::{batch_first, norms, rewrite};
use crate::graph::node::Graph;
use crate::network::Value;
use crate::network::{Binary, Dim, Op, Unary, Window};

/// Resolves all patterns, and drops what is then unused.
///
/// A pattern changes the node that ends it, and leaves those that lead to it to other uses.
pub(super) fn apply(graph: &mut Graph) {
    let mut index = 0;
    while index < graph.nodes.len() {
        if batch_first::apply(graph, index) {
            index += 2;
        }
        while functions(graph, index)
            || reductions(graph, index)
            || shapes(graph, index)
            || windows(graph, index)
            || norms::apply(graph, index)
        {}
        if let Some(value) = same(graph, index) {
            rewrite::replace(graph, index, value);
        }
        index += 1;
    }
    rewrite::prune(graph);
}

fn near(found: f32, expected: f32) -> bool {
    (found - expected).abs() <= 1e-5 * expected.abs()
}

fn functions(graph: &mut Graph, index: usize) -> bool {
    let value = Value::Node(index);
    if let Some((input, gelu)) = gelu(graph, value) {
        return become_op(graph, index, Op::Unary(gelu), vec![input]);
    }
    if let Some((input, function)) = hard(graph, value) {
        return become_op(graph, index, Op::Unary(function), vec![input]);
    }
    if let Some((left, right)) = pair(graph, value, Binary::Multiply) {
        for (x, gate) in [(left, right), (right, left)] {
            if of(graph, gate, |f| f == Unary::Sigmoid) == Some(x) {
                return become_op(graph, index, Op::Unary(Unary::Silu), vec![x]);
            }
            let hard = |f| match f {
                Unary::HardSigmoid { alpha, beta } => near(alpha, 1.0 / 6.0) && beta == 0.5,
                _ => false,
            };
            if of(graph, gate, hard) == Some(x) {
                return become_op(graph, index, Op::Unary(Unary::HardSwish), vec![x]);
            }
        }
    }
    // Exponentials over their sum.
    if let Some((left, right)) = pair(graph, value, Binary::Divide)
        && let Some(input) = of(graph, left, |f| f == Unary::Exp)
        && let Some((Op::Sum { axes }, summed)) = made(graph, right)
        && let ([axis], true) = (axes.as_slice(), summed == left)
    {
        let axis = *axis;
        return become_op(graph, index, Op::Softmax { axis }, vec![input]);
    }
    false
}

// `clamp(x + 3, 0, 6) / 6`, `clamp(a x + b, 0, 1)`, and the former times `x` before it is divided.
fn hard(graph: &Graph, value: Value) -> Option<(Value, Unary)> {
    let Op::Unary(function) = made(graph, value)?.0 else {
        return None;
    };
    let input = made(graph, value)?.1;
    let clamped = |value, top: f32| {
        of(graph, value, |f| match f {
            Unary::Clamp { min, max } => min == 0.0 && near(max, top),
            _ => false,
        })
    };
    let moved = |value| match made(graph, value)? {
        (Op::Unary(Unary::AddScalar(by)), x) => Some((x, *by)),
        _ => None,
    };
    match *function {
        Unary::Clamp { min: 0.0, max: 1.0 } => {
            let (scaled, beta) = moved(input)?;
            match made(graph, scaled)? {
                (Op::Unary(Unary::MulScalar(alpha)), x) => {
                    let alpha = *alpha;
                    Some((x, Unary::HardSigmoid { alpha, beta }))
                }
                _ => None,
            }
        }
        Unary::MulScalar(alpha) if alpha > 0.0 => {
            if let Some(x) = clamped(input, 1.0 / alpha) {
                let (x, by) = moved(x)?;
                let beta = by * alpha;
                // As it is written: three of six is a half.
                let beta = if near(beta, 0.5) { 0.5 } else { beta };
                return Some((x, Unary::HardSigmoid { alpha, beta }));
            }
            let (left, right) = pair(graph, input, Binary::Multiply)?;
            let mut sides = [(left, right), (right, left)].into_iter();
            sides.find_map(|(x, gate)| {
                let (of, by) = moved(clamped(gate, 6.0)?)?;
                let swish = near(alpha, 1.0 / 6.0) && near(by, 3.0) && of == x;
                swish.then_some((x, Unary::HardSwish))
            })
        }
        _ => None,
    }
}

// `x/2 (1 + g(x))`, the half anywhere in the product.
fn gelu(graph: &Graph, value: Value) -> Option<(Value, Unary)> {
    let half = |value| of(graph, value, |f| f == Unary::MulScalar(0.5));
    let raised = |value| of(graph, value, |f| f == Unary::AddScalar(1.0));
    let product = |value| {
        let (left, right) = pair(graph, value, Binary::Multiply)?;
        Some([(left, right), (right, left)])
    };
    if let Some(sides) = half(value).and_then(product) {
        let mut found = sides.into_iter();
        return found.find_map(|(x, gate)| gelu_gate(graph, x, raised(gate)?));
    }
    let mut sides = product(value)?.into_iter();
    sides.find_map(|(x, gate)| {
        let halved = half(x).and_then(|x| gelu_gate(graph, x, raised(gate)?));
        halved.or_else(|| gelu_gate(graph, x, raised(half(gate)?)?))
    })
}

fn gelu_gate(graph: &Graph, x: Value, gate: Value) -> Option<(Value, Unary)> {
    let scaled = |value, by: f32| {
        of(
            graph,
            value,
            |f| matches!(f, Unary::MulScalar(c) if near(c, by)),
        )
    };
    if let Some(inner) = of(graph, gate, |f| f == Unary::Erf) {
        return (scaled(inner, FRAC_1_SQRT_2) == Some(x)).then_some((x, Unary::Gelu));
    }
    let inner = of(graph, gate, |f| f == Unary::Tanh)?;
    let sum = scaled(inner, (2.0 / PI).sqrt())?;
    let (left, right) = pair(graph, sum, Binary::Add)?;
    let cubic = match (left == x, right == x) {
        (true, _) => right,
        (_, true) => left,
        _ => return None,
    };
    let cube = of(graph, scaled(cubic, 0.044715)?, |f| f == Unary::Power(3.0))?;
    (cube == x).then_some((x, Unary::GeluTanh))
}

// A mean of a mean, and a sum of a sum, over all their axes.
fn reductions(graph: &mut Graph, index: usize) -> bool {
    let joined = |one: &[usize], other: &[usize]| {
        let mut axes = [one, other].concat();
        axes.sort_unstable();
        axes.dedup();
        axes
    };
    let node = &graph.nodes[index];
    let Some(inner) = node.inputs.first().and_then(|input| made(graph, *input)) else {
        return false;
    };
    let (op, input) = match (&node.op, inner) {
        (Op::Mean { axes }, (Op::Mean { axes: others }, input)) => {
            let axes = joined(axes, others);
            (Op::Mean { axes }, input)
        }
        (Op::Sum { axes }, (Op::Sum { axes: others }, input)) => {
            let axes = joined(axes, others);
            (Op::Sum { axes }, input)
        }
        _ => return false,
    };
    become_op(graph, index, op, vec![input])
}

fn shapes(graph: &mut Graph, index: usize) -> bool {
    let node = &graph.nodes[index];
    let inner = node.inputs.first().and_then(|input| made(graph, *input));
    match (&node.op, inner) {
        (Op::Reshape, Some((Op::Reshape, input))) => {
            become_op(graph, index, Op::Reshape, vec![input])
        }
        (Op::Permute { axes }, Some((Op::Permute { axes: before }, input))) => {
            let axes = axes.iter().map(|axis| before[*axis]).collect();
            become_op(graph, index, Op::Permute { axes }, vec![input])
        }
        (Op::Concatenate { axis }, _) => {
            let axis = *axis;
            match padding(graph, index, axis) {
                Some((op, input)) => become_op(graph, index, op, vec![input]),
                None => false,
            }
        }
        (Op::Binary(f), _) => {
            let f = *f;
            let inputs = node.inputs.clone();
            let unexpanded = inputs.iter().enumerate().find_map(|(side, input)| {
                let Some((Op::Expand, source)) = made(graph, *input) else {
                    return None;
                };
                let mut inputs = inputs.clone();
                inputs[side] = source;
                let dims = [0, 1].map(|side| graph.dims(inputs[side]));
                (broadcast(&dims) == node.dims).then_some(inputs)
            });
            match unexpanded {
                Some(inputs) => become_op(graph, index, Op::Binary(f), inputs),
                None => false,
            }
        }
        _ => false,
    }
}

fn broadcast(dims: &[Vec<Dim>; 2]) -> Vec<Dim> {
    let rank = dims[0].len().max(dims[1].len());
    let length = |dims: &[Dim], axis: usize| {
        let axis = axis.checked_sub(rank - dims.len());
        axis.map_or(Dim::Fixed(1), |axis| dims[axis])
    };
    let longer = |axis| match length(&dims[0], axis) {
        Dim::Fixed(1) => length(&dims[1], axis),
        other => other,
    };
    (0..rank).map(longer).collect()
}

// One tensor between constants of one value.
fn padding(graph: &Graph, index: usize, axis: usize) -> Option<(Op, Value)> {
    let node = &graph.nodes[index];
    let (mut before, mut after) = (0, 0);
    let (mut value, mut input) = (None, None);
    for operand in &node.inputs {
        match uniform(graph, *operand) {
            Some(constant) => {
                if *value.get_or_insert(constant) != constant {
                    return None;
                }
                let Dim::Fixed(length) = graph.dims(*operand)[axis] else {
                    return None;
                };
                *(if input.is_none() {
                    &mut before
                } else {
                    &mut after
                }) += length;
            }
            None if input.is_none() => input = Some(*operand),
            None => return None,
        }
    }
    let mut padding = vec![(0, 0); node.dims.len()];
    padding[axis] = (before, after);
    let value = value?;
    Some((Op::Pad { padding, value }, input?))
}

fn windows(graph: &mut Graph, index: usize) -> bool {
    let padded = padded_window(graph, index);
    if let Some((op, inputs)) = padded {
        return become_op(graph, index, op, inputs);
    }
    if let Some((op, input)) = trimmed_pool(graph, index) {
        return become_op(graph, index, op, vec![input]);
    }
    false
}

// Padding before a window, of the number that the window's own padding has.
fn padded_window(graph: &Graph, index: usize) -> Option<(Op, Vec<Value>)> {
    let node = &graph.nodes[index];
    let (Op::Pad { padding, value }, source) = made(graph, *node.inputs.first()?)? else {
        return None;
    };
    let mut op = node.op.clone();
    let (rank, window, pads) = match &mut op {
        Op::Convolution { rank, window, .. } => (*rank, window, *value == 0.0),
        // Not NaN: all numbers are greater, or the window's elements are as small.
        Op::MaxPool { rank, window, .. } => (*rank, window, *value == f32::NEG_INFINITY),
        Op::AveragePool {
            rank,
            window,
            include_padding: true,
            ceil: false,
        } => (*rank, window, *value == 0.0),
        _ => return None,
    };
    let (outer, spatial) = padding.split_at(padding.len() - rank);
    if !pads || outer.iter().any(|pair| *pair != (0, 0)) {
        return None;
    }
    for (axis, (before, after)) in (2 - rank..2).zip(spatial) {
        window.padding[axis].0 += before;
        window.padding[axis].1 += after;
    }
    let mut inputs = node.inputs.clone();
    inputs[0] = source;
    // A backend may know pools only whose windows all touch the input.
    let touches = |window: &Window, axis: usize| {
        let extent = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
        let (before, after) = window.padding[axis];
        before < extent && after < extent
    };
    let pool = !matches!(op, Op::Convolution { .. });
    let (Op::Convolution { window, .. }
    | Op::MaxPool { window, .. }
    | Op::AveragePool { window, .. }) = &op
    else {
        return None;
    };
    (!pool || [0, 1].iter().all(|axis| touches(window, *axis))).then_some((op, inputs))
}

// Burn cuts off a last window that lies in the padding alone, of a pool that rounds up.
fn trimmed_pool(graph: &Graph, index: usize) -> Option<(Op, Value)> {
    let node = &graph.nodes[index];
    let Op::Slice { ranges } = &node.op else {
        return None;
    };
    let pooled = *node.inputs.first()?;
    let (op, input) = made(graph, pooled)?;
    let (Op::MaxPool {
        rank,
        window,
        ceil: true,
    }
    | Op::AveragePool {
        rank,
        window,
        ceil: true,
        ..
    }) = op
    else {
        return None;
    };
    let (from, to) = (graph.dims(input), graph.dims(pooled));
    let cut = ranges.iter().enumerate().all(|(axis, range)| {
        let (Dim::Fixed(length), (0, Some(end), 1)) = (to[axis], *range) else {
            return *range == (0, None, 1);
        };
        let spatial = (axis + rank)
            .checked_sub(to.len())
            .map(|axis| axis + 2 - rank);
        let in_padding = spatial.is_some_and(|spatial| {
            let Dim::Fixed(size) = from[axis] else {
                return false;
            };
            end + 1 == length && end * window.stride[spatial] >= size + window.padding[spatial].0
        });
        end == length || in_padding
    });
    cut.then(|| (op.clone(), input))
}

// The value that a node only repeats.
fn same(graph: &Graph, index: usize) -> Option<Value> {
    let node = &graph.nodes[index];
    let input = *node.inputs.first()?;
    let repeats = match &node.op {
        Op::Reshape => true,
        Op::Permute { axes } => axes.iter().copied().eq(0..axes.len()),
        _ => false,
    };
    (repeats && graph.dims(input) == node.dims).then_some(input)
}

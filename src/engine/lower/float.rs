//! Layers in float: a product is joined with what follows it alone.

use std::sync::Arc;

use super::lowering::{Lowering, small, turned};
use super::node::{FusedNode, NodeWork, PerElement, Pool, WeightValues, Weighted};
use super::resample;
use super::shape::{Kind, Shape};
use crate::kernel::Function;
use crate::network::{Binary, Op, Unary, Value, Window, expand};
use crate::network::{Step, StepOp};

const UNBOUNDED: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

/// The node of a float step; none where it runs plainly.
pub(in crate::engine) fn node<'m>(
    lowering: &mut Lowering<'m>,
    index: usize,
    step: &'m Step,
) -> Option<FusedNode<'m>> {
    let StepOp::Float(op) = &step.op else {
        return None;
    };
    let first = *step.inputs.first()?;
    let floats = |value: Value| {
        let shape = Shape::of(lowering.model, value);
        shape.filter(|shape| shape.kind == Kind::Floats)
    };
    // A result that is quantized at once is the reference's.
    if step.grid.is_some() {
        return None;
    }
    let mut inputs = vec![first];
    let work = match op {
        Op::Convolution { window, groups, .. } => {
            floats(first)?;
            lowering.images(first)?;
            let weights = lowering.constant(step.inputs.get(1))?;
            let (dims, values) = (&weights.dims, weights.values.clone());
            let product = product(*window, *groups, dims[0], dims[1], values);
            return Some(joined(lowering, index, first, product));
        }
        Op::Linear => {
            let source = lowering.linear_source(first)?;
            floats(source.value)?;
            let weights = lowering.constant(step.inputs.get(1))?;
            let outputs = *weights.dims.get(1)?;
            let values = source.ordered(turned(&weights.values, outputs));
            let channels = source.shape.channels;
            let product = product(source.window, 1, outputs, channels, values);
            return Some(joined(lowering, index, source.value, product));
        }
        Op::Binary(how @ (Binary::Add | Binary::Subtract | Binary::Multiply)) => {
            if let Some(constant) = lowering.constant(step.inputs.get(1)) {
                let shape = floats(first)?;
                let channels = shape.channels;
                if !lowering.lies_like(first, index) {
                    return None;
                }
                let Some(values) = shape.axes.by_channel(&constant.dims, &constant.values) else {
                    return each_element(lowering, index, step, *how);
                };
                // Each channel alone, times 1.
                let weights = vec![1.0; channels];
                let mut product = product(Window::default(), channels, channels, 1, weights);
                let folded = match how {
                    Binary::Subtract => {
                        let values: Vec<f32> = values.iter().map(|value| -value).collect();
                        fold(&mut product, Binary::Add, &values)
                    }
                    how => fold(&mut product, *how, &values),
                };
                return folded.then(|| joined(lowering, index, first, product));
            }
            inputs = lowering.pair(index, step)?.to_vec();
            let turned = inputs != step.inputs;
            NodeWork::Elementwise(match how {
                Binary::Multiply => PerElement::Multiply {
                    factor: 1.0,
                    bounds: UNBOUNDED,
                },
                how => {
                    let second = if *how == Binary::Add { 1.0 } else { -1.0 };
                    let factors = if turned { (second, 1.0) } else { (1.0, second) };
                    PerElement::Add {
                        factors,
                        bounds: UNBOUNDED,
                    }
                }
            })
        }
        Op::Unary(unary) => {
            floats(first)?;
            lowering.same(index, step)?;
            NodeWork::Elementwise(match (clamp(*unary), *unary) {
                (Some(bounds), _) => PerElement::Scale {
                    factor: 1.0,
                    bounds,
                },
                (None, Unary::MulScalar(factor)) => PerElement::Scale {
                    factor,
                    bounds: UNBOUNDED,
                },
                (None, unary) => PerElement::Function(function(unary)?),
            })
        }
        op => {
            let from = floats(first)?;
            let to = floats(Value::Node(index))?;
            let sums = op.sums();
            let pool =
                sums.and_then(|(over, divide)| lowering.pool(index, step, over, divide, 1.0));
            match pool {
                Some(pool) => NodeWork::Pool(averaged(pool)),
                None => NodeWork::Resample({
                    lowering.images(first)?;
                    resample::of(op, &from, &to)?
                }),
            }
        }
    };
    Some(FusedNode {
        work,
        inputs,
        output: index,
        layer: step.layer.clone(),
    })
}

// Sums that are all divided by one number are multiplied by its inverse.
fn averaged(pool: Pool) -> Pool {
    match pool.common_divisor() {
        Some(count) => Pool {
            sum: Some(1.0 / count as f32),
            divisors: None,
            ..pool
        },
        None => pool,
    }
}

// None where the kernels have no such function.
fn function(unary: Unary) -> Option<Function> {
    Some(match unary {
        Unary::AddScalar(term) => Function::Add(term),
        Unary::Power(2.0) => Function::Square,
        Unary::Abs => Function::Abs,
        Unary::Sqrt => Function::Sqrt,
        Unary::Reciprocal => Function::Reciprocal,
        Unary::LeakyRelu { slope } => Function::LeakyRelu { slope },
        Unary::HardSwish => Function::HardSwish,
        Unary::HardSigmoid { alpha, beta } => Function::HardSigmoid { alpha, beta },
        Unary::Exp => Function::Exp,
        Unary::Sigmoid => Function::Sigmoid,
        Unary::Silu => Function::Silu,
        Unary::Tanh => Function::Tanh,
        Unary::Erf => Function::Erf,
        Unary::Gelu => Function::Gelu,
        Unary::GeluTanh => Function::GeluTanh,
        _ => return None,
    })
}

fn clamp(unary: Unary) -> Option<(f32, f32)> {
    match unary {
        Unary::Relu => Some((0.0, f32::INFINITY)),
        Unary::Clamp { min, max } if min <= max => Some((min, max)),
        _ => None,
    }
}

fn product(
    window: Window,
    groups: usize,
    filters: usize,
    channels: usize,
    weights: Vec<f32>,
) -> Weighted<'static> {
    Weighted {
        window,
        groups,
        channels,
        weights: WeightValues::Floats(weights),
        filters: vec![(1.0, -0.0); filters],
        filter_order: Vec::new(),
        channel_order: Vec::new(),
        residual: None,
        bounds: UNBOUNDED,
        found: Arc::default(),
    }
}

// The product, and what follows it while nothing else needs what lies between: factors and terms of
// each channel, then a residual, then bounds.
fn joined<'m>(
    lowering: &mut Lowering<'m>,
    index: usize,
    input: Value,
    mut product: Weighted<'m>,
) -> FusedNode<'m> {
    let model = lowering.model;
    let layer = model.steps()[index].layer.clone();
    let (mut inputs, mut last) = (vec![input], index);
    while product.bounds == UNBOUNDED
        && let Some((next, step)) = lowering.only_reader(last)
    {
        let StepOp::Float(op) = &step.op else {
            break;
        };
        if step.grid.is_some() || !lowering.lies_like(Value::Node(last), next) {
            break;
        }
        let done = match (op, &step.inputs[..]) {
            (Op::Binary(how), [a, b]) => {
                let other = if *a == Value::Node(last) { *b } else { *a };
                match lowering.constant(Some(&other)) {
                    Some(constant) => {
                        let axes = model.axes(Value::Node(next));
                        let values =
                            axes.and_then(|axes| axes.by_channel(&constant.dims, &constant.values));
                        product.residual.is_none()
                            && values.is_some_and(|values| fold(&mut product, *how, &values))
                    }
                    None => {
                        let fits = *how == Binary::Add
                            && product.residual.is_none()
                            && a != b
                            && lowering.lies_like(other, next)
                            && Shape::of(model, other).is_some_and(|s| s.kind == Kind::Floats);
                        if fits {
                            product.residual = Some(1.0);
                            inputs.push(other);
                        }
                        fits
                    }
                }
            }
            (Op::Unary(unary), [_]) => match clamp(*unary) {
                Some(bounds) => {
                    product.bounds = bounds;
                    true
                }
                None => false,
            },
            _ => false,
        };
        if !done {
            break;
        }
        lowering.joined[next] = true;
        last = next;
    }
    FusedNode {
        work: NodeWork::Product(product),
        inputs,
        output: last,
        layer,
    }
}

// With a constant that has a number for each element of a sample, or for each position.
fn each_element<'m>(
    lowering: &Lowering<'m>,
    index: usize,
    step: &'m Step,
    how: Binary,
) -> Option<FusedNode<'m>> {
    let constant = lowering.constant(step.inputs.get(1))?;
    let dims: Vec<usize> = step.dims.iter().map(|dim| dim.at(1)).collect();
    let mut values = expand(&constant.values, &constant.dims, &dims)
        .ok()?
        .into_owned();
    if values.iter().any(|&value| small(value).is_none()) {
        return None;
    }
    if how == Binary::Subtract {
        values.iter_mut().for_each(|value| *value = -*value);
    }
    let work = match how {
        Binary::Multiply => PerElement::MultiplyConstant(values),
        _ => PerElement::AddConstant(values),
    };
    Some(FusedNode {
        work: NodeWork::Elementwise(work),
        inputs: vec![*step.inputs.first()?],
        output: index,
        layer: step.layer.clone(),
    })
}

// Whether a factor or a term of each filter could be folded in.
fn fold(product: &mut Weighted, how: Binary, values: &[f32]) -> bool {
    let WeightValues::Floats(weights) = &mut product.weights else {
        return false;
    };
    if values.iter().any(|&value| small(value).is_none()) {
        return false;
    }
    let each = weights.len() / values.len().max(1);
    match how {
        Binary::Add => {
            let terms = product.filters.iter_mut().zip(values);
            terms.for_each(|((_, offset), value)| *offset += value);
        }
        Binary::Multiply => {
            for (weights, factor) in weights.chunks_mut(each.max(1)).zip(values) {
                weights.iter_mut().for_each(|weight| *weight *= factor);
            }
            let terms = product.filters.iter_mut().zip(values);
            terms.for_each(|((_, offset), value)| *offset *= value);
        }
        _ => return false,
    }
    true
}

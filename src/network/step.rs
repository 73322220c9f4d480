//! One step, on the operands of a batch.

use crate::network::NetworkError;
use crate::network::Op;

use super::elementwise::{pairs, rescale, sums_of_windows, sums_over_axes};
use super::float::{self, layout, size};
use super::product::{convolution, matrix_product, matrix_products, transposed_convolution};
use super::sink::{Operand, Sink, View};
use super::window::Windows;
use super::{Elements, Rescale, Step, StepOp, movement};

/// The result of a step for a batch, apart from a run. Fails with [`NetworkError::Step`].
pub(crate) fn execute_alone(
    step: &Step,
    operands: &[Operand],
    dims: &[usize],
) -> Result<Elements, NetworkError> {
    let result = execute(step, operands, dims).map_err(|what| NetworkError::Step {
        layer: step.layer.clone(),
        what,
    });
    result.map(|(elements, _)| elements)
}

/// The result, and how many sums need not be exact as `f32`.
pub(super) fn execute(
    step: &Step,
    operands: &[Operand],
    dims: &[usize],
) -> Result<(Elements, u64), String> {
    if let StepOp::Move(op) = &step.op {
        return moved(op, operands, dims).map(|elements| (elements, 0));
    }
    let mut sink = Sink::new(step.grid, dims.iter().product())?;
    compute(&mut sink, step, operands, dims)?;
    Ok(sink.finish())
}

fn moved(op: &Op, operands: &[Operand], dims: &[usize]) -> Result<Elements, String> {
    let of_codes = operands
        .iter()
        .all(|o| matches!(o.elements, View::Codes(_)));
    if of_codes {
        let codes = operands.iter().map(|o| Ok((o.codes()?, &o.dims[..])));
        let codes: Vec<_> = codes.collect::<Result<_, String>>()?;
        return movement::apply(op, &codes, dims, 0).map(Elements::Codes);
    }
    let fill = match op {
        Op::Pad { value, .. } => *value,
        _ => 0.0,
    };
    let mut values = Vec::new();
    for operand in operands {
        match operand.elements {
            View::Values(elements) => values.push((elements, &operand.dims[..])),
            View::Codes(_) => return Err("codes among floats".to_string()),
        }
    }
    movement::apply(op, &values, dims, fill).map(Elements::Values)
}

fn compute(
    sink: &mut Sink,
    step: &Step,
    operands: &[Operand],
    dims: &[usize],
) -> Result<(), String> {
    let first = operands.first().ok_or("no operand")?;
    // The residual, where there is one, comes last.
    let residual = match step.op.rescale() {
        Some(Rescale {
            residual: Some(_), ..
        }) => operands.last().map(Operand::codes).transpose()?,
        _ => None,
    };
    match &step.op {
        StepOp::Quantize => {
            first.values()?.iter().for_each(|&x| sink.push_value(x));
            Ok(())
        }
        StepOp::Dequantize => {
            first.values()?.iter().for_each(|&x| sink.push(x));
            Ok(())
        }
        StepOp::Convolution {
            weights, rescale, ..
        }
        | StepOp::TransposedConvolution {
            weights, rescale, ..
        } => {
            let (op, _) = step.op.shape();
            let layout = layout(&op, &first.dims, dims).ok_or("no convolution")?;
            let (codes, weights) = (first.codes()?, weights.codes.widened());
            let row =
                |channel: usize, sums: &[i32]| finish(sink, rescale, residual, sums, |_| channel);
            match op {
                Op::Convolution { .. } => convolution(&layout, codes, &weights, row),
                _ => transposed_convolution(&layout, codes, &weights, row),
            }
        }
        StepOp::Linear { weights, rescale } => {
            let shape = [weights.dims[0], weights.dims[1]];
            matrix_product(first.codes()?, &weights.codes.widened(), shape, |sums| {
                finish(sink, rescale, residual, sums, |output| output);
            })
        }
        StepOp::MatMul { rescale } => {
            let second = operands.get(1).ok_or("no second operand")?;
            let (left, right) = (first.codes()?, second.codes()?);
            matrix_products((left, &first.dims), (right, &second.dims), dims, |sums| {
                finish(sink, rescale, residual, sums, |_| 0);
            })
        }
        StepOp::Rescale(factors) => {
            rescale(sink, factors, first.codes()?, residual, dims);
            Ok(())
        }
        StepOp::Add {
            left,
            right,
            activation,
        } => {
            let add = |_: &mut Sink, a, b| {
                let t = a as f32 * left;
                let other = b as f32 * right;
                t + other
            };
            pairs(sink, operands, dims, *activation, add, |_, _| 0.0)
        }
        StepOp::AddConstant {
            multiplier,
            activation,
        } => {
            let add = |a, constant| {
                let t = a as f32 * multiplier;
                t + constant
            };
            pairs(sink, operands, dims, *activation, |_, _, _| 0.0, add)
        }
        StepOp::Multiply {
            multiplier,
            activation,
        } => {
            let multiply = |sink: &mut Sink, a: i32, b| sink.sum(a * b) as f32 * multiplier;
            pairs(sink, operands, dims, *activation, multiply, |_, _| 0.0)
        }
        StepOp::MultiplyConstant { activation } => {
            let multiply = |a, constant| a as f32 * constant;
            pairs(sink, operands, dims, *activation, |_, _, _| 0.0, multiply)
        }
        StepOp::AveragePool {
            window,
            divide,
            multiplier,
            activation,
            ..
        } => {
            let (windows, sizes) = (Windows::Spaced(*window), [size(&first.dims), size(dims)]);
            let factors = (*multiplier, *divide);
            sums_of_windows(sink, windows, first.codes()?, sizes, factors, *activation);
            Ok(())
        }
        StepOp::AdaptiveAveragePool {
            divide,
            multiplier,
            activation,
            ..
        } => {
            let (windows, sizes) = (Windows::Even, [size(&first.dims), size(dims)]);
            let factors = (*multiplier, *divide);
            sums_of_windows(sink, windows, first.codes()?, sizes, factors, *activation);
            Ok(())
        }
        StepOp::Sum {
            multiplier,
            activation,
            ..
        } => {
            let shapes = (&first.dims[..], dims);
            sums_over_axes(sink, first.codes()?, shapes, *multiplier, *activation)
        }
        StepOp::Table(table) => {
            let low = first.grid.ok_or("no grid")?.low();
            let entry = |code: &i32| table.get((code - low) as usize).copied().unwrap_or(0);
            let codes = first.codes()?;
            codes.iter().for_each(|code| sink.push(entry(code) as f32));
            Ok(())
        }
        StepOp::Float(op) => float::apply(sink, op, operands, dims),
        StepOp::Move(_) => Err("a movement computes nothing".to_string()),
    }
}

/// A row of sums on its way to the result.
#[inline]
fn finish(
    sink: &mut Sink,
    rescale: &Rescale,
    residual: Option<&[i32]>,
    sums: &[i32],
    channel: impl Fn(usize) -> usize,
) {
    for (index, &sum) in sums.iter().enumerate() {
        let added = residual.map_or(0, |codes| codes[sink.len()]);
        let t = rescale.apply(sink.sum(sum), channel(index), added);
        sink.push(t);
    }
}

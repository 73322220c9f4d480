//! One step, on the operands of a batch.

use crate::network::NetworkError;
use crate::network::Op;

use super::elementwise::{arithmetic, rescale, sums};
use super::float;
use super::product::product;
use super::sink::{Operand, Sink, View};
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
        StepOp::Product {
            op,
            weights,
            rescale,
        } => {
            let row = |channel: Option<usize>, sums: &[i32]| {
                finish(sink, rescale, residual, sums, channel);
            };
            let left = (first.codes()?, &first.dims[..]);
            match weights {
                Some(weights) => {
                    let codes = weights.codes.widened();
                    product(op, left, (&codes, &weights.dims), dims, row)
                }
                None => {
                    let second = operands.get(1).ok_or("no second operand")?;
                    product(op, left, (second.codes()?, &second.dims), dims, row)
                }
            }
        }
        StepOp::Rescale(factors) => {
            rescale(sink, factors, first.codes()?, residual, dims);
            Ok(())
        }
        StepOp::Arithmetic { how, activation } => {
            arithmetic(sink, *how, operands, dims, *activation)
        }
        StepOp::Sum {
            op,
            divide,
            multiplier,
            activation,
        } => {
            let (over, _) = op.sums().ok_or("no sum")?;
            let from = (first.codes()?, &first.dims[..]);
            let factors = (*multiplier, *divide);
            sums(sink, over, from, dims, factors, *activation)
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

/// A row of sums on its way to the result; each is a channel's own where none is given.
#[inline]
fn finish(
    sink: &mut Sink,
    rescale: &Rescale,
    residual: Option<&[i32]>,
    sums: &[i32],
    channel: Option<usize>,
) {
    for (index, &sum) in sums.iter().enumerate() {
        let added = residual.map_or(0, |codes| codes[sink.len()]);
        let t = rescale.apply(sink.sum(sum), channel.unwrap_or(index), added);
        sink.push(t);
    }
}

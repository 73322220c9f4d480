//! Codes to floats and back, and functions of one code.

use super::lowering::Lowering;
use super::node::{Conversion, NodeWork, PerElement};
use super::shape::{Kind, Shape};
use super::token::input_grid;
use crate::network::{Grid, Op, Step, StepOp, Value};

/// A step that changes codes to floats or floats to codes, or a function of codes in floats: with it the functions
/// before it. None of another.
pub(in crate::engine) fn of<'m>(
    lowering: &Lowering<'m>,
    index: usize,
    step: &'m Step,
) -> Option<(NodeWork<'m>, Vec<Value>)> {
    let model = lowering.model;
    let first = *step.inputs.first()?;
    match &step.op {
        StepOp::Quantize => {
            let floats = Shape::of(model, first)?.kind == Kind::Floats;
            Kind::of(step.grid)?;
            let to = Conversion::Codes(input_grid(step.grid?));
            let alike = lowering.lies_like(first, index);
            (floats && alike).then(|| (NodeWork::Convert(to), vec![first]))
        }
        StepOp::Dequantize => {
            lowering.codes(first)?;
            let from = Conversion::Floats(input_grid(model.grid(first)?));
            let alike = lowering.lies_like(first, index);
            alike.then(|| (NodeWork::Convert(from), vec![first]))
        }
        StepOp::Float(Op::Unary(_)) => {
            let (source, values) = table(lowering, step)?;
            if !lowering.lies_like(source, index) {
                return None;
            }
            let work = match step.grid {
                None => NodeWork::Convert(Conversion::Table(values)),
                Some(grid) => {
                    Kind::of(step.grid)?;
                    let codes = values.into_iter().map(|value| grid.quantize(value));
                    NodeWork::Elementwise(PerElement::Table(codes.collect()))
                }
            };
            Some((work, vec![source]))
        }
        _ => None,
    }
}

// What a step makes of each code of a tensor that it depends on alone, the least first.
fn table(lowering: &Lowering<'_>, step: &Step) -> Option<(Value, Vec<f32>)> {
    let [input] = step.inputs[..] else {
        return None;
    };
    let of_codes = |grid: Grid| -> Vec<f32> {
        (grid.low()..=grid.high())
            .map(|code| grid.dequantize(code))
            .collect()
    };
    match (&step.op, lowering.model.grid(input), input) {
        (StepOp::Dequantize, Some(grid), _) => {
            lowering.codes(input)?;
            Some((input, of_codes(grid)))
        }
        (StepOp::Float(Op::Unary(unary)), grid, _) => {
            let (source, values) = match (grid, input) {
                (Some(grid), _) => {
                    lowering.codes(input)?;
                    (input, of_codes(grid))
                }
                (None, Value::Node(index)) => table(lowering, &lowering.model.steps()[index])?,
                _ => return None,
            };
            let values = values.into_iter().map(|value| unary.value(value));
            Some((source, values.collect()))
        }
        _ => None,
    }
}

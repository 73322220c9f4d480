//! Operands as vector blocks want them: of the result's dimensions, and in floats where a step is.

use super::Rewriting;
use crate::network::{Arithmetic, Binary, Dim, Op, Step, StepOp, Value};

impl Rewriting<'_> {
    /// Operands in a step's dimensions; one number for each channel may stay so, and a constant.
    pub fn expanded(&mut self, step: &Step, inputs: Vec<Value>) -> Vec<Value> {
        let two = match &step.op {
            StepOp::Float(op) => matches!(
                op,
                Op::Binary(Binary::Add | Binary::Subtract | Binary::Multiply)
            ),
            StepOp::Arithmetic { how, .. } => {
                matches!(how, Arithmetic::Add { .. } | Arithmetic::Multiply { .. })
            }
            _ => false,
        };
        // Vector blocks hold up to four axes.
        if !two || !inputs.iter().all(|input| input.is_activation()) || step.dims.len() > 4 {
            return inputs;
        }
        let whole = |rewriting: &Self, value: Value| rewriting.dims(value) == step.dims;
        let by_channel = |rewriting: &Self, value: Value| {
            let dims = rewriting.dims(value);
            dims.len() == step.dims.len()
                && dims[..2.min(dims.len())] == step.dims[..2.min(dims.len())]
                && dims.iter().skip(2).all(|&dim| dim == Dim::Fixed(1))
        };
        let [a, b] = inputs[..] else {
            return inputs;
        };
        let fits = |one: Value, other: Value| {
            whole(self, one) && (whole(self, other) || by_channel(self, other))
        };
        if fits(a, b) || fits(b, a) {
            return inputs;
        }
        let mut all = Vec::new();
        for value in inputs {
            // One of them stays small, where it can.
            let enough = whole(self, value) || (all.is_empty() && by_channel(self, value));
            let value = match enough {
                true => value,
                false => {
                    self.changed = true;
                    self.moved(Op::Expand, value, step.dims.clone(), step)
                }
            };
            all.push(value);
        }
        all
    }

    /// A step in floats on floats: codes become such before it, and its result becomes codes behind it.
    pub fn in_floats(&mut self, step: &Step, op: &Op, inputs: Vec<Value>) -> Value {
        let dims = || step.dims.clone();
        let of_codes = inputs.iter().any(|&input| self.grid(input).is_some());
        // Those of one code are tables.
        let table = matches!(op, Op::Unary(_)) && (of_codes || self.is_of_codes(&inputs));
        // Those read codes and make codes themselves.
        let own = matches!(op, Op::LayerNorm { .. } | Op::Softmax { .. } | Op::MatMul);
        // Means of codes often lie halfway between two codes: the reference alone says which is next.
        let ties = step.grid.is_some() && op.sums().is_some();
        if (step.grid.is_none() && !of_codes) || table || own || ties {
            let op = StepOp::Float(op.clone());
            return self.push(op, inputs, step.grid, dims(), step);
        }
        self.changed = true;
        let mut floats = Vec::new();
        for input in inputs {
            let dims = self.dims(input);
            floats.push(match self.grid(input) {
                Some(_) => self.push(StepOp::Dequantize, vec![input], None, dims, step),
                None => input,
            });
        }
        let made = self.push(StepOp::Float(op.clone()), floats, None, dims(), step);
        match step.grid {
            Some(_) => self.push(StepOp::Quantize, vec![made], step.grid, dims(), step),
            None => made,
        }
    }

    // Whether the only operand is a function of codes.
    fn is_of_codes(&self, inputs: &[Value]) -> bool {
        let [Value::Node(index)] = *inputs else {
            return false;
        };
        let step = &self.steps[index];
        match &step.op {
            StepOp::Dequantize => true,
            StepOp::Float(Op::Unary(_)) => {
                step.grid.is_none()
                    && (step.inputs.iter().any(|&input| self.grid(input).is_some())
                        || self.is_of_codes(&step.inputs))
            }
            _ => false,
        }
    }
}

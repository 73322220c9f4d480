//! Steps that vector blocks do not know, as steps that they know: a network with the same results.
//!
//! - A transposed convolution becomes convolutions, and movements that interleave their results.
//! - A step in floats that reads or makes codes becomes one on floats, between conversions.
//! - An operand that broadcasts is expanded.
//! - A sum over channels becomes a convolution.
//! - A step on constants becomes a constant.

mod channels;
mod operands;
mod phases;
mod transposed;

use super::lower::viewed::Viewed;
use crate::network::{
    Constant, Dim, Elements, Grid, Network, Op, Operand, Step, StepOp, Value, execute_alone,
};

/// The network as vector blocks know it; none where it is so already.
pub(in crate::engine) fn rewritten(model: &Network) -> Option<Network> {
    let mut rewriting = Rewriting::new(model);
    for index in 0..model.steps().len() {
        if rewriting.results[index].is_none() {
            let result = rewriting.step(index);
            rewriting.results[index] = Some(result);
        }
    }
    if !rewriting.changed {
        return None;
    }
    let output = rewriting.value(model.output());
    let Rewriting {
        steps, constants, ..
    } = rewriting;
    // One that does not pass its check is run as it was.
    Network::new(model.input().to_vec(), constants, steps, output).ok()
}

struct Rewriting<'m> {
    model: &'m Network,
    axes: Viewed<'m>,
    /// How often each step's result is used, the model's output included.
    uses: Vec<usize>,
    steps: Vec<Step>,
    constants: Vec<Constant>,
    /// What each step became.
    results: Vec<Option<Value>>,
    changed: bool,
}

impl<'m> Rewriting<'m> {
    fn new(model: &'m Network) -> Self {
        let mut uses = vec![0; model.steps().len()];
        let inputs = model.steps().iter().flat_map(|step| &step.inputs);
        for value in inputs.copied().chain([model.output()]) {
            if let Value::Node(index) = value {
                uses[index] += 1;
            }
        }
        Self {
            model,
            axes: Viewed::new(model),
            steps: Vec::new(),
            constants: model.constants().to_vec(),
            results: vec![None; uses.len()],
            uses,
            changed: false,
        }
    }

    // A tensor of the model in the new one.
    fn value(&self, value: Value) -> Value {
        match value {
            Value::Node(index) => self.results[index].unwrap_or(value),
            value => value,
        }
    }

    fn step(&mut self, index: usize) -> Value {
        let step = &self.model.steps()[index];
        if let Some(value) = self.folded(step) {
            self.changed = true;
            return value;
        }
        if let Some(value) = self.transposed(index).or_else(|| self.over_channels(step)) {
            self.changed = true;
            return value;
        }
        let inputs = step.inputs.iter().map(|&input| self.value(input)).collect();
        let inputs = self.expanded(step, inputs);
        match &step.op {
            StepOp::Float(op) => self.in_floats(step, op, inputs),
            op => self.push(op.clone(), inputs, step.grid, step.dims.clone(), step),
        }
    }

    // What a step makes of constants alone, as the reference has it.
    fn folded(&mut self, step: &Step) -> Option<Value> {
        let dims: Option<Vec<usize>> = (step.dims.iter())
            .map(|dim| match dim {
                Dim::Fixed(length) => Some(*length),
                Dim::Batch(_) => None,
            })
            .collect();
        let dims = dims.filter(|_| step.grid.is_none() && !step.inputs.is_empty())?;
        let operand = |&input: &Value| match self.value(input) {
            Value::Constant(index) => {
                let Constant { dims, values } = &self.constants[index];
                Some(Operand::of_values(dims.clone(), values))
            }
            _ => None,
        };
        let operands: Option<Vec<Operand<'_>>> = step.inputs.iter().map(operand).collect();
        match execute_alone(step, &operands?, &dims) {
            Ok(Elements::Values(values)) => Some(self.constant(dims, values)),
            _ => None,
        }
    }

    // A step of the layer of another.
    fn push(
        &mut self,
        op: StepOp,
        inputs: Vec<Value>,
        grid: Option<Grid>,
        dims: Vec<Dim>,
        of: &Step,
    ) -> Value {
        self.steps.push(Step {
            op,
            inputs,
            grid,
            dims,
            layer: of.layer.clone(),
        });
        Value::Node(self.steps.len() - 1)
    }

    // A movement; codes keep their grid.
    fn moved(&mut self, op: Op, input: Value, dims: Vec<Dim>, of: &Step) -> Value {
        let grid = self.grid(input);
        self.push(StepOp::Move(op), vec![input], grid, dims, of)
    }

    fn constant(&mut self, dims: Vec<usize>, values: Vec<f32>) -> Value {
        self.constants.push(Constant { dims, values });
        Value::Constant(self.constants.len() - 1)
    }

    // The grid of a tensor of the new network.
    fn grid(&self, value: Value) -> Option<Grid> {
        match value {
            Value::Node(index) => self.steps[index].grid,
            _ => None,
        }
    }

    // The dimensions of an activation of the new network.
    fn dims(&self, value: Value) -> Vec<Dim> {
        match value {
            Value::Node(index) => self.steps[index].dims.clone(),
            _ => self.model.dims(value),
        }
    }
}

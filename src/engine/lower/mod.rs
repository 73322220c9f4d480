//! From the steps of a network to stages: what runs on cells, and what runs plainly.

mod float;
mod integer;
mod lowering;
pub(in crate::engine) mod node;
mod rearrange;
pub(in crate::engine) mod reorder;
pub(in crate::engine) mod same;
pub(in crate::engine) mod shape;
pub(in crate::engine) mod weighted;

use crate::network::{Network, Value};
use lowering::Lowering;
use node::{Stage, StageWork};

/// The stages of a model, in order.
pub(in crate::engine) fn stages(model: &Network) -> Vec<Stage<'_>> {
    let mut uses = vec![0; model.steps().len()];
    let outputs = std::iter::once(model.output());
    let values = model
        .steps()
        .iter()
        .flat_map(|step| step.inputs.iter().copied());
    for value in values.chain(outputs) {
        if let Value::Node(index) = value {
            uses[index] += 1;
        }
    }
    let mut lowering = Lowering {
        model,
        joined: vec![false; uses.len()],
        uses,
    };
    let mut stages = Vec::new();
    for index in 0..model.steps().len() {
        if !lowering.joined[index] {
            let stage = lowering.stage(index);
            stages.push(stage);
        }
    }
    // A stage gives the result of the last step that was joined to it, and stands where that stood.
    stages.sort_by_key(|stage| stage.output);
    rearrange::join(&mut stages, model);
    drop_unused(model, stages)
}

// A reshaping that a linear layer looked through may be needed no longer.
fn drop_unused<'m>(model: &Network, stages: Vec<Stage<'m>>) -> Vec<Stage<'m>> {
    let mut needed: Vec<bool> = vec![false; model.steps().len()];
    if let Value::Node(index) = model.output() {
        needed[index] = true;
    }
    let mut kept = Vec::new();
    for stage in stages.into_iter().rev() {
        if !needed[stage.output] {
            continue;
        }
        for input in &stage.inputs {
            if let Value::Node(index) = input {
                needed[*index] = true;
            }
        }
        kept.push(stage);
    }
    kept.reverse();
    kept
}

impl<'m> Lowering<'m> {
    fn stage(&mut self, index: usize) -> Stage<'m> {
        let step = &self.model.steps()[index];
        self.hot(index, step).unwrap_or_else(|| Stage {
            work: StageWork::Plain,
            inputs: step.inputs.clone(),
            output: index,
            layer: step.layer.clone(),
        })
    }
}

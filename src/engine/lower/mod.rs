//! From the steps of a network to nodes: what runs on vector blocks, and what runs plainly.

mod assemble;
pub(in crate::engine) mod axes;
mod convert;
mod float;
mod integer;
mod lowering;
pub(in crate::engine) mod node;
mod pool;
mod rearrange;
pub(in crate::engine) mod reorder;
mod resample;
pub(in crate::engine) mod same;
pub(in crate::engine) mod shape;
pub(in crate::engine) mod token;
pub(in crate::engine) mod viewed;
pub(in crate::engine) mod weighted;

use crate::network::{StepOp, Value};
use lowering::Lowering;
use node::{FusedNode, NodeWork};
use viewed::Viewed;

/// The nodes of a model, in order.
pub(in crate::engine) fn nodes<'m>(model: &'m Viewed<'m>) -> Vec<FusedNode<'m>> {
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
    let mut nodes = Vec::new();
    for index in 0..model.steps().len() {
        if !lowering.joined[index] {
            let node = lowering.node(index);
            nodes.push(node);
        }
    }
    // A node gives the result of the last step that was joined to it, and stands where that stood.
    nodes.sort_by_key(|node| node.output);
    rearrange::join(&mut nodes, model);
    rearrange::look_through(&mut nodes, model);
    drop_unused(model, nodes)
}

// A reshaping that a linear layer looked through may be needed no longer.
fn drop_unused<'m>(model: &Viewed, nodes: Vec<FusedNode<'m>>) -> Vec<FusedNode<'m>> {
    let mut needed: Vec<bool> = vec![false; model.steps().len()];
    if let Value::Node(index) = result(model, &nodes) {
        needed[index] = true;
    }
    let mut kept = Vec::new();
    for node in nodes.into_iter().rev() {
        if !needed[node.output] {
            continue;
        }
        for input in &node.inputs {
            if let Value::Node(index) = input {
                needed[*index] = true;
            }
        }
        kept.push(node);
    }
    kept.reverse();
    kept
}

// What the output is read from: codes that are dequantized at the end are so on their way out.
fn result(model: &Viewed, nodes: &[FusedNode]) -> Value {
    let output = model.output();
    let source = match output {
        Value::Node(index) => match (&model.steps()[index].op, &model.steps()[index].inputs[..]) {
            (StepOp::Dequantize, [source]) => *source,
            _ => return output,
        },
        _ => return output,
    };
    let made = |node: &FusedNode| Value::Node(node.output) == source && node.is_on_blocks();
    match nodes.iter().any(made) {
        true => source,
        false => output,
    }
}

impl FusedNode<'_> {
    /// Whether it works on vector blocks.
    pub fn is_on_blocks(&self) -> bool {
        !matches!(self.work, NodeWork::Plain)
    }
}

impl<'m> Lowering<'m> {
    fn node(&mut self, index: usize) -> FusedNode<'m> {
        let step = &self.model.network().steps()[index];
        self.hot(index, step).unwrap_or_else(|| FusedNode {
            work: NodeWork::Plain,
            inputs: step.inputs.clone(),
            output: index,
            layer: step.layer.clone(),
        })
    }
}

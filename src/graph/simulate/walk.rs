//! A pass that stops at each node, so that weights may change on the way.

use burn::tensor::Device;

use super::super::GraphError;
use super::super::tensor::AnyTensor;
use super::pass::{Pass, SimulatedValue};
use crate::network::Value;

/// How far a batch got through a graph, and the tensors that later nodes read.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    held: Vec<Option<SimulatedValue>>,
    batch: usize,
    device: Device,
}

impl Pass<'_> {
    /// A batch at the input.
    pub fn start(&mut self, input: AnyTensor) -> Result<Walk, GraphError> {
        self.batch = self.graph.batch(&input.dims())?;
        self.device = input.device();
        let mut held = vec![None; self.graph.nodes.len() + 1];
        if let Some(last) = held.last_mut() {
            *last = Some(self.settle(Value::Input, input));
        }
        Ok(Walk {
            held,
            batch: self.batch,
            device: self.device.clone(),
        })
    }

    /// Computes the next node. `last_uses` are the graph's: what is not read any more is let go.
    pub fn advance(
        &mut self,
        walk: &mut Walk,
        index: usize,
        last_uses: &[Option<usize>],
    ) -> Result<(), GraphError> {
        self.turn_to(walk);
        walk.held[index] = Some(self.node(index, &walk.held)?);
        for operand in self.graph.nodes[index].operands() {
            if let Some(slot) = self.graph.slot(operand)
                && last_uses[slot] == Some(index)
            {
                walk.held[slot] = None;
            }
        }
        Ok(())
    }

    /// The operation of the next node alone, without its epilogue.
    pub fn bare(&mut self, walk: &Walk, index: usize) -> AnyTensor {
        self.turn_to(walk);
        let node = &self.graph.nodes[index];
        let dims: Vec<usize> = node.dims.iter().map(|dim| dim.at(walk.batch)).collect();
        self.in_float(node, &dims, &walk.held)
    }

    /// A tensor that the next node reads.
    pub fn operand(&mut self, walk: &Walk, value: Value) -> AnyTensor {
        self.turn_to(walk);
        self.float(value, &walk.held)
    }

    fn turn_to(&mut self, walk: &Walk) {
        self.batch = walk.batch;
        self.device = walk.device.clone();
    }
}

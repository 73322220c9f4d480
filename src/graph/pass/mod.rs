//! Passes over a graph: each a pure function that makes it smaller and computes the same.

mod constants;
mod dead;
mod fold_batch_norm;
mod fold_bias;
mod fuse;
mod host;
mod identity;
mod pad;
mod rows;
#[cfg(test)]
pub(super) mod sample;

pub(super) use dead::dead;

use super::Graph;
use crate::network::Value;

impl Graph {
    /// The same computation in as few steps as we know: what does nothing is gone, what depends on no
    /// input is computed, batch norms are folded into the products before them, and additions, ReLUs
    /// and clamps are done where a product ends ([`Epilogue`](super::Epilogue)).
    ///
    /// Parameters stay those of the module, under their paths; nothing is multiplied into them.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor, activation::relu}};
    /// use burn_compress::graph::Graph;
    /// let model = LinearConfig::new(4, 2).init(&Device::default());
    /// let graph = Graph::capture(&model, [1, 4], |model, x: Tensor<2>| relu(model.forward(x)))?;
    /// let graph = graph.simplify();
    /// assert_eq!(graph.nodes().len(), 1); // the ReLU is part of the linear layer
    /// assert!(graph.nodes()[0].epilogue.activation.is_some());
    /// # Ok::<(), burn_compress::graph::GraphError>(())
    /// ```
    #[must_use]
    pub fn simplify(self) -> Self {
        let mut graph = dead(self);
        // Each round that changes anything leaves fewer nodes or simpler ones. The bound is for nodes
        // that equal nothing, not even themselves: those with a NaN.
        for _ in 0..=graph.nodes.len() {
            let before = graph.nodes.clone();
            for pass in [
                identity::identity,
                constants::constants,
                fold_bias::fold_bias,
                pad::pad,
                rows::rows,
                fold_batch_norm::fold_batch_norm,
                fuse::fuse,
            ] {
                graph = dead(pass(graph));
            }
            if graph.nodes == before {
                break;
            }
        }
        graph
    }

    // How many times other nodes use each node's result.
    fn uses(&self) -> Vec<usize> {
        self.users().iter().map(Vec::len).collect()
    }
}

// Goes through the nodes in order. Where `change` gives a value, that takes the place of the node's
// result for all that follows; it may also alter the node itself.
fn replace(mut graph: Graph, mut change: impl FnMut(&mut Graph, usize) -> Option<Value>) -> Graph {
    let mut results = Vec::with_capacity(graph.nodes.len());
    for index in 0..graph.nodes.len() {
        let now = |value| match value {
            Value::Node(index) => results[index],
            other => other,
        };
        let node = &mut graph.nodes[index];
        for operand in &mut node.inputs {
            *operand = now(*operand);
        }
        node.epilogue = node.epilogue.map(now);
        results.push(change(&mut graph, index).unwrap_or(Value::Node(index)));
    }
    if let Value::Node(index) = graph.output {
        graph.output = results[index];
    }
    graph
}

// One pass, and what it leaves unused away.
#[cfg(test)]
fn simplified_by(pass: fn(Graph) -> Graph, graph: Graph) -> Graph {
    dead(pass(graph))
}

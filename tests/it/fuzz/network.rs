//! A random network: what it computes, and as a module of Burn.

use burn::module::Module;

use super::any::Any;
use super::layer::{Layer, Part};

/// Its last node gives the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Dimensions of an image.
    pub input: Vec<usize>,
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub layer: Layer,
    /// Values it reads: 0 is the input, `n` what the node before number `n` gives.
    pub from: Vec<usize>,
    /// Other parameters for each.
    pub salt: usize,
}

/// The parameters of all nodes that have some.
#[derive(Module, Debug)]
pub struct Net {
    parts: Vec<Part>,
}

impl Net {
    pub fn new() -> Self {
        Self { parts: Vec::new() }
    }

    /// One more node's, and what it computes of values that were computed.
    pub fn push(&mut self, node: &Node, values: &[Any]) -> Any {
        let inputs: Vec<Any> = node.from.iter().map(|&from| values[from].clone()).collect();
        let part = node.layer.part(&inputs[0].dims(), node.salt);
        let value = node.layer.apply(part.as_ref(), inputs);
        self.parts.extend(part);
        value
    }

    /// Without the last node's, which has parameters.
    pub fn pop(&mut self) {
        self.parts.pop();
    }

    pub fn forward(&self, network: &Network, x: Any) -> Any {
        let mut parts = self.parts.iter();
        let mut values = vec![x];
        for node in &network.nodes {
            let inputs: Vec<Any> = node.from.iter().map(|&from| values[from].clone()).collect();
            let part = match node.layer.has_part() {
                true => parts.next(),
                false => None,
            };
            values.push(node.layer.apply(part, inputs));
        }
        values.pop().expect("there is the input")
    }
}

impl Network {
    /// The module, and all values for some images.
    pub fn build(&self, x: Any) -> (Net, Vec<Any>) {
        let (mut net, mut values) = (Net::new(), vec![x]);
        for node in &self.nodes {
            let value = net.push(node, &values);
            values.push(value);
        }
        (net, values)
    }

    /// Dimensions of a batch of inputs.
    pub fn batch(&self, images: usize) -> Vec<usize> {
        [&[images], &self.input[..]].concat()
    }

    /// Without the nodes that the output does not need.
    pub fn without_unused(&self) -> Self {
        let mut needed = vec![false; self.nodes.len() + 1];
        needed[self.nodes.len()] = true;
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if needed[index + 1] {
                node.from.iter().for_each(|&from| needed[from] = true);
            }
        }
        needed[0] = true;
        let mut places = vec![0; needed.len()];
        let mut nodes = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if needed[index + 1] {
                let from = node.from.iter().map(|&from| places[from]).collect();
                nodes.push(Node {
                    from,
                    ..node.clone()
                });
                places[index + 1] = nodes.len();
            }
        }
        Self {
            input: self.input.clone(),
            nodes,
        }
    }
}

//! Graphs built by hand, for the tests of the passes.

use crate::graph::{Epilogue, Graph, Node, Norm, Parameter};
use crate::network::{Constant, Dim, Op, Unary, Value, Window};

#[derive(Clone)]
pub struct Sample(Graph);

/// `[N, C, H, W]`.
pub fn images(channels: usize, height: usize, width: usize) -> Vec<Dim> {
    let fixed = [channels, height, width].map(Dim::Fixed);
    [Dim::Batch(1)].into_iter().chain(fixed).collect()
}

pub const RELU: Op = Op::Unary(Unary::Relu);

impl Sample {
    pub fn new(input: Vec<Dim>) -> Self {
        Self(Graph {
            nodes: Vec::new(),
            input,
            output: Value::Input,
            parameters: Vec::new(),
            constants: Vec::new(),
            numbers: Vec::new(),
        })
    }

    pub fn parameter(&mut self, path: &str, dims: &[usize]) -> Value {
        self.0.parameters.push(Parameter {
            path: path.into(),
            dims: dims.to_vec(),
            transposed: false,
        });
        Value::Parameter(self.0.parameters.len() - 1)
    }

    pub fn constant(&mut self, dims: &[usize], values: &[f32]) -> Value {
        self.0.constants.push(Constant {
            dims: dims.to_vec(),
            values: values.to_vec(),
        });
        Value::Constant(self.0.constants.len() - 1)
    }

    pub fn node(&mut self, op: Op, inputs: &[Value], dims: Vec<Dim>) -> Value {
        let index = self.0.nodes.len();
        self.0.nodes.push(Node {
            op,
            inputs: inputs.to_vec(),
            epilogue: Epilogue::default(),
            dims,
            layer: format!("layer{index}"),
        });
        Value::Node(index)
    }

    pub fn convolution(&mut self, input: Value, weight: Value, dims: Vec<Dim>) -> Value {
        let op = Op::Convolution {
            rank: 2,
            window: Window::default(),
            groups: 1,
        };
        self.node(op, &[input, weight], dims)
    }

    /// A convolution of one kernel element, as many channels as its input.
    pub fn pointwise(&mut self, input: Value) -> Value {
        let dims = self.0.dims(input);
        let Some(&Dim::Fixed(channels)) = dims.get(1) else {
            panic!("channels are fixed");
        };
        let weight = self.parameter("weight", &[channels, channels, 1, 1]);
        self.convolution(input, weight, dims)
    }

    /// Statistics of so many channels.
    pub fn norm(&mut self, channels: usize) -> Norm {
        let [gamma, beta, mean, variance] =
            ["gamma", "beta", "mean", "variance"].map(|name| self.parameter(name, &[channels]));
        Norm {
            gamma,
            beta,
            mean,
            variance,
            epsilon: 1e-3,
        }
    }

    pub fn batch_norm(&mut self, input: Value, norm: Norm) -> Value {
        let dims = self.0.dims(input);
        let op = Op::BatchNorm {
            epsilon: norm.epsilon,
        };
        let inputs: Vec<Value> = [input].into_iter().chain(norm.operands()).collect();
        self.node(op, &inputs, dims)
    }

    pub fn epilogue(&mut self, node: Value) -> &mut Epilogue {
        let Value::Node(index) = node else {
            panic!("{node:?} is no node");
        };
        &mut self.0.nodes[index].epilogue
    }

    pub fn output(mut self, value: Value) -> Graph {
        self.0.output = value;
        self.0
    }
}

/// The names of the operations, in order.
pub fn names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|node| node.op.name()).collect()
}

use crate::format::same_bits;
use crate::graph::{GraphError, Node};
use crate::network::{Binary, Constant, Dim, Op, Unary, Value};
use crate::network::{Grid, Network, Step, StepOp};

/// A model as it grows: each step after those it uses.
#[derive(Default)]
pub(super) struct Steps {
    steps: Vec<Step>,
    constants: Vec<Constant>,
}

impl Steps {
    pub fn push(
        &mut self,
        op: StepOp,
        inputs: Vec<Value>,
        grid: Option<Grid>,
        dims: Vec<Dim>,
        layer: &str,
    ) -> Value {
        self.steps.push(Step {
            op,
            inputs,
            grid,
            dims,
            layer: layer.to_string(),
        });
        Value::Node(self.steps.len() - 1)
    }

    /// A constant of these numbers; one for all that are equal in every bit, such as those of a layer that
    /// is called twice.
    pub fn constant(&mut self, dims: Vec<usize>, values: Vec<f32>) -> Value {
        let equal = |known: &Constant| known.dims == dims && same_bits(&known.values, &values);
        if let Some(index) = self.constants.iter().position(equal) {
            return Value::Constant(index);
        }
        self.constants.push(Constant { dims, values });
        Value::Constant(self.constants.len() - 1)
    }

    /// A number for each output channel of a node, in a form that broadcasts over its result.
    pub fn by_channel(&mut self, node: &Node, values: Vec<f32>) -> Value {
        let rank = node.dims.len();
        let mut dims = vec![1; rank];
        dims[node.op.channel_axis(rank)] = values.len();
        self.constant(dims, values)
    }

    /// A node in floats, and what follows it, each a step of its own; the last one ends in the grid.
    pub fn in_float(
        &mut self,
        node: &Node,
        inputs: Vec<Value>,
        rest: FloatEpilogue,
        grid: Option<Grid>,
    ) -> Value {
        let rest = rest.0;
        let (dims, layer) = (|| node.dims.clone(), &node.layer);
        let last = rest.len();
        let ends_in = |place: usize| grid.filter(|_| place == last);
        // Whatever the padding is: floats have no zero point.
        let mut result = match node.op.is_move() {
            true => {
                let op = StepOp::Move(node.op.clone());
                let moved = self.push(op, inputs, None, dims(), layer);
                match grid {
                    Some(_) => self.push(StepOp::Quantize, vec![moved], grid, dims(), layer),
                    None => moved,
                }
            }
            false => {
                let op = StepOp::Float(node.op.clone());
                self.push(op, inputs, ends_in(0), dims(), layer)
            }
        };
        for (place, (op, others)) in rest.into_iter().enumerate() {
            let mut inputs = vec![result];
            inputs.extend(others);
            let op = StepOp::Float(op);
            result = self.push(op, inputs, ends_in(place + 1), dims(), layer);
        }
        result
    }

    pub fn finish(self, input: &[Dim], output: Value) -> Result<Network, GraphError> {
        let network = Network::new(input.to_vec(), self.constants, self.steps, output);
        Ok(network?)
    }
}

/// What is done to the result of a node in floats, in order.
#[derive(Default)]
pub(super) struct FloatEpilogue(Vec<(Op, Vec<Value>)>);

impl FloatEpilogue {
    pub fn then(&mut self, how: Binary, other: Value) {
        self.0.push((Op::Binary(how), vec![other]));
    }

    pub fn activate(&mut self, activation: Option<Unary>) {
        let activation = activation.map(|unary| (Op::Unary(unary), Vec::new()));
        self.0.extend(activation);
    }
}

//! The integer form of a quantized module: the same numbers that its simulation computes with.

use burn::module::Module;
use burn::tensor::Tensor;

use super::steps::{FloatEpilogue, Steps};
use crate::graph::activations::Form;
use crate::graph::simulate::{
    QuantizationConfig, Requantization, RequantizationSource, Weight, table,
};
use crate::graph::tensor::AnyTensor;
use crate::graph::{GraphError, Node, Quantized};
use crate::network::{Activation, Arithmetic, Grid, Network, Rescale, StepOp, Weights};
use crate::network::{Binary, Op, Unary, Value};

impl<M: Module> Quantized<M> {
    /// The model in whole numbers: what is deployed, and what defines its outputs. Reads all weights
    /// from the device.
    ///
    /// Fails with [`NetworkError::Activation`](crate::network::NetworkError::Activation) where a sum could
    /// overflow 32 bits, and where the scale of an activation is not finite, as training that diverged brings
    /// about.
    pub fn to_integer(&self) -> Result<Network, GraphError> {
        let weights = self.weights()?;
        let scales = self.quantizer_scales();
        let correction = self.correction();
        let config = self.config();
        let source = RequantizationSource {
            placement: &config.placement,
            weights: &weights,
            scales: &scales,
            correction: correction.as_ref(),
        };
        let host_scales = self.scales()?;
        let nodes = (0..config.placement.graph.nodes.len()).map(Value::Node);
        let grids = nodes.map(|value| config.placement.grid(value, &host_scales));
        let mut lowering = Lowering {
            config,
            source,
            weights: &weights,
            grids: grids.collect::<Result<_, _>>()?,
            input_grid: config.placement.grid(Value::Input, &host_scales)?,
            steps: Steps::default(),
            results: Vec::new(),
            input: Value::Input,
        };
        lowering.run()?;
        let graph = &config.placement.graph;
        let output = lowering.float(graph.output)?;
        lowering.steps.finish(&graph.input, output)
    }
}

struct Lowering<'a> {
    config: &'a QuantizationConfig,
    source: RequantizationSource<'a>,
    weights: &'a [Weight],
    /// Of each node's result, and of the input.
    grids: Vec<Option<Grid>>,
    input_grid: Option<Grid>,
    steps: Steps,
    /// What each node became.
    results: Vec<Value>,
    input: Value,
}

impl Lowering<'_> {
    fn run(&mut self) -> Result<(), GraphError> {
        let placement = &self.config.placement;
        if let Some(grid) = self.input_grid {
            let dims = placement.graph.input.clone();
            let grid = Some(grid);
            self.input = self
                .steps
                .push(StepOp::Quantize, vec![Value::Input], grid, dims, "input");
        }
        for index in 0..placement.graph.nodes.len() {
            let node = &placement.graph.nodes[index];
            let result = self.node(index, node)?;
            self.results.push(result);
        }
        Ok(())
    }

    fn node(&mut self, index: usize, node: &Node) -> Result<Value, GraphError> {
        let placement = &self.config.placement;
        let quantizer = placement.nodes[index];
        let grid = self.grids[index];
        let (op, inputs) = match (placement.forms[index], quantizer) {
            (Form::Product, _) => self.product(index, node)?,
            (Form::Move, Some(_)) => {
                let inputs = node.inputs.iter().map(|value| self.codes(*value));
                (StepOp::Move(node.op.clone()), inputs.collect())
            }
            (Form::Arithmetic, Some(_)) => self.arithmetic(index, node)?,
            (Form::Sum, Some(_)) => (self.sum(index, node)?, vec![self.codes(node.inputs[0])]),
            (Form::Rescale, Some(_)) => {
                let requantization = self.source.affine(index);
                let rescale = self.rescale(index, node, requantization)?;
                (StepOp::Rescale(rescale), vec![self.codes(node.inputs[0])])
            }
            (Form::Table, Some(to)) => {
                let table = self.table(index, node, to);
                (table, vec![self.codes(node.inputs[0])])
            }
            _ => return self.in_float(node, grid),
        };
        Ok(self
            .steps
            .push(op, inputs, grid, node.dims.clone(), &node.layer))
    }

    fn product(&mut self, index: usize, node: &Node) -> Result<(StepOp, Vec<Value>), GraphError> {
        let rescale = self.source.product(index);
        let rescale = self.rescale(index, node, rescale)?;
        let mut inputs = vec![self.codes(node.inputs[0])];
        let weights = match node.inputs[1] {
            Value::Parameter(weight) => {
                let codes = self.weights[weight].codes();
                let codes = codes.unwrap_or_else(|| unreachable!("an integer product"));
                let path = &self.config.placement.graph.parameters[weight].path;
                Some(Weights {
                    dims: codes.dims(),
                    codes: codes
                        .read(path)?
                        .into_iter()
                        .map(|code| code as i32)
                        .collect(),
                })
            }
            other => {
                inputs.push(self.codes(other));
                None
            }
        };
        inputs.extend(node.epilogue.add.map(|add| self.codes(add)));
        let op = StepOp::Product {
            op: node.op.clone(),
            weights,
            rescale,
        };
        Ok((op, inputs))
    }

    fn rescale(
        &self,
        index: usize,
        node: &Node,
        requantization: Requantization,
    ) -> Result<Rescale, GraphError> {
        let read = |tensor: Tensor<1>| AnyTensor::from(tensor).read(&node.layer);
        Ok(Rescale {
            multiplier: read(requantization.multiplier)?,
            offset: requantization.offset.map(read).transpose()?,
            residual: match requantization.residual {
                Some(residual) => read(residual)?.first().copied(),
                None => None,
            },
            activation: self.activation(index, node),
        })
    }

    // In units of the result.
    fn activation(&self, index: usize, node: &Node) -> Option<Activation> {
        let grid = self.grids[index];
        let (unit, offset) = grid.map_or((1.0, 0.0), |grid| (grid.scale(), grid.offset()));
        let bound = |bound: f32| match bound.is_finite() {
            true => (bound - offset) / unit,
            false => bound,
        };
        match node.epilogue.activation? {
            Unary::Clamp { min, max } => Some(Activation::Clamp {
                min: bound(min),
                max: bound(max),
            }),
            // Passes put nothing else than a ReLU there.
            _ if offset != 0.0 => Some(Activation::Clamp {
                min: bound(0.0),
                max: f32::INFINITY,
            }),
            _ => Some(Activation::Relu),
        }
    }

    fn arithmetic(
        &mut self,
        index: usize,
        node: &Node,
    ) -> Result<(StepOp, Vec<Value>), GraphError> {
        let activation = self.activation(index, node);
        let factors = self.source.arithmetic(index).into_iter();
        let factors: Result<Vec<Vec<f32>>, GraphError> = factors
            .map(|factor| AnyTensor::from(factor).read(&node.layer))
            .collect();
        let factors: Vec<f32> = factors?.into_iter().flatten().collect();
        let operands = node.inputs.iter().filter(|value| value.is_activation());
        let mut inputs: Vec<Value> = operands.map(|value| self.codes(*value)).collect();
        if let Some(constant) = self.source.constant(index) {
            let dims = constant.dims();
            let values = constant.read(&node.layer)?;
            inputs.push(self.steps.constant(dims, values));
        }
        let both = inputs.iter().all(|value| matches!(value, Value::Node(_)));
        let how = match (&node.op, both) {
            (Op::Binary(Binary::Multiply), true) => Arithmetic::Multiply {
                multiplier: factors[0],
            },
            (Op::Binary(Binary::Multiply), false) => Arithmetic::MultiplyConstant,
            (Op::Binary(Binary::Subtract), true) => Arithmetic::Add {
                left: factors[0],
                right: -factors[1],
            },
            (_, true) => Arithmetic::Add {
                left: factors[0],
                right: factors[1],
            },
            (_, false) => Arithmetic::AddConstant {
                multiplier: factors[0],
            },
        };
        Ok((StepOp::Arithmetic { how, activation }, inputs))
    }

    fn sum(&self, index: usize, node: &Node) -> Result<StepOp, GraphError> {
        let input = self.config.placement.graph.dims(node.inputs[0]);
        let op = node.op.sum_of_codes(&input);
        let op = op.unwrap_or_else(|| unreachable!("placement gives this form to sums alone"));
        let (count, divide) = node.op.divisor(&input);
        let factor = self.source.sum(index, count);
        Ok(StepOp::Sum {
            op,
            divide,
            multiplier: AnyTensor::from(factor).read(&node.layer)?[0],
            activation: self.activation(index, node),
        })
    }

    fn table(&self, index: usize, node: &Node, to: usize) -> StepOp {
        let placement = &self.config.placement;
        let (Op::Unary(function), Some(from)) = (&node.op, placement.quantizer(node.inputs[0]))
        else {
            unreachable!("tables are of functions of one quantized number")
        };
        let quantizers = &placement.quantizers;
        let scale = |value: Value| match value {
            Value::Node(index) => self.grids[index],
            _ => self.input_grid,
        };
        let scale = |value: Value| scale(value).map_or(1.0, |grid| grid.scale());
        let scales = [scale(node.inputs[0]), scale(Value::Node(index))];
        let codes = table(
            *function,
            &quantizers[from],
            scales[0],
            &quantizers[to],
            scales[1],
        );
        StepOp::Table(codes.into_iter().map(|code| code as i32).collect())
    }

    // A node in floats, its epilogue as steps of its own.
    fn in_float(&mut self, node: &Node, grid: Option<Grid>) -> Result<Value, GraphError> {
        let mut inputs = Vec::new();
        for value in &node.inputs {
            inputs.push(self.float(*value)?);
        }
        let epilogue = &node.epilogue;
        let mut rest = FloatEpilogue::default();
        if let Some(bias) = epilogue.bias {
            let values = AnyTensor::from(self.source.vector(bias)).read(&node.layer)?;
            rest.then(Binary::Add, self.steps.by_channel(node, values));
        }
        if let Some(norm) = &epilogue.norm {
            let (factor, mean, beta) = self.source.norm(norm);
            let shift = beta - mean * factor.clone();
            for (tensor, how) in [(factor, Binary::Multiply), (shift, Binary::Add)] {
                let values = AnyTensor::from(tensor).read(&node.layer)?;
                rest.then(how, self.steps.by_channel(node, values));
            }
        }
        if let Some(add) = epilogue.add {
            rest.then(Binary::Add, self.float(add)?);
        }
        rest.activate(epilogue.activation);
        Ok(self.steps.in_float(node, inputs, rest, grid))
    }

    // The step that holds a tensor's codes.
    fn codes(&self, value: Value) -> Value {
        match value {
            Value::Node(index) => self.results[index],
            _ => self.input,
        }
    }

    // The step, or the constant, that holds a tensor's real values.
    fn float(&mut self, value: Value) -> Result<Value, GraphError> {
        let placement = &self.config.placement;
        match value {
            Value::Parameter(index) => {
                let path = &placement.graph.parameters[index].path;
                let values = self.weights[index].values();
                let dims = values.dims();
                let values = values.read(path)?;
                Ok(self.steps.constant(dims, values))
            }
            Value::Constant(index) => {
                let constant = &placement.graph.constants[index];
                Ok(self
                    .steps
                    .constant(constant.dims.clone(), constant.values.clone()))
            }
            value => {
                let held = self.codes(value);
                if placement.quantizer(value).is_none() {
                    return Ok(held);
                }
                let dims = placement.graph.dims(value);
                Ok(self
                    .steps
                    .push(StepOp::Dequantize, vec![held], None, dims, "dequantize"))
            }
        }
    }
}

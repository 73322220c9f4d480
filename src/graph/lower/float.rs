//! The form in floats of a module: what an engine runs where nothing is quantized.

use burn::module::Module;

use super::steps::{FloatEpilogue, Steps};
use crate::compress::Attached;
use crate::format::WeightView;
use crate::graph::simulate::{Reads, weights};
use crate::graph::{Graph, GraphError, Node, Norm};
use crate::network::Network;
use crate::network::{Binary, Constant, Value};

impl Graph {
    /// The graph with the numbers of a module, in floats throughout: a model that runs without Burn. A
    /// compression that the module carries is applied to them; removed weights are zeros. Batch norms
    /// that [`simplify`](Self::simplify) made part of a product are multiplied into its weights and
    /// its bias. Reads all parameters from the device.
    ///
    /// Its results differ from the module's by rounding alone, for batch norms by their running
    /// statistics.
    ///
    /// Fails with [`GraphError::Parameter`] where the module lacks what the graph uses, or a number is
    /// not finite.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor, activation::relu}};
    /// use burn_compress::graph::Graph;
    /// let device = Device::default();
    /// let model = LinearConfig::new(4, 2).init(&device);
    /// let forward = |model: &burn::nn::Linear, x: Tensor<2>| relu(model.forward(x));
    /// let graph = Graph::capture(&model, [1, 4], forward)?.simplify();
    ///
    /// let floats = graph.to_float_model(&model)?;
    /// let names: Vec<_> = floats.steps().iter().map(|step| step.op.name()).collect();
    /// assert_eq!(names, ["linear", "add", "relu"]);
    ///
    /// let (found, _) = floats.run(&[0.5, -1.0, 0.25, 2.0], 1)?;
    /// let expected = forward(&model, Tensor::from_floats([[0.5, -1.0, 0.25, 2.0]], &device));
    /// for (a, b) in found.iter().zip(expected.into_data().iter::<f32>()) {
    ///     assert!((a - b).abs() < 1e-5);
    /// }
    /// # Ok::<(), burn_compress::graph::GraphError>(())
    /// ```
    pub fn to_float_model<M: Module>(&self, module: &M) -> Result<Network, GraphError> {
        let module = module.clone().materialize();
        let weights = weights(self, &module, &Attached::default(), &Reads::default())?;
        let parameters = self.parameters.iter().zip(weights);
        let parameters: Result<Vec<Constant>, GraphError> = parameters
            .map(|(parameter, weight)| {
                let path = &parameter.path;
                let values = weight.values().read(path)?;
                finite(values, path).map(|values| Constant {
                    dims: parameter.read_dims(),
                    values,
                })
            })
            .collect();
        let mut lowering = Lowering {
            graph: self,
            parameters: parameters?,
            steps: Steps::default(),
            results: Vec::new(),
        };
        for node in &self.nodes {
            let result = lowering.node(node)?;
            lowering.results.push(result);
        }
        let output = lowering.value(self.output);
        lowering.steps.finish(&self.input, output)
    }
}

struct Lowering<'a> {
    graph: &'a Graph,
    /// Those of the graph, with their values.
    parameters: Vec<Constant>,
    steps: Steps,
    /// What each node became.
    results: Vec<Value>,
}

impl Lowering<'_> {
    fn node(&mut self, node: &Node) -> Result<Value, GraphError> {
        let epilogue = &node.epilogue;
        let mut inputs: Vec<Value> = Vec::new();
        let mut bias = epilogue.bias.map(|bias| self.held(bias).values.clone());
        match (&epilogue.norm, &node.inputs[..]) {
            (Some(norm), [input, weight]) => {
                inputs.push(self.value(*input));
                let (factor, shift) = self.folded(norm, bias.as_deref());
                let weight = self.held(*weight);
                let layout = node.op.weight_layout(&weight.dims);
                let layout = layout.unwrap_or_else(|| unreachable!("norms follow weights"));
                let values = scaled(weight, &layout, &factor);
                let dims = weight.dims.clone();
                let values = finite(values, &node.layer)?;
                inputs.push(self.steps.constant(dims, values));
                bias = Some(finite(shift, &node.layer)?);
            }
            (_, operands) => {
                inputs.extend(operands.iter().map(|&operand| self.value(operand)));
            }
        }
        let mut rest = FloatEpilogue::default();
        if let Some(bias) = bias {
            rest.then(Binary::Add, self.steps.by_channel(node, bias));
        }
        if let Some(add) = epilogue.add {
            rest.then(Binary::Add, self.value(add));
        }
        rest.activate(epilogue.activation);
        Ok(self.steps.in_float(node, inputs, rest, None))
    }

    fn value(&mut self, value: Value) -> Value {
        match value {
            Value::Input => Value::Input,
            Value::Node(index) => self.results[index],
            Value::Parameter(_) | Value::Constant(_) => {
                let held = self.held(value);
                let (dims, values) = (held.dims.clone(), held.values.clone());
                self.steps.constant(dims, values)
            }
        }
    }

    fn held(&self, value: Value) -> &Constant {
        match value {
            Value::Parameter(index) => &self.parameters[index],
            Value::Constant(index) => &self.graph.constants[index],
            _ => unreachable!("weights and the numbers of epilogues depend on no input"),
        }
    }

    // What a batch norm multiplies the sums of each channel by, and what it adds to them then. In double
    // precision: rounded once.
    fn folded(&self, norm: &Norm, bias: Option<&[f32]>) -> (Vec<f64>, Vec<f32>) {
        let [gamma, beta, mean, variance] = norm.operands().map(|value| &self.held(value).values);
        let epsilon = f64::from(norm.epsilon);
        let channels = 0..gamma.len();
        let factor = |c: usize| f64::from(gamma[c]) / (f64::from(variance[c]) + epsilon).sqrt();
        let factors: Vec<f64> = channels.clone().map(factor).collect();
        let shift = |c: usize| {
            let bias = bias.map_or(0.0, |bias| f64::from(bias[c]));
            (f64::from(beta[c]) + (bias - f64::from(mean[c])) * factors[c]) as f32
        };
        let shifts = channels.map(shift).collect();
        (factors, shifts)
    }
}

// Weights times the factor of their output channel. Zeros stay zeros, without a sign.
fn scaled(weight: &Constant, layout: &WeightView, factor: &[f64]) -> Vec<f32> {
    let kernels = weight.values.chunks(layout.taps().max(1)).enumerate();
    let scaled = kernels.flat_map(|(kernel, values)| {
        let factor = factor[layout.channels(kernel).1];
        values
            .iter()
            .map(move |&value| (f64::from(value) * factor) as f32 + 0.0)
    });
    scaled.collect()
}

fn finite(values: Vec<f32>, path: &str) -> Result<Vec<f32>, GraphError> {
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(values),
        Some(value) => Err(GraphError::Parameter {
            path: path.to_string(),
            what: format!("{value} is not finite"),
        }),
    }
}

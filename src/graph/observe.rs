//! The inputs of layers, for criteria that look at them.

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::Tensor;

use super::simulate::{Pass, Reads, Setting, any, weights};
use super::tensor::{AnyTensor, with_rank};
use super::{Graph, GraphError};
use crate::attach::{Attached, Observations};
use crate::network::{Op, Value};

impl Graph {
    /// Runs a batch through the module that this graph was captured of, in floats and as in validation,
    /// and adds what the inputs of its layers show. Does nothing where no input is asked for. A module
    /// that carries a compression runs with its weights as they are compressed.
    ///
    /// Copies nothing from the device.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Distribution, Tensor}};
    /// use burn_compress::{attach::{Plan, Pruning}, graph::Graph, prune::Wanda};
    /// let device = Device::default();
    /// let model = LinearConfig::new(16, 4).init(&device);
    /// let graph = Graph::capture(&model, [1, 16], |model, x: Tensor<2>| model.forward(x))?;
    ///
    /// let plan = Plan::new().prune(Pruning::to(0.5).by(Wanda));
    /// let mut seen = plan.observations(&model)?;
    /// graph.observe(&model, Tensor::<2>::random([64, 16], Distribution::Default, &device), &mut seen)?;
    /// let compressed = plan.apply_with(model, &seen)?; // 8 of the 16 weights of each output
    /// assert_eq!(compressed.layers()[0].removed, 32);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe<M: Module, const D: usize>(
        &self,
        module: &M,
        batch: Tensor<D>,
        observations: &mut Observations,
    ) -> Result<(), GraphError> {
        let readers = self.readers(observations);
        if readers.is_empty() {
            return Ok(());
        }
        let module = module.valid().materialize();
        let attached = Attached::default();
        let weights = weights(self, &module, &attached, &Reads::default())?;
        let setting = Setting::in_floats(self.clone(), attached);
        let mut pass = Pass::new(&setting, &weights, Vec::new(), None, false);
        let mut squares = Vec::new();
        pass.trace(any(batch.without_autodiff())?, |value, tensor| {
            for (op, path) in readers.get(&value).into_iter().flatten() {
                squares.push((path, input_squares(op, tensor)));
            }
        })?;
        for (path, squares) in squares {
            observations.add_input_squares(path, squares);
        }
        Ok(())
    }

    // The products that read each value, and the paths of their weights.
    fn readers(&self, observations: &Observations) -> HashMap<Value, Vec<(&Op, &str)>> {
        let mut readers: HashMap<Value, Vec<(&Op, &str)>> = HashMap::new();
        for node in &self.nodes {
            if let [input, Value::Parameter(index), ..] = node.inputs[..]
                && node.op.has_weights()
                && let Some(parameter) = self.parameters.get(index)
                && (observations.inputs()).any(|layer| layer.path == parameter.path)
            {
                let reader = (&node.op, parameter.path.as_str());
                readers.entry(input).or_default().push(reader);
            }
        }
        readers
    }
}

// The sum of each channel's squares.
fn input_squares(op: &Op, input: &AnyTensor) -> Tensor<1> {
    let dims = input.dims();
    let axis = op.channel_axis(dims.len());
    let outer: usize = dims[..axis].iter().product();
    let inner: usize = dims[axis + 1..].iter().product();
    let channels = dims[axis];
    let input = with_rank!(input.clone(), input => input.reshape([outer, channels, inner]));
    let squares = input.clone() * input;
    squares.sum_dim(2).sum_dim(0).reshape([channels])
}

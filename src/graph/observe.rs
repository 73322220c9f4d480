//! The inputs of layers, for criteria that look at them.

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::unfold4d;
use burn::tensor::ops::UnfoldOptions;

use super::simulate::{Pass, QuantizationConfig, Reads, any, weights};
use super::tensor::{AnyTensor, with_rank};
use super::{Graph, GraphError};
use crate::compress::{Attached, Observations};
use crate::network::{Op, Value};
use crate::prune::Need;

impl Graph {
    /// Runs a batch through the module that this graph was captured of, in floats and as in validation,
    /// and adds what the inputs of its layers show. Does nothing where no input is asked for. A module
    /// that carries a compression runs with its weights as they are compressed.
    ///
    /// Copies nothing from the device.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Distribution, Tensor}};
    /// use burn_compress::{compress::{Plan, Pruning}, graph::Graph, prune::Wanda};
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
        let config = QuantizationConfig::in_floats(self.clone(), attached);
        let mut pass = Pass::new(&config, &weights, Vec::new(), None, false);
        let asks = |need| observations.needs().contains(&need);
        let (norms, grams) = (asks(Need::InputNorms), asks(Need::InputGram));
        let mut seen = Vec::new();
        pass.trace(any(batch.without_autodiff())?, |value, tensor| {
            for (op, path) in readers.get(&value).into_iter().flatten() {
                let squares = norms.then(|| input_squares(op, tensor));
                let gram = grams.then(|| input_gram(op, tensor)).flatten();
                seen.push((path, squares, gram));
            }
        })?;
        for (path, squares, gram) in seen {
            if let Some(squares) = squares {
                observations.add_input_squares(path, squares);
            }
            if let Some(gram) = gram {
                observations.add_input_gram(path, gram);
            }
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
pub(crate) fn input_squares(op: &Op, input: &AnyTensor) -> Tensor<1> {
    let dims = input.dims();
    let axis = op.channel_axis(dims.len());
    let outer: usize = dims[..axis].iter().product();
    let inner: usize = dims[axis + 1..].iter().product();
    let channels = dims[axis];
    let input = with_rank!(input.clone(), input => input.reshape([outer, channels, inner]));
    let squares = input.clone() * input;
    squares.sum_dim(2).sum_dim(0).reshape([channels])
}

// The Gram matrix of the inputs of a filter in each group; none of a transposed convolution.
fn input_gram(op: &Op, input: &AnyTensor) -> Option<Tensor<3>> {
    let inputs = input_columns(op, input)?;
    Some(inputs.clone().matmul(inputs.swap_dims(1, 2)))
}

/// The inputs of a filter at each place, `[groups, inputs of a filter, samples and positions]`; none of a
/// transposed convolution.
pub(crate) fn input_columns(op: &Op, input: &AnyTensor) -> Option<Tensor<3>> {
    let dims = input.dims();
    Some(match op {
        Op::Linear => {
            let channels = *dims.last()?;
            let rows = dims.iter().product::<usize>() / channels.max(1);
            let flat = with_rank!(input.clone(), input => input.reshape([1, rows, channels]));
            flat.swap_dims(1, 2)
        }
        Op::Convolution { window, groups, .. } => {
            let [samples, channels, height, width] = match dims[..] {
                [samples, channels, length] => [samples, channels, 1, length],
                [samples, channels, height, width] => [samples, channels, height, width],
                _ => return None,
            };
            let image = [samples, channels, height, width];
            let image: Tensor<4> = with_rank!(input.clone(), input => input.reshape(image));
            let [(top, bottom), (left, right)] = window.padding;
            let image = image.pad((left, right, top, bottom), 0.0);
            let options = UnfoldOptions::new(window.stride, [0, 0], window.dilation);
            let patches = unfold4d(image, window.kernel, options);
            let [_, columns, positions] = patches.dims();
            let of_group = columns / groups;
            patches
                .reshape([samples, *groups, of_group, positions])
                .permute([1, 2, 0, 3])
                .reshape([*groups, of_group, samples * positions])
        }
        _ => return None,
    })
}

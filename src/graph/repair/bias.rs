use burn::module::Module;
use burn::tensor::Tensor;

use super::super::GraphError;
use super::super::activations::QuantizerPlacement;
use super::super::simulate::{Pass, QuantizationConfig, Quantized, Reads, any, weights};
use super::super::tensor::AnyTensor;
use crate::network::NetworkError;

/// Bias correction (Nagel et al. 2019, section 4.2, by data as in its appendix): adds to each output
/// channel of each integer product what its mean before the activation lost by quantization, over these
/// batches of inputs.
///
/// The products are corrected one after the other, each with those before it corrected already, so that
/// an error is not corrected twice: after one run of the float model the data go through the quantized
/// one as far as each product in turn, about half a pass over the data for each. A few hundred inputs
/// suffice. What was corrected before is corrected further.
///
/// The float model is the module inside with the weights that it stores, removed ones zero. Products
/// without weights, and nodes that stay in float, are left as they are. In training the correction plays
/// no part while batch norms still follow the batch, and it is no parameter of the optimizer.
///
/// Fails with [`GraphError::NoData`] without batches, with
/// [`NetworkError::Input`](crate::network::NetworkError::Input) for one of other dimensions than the graph
/// takes, and with [`NetworkError::Activation`](crate::network::NetworkError::Activation) where a mean is not
/// finite.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::compress::{Plan, Quantization};
/// use burn_compress::format::Scheme;
/// use burn_compress::graph::{Activations, Calibration, Graph, repair::correct_bias};
///
/// let device = Device::default();
/// let model = LinearConfig::new(8, 4).init(&device);
/// let graph = Graph::capture(&model, [1, 8], |model, x: Tensor<2>| model.forward(x))?.simplify();
/// let input = Tensor::<2>::ones([2, 8], &device);
/// let exact: Tensor<2> = graph.forward(&model, input.clone())?;
///
/// let weights = Plan::new().quantize(Quantization::to(Scheme::symmetric(2)?));
/// let (model, compression) = weights.attach(model)?;
/// let mut calibration = Calibration::new(graph, &model, &compression, Activations::bits(8)?)?;
/// calibration.observe(&model, input.clone())?;
/// let quantized = correct_bias(calibration.finish(model)?, [input.clone()])?;
/// let output: Tensor<2> = quantized.forward(input)?;
/// let error: f32 = (output - exact).abs().max().into_scalar();
/// assert!(error < 1e-4); // of two bits: the only inputs are those that were seen
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn correct_bias<M: Module, const D: usize>(
    quantized: Quantized<M>,
    batches: impl IntoIterator<Item = Tensor<D>>,
) -> Result<Quantized<M>, GraphError> {
    let inputs = batches.into_iter();
    let inputs: Result<Vec<AnyTensor>, _> = inputs.map(|x| any(x.without_autodiff())).collect();
    let inputs = inputs?;
    if inputs.is_empty() {
        return Err(GraphError::NoData);
    }
    let plain = quantized.valid();
    let config = plain.config();
    let placement = &config.placement;
    let graph = &placement.graph;
    let count = graph.nodes.len();
    let products: Vec<usize> = (0..count).filter(|&i| placement.channels(i) > 0).collect();

    let attached = config.attached.without_codes();
    let floats = QuantizationConfig::in_floats(graph.clone(), attached);
    let exact = weights(graph, plain.module(), &floats.attached, &Reads::default())?;
    let mut wanted: Vec<Means> = vec![Means::default(); count];
    for input in &inputs {
        let mut result = Ok(());
        let mut see = |index: usize, tensor: AnyTensor| {
            if result.is_ok() && placement.channels(index) > 0 {
                result = wanted[index].add(tensor, channel_axis_of(placement, index));
            }
        };
        let mut pass = Pass::new(&floats, &exact, Vec::new(), None, false);
        pass.on_product = Some(&mut see);
        pass.run(input.clone())?;
        result?;
    }

    let coded = plain.weights()?;
    let scales = plain.quantizer_scales();
    let device = plain.device();
    let mut correction = match plain.correction() {
        Some(before) => AnyTensor::from(before).read("a correction")?,
        None => vec![0.0; products.iter().map(|&i| placement.channels(i)).sum()],
    };
    for &product in &products {
        let mut found = Means::default();
        for input in &inputs {
            let mut result = Ok(());
            let mut see = |index: usize, tensor: AnyTensor| {
                if index == product {
                    result = found.add(tensor, channel_axis_of(placement, index));
                }
            };
            let present = Tensor::from_data(correction.as_slice(), &device);
            let mut pass = Pass::new(config, &coded, scales.clone(), Some(present), false);
            pass.on_product = Some(&mut see);
            pass.last = Some(product);
            pass.run(input.clone())?;
            result?;
        }
        let (start, length) = placement.correction_of(product);
        let lost = wanted[product].means().zip(found.means());
        for (place, (wanted, found)) in lost.enumerate().take(length) {
            let corrected = (f64::from(correction[start + place]) + wanted - found) as f32;
            if !corrected.is_finite() {
                return Err(NetworkError::Activation {
                    layer: graph.nodes[product].layer.clone(),
                    what: format!(
                        "the mean of channel {place} is {wanted} in floats and {found} quantized; \
                         correct with inputs that the model bears"
                    ),
                }
                .into());
            }
            correction[start + place] = corrected;
        }
    }
    let correction = Tensor::from_data(correction.as_slice(), &quantized.device());
    Ok(quantized.with_correction(correction))
}

fn channel_axis_of(placement: &QuantizerPlacement, index: usize) -> usize {
    let node = &placement.graph.nodes[index];
    node.op.channel_axis(node.dims.len())
}

/// Sums of channels.
#[derive(Debug, Clone, Default)]
struct Means {
    sums: Vec<f64>,
    count: usize,
}

impl Means {
    fn add(&mut self, tensor: AnyTensor, axis: usize) -> Result<(), GraphError> {
        let dims = tensor.dims();
        let channels = dims[axis];
        let outer: usize = dims[..axis].iter().product();
        let inner: usize = dims[axis + 1..].iter().product();
        let rows: Tensor<3> = tensor.reshape(&[outer, channels, inner]).rank();
        let means = AnyTensor::from(rows.mean_dim(2)).read("the mean of an activation")?;
        self.sums.resize(channels, 0.0);
        for row in means.chunks(channels.max(1)) {
            for (sum, mean) in self.sums.iter_mut().zip(row) {
                *sum += f64::from(*mean) * inner as f64;
            }
        }
        self.count += outer * inner;
        Ok(())
    }

    fn means(&self) -> impl Iterator<Item = f64> + '_ {
        self.sums.iter().map(|sum| sum / self.count.max(1) as f64)
    }
}

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::super::{Graph, GraphError};
use super::weights::packed_weights;
use super::{Pass, QuantizationConfig, Quantized, Reads, Weight, float};
use crate::compress::{Attached, Compression};

/// A model for inference on a Burn device whose quantized weights stay there in as many bits as their
/// codes take, several to a word, and become numbers only while an operation reads them.
///
/// It takes a quarter (8 bits) or an eighth (4 bits) of the memory of floats and computes the same as the
/// model that it was packed from: on a processor to the last bit; a GPU that fuses operations otherwise
/// may round a last bit otherwise. It is no faster: unpacking is work that floats do without. Weights
/// that are zero take as much as others.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
/// use burn_compress::compress::{Plan, Quantization};
/// use burn_compress::{format::Scheme, graph::Graph};
/// let device = Device::default();
/// let model = LinearConfig::new(64, 32).with_bias(false).init(&device);
/// let graph = Graph::capture(&model, [1, 64], |model, x: Tensor<2>| model.forward(x))?;
/// let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(4)?));
/// let (model, compression) = plan.attach(model)?;
///
/// let packed = graph.pack(&model, &compression)?;
/// assert_eq!(packed.bytes(), 64 * 32 / 2 + 32 * 4); // and a scale for each of 32 channels
/// let input = Tensor::<2>::ones([5, 64], &device);
/// let output: Tensor<2> = packed.forward(input.clone())?;
/// let expected: Tensor<2> = graph.forward_under(&model, &compression, input)?;
/// output.into_data().assert_eq(&expected.into_data(), true);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Packed {
    config: Arc<QuantizationConfig>,
    weights: Vec<Weight>,
    /// Of each quantizer.
    scales: Vec<Tensor<1>>,
    correction: Option<Tensor<1>>,
}

impl Packed {
    /// The output for an input on the same device; without gradients.
    ///
    /// Fails with [`NetworkError::Input`](crate::network::NetworkError::Input) for an input of other
    /// dimensions than the graph was captured for, with [`GraphError::Devices`] for one on another device,
    /// and with [`GraphError::Output`] where the output has another number of axes.
    pub fn forward<const D: usize, const E: usize>(
        &self,
        input: Tensor<D>,
    ) -> Result<Tensor<E>, GraphError> {
        let input = float::any(input.without_autodiff())?;
        if self
            .weights
            .iter()
            .any(|weight| weight.device() != input.device())
        {
            return Err(GraphError::Devices { count: 2 });
        }
        let correction = self.correction.clone();
        let scales = self.scales.clone();
        let mut pass = Pass::new(&self.config, &self.weights, scales, correction, false);
        float::out(pass.run(input)?)
    }

    /// Bytes that its parameters take on the device.
    pub fn bytes(&self) -> usize {
        let others = self.scales.iter().chain(&self.correction);
        let others: usize = others.map(|tensor| 4 * tensor.dims()[0]).sum();
        self.weights.iter().map(Weight::bytes).sum::<usize>() + others
    }

    /// The same on another device.
    pub fn to_device(self, device: &Device) -> Self {
        let moved = |tensor: Tensor<1>| tensor.to_device(device);
        Self {
            config: super::config::elsewhere(self.config),
            weights: (self.weights.into_iter())
                .map(|weight| weight.moved(device))
                .collect(),
            scales: self.scales.into_iter().map(moved).collect(),
            correction: self.correction.map(moved),
        }
    }
}

impl<M: Module> Quantized<M> {
    /// The same model for inference, its weights in as many bits as their codes take; batch norms by
    /// their running statistics. Reads all weights from the device.
    ///
    /// Fails with [`GraphError::Parameter`] where the module lacks what the graph uses.
    pub fn pack(&self) -> Result<Packed, GraphError> {
        let config = self.shared_config();
        let placement = &config.placement;
        let (graph, attached) = (&placement.graph, &config.attached);
        let weights = packed_weights(graph, self.module(), attached, &config.reads)?;
        let plain = |tensor: Tensor<1>| tensor.without_autodiff();
        Ok(Packed {
            weights,
            scales: self.quantizer_scales().into_iter().map(plain).collect(),
            correction: self.correction().map(plain),
            config,
        })
    }
}

impl Graph {
    /// The graph of a module whose weights are quantized, for inference: in floats, its weights in as
    /// many bits as their codes take. Reads all of them from the device.
    ///
    /// Fails with [`GraphError::Parameter`] where the module lacks what the graph uses.
    pub fn pack<M: Module>(
        &self,
        module: &M,
        compression: &Compression,
    ) -> Result<Packed, GraphError> {
        let attached = Attached::of(compression);
        let weights = packed_weights(self, module, &attached, &Reads::default())?;
        Ok(Packed {
            config: Arc::new(QuantizationConfig::in_floats(self.clone(), attached)),
            weights,
            scales: Vec::new(),
            correction: None,
        })
    }
}

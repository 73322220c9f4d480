use burn::module::Module;
use burn::tensor::Tensor;

use super::super::tensor::AnyTensor;
use super::super::{Graph, GraphError};
use super::{Pass, QuantizationConfig, Reads, Weight, weights};
use crate::compress::{Attached, Compression};
use crate::network::NetworkError;

impl Graph {
    /// Runs the graph in floats on the device of `module`, which gives the parameters, with gradients to
    /// them: the same output as the module's own forward pass, batch norms by their running statistics.
    ///
    /// Fails with [`NetworkError::Input`](crate::network::NetworkError::Input) for an input of other
    /// dimensions than the graph was captured for, and with [`GraphError::Parameter`] where the module lacks
    /// what the graph uses.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
    /// use burn_compress::graph::Graph;
    /// let device = Device::default();
    /// let model = LinearConfig::new(4, 2).init(&device);
    /// let graph = Graph::capture(&model, [1, 4], |model, x: Tensor<2>| model.forward(x))?;
    /// let input = Tensor::<2>::ones([5, 4], &device);
    /// let output: Tensor<2> = graph.forward(&model, input.clone())?;
    /// output.into_data().assert_eq(&model.forward(input).into_data(), true);
    /// assert!(graph.forward::<_, 2, 2>(&model, Tensor::ones([5, 3], &device)).is_err());
    /// # Ok::<(), burn_compress::graph::GraphError>(())
    /// ```
    pub fn forward<M: Module, const D: usize, const E: usize>(
        &self,
        module: &M,
        input: Tensor<D>,
    ) -> Result<Tensor<E>, GraphError> {
        self.run(module, Attached::default(), input)
    }

    /// The same for a module that carries a compression: with its weights as they are compressed.
    pub fn forward_under<M: Module, const D: usize, const E: usize>(
        &self,
        module: &M,
        compression: &Compression,
        input: Tensor<D>,
    ) -> Result<Tensor<E>, GraphError> {
        self.run(module, Attached::of(compression), input)
    }

    fn run<M: Module, const D: usize, const E: usize>(
        &self,
        module: &M,
        attached: Attached,
        input: Tensor<D>,
    ) -> Result<Tensor<E>, GraphError> {
        let (input, weights) = agree(
            any(input)?,
            weights(self, module, &attached, &Reads::default())?,
        )?;
        let config = QuantizationConfig::in_floats(self.clone(), attached);
        let mut pass = Pass::new(&config, &weights, Vec::new(), None, false);
        out(pass.run(input)?)
    }
}

/// Input and parameters, both with gradients if one of them is; fails where they are on two devices.
pub(crate) fn agree(
    input: AnyTensor,
    weights: Vec<Weight>,
) -> Result<(AnyTensor, Vec<Weight>), GraphError> {
    let elsewhere = |weight: &Weight| weight.device() != input.device();
    if weights.iter().any(elsewhere) {
        return Err(GraphError::Devices { count: 2 });
    }
    let autodiff = input.is_autodiff() || weights.iter().any(Weight::is_autodiff);
    let weights = weights.into_iter().map(|weight| weight.tracked(autodiff));
    Ok((input.tracked(autodiff), weights.collect()))
}

/// An input, of a rank that graphs know.
pub(crate) fn any<const D: usize>(input: Tensor<D>) -> Result<AnyTensor, GraphError> {
    let found = input.dims().to_vec();
    let expected = "at most six axes".to_string();
    AnyTensor::of(input).ok_or_else(|| NetworkError::Input { found, expected }.into())
}

/// An output, of the rank that a caller takes.
pub(crate) fn out<const E: usize>(output: AnyTensor) -> Result<Tensor<E>, GraphError> {
    let found = output.dims();
    match found.len() == E {
        true => Ok(output.rank()),
        false => Err(GraphError::Output { found, wanted: E }),
    }
}

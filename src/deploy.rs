//! The way from a compressed module to a network, in one call.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::Error;
use crate::compress::{CompressError, Compressed};
use crate::graph::{Activations, Calibration, Fallback, Graph, GraphError, Quantized};
use crate::network::Network;

/// Bits of a weight that is a float.
const FLOAT_BITS: u32 = 32;

/// The network of a module whose weights have so many bits, and whose activations are floats.
pub(crate) fn float_network<M: Module>(
    graph: &Graph,
    module: &M,
    bits: u32,
) -> Result<Network, GraphError> {
    let network = graph.to_float_model(module)?;
    Ok(match bits {
        ..FLOAT_BITS => network.snapped((1 << bits) - 1)?,
        _ => network,
    })
}

impl<M: Module> Compressed<M> {
    /// The network of the module: what [`Program`](crate::engine::Program) runs, and a file holds.
    /// Weights are as they were compressed; activations are floats.
    ///
    /// `shape` is that of an input, with any batch size. `forward` is the module's forward pass; what it
    /// computes must not depend on the values of tensors.
    ///
    /// ```
    /// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// use burn_compress::compress::{Plan, Pruning};
    /// use burn_compress::engine::{Options, Program};
    /// let model = LinearConfig::new(64, 10).init(&Device::default());
    /// let compressed = Plan::new().prune(Pruning::to(0.9)).apply(model)?;
    /// let network = compressed.network([1, 64], |model: &Linear, x: Tensor<2>| model.forward(x))?;
    /// let program = Program::compile(&network, Options::default())?;
    /// let scores = program.run(&[0.5; 64], 1)?;
    /// assert_eq!(scores.len(), 10);
    /// # Ok::<(), burn_compress::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Graph`] where the forward pass cannot be captured; it names the layer and the operation.
    pub fn network<const D: usize, const E: usize>(
        &self,
        shape: [usize; D],
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    ) -> Result<Network, Error> {
        let graph = Graph::capture_with(&self.module, shape, Fallback::Float, forward)?.simplify();
        let bits = self.bits().unwrap_or(FLOAT_BITS);
        Ok(float_network(&graph, &self.module, bits)?)
    }

    /// The network of the module with quantized activations: whole numbers, where the weights have codes
    /// of a [`Scheme`](crate::format::Scheme). The ranges of activations are found on `batches` of
    /// inputs without labels. Operations without an integer form stay in float;
    /// [`Program::warnings`](crate::engine::Program::warnings) names them.
    ///
    /// The codes of the weights are those of this compression, to the last bit.
    ///
    /// ```
    /// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// use burn_compress::compress::{Plan, Pruning, Quantization};
    /// use burn_compress::engine::{Options, Program};
    /// use burn_compress::format::Scheme;
    /// use burn_compress::graph::Activations;
    /// let model = LinearConfig::new(64, 10).init(&Device::default());
    /// let plan = Plan::new()
    ///     .prune(Pruning::existing()) // as it was pruned before
    ///     .quantize(Quantization::to(Scheme::symmetric(8)?));
    /// let batches = [Tensor::<2>::ones([16, 64], &Device::default())];
    /// let forward = |model: &Linear, x: Tensor<2>| model.forward(x);
    /// let activations = Activations::bits(8)?;
    /// let network = plan.apply(model)?.quantized_network([1, 64], forward, activations, batches)?;
    /// let program = Program::compile(&network, Options::default())?;
    /// assert_eq!(program.run(&[0.5; 64], 1)?.len(), 10);
    /// # Ok::<(), burn_compress::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Graph`] where the forward pass cannot be captured, a batch has other dimensions, or a
    /// range is not finite. [`Error::Compress`] where the module is not the one that was compressed.
    pub fn quantized_network<const D: usize, const E: usize>(
        &self,
        shape: [usize; D],
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
        activations: Activations,
        batches: impl IntoIterator<Item = Tensor<D>>,
    ) -> Result<Network, Error> {
        let quantized = self.quantized(shape, forward, activations, batches)?;
        Ok(quantized.to_integer()?)
    }

    /// The same on the way to the network: to look at its [table](Quantized::table), to
    /// [correct](crate::graph::repair::correct_bias) what quantized activations do to the means of channels, or
    /// to train on.
    ///
    /// ```
    /// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// use burn_compress::compress::{Plan, Quantization};
    /// use burn_compress::format::Scheme;
    /// use burn_compress::graph::{Activations, repair::correct_bias};
    /// let model = LinearConfig::new(64, 10).init(&Device::default());
    /// let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(4)?));
    /// let batch = Tensor::<2>::ones([16, 64], &Device::default());
    /// let forward = |model: &Linear, x: Tensor<2>| model.forward(x);
    /// let compressed = plan.apply(model)?;
    /// let activations = Activations::bits(4)?;
    /// let quantized = compressed.quantized([1, 64], forward, activations, [batch.clone()])?;
    /// let network = correct_bias(quantized, [batch])?.to_integer()?;
    /// assert_eq!(network.run(&[0.5; 64], 1)?.0.len(), 10);
    /// # Ok::<(), burn_compress::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`quantized_network`](Self::quantized_network).
    pub fn quantized<const D: usize, const E: usize>(
        &self,
        shape: [usize; D],
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
        activations: Activations,
        batches: impl IntoIterator<Item = Tensor<D>>,
    ) -> Result<Quantized<M>, Error> {
        let graph = Graph::capture_with(&self.module, shape, Fallback::Float, forward)?.simplify();
        self.quantized_along(graph, activations, batches)
    }

    /// The same along a graph that was captured and simplified before.
    pub(crate) fn quantized_along<const D: usize, R: From<CompressError> + From<GraphError>>(
        &self,
        graph: Graph,
        activations: Activations,
        batches: impl IntoIterator<Item = Tensor<D>>,
    ) -> Result<Quantized<M>, R> {
        let (module, compression) = self.attached()?;
        let mut calibration = Calibration::new(graph, &module, &compression, activations)?;
        for batch in batches {
            calibration.observe(&module, batch)?;
        }
        Ok(calibration.finish(module)?)
    }
}

use burn::module::Module;
use burn::tensor::Tensor;

use super::Workload;
use crate::graph::Quantized;

/// A workload whose model can also be trained and scored as a [`Quantized`] graph: what a study of
/// quantized activations needs. Each that is a workload of the module and of its graph is one; the ranges
/// of activations are found on its [`inputs`](Workload::inputs).
///
/// The same code serves both where it is written for a trait of one's own that both models implement.
///
/// ```
/// # use burn::nn::{Linear, loss::{MseLoss, Reduction}};
/// # use burn::module::Module;
/// # use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
/// # use burn::tensor::{Device, Distribution, Tensor};
/// # use burn_compress::train::{BoxError, Epoch, QuantizedWorkload, Workload};
/// # use burn_compress::graph::Quantized;
/// trait Predict: Module {
///     fn predict(&self, input: Tensor<2>) -> Tensor<2>;
/// }
/// impl Predict for Linear {
///     fn predict(&self, input: Tensor<2>) -> Tensor<2> {
///         self.forward(input)
///     }
/// }
/// impl<M: Module> Predict for Quantized<M> {
///     fn predict(&self, input: Tensor<2>) -> Tensor<2> {
///         self.forward(input).expect("the graph was captured for such inputs")
///     }
/// }
///
/// struct Task;
/// impl<P: Predict> Workload<P> for Task {
///     // … as ever, with `predict` where the model is run
/// #   type Input = Tensor<2>;
/// #   type Output = Tensor<2>;
/// #   fn steps_per_epoch(&self) -> usize { 1 }
/// #   fn train_epoch(&mut self, model: P, epoch: &mut Epoch<'_>) -> Result<P, BoxError> {
/// #       Ok(epoch.step(model)?)
/// #   }
/// #   fn score(&mut self, _model: &P) -> Result<f64, BoxError> { Ok(0.0) }
/// #   fn example(&self, device: &Device) -> Tensor<2> { Tensor::ones([1, 4], device) }
/// #   fn forward(&self, model: &P, input: Tensor<2>) -> Tensor<2> { model.predict(input) }
///     fn inputs(&mut self, device: &Device) -> Result<Vec<Tensor<2>>, BoxError> {
///         Ok(vec![Tensor::random([64, 4], Distribution::Default, device)]) // better: real inputs
///     }
/// }
/// fn serves(_: impl QuantizedWorkload<Linear, 2, 2>) {}
/// serves(Task);
/// ```
pub trait QuantizedWorkload<M: Module, const I: usize, const O: usize>:
    Workload<M, Input = Tensor<I>, Output = Tensor<O>>
    + Workload<Quantized<M>, Input = Tensor<I>, Output = Tensor<O>>
{
}

impl<M: Module, W, const I: usize, const O: usize> QuantizedWorkload<M, I, O> for W where
    W: Workload<M, Input = Tensor<I>, Output = Tensor<O>>
        + Workload<Quantized<M>, Input = Tensor<I>, Output = Tensor<O>>
{
}

use burn::tensor::Tensor;

use super::{Missing, Need};

/// A weight that is to be scored, with the observations that its criterion asks for.
///
/// Matrices have a row for each output channel and a column for each weight of a filter,
/// `[out, in * kernel]`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::prune::Weight;
/// let values = Tensor::<2>::from_data([[1.0, -2.0]], &Device::default());
/// let weight = Weight::new("fc.weight", values.clone()).with_gradient(values * 0.5);
/// assert_eq!(weight.values.dims(), [1, 2]);
/// assert!(weight.gradient().is_ok() && weight.input_norms().is_err());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Weight<'a> {
    /// The parameter's path in the module.
    pub path: &'a str,
    /// Its values as a matrix: a row for each output channel, `[out, in * kernel]`.
    pub values: Tensor<2>,
    gradient: Option<Tensor<2>>,
    squared_gradient: Option<Tensor<2>>,
    input_norms: Option<Tensor<2>>,
    input_gram: Option<Tensor<3>>,
}

impl<'a> Weight<'a> {
    /// A weight without observations.
    pub fn new(path: &'a str, values: Tensor<2>) -> Self {
        Self {
            path,
            values,
            gradient: None,
            squared_gradient: None,
            input_norms: None,
            input_gram: None,
        }
    }

    /// With the gradient of the loss, of the same shape as the values.
    pub fn with_gradient(mut self, gradient: Tensor<2>) -> Self {
        self.gradient = Some(gradient);
        self
    }

    /// With the mean square of the gradient, of the same shape as the values.
    pub fn with_squared_gradient(mut self, squares: Tensor<2>) -> Self {
        self.squared_gradient = Some(squares);
        self
    }

    /// With the norm of the input that each weight multiplies, of the same shape as the values.
    pub fn with_input_norms(mut self, norms: Tensor<2>) -> Self {
        self.input_norms = Some(norms);
        self
    }

    /// With the Gram matrix of the input of each group of channels, `[groups, in * kernel, in * kernel]`.
    pub fn with_input_gram(mut self, gram: Tensor<3>) -> Self {
        self.input_gram = Some(gram);
        self
    }

    /// The gradient of the loss, averaged over the batches seen. Fails where [`Need::Gradient`] was not
    /// asked for, or not observed.
    pub fn gradient(&self) -> Result<Tensor<2>, Missing> {
        seen(&self.gradient, Need::Gradient)
    }

    /// The square of a batch's gradient, averaged over the batches seen. Fails where
    /// [`Need::SquaredGradient`] was not asked for, or not observed.
    pub fn squared_gradient(&self) -> Result<Tensor<2>, Missing> {
        seen(&self.squared_gradient, Need::SquaredGradient)
    }

    /// The L2 norm of the input channel that each weight multiplies, over all samples and positions
    /// seen. Fails where [`Need::InputNorms`] was not asked for, or not observed.
    pub fn input_norms(&self) -> Result<Tensor<2>, Missing> {
        seen(&self.input_norms, Need::InputNorms)
    }

    /// The Gram matrix of the inputs of a filter in each group of channels,
    /// `[groups, in * kernel, in * kernel]`: entry `(i, j)` is the sum, over all samples and positions
    /// seen, of the inputs of weights `i` and `j` multiplied. Fails where [`Need::InputGram`] was not
    /// asked for, or not observed.
    pub fn input_gram(&self) -> Result<Tensor<3>, Missing> {
        seen(&self.input_gram, Need::InputGram)
    }
}

fn seen<const D: usize>(tensor: &Option<Tensor<D>>, need: Need) -> Result<Tensor<D>, Missing> {
    tensor.clone().ok_or(Missing(need))
}

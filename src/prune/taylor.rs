use burn::tensor::Tensor;

use super::{Missing, Need, Pruner, Weight};

/// The first-order estimate of what the loss changes by where a weight goes (Molchanov et al. 2019,
/// "Importance Estimation for Neural Network Pruning").
///
/// The gradient is the mean over the batches seen since masks last moved. That of a removed weight is
/// zero, so that it stays removed while masks move.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::prune::{Missing, Pruner, Taylor, Weight};
/// let device = Device::default();
/// let weight = Weight::new("fc.weight", Tensor::from_data([[1.0, -2.0]], &device))
///     .with_gradient(Tensor::from_data([[3.0, 0.5]], &device));
/// let scores = Taylor::Squared.score(weight)?;
/// assert_eq!(scores.into_data().to_vec::<f32>().unwrap(), [9.0, 1.0]);
/// # Ok::<(), Missing>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Taylor {
    /// `(w * g)^2`, the paper's choice.
    #[default]
    Squared,
    /// `|w * g|`: the same order of single weights, but blocks are sums of it.
    Absolute,
}

impl Pruner for Taylor {
    fn name(&self) -> &str {
        match self {
            Self::Squared => "taylor",
            Self::Absolute => "taylor_absolute",
        }
    }

    fn needs(&self) -> &[Need] {
        &[Need::Gradient]
    }

    fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing> {
        let change = weight.gradient()? * weight.values;
        Ok(match self {
            Self::Squared => change.clone() * change,
            Self::Absolute => change.abs(),
        })
    }
}

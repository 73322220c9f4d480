use std::fmt;

use serde::{Deserialize, Serialize};

/// An observation of a layer that a criterion asks for, beside the weights themselves.
///
/// ```
/// use burn_compress::prune::{Need, Pruner, Taylor};
/// assert_eq!(Taylor::default().needs(), [Need::Gradient]);
/// assert_eq!(Need::InputNorms.to_string(), "norms of the input");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Need {
    /// The gradient of the loss, averaged over batches.
    Gradient,
    /// The square of a batch's gradient, averaged over batches.
    SquaredGradient,
    /// The L2 norm of each input channel, over all samples and positions.
    InputNorms,
    /// The Gram matrix of the layer's input: sums of the products of any two inputs of a filter. Not of
    /// transposed convolutions.
    InputGram,
}

impl Need {
    /// Whether it comes with the gradients, not with the inputs.
    pub(crate) fn is_gradient(self) -> bool {
        matches!(self, Self::Gradient | Self::SquaredGradient)
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gradient => "gradient",
            Self::SquaredGradient => "squared gradient",
            Self::InputNorms => "norms of the input",
            Self::InputGram => "Gram matrix of the input",
        })
    }
}

/// The absence of an observation that a criterion reads.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::prune::{Missing, Need, Weight};
/// let weight = Weight::new("fc.weight", Tensor::ones([2, 3], &Device::default()));
/// assert_eq!(weight.gradient().unwrap_err(), Missing(Need::Gradient));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} was not observed")]
pub struct Missing(pub Need);

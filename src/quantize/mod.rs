//! What the codes stand for: a [`Quantizer`] picks scale and zero point for values under a
//! [`Scheme`], on the values' own device.

mod fake;
mod learned;
mod range;

pub use fake::fake_quantize;
pub(crate) use fake::{fake_codes, gradient_share, step};
pub use learned::LearnedStep;
pub use range::{LeastSquares, MinMax, Percentile};

use burn::tensor::{Bool, Tensor};

use crate::format::{Mapping, Scheme};

/// Scale and zero point of each group of values, on the device: what
/// [`Scheme::quantize`](crate::format::Scheme::quantize) takes.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::{format::Scheme, quantize::{MinMax, Quantizer}};
/// let values = Tensor::<2>::from_data([[0.5, -1.27]], &Device::default());
/// let parameters = MinMax.parameters(values, &Scheme::symmetric(8)?);
/// assert_eq!(parameters.scale.dims(), [1]);
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Parameters {
    /// A scale for each group, `[groups]`: positive, finite, not subnormal.
    pub scale: Tensor<1>,
    /// A zero point for each group, `[groups]`: a code as a float; 0 under a symmetric scheme.
    pub zero_point: Tensor<1>,
}

/// Picks the range that the codes cover.
///
/// Object-safe, so that an application can bring its own; [`Parameters::for_range`] turns a range
/// into scale and zero point.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::{format::Scheme, quantize::{Parameters, Quantizer}};
/// /// Covers three standard deviations.
/// struct ThreeSigma;
/// impl Quantizer for ThreeSigma {
///     fn name(&self) -> &str {
///         "three_sigma"
///     }
///     fn parameters(&self, values: Tensor<2>, scheme: &Scheme) -> Parameters {
///         let sigma = values.var_bias(1).sqrt() * 3.0;
///         Parameters::for_range(-sigma.clone(), sigma, scheme)
///     }
/// }
/// let values = Tensor::<2>::from_data([[1.0, -1.0]], &Device::default());
/// let parameters = ThreeSigma.parameters(values, &Scheme::symmetric(2)?);
/// assert_eq!(parameters.scale.into_scalar::<f32>(), 3.0);
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
pub trait Quantizer: Send + Sync {
    /// The name that a recipe and a report show.
    fn name(&self) -> &str;

    /// Scale and zero point for each row of `values`, which is `[groups, values in a group]`: finite,
    /// at least one in each group.
    fn parameters(&self, values: Tensor<2>, scheme: &Scheme) -> Parameters;

    /// Whether the scales that it picks are where training begins: the optimizer then moves them with
    /// the weights. Otherwise they follow the weights, picked anew.
    fn is_learned(&self) -> bool {
        false
    }
}

impl Parameters {
    /// From what is stored beside a weight, where an optimizer may have moved the scale anywhere: its
    /// size counts, for codes of the negative scale are the same codes mirrored, and it is at least the
    /// least normal float. A scale that a quantizer picked stays as it is. Everything that reads a
    /// stored scale reads it through this.
    pub(crate) fn stored(scale: Tensor<1>, zero_point: Tensor<1>) -> Self {
        Self {
            scale: learned::positive(scale),
            zero_point,
        }
    }

    /// Scale and zero point of codes that cover `low` to `high` (each `[groups, 1]`, finite, on one
    /// device), widened to hold zero. Zero is always exactly a code (Jacob et al. 2018).
    ///
    /// A group of zeros gets the scale 1, and so does one whose scale would be subnormal (below
    /// 1.2e-38), for many devices take that for zero. Every code has a finite value: under an affine
    /// scheme, values beyond half the greatest float saturate.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_compress::{format::Scheme, quantize::Parameters};
    /// let bound = |value: f32| Tensor::<2>::from_data([[value]], &Device::default());
    /// let scheme = Scheme::symmetric(8)?;
    /// let parameters = Parameters::for_range(bound(-2.54), bound(1.0), &scheme);
    /// assert!((parameters.scale.into_scalar::<f32>() - 0.02).abs() < 1e-7);
    /// # Ok::<(), burn_compress::format::FormatError>(())
    /// ```
    pub fn for_range(low: Tensor<2>, high: Tensor<2>, scheme: &Scheme) -> Self {
        let [groups, _] = low.dims();
        let (low, high) = (low.reshape([groups]), high.reshape([groups]));
        let (first, last) = scheme.code_range();
        match scheme.mapping() {
            Mapping::Symmetric => {
                let bound = low.abs().max_pair(high.abs());
                let scale = usable(bound / last as f32, last);
                let zero_point = scale.zeros_like();
                Self { scale, zero_point }
            }
            Mapping::Affine => {
                // Half the range of floats to either side: their difference is a float as well.
                let low = low.clamp(-f32::MAX / 2.0, 0.0);
                let high = high.clamp(0.0, f32::MAX / 2.0);
                let scale = (high - low.clone()) / (last - first) as f32;
                let scale = usable(scale, last - first);
                let zero_point = (low / scale.clone()).round().neg() + first as f32;
                let zero_point = zero_point.clamp(first as f32, last as f32);
                Self { scale, zero_point }
            }
        }
    }
}

// A scale of zero, or one that division would turn into infinity, stands for a group of zeros. One
// that was rounded up must not carry the outermost of `steps` codes past the greatest float.
fn usable(scale: Tensor<1>, steps: i32) -> Tensor<1> {
    let steps = steps as f32;
    let mut greatest = f32::MAX / steps;
    while !(greatest * steps).is_finite() {
        greatest = greatest.next_down();
    }
    let empty: Tensor<1, Bool> = scale.clone().lower_elem(f32::MIN_POSITIVE);
    scale.clamp_max(greatest).mask_fill(empty, 1.0)
}

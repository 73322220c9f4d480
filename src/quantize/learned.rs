use burn::tensor::Tensor;

use super::{MinMax, Parameters, Quantizer, usable};
use crate::format::{Mapping, Scheme};

/// The scale is a parameter that training moves: learned step size (Esser et al. 2020, "Learned Step
/// Size Quantization").
///
/// It begins at `2 mean|w| / sqrt(q)`, where `q` is the greatest code and the mean is over the weights
/// that are not zero, so that removed weights do not count. From there
/// [`Compression::step`](crate::compress::Compression::step) leaves it to the optimizer, whose gradient of
/// the scale is `round(w/s) - w/s` summed over the weights in range, and the outermost code for each
/// beyond; divided by the square root of `q` times the number of weights, so that one learning rate
/// suits weights and scales. What the optimizer makes of it, its size is what counts: no step can turn
/// a scale to zero or below.
///
/// Under an affine scheme the zero point is that of [`MinMax`] and stays, while the scale is learned;
/// `q` is then the greatest distance of a code from it.
///
/// Without training this is a rather wide range at 8 bits, and a rather narrow one at 2:
/// [`LeastSquares`](super::LeastSquares) serves better there.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::{format::Scheme, quantize::{LearnedStep, Quantizer}};
/// let values = Tensor::<2>::from_data([[0.5, -1.5, 0.0]], &Device::default());
/// let scale = LearnedStep.parameters(values, &Scheme::symmetric(2)?).scale;
/// assert_eq!(scale.into_scalar::<f32>(), 2.0);
/// assert!(LearnedStep.is_learned());
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LearnedStep;

impl Quantizer for LearnedStep {
    fn name(&self) -> &str {
        "learned_step"
    }

    fn parameters(&self, values: Tensor<2>, scheme: &Scheme) -> Parameters {
        let [groups, _] = values.dims();
        let (first, last) = scheme.code_range();
        let left = values.clone().not_equal_elem(0.0).float().sum_dim(1);
        let mean = values.clone().abs().sum_dim(1) / left.clamp_min(1.0);
        let mean = mean.reshape([groups]);
        let zero_point = MinMax.parameters(values, scheme).zero_point;
        let greatest = match scheme.mapping() {
            Mapping::Symmetric => zero_point.ones_like() * last as f32,
            Mapping::Affine => {
                let above = zero_point.clone().neg() + last as f32;
                above.max_pair(zero_point.clone() - first as f32)
            }
        };
        let scale = usable(mean * 2.0 / greatest.sqrt(), last - first);
        Parameters { scale, zero_point }
    }

    fn is_learned(&self) -> bool {
        true
    }
}

/// The size of a scale, a normal float, with its gradient. NaN stays.
pub(super) fn positive(scale: Tensor<1>) -> Tensor<1> {
    let value = scale.clone().detach();
    let size = value.clone().abs();
    let tiny = size.clone().lower_elem(f32::MIN_POSITIVE);
    let infinite = size.clone().greater_elem(f32::MAX);
    let size = size.mask_fill(tiny, f32::MIN_POSITIVE);
    let size = size.mask_fill(infinite.clone(), f32::MAX);
    if !scale.is_tracked() {
        return size;
    }
    // Also a scale of zero gets a gradient, which leads away from it.
    let negative = value.clone().lower_elem(0.0);
    let sign = value.ones_like().mask_fill(negative, -1.0);
    let signed = scale.mask_fill(infinite, 0.0) * sign;
    size + (signed.clone() - signed.detach())
}

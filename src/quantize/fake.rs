use burn::tensor::Tensor;

use super::Parameters;
use crate::format::Scheme;

/// The values that quantized weights will have, computed in floats: what
/// [`Scheme::quantize`] and [`Scheme::dequantize`] give, for each row of `values`
/// (`[groups, values in a group]`, finite), with rounding half to even and saturation. Equal to them
/// in every bit on a device whose division is exact; a GPU may be off by a code. `parameters` are of
/// as many groups, on the same device.
///
/// The gradient passes straight through (Bengio et al. 2013, "Estimating or Propagating Gradients
/// Through Stochastic Neurons"), as if nothing had been rounded or saturated; scale and zero point
/// get none. Where the scale is a tensor with a gradient, it is learned: it gets the gradient of Esser
/// et al. 2020 ("Learned Step Size Quantization"), and saturated values get none.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::{format::Scheme, quantize::{MinMax, Quantizer, fake_quantize}};
/// let scheme = Scheme::symmetric(2)?; // codes -1, 0, 1
/// let values = Tensor::<2>::from_data([[0.1, 0.6, -1.0]], &Device::default());
/// let parameters = MinMax.parameters(values.clone(), &scheme);
/// let seen = fake_quantize(values, &parameters, &scheme);
/// assert_eq!(seen.into_data().to_vec::<f32>().unwrap(), [0.0, 1.0, -1.0]);
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
pub fn fake_quantize(values: Tensor<2>, parameters: &Parameters, scheme: &Scheme) -> Tensor<2> {
    let tracked = values.is_tracked();
    let [groups, length] = values.dims();
    if parameters.scale.is_tracked() {
        let scale = step(parameters, scheme, length).reshape([groups, 1]);
        return fake_codes(values, parameters, scheme) * scale;
    }
    let scale = column(&parameters.scale).expand([groups, length]);
    let rounded = codes(values.clone().detach(), parameters, scheme) * scale;
    if !tracked {
        return rounded;
    }
    // `rounded + 0`: exact in value, and its gradient is that of `values`. The usual
    // `values + (rounded - values)` is off by a rounding error, so that training would see other
    // weights than are deployed.
    rounded + (values.clone() - values.detach())
}

/// The codes of [`fake_quantize`]'s values less the zero point: `values / scale`, rounded and
/// saturated, with its gradient.
pub(crate) fn fake_codes(values: Tensor<2>, parameters: &Parameters, scheme: &Scheme) -> Tensor<2> {
    let exact = codes(values.clone().detach(), parameters, scheme);
    if parameters.scale.is_tracked() {
        let smooth = learned(values, parameters, scheme);
        return exact + (smooth.clone() - smooth.detach());
    }
    if !values.is_tracked() {
        return exact;
    }
    let ratio = values / column(&parameters.scale);
    exact + (ratio.clone() - ratio.detach())
}

// Finite, with the gradient of `values / scale` within the range and none beyond it (Esser et al. 2020,
// equation 3). The gradient of a division squares the scale: of a tiny one that is zero, and a zero
// gradient times its inverse no number. So the derivative is written out.
fn learned(values: Tensor<2>, parameters: &Parameters, scheme: &Scheme) -> Tensor<2> {
    let [groups, length] = values.dims();
    let shape = [groups, length];
    let scale = column(&parameters.scale).expand(shape);
    let ratio = values.clone().detach() / scale.clone();
    let (low, high) = scheme.code_range();
    let code = ratio.clone() + column(&parameters.zero_point).expand(shape);
    let below = code.clone().lower_equal_elem(low as f32);
    let beyond = below.bool_or(code.greater_equal_elem(high as f32));
    let of_scale = ratio.mask_fill(beyond.clone(), 0.0) / scale.clone().clamp_min(LEAST_DIVISOR);
    let of_values = values.mask_fill(beyond, 0.0) / scale;
    let scale = step(parameters, scheme, length).reshape([groups, 1]);
    of_values - scale * of_scale
}

// A code of 16 bits divided by it is a float.
const LEAST_DIVISOR: f32 = 1e-30;

/// A learned scale as the forward pass uses it: the same number, its gradient divided by the square
/// root of what it is summed over (Esser et al. 2020, section 2.2).
pub(crate) fn step(parameters: &Parameters, scheme: &Scheme, length: usize) -> Tensor<1> {
    let scale = parameters.scale.clone();
    let small = scale.clone() * gradient_share(length, scheme);
    scale.detach() + (small.clone() - small.detach())
}

/// What the gradient of a learned scale that `length` values share is multiplied by; see [`step`].
pub(crate) fn gradient_share(length: usize, scheme: &Scheme) -> f64 {
    let (_, high) = scheme.code_range();
    1.0 / (length as f64 * f64::from(high)).sqrt()
}

// Rounded and saturated codes less the zero point, of values without gradient.
fn codes(values: Tensor<2>, parameters: &Parameters, scheme: &Scheme) -> Tensor<2> {
    let shape = values.dims();
    let scale = column(&parameters.scale).expand(shape);
    let zero_point = column(&parameters.zero_point).expand(shape);
    let (low, high) = scheme.code_range();
    let codes = (values / scale).round() + zero_point.clone();
    codes.clamp(low as f32, high as f32) - zero_point
}

fn column(tensor: &Tensor<1>) -> Tensor<2> {
    let [groups] = tensor.dims();
    tensor.clone().detach().reshape([groups, 1])
}

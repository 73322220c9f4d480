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
/// get none.
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
    let shape = values.dims();
    let column = |tensor: &Tensor<1>| {
        let tensor = tensor.clone().detach();
        tensor.reshape([shape[0], 1]).expand(shape)
    };
    let scale = column(&parameters.scale);
    let zero_point = column(&parameters.zero_point);
    let (low, high) = scheme.code_range();
    let codes = (values.clone().detach() / scale.clone()).round() + zero_point.clone();
    let codes = codes.clamp(low as f32, high as f32);
    let rounded = (codes - zero_point) * scale;
    if !tracked {
        return rounded;
    }
    // `rounded + 0`: exact in value, and its gradient is that of `values`. The usual
    // `values + (rounded - values)` is off by a rounding error, so that training would see other
    // weights than are deployed.
    rounded + (values.clone() - values.detach())
}

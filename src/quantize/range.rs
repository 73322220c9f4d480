use burn::tensor::Tensor;

use super::{Parameters, Quantizer, fake_quantize};
use crate::format::Scheme;

/// The range is that of the values: nothing saturates.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::{format::Scheme, quantize::{MinMax, Quantizer}};
/// let values = Tensor::<2>::from_data([[0.5, -1.27]], &Device::default());
/// let scale = MinMax.parameters(values, &Scheme::symmetric(8)?).scale;
/// assert!((scale.into_scalar::<f32>() - 0.01).abs() < 1e-8);
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MinMax;

impl Quantizer for MinMax {
    fn name(&self) -> &str {
        "min_max"
    }

    fn parameters(&self, values: Tensor<2>, scheme: &Scheme) -> Parameters {
        Parameters::for_range(values.clone().min_dim(1), values.max_dim(1), scheme)
    }
}

/// The range leaves out the outermost values: the given share at each end saturates.
///
/// Where that leaves nothing but zeros, as it does in a group of which most is pruned, the range is
/// that of the values.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::{format::Scheme, quantize::{Percentile, Quantizer}};
/// let values = Tensor::<1>::from_data([0.1, 0.2, 0.3, 9.0], &Device::default()).reshape([1, 4]);
/// let quantizer = Percentile { outside: 0.25 };
/// let scale = quantizer.parameters(values, &Scheme::symmetric(2)?).scale;
/// assert!((scale.into_scalar::<f32>() - 0.3).abs() < 1e-6);
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentile {
    /// Share of the values left out at each end, 0 to below 0.5, rounded down to whole values; at
    /// least one value stays. Outside that range the nearest end of it counts, and NaN is 0.
    pub outside: f64,
}

impl Default for Percentile {
    /// One value in a thousand at each end.
    fn default() -> Self {
        Self { outside: 0.001 }
    }
}

impl Quantizer for Percentile {
    fn name(&self) -> &str {
        "percentile"
    }

    fn parameters(&self, values: Tensor<2>, scheme: &Scheme) -> Parameters {
        let [_, length] = values.dims();
        // A float that is negative or NaN is 0 as an integer.
        let left_out = (self.outside * length as f64) as usize;
        let left_out = left_out.min(length.saturating_sub(1) / 2);
        let sorted = values.sort(1);
        let end = |place| sorted.clone().narrow(1, place, 1);
        let (low, high) = (end(left_out), end(length - 1 - left_out));
        let pruned = low.clone().equal_elem(0.0);
        let pruned = pruned.bool_and(high.clone().equal_elem(0.0));
        let low = low.mask_where(pruned.clone(), end(0));
        let high = high.mask_where(pruned, end(length - 1));
        Parameters::for_range(low, high, scheme)
    }
}

/// The range whose codes lie closest to the values: of forty ranges from a fortieth of the values'
/// own to all of it, the one with the least squared error, for each group. Errors are summed as floats:
/// where their squares leave the range of floats (values of 1e-19 or 1e19), this may be no better than
/// [`MinMax`].
///
/// The fewer the bits, the more this gains over [`MinMax`] (Sung et al. 2015, "Resiliency of Deep
/// Neural Networks under Quantization").
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::{format::Scheme, quantize::{LeastSquares, Quantizer}};
/// let values = Tensor::<2>::from_data([[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.15]], &Device::default());
/// let scale = LeastSquares.parameters(values, &Scheme::symmetric(2)?).scale;
/// assert!((scale.into_scalar::<f32>() - 0.105).abs() < 0.01);
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeastSquares;

const CANDIDATES: usize = 40;

impl Quantizer for LeastSquares {
    fn name(&self) -> &str {
        "least_squares"
    }

    fn parameters(&self, values: Tensor<2>, scheme: &Scheme) -> Parameters {
        let values = values.detach();
        let [groups, _] = values.dims();
        let low = values.clone().min_dim(1);
        let high = values.clone().max_dim(1);
        let mut best = Parameters::for_range(low.clone(), high.clone(), scheme);
        let error = |parameters: &Parameters| {
            let difference = fake_quantize(values.clone(), parameters, scheme) - values.clone();
            (difference.clone() * difference)
                .sum_dim(1)
                .reshape([groups])
        };
        let mut least = error(&best);
        for candidate in (1..CANDIDATES).rev() {
            let share = candidate as f64 / CANDIDATES as f64;
            let found = Parameters::for_range(low.clone() * share, high.clone() * share, scheme);
            let squared = error(&found);
            let better = squared.clone().lower(least.clone());
            least = least.mask_where(better.clone(), squared);
            best.scale = best.scale.mask_where(better.clone(), found.scale);
            best.zero_point = best.zero_point.mask_where(better, found.zero_point);
        }
        best
    }
}

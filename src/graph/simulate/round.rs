//! From units of a scale to codes, in as few passes over the tensor as Burn allows.

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::super::tensor::{AnyTensor, map_rank};
use crate::kernel::SHIFT;

/// Saturates to the codes of a range around zero and rounds half to even; `ramp` says that negative
/// numbers become zero first, `by_addition` that the device [`rounds_by_addition`]. The gradient passes
/// straight through what lies within.
pub(super) fn requantize(
    units: AnyTensor,
    (low, high): (i32, i32),
    ramp: bool,
    by_addition: bool,
) -> AnyTensor {
    let (low, high) = (low as f32, high as f32);
    map_rank!(units, units => {
        let inside = match (ramp, units.is_tracked()) {
            // A clamp's gradient costs as much at each end: the ramp's is cheaper, and above zero there
            // is nothing to do at the lower end, for codes reach down to zero at least.
            (true, true) => relu(units).clamp_max(high),
            (true, false) => units.clamp(0.0, high),
            (false, _) => units.clamp(low, high),
        };
        match (by_addition, inside.is_tracked()) {
            // In place, and with a gradient that costs nothing.
            (true, _) => (inside + SHIFT) - SHIFT,
            // Integers have no negative zero, and nor have their real values.
            (false, false) => inside.round() + 0.0,
            (false, true) => {
                let value = inside.clone().detach();
                // Exact: both lie on the grid of floats around a number of at most 16 bits.
                inside + (value.clone().round() - value)
            }
        }
    })
}

/// Whether a device computes `x + SHIFT - SHIFT` as it is written. A GPU's compiler may be told to take
/// that for `x`.
pub(super) fn rounds_by_addition(device: &Device) -> bool {
    let device = device.clone().without_autodiff();
    let asked: [f32; 9] = [0.5, 1.5, 2.5, -0.5, -1.5, 0.3, -0.7, 65_534.5, -65_535.4];
    let values = Tensor::<1>::from_data(asked, &device).clamp(-65_535.0, 65_535.0);
    let rounded = ((values + SHIFT) - SHIFT).try_into_vec_as::<f32>();
    let right = asked.map(|value| value.round_ties_even());
    rounded.is_ok_and(|rounded| rounded == right)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f32; 12] = [
        -1e9, -4.0, -3.4, -2.5, -0.5, 0.0, 0.2, 0.5, 1.5, 6.5, 10.4, 1e9,
    ];

    fn expected(low: f32, high: f32, ramp: bool) -> Vec<f32> {
        let values = VALUES.map(|value| match ramp {
            true => value.max(0.0),
            false => value,
        });
        let codes = values.map(|value| value.clamp(low, high).round_ties_even());
        codes.to_vec()
    }

    fn requantized(units: AnyTensor, range: (i32, i32), ramp: bool) -> AnyTensor {
        let by_addition = rounds_by_addition(&units.device());
        requantize(units, range, ramp, by_addition)
    }

    fn values(tensor: AnyTensor) -> Vec<f32> {
        tensor.rank::<1>().try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn rounds_half_to_even_within_the_range() {
        let device = Device::default();
        for (range, ramp) in [((0, 10), true), ((-3, 10), true), ((-3, 10), false)] {
            let expected = expected(range.0 as f32, range.1 as f32, ramp);
            let plain = Tensor::<1>::from_data(VALUES, &device);
            assert_eq!(values(requantized(plain.into(), range, ramp)), expected);
            let tracked = Tensor::<1>::from_data(VALUES, &device.clone().autodiff());
            let tracked = tracked.require_grad();
            assert_eq!(values(requantized(tracked.into(), range, ramp)), expected);
        }
    }

    #[test]
    fn the_gradient_passes_within_the_range() {
        for (range, ramp) in [((0, 10), true), ((-3, 10), true), ((-3, 10), false)] {
            let device = Device::default().autodiff();
            let units = Tensor::<1>::from_data(VALUES, &device).require_grad();
            let codes: Tensor<1> = requantized(units.clone().into(), range, ramp).rank();
            let gradients = (codes * 2.0).sum().backward();
            let found = units.grad(&gradients).unwrap();
            let found = found.try_into_vec_as::<f32>().unwrap();
            let inside = VALUES.map(|value| match ramp {
                true => value > 0.0 && value <= range.1 as f32,
                false => (range.0 as f32..=range.1 as f32).contains(&value),
            });
            assert_eq!(found, inside.map(|inside| if inside { 2.0 } else { 0.0 }));
        }
    }

    #[cfg(feature = "flex")]
    #[test]
    fn a_processor_rounds_by_addition() {
        assert!(rounds_by_addition(&Device::flex()));
    }

    #[test]
    fn numbers_that_are_none_stay_so() {
        let units = Tensor::<1>::from_data([f32::NAN], &Device::default());
        assert!(values(requantized(units.into(), (0, 255), true))[0].is_nan());
    }
}

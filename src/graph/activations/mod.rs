//! Where activations become integers, and at which scale.

mod calibrate;
mod extremes;
mod histogram;
mod observe;
mod place;
mod plan;

pub use calibrate::Calibration;
pub(crate) use place::Placement;
pub use place::{Form, Site};
pub use plan::{Activations, Calibrator};

use crate::format::{Mapping, Scheme};

/// Scale and zero point of codes that cover `low` to `high`, widened to hold zero: what
/// [`Parameters::for_range`](crate::quantize::Parameters::for_range) gives, in the processor.
pub(crate) fn parameters(low: f32, high: f32, scheme: &Scheme) -> (f32, i32) {
    let (first, last) = scheme.code_range();
    let usable = |scale: f32| match scale >= f32::MIN_POSITIVE {
        true => scale,
        false => 1.0,
    };
    match scheme.mapping() {
        Mapping::Symmetric => (usable(low.abs().max(high.abs()) / last as f32), 0),
        Mapping::Affine => {
            let (low, high) = (low.min(0.0), high.max(0.0));
            let scale = usable((high - low) / (last - first) as f32);
            let zero_point = first - (low / scale).round_ties_even() as i32;
            (scale, zero_point.clamp(first, last))
        }
    }
}

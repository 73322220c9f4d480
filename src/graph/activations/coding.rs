//! From a range to codes.

use serde::{Deserialize, Serialize};

use crate::format::{Mapping, Scheme};

/// What the codes of an activation stand for: `scale * (code - zero_point) + offset`.
///
/// ```
/// use burn_compress::graph::Coding;
/// let coding = Coding { scale: 0.5, zero_point: 128, offset: 300.0 };
/// assert_eq!(coding.value(130), 301.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coding {
    /// Distance of neighbouring values.
    pub scale: f32,
    /// The code of the offset: of zero, where that is 0.
    pub zero_point: i32,
    /// The real value of the zero point: 0, or the middle of a range that lies far from zero.
    pub offset: f32,
}

impl Coding {
    /// The real value of a code.
    pub fn value(&self, code: i32) -> f32 {
        code.saturating_sub(self.zero_point) as f32 * self.scale + self.offset
    }

    /// Of codes that cover `low` to `high`: around the middle where that may be (`free`) and the range
    /// lies far from zero, otherwise widened to hold zero.
    pub(super) fn of(low: f32, high: f32, scheme: &Scheme, free: bool) -> Self {
        let offset = match free && is_far(low, high) {
            true => middle(low, high),
            false => 0.0,
        };
        Self::around(offset, low, high, scheme)
    }

    /// Of codes that cover `low` to `high`, widened to hold the offset, which is a code.
    pub(super) fn around(offset: f32, low: f32, high: f32, scheme: &Scheme) -> Self {
        let (scale, zero_point) = parameters(low - offset, high - offset, scheme);
        Self {
            scale,
            zero_point,
            offset,
        }
    }
}

/// The number half-way between two.
pub(super) fn middle(low: f32, high: f32) -> f32 {
    low / 2.0 + high / 2.0
}

/// Whether a range excludes zero by so much that codes around its middle are noticeably finer than those
/// of the range widened to zero: a quarter more codes. Not of one value, nor of a range that is hardly
/// one for a float: such say little of what is to come.
pub(super) fn is_far(low: f32, high: f32) -> bool {
    let span = f64::from(high) - f64::from(low);
    let widened = f64::from(high.abs().max(low.abs()));
    excludes_zero(low, high) && span * FINEST >= widened
}

/// The same, of one value too.
pub(super) fn excludes_zero(low: f32, high: f32) -> bool {
    let span = f64::from(high) - f64::from(low);
    let widened = f64::from(high.abs().max(low.abs()));
    (low > 0.0 || high < 0.0) && widened >= 1.25 * span
}

// The span of a range next to its greatest value: floats of 24 bits leave 256 steps of it.
const FINEST: f64 = 65_536.0;

// Scale and zero point of codes that cover `low` to `high`, widened to hold zero: what
// [`Parameters::for_range`](crate::quantize::Parameters::for_range) gives, in the processor.
fn parameters(low: f32, high: f32, scheme: &Scheme) -> (f32, i32) {
    let (first, last) = scheme.code_range();
    let usable = |scale: f32, steps: i32| {
        // Of a number that was rounded up, the outermost code might be infinite.
        let mut greatest = f32::MAX / steps as f32;
        while !(greatest * steps as f32).is_finite() {
            greatest = greatest.next_down();
        }
        match scale >= f32::MIN_POSITIVE {
            true => scale.min(greatest),
            false => 1.0,
        }
    };
    match scheme.mapping() {
        Mapping::Symmetric => {
            let bound = low.abs().max(high.abs());
            (usable(bound / last as f32, last), 0)
        }
        Mapping::Affine => {
            // Half the range of floats to either side: their difference is a float as well.
            let (low, high) = (
                low.clamp(-f32::MAX / 2.0, 0.0),
                high.clamp(0.0, f32::MAX / 2.0),
            );
            let steps = last - first;
            let scale = usable((high - low) / steps as f32, steps);
            let zero_point = first - (low / scale).round_ties_even() as i32;
            (scale, zero_point.clamp(first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::format::Granularity;
    use crate::quantize::Parameters;

    const RANGES: [(f32, f32); 10] = [
        (-0.5, 2.0),
        (-3.0, -1.0),
        (2.0, 3.0),
        (0.0, 0.0),
        (-1e-40, 1e-39),
        (-3e38, 3e38),
        (f32::MIN, f32::MAX),
        (0.0, f32::MAX),
        (-1.0, f32::MAX),
        (f32::MIN, -1.0),
    ];

    #[test]
    fn a_range_gives_what_it_gives_for_weights() {
        for mapping in [Mapping::Affine, Mapping::Symmetric] {
            for bits in [2, 3, 8, 16] {
                let scheme = Scheme::new(bits, mapping, Granularity::Tensor).unwrap();
                for (low, high) in RANGES {
                    let bound = |x: f32| Tensor::<2>::from_data([[x]], &Device::default());
                    let expected = Parameters::for_range(bound(low), bound(high), &scheme);
                    let expected = (
                        expected.scale.into_scalar::<f32>(),
                        expected.zero_point.into_scalar::<f32>() as i32,
                    );
                    let found = parameters(low, high, &scheme);
                    // A GPU's division need not be correctly rounded.
                    let near = (found.0 - expected.0).abs() <= 1e-6 * expected.0;
                    let near = near && (found.1 - expected.1).abs() <= 1;
                    assert!(near, "{low} to {high}: {found:?}, {expected:?}");
                    let coding = Coding::of(low, high, &scheme, false);
                    let (first, last) = scheme.code_range();
                    assert!(coding.value(first).is_finite() && coding.value(last).is_finite());
                }
            }
        }
    }

    #[test]
    fn codes_of_a_range_far_from_zero_lie_around_its_middle() {
        for mapping in [Mapping::Affine, Mapping::Symmetric] {
            let scheme = Scheme::new(8, mapping, Granularity::Tensor).unwrap();
            let (first, last) = scheme.code_range();
            for (low, high) in [(290.0, 310.0), (-7.0, -6.0), (1.0, 3.0)] {
                let coding = Coding::of(low, high, &scheme, true);
                assert_eq!(coding.offset, (low + high) / 2.0);
                let step = (high - low) / (last - first) as f32;
                assert!((coding.scale - step).abs() < 1e-3 * step);
                let near = |code, end: f32| (coding.value(code) - end).abs() < 0.51 * step;
                assert!(near(first, low) && near(last, high));
            }
            // Zero is near, or the range is none.
            for (low, high) in [(0.5, 3.0), (-1.0, 300.0), (300.0, 300.0), (0.0, 0.0)] {
                assert_eq!(Coding::of(low, high, &scheme, true).offset, 0.0);
            }
        }
    }
}

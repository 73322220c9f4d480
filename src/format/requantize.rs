use super::{FormatError, Mapping, Scheme};

/// The one rule by which a number in units of a scale becomes a centred code, `code - zero_point`:
/// rounded half to even, then saturated.
///
/// An integer engine, its reference and the simulation in training all end a layer with it. With the
/// same number in, all three give the same code; zero is the centred code 0.
///
/// ```
/// use burn_compress::format::{Granularity, Mapping, Requantize, Scheme};
/// let scheme = Scheme::new(4, Mapping::Affine, Granularity::Tensor)?; // codes 0 to 15
/// let requantize = Requantize::new(&scheme, 3)?;
/// assert_eq!((requantize.low(), requantize.high()), (-3, 12));
/// assert_eq!(requantize.centred(2.5), 2);
/// assert_eq!(requantize.centred(99.0), 12);
/// assert_eq!(requantize.centred(f32::NAN), 0);
/// // The scheme's own code, less the zero point.
/// assert_eq!(requantize.centred(7.25 / 0.5), scheme.quantize(7.25, 0.5, 3) - 3);
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requantize {
    low: i32,
    high: i32,
}

impl Requantize {
    /// To the codes of a scheme, centred at this zero point. Fails with [`FormatError::Quantized`]
    /// where that is no code of the scheme, or not 0 under a symmetric one.
    pub fn new(scheme: &Scheme, zero_point: i32) -> Result<Self, FormatError> {
        let (low, high) = scheme.code_range();
        let symmetric = scheme.mapping() == Mapping::Symmetric;
        if !(low..=high).contains(&zero_point) || (symmetric && zero_point != 0) {
            return Err(FormatError::Quantized {
                what: format!("zero point {zero_point} of codes {low}..={high}"),
            });
        }
        Ok(Self {
            low: low - zero_point,
            high: high - zero_point,
        })
    }

    /// The least centred code, at most 0.
    pub fn low(self) -> i32 {
        self.low
    }

    /// The greatest centred code, at least 0.
    pub fn high(self) -> i32 {
        self.high
    }

    /// The centred code of a number in units of the scale: `clamp(round_half_even(t), low, high)`;
    /// NaN becomes 0.
    #[inline]
    pub fn centred(self, t: f32) -> i32 {
        if t.is_nan() {
            return 0;
        }
        // Centred codes have at most 17 bits: exact in f32.
        let code = t.round_ties_even();
        code.clamp(self.low as f32, self.high as f32) as i32
    }
}

use serde::{Deserialize, Serialize};

use super::{FormatError, WeightView};

/// How real values map to codes.
///
/// ```
/// use burn_compress::format::{Granularity, Mapping, Scheme};
/// let affine = Scheme::new(4, Mapping::Affine, Granularity::Channel)?;
/// assert_eq!(affine.code_range(), (0, 15));
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// `value = scale * code`, codes from `-(2^(bits-1) - 1)` to `2^(bits-1) - 1`.
    Symmetric,
    /// `value = scale * (code - zero_point)`, codes from `0` to `2^bits - 1`. The zero point is a
    /// code, so zero is represented exactly.
    Affine,
}

/// Which weights share a scale and a zero point.
///
/// ```
/// use burn_compress::format::{Granularity, Mapping, Scheme, WeightView};
/// let view = WeightView::new(vec![8, 4, 3, 3], 0)?;
/// let scheme = Scheme::new(8, Mapping::Symmetric, Granularity::Group(12))?;
/// assert_eq!(scheme.groups(&view)?, (24, 12));
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Granularity {
    /// One scale for the whole weight.
    Tensor,
    /// One scale for each output channel.
    Channel,
    /// One scale for each run of this many weights of an output channel: a divisor of its weights.
    Group(usize),
}

/// A uniform quantization to a fixed number of bits: the code, not the values.
///
/// Rounding is half to even and saturating, defined once by [`Scheme::quantize`] and
/// [`Scheme::dequantize`] for training, export and engine alike (Jacob et al. 2018,
/// "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference").
/// Zero is exactly a code under every scheme, so that a pruned weight stays zero.
///
/// ```
/// use burn_compress::format::{Granularity, Mapping, Scheme};
/// let scheme = Scheme::symmetric(4)?; // a scale per channel
/// let code = scheme.quantize(0.25, 0.1, 0);
/// assert_eq!(code, 2); // 2.5 rounds to even
/// assert_eq!(scheme.dequantize(code, 0.1, 0), 0.2);
/// assert_eq!(scheme.quantize(9.0, 0.1, 0), scheme.code_range().1); // saturates at 7
///
/// assert_eq!((scheme.bits(), scheme.mapping()), (4, Mapping::Symmetric));
/// assert_eq!(scheme.granularity(), Granularity::Channel);
/// assert_eq!(scheme.with_bits(Scheme::MAX_BITS)?.bits(), 16);
/// assert!(scheme.with_bits(Scheme::MIN_BITS - 1).is_err());
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "SchemeFields")]
pub struct Scheme {
    bits: u32,
    mapping: Mapping,
    granularity: Granularity,
}

// What is read from a file passes the same check as what is built in code.
#[derive(Deserialize)]
#[serde(rename = "Scheme", deny_unknown_fields)]
struct SchemeFields {
    bits: u32,
    mapping: Mapping,
    granularity: Granularity,
}

impl TryFrom<SchemeFields> for Scheme {
    type Error = FormatError;

    fn try_from(fields: SchemeFields) -> Result<Self, FormatError> {
        Self::new(fields.bits, fields.mapping, fields.granularity)
    }
}

impl Scheme {
    /// The fewest bits that have a code.
    pub const MIN_BITS: u32 = 2;
    /// The most bits that have a code.
    pub const MAX_BITS: u32 = 16;

    /// A scheme of 2 to 16 bits. Fails with [`FormatError::Bits`] outside, and with
    /// [`FormatError::Group`] for groups of zero.
    pub fn new(bits: u32, mapping: Mapping, granularity: Granularity) -> Result<Self, FormatError> {
        if !(Self::MIN_BITS..=Self::MAX_BITS).contains(&bits) {
            return Err(FormatError::Bits { bits });
        }
        if granularity == Granularity::Group(0) {
            return Err(FormatError::Group {
                group: 0,
                columns: 0,
            });
        }
        Ok(Self {
            bits,
            mapping,
            granularity,
        })
    }

    /// Symmetric codes with a scale per output channel: the usual choice for weights. Fails with
    /// [`FormatError::Bits`] outside 2 to 16.
    pub fn symmetric(bits: u32) -> Result<Self, FormatError> {
        Self::new(bits, Mapping::Symmetric, Granularity::Channel)
    }

    /// Bits of a code, 2 to 16.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Symmetric or affine.
    pub fn mapping(&self) -> Mapping {
        self.mapping
    }

    /// Which weights share a scale.
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The same scheme at another number of bits. Fails with [`FormatError::Bits`] outside 2 to 16.
    pub fn with_bits(self, bits: u32) -> Result<Self, FormatError> {
        Self::new(bits, self.mapping, self.granularity)
    }

    /// The least and the greatest code.
    pub fn code_range(&self) -> (i32, i32) {
        match self.mapping {
            Mapping::Symmetric => {
                let high = (1 << (self.bits - 1)) - 1;
                (-high, high)
            }
            Mapping::Affine => (0, (1 << self.bits) - 1),
        }
    }

    /// The code of a value: `round_half_even(value / scale) + zero_point`, saturated to
    /// [`code_range`](Self::code_range). `scale` is positive, and `zero_point` a code; NaN becomes
    /// the zero point.
    pub fn quantize(&self, value: f32, scale: f32, zero_point: i32) -> i32 {
        let (low, high) = self.code_range();
        let code = (value / scale).round_ties_even() + zero_point as f32;
        if code.is_nan() {
            return zero_point;
        }
        code.clamp(low as f32, high as f32) as i32
    }

    /// The value of a code: `scale * (code - zero_point)`, rounded once.
    pub fn dequantize(&self, code: i32, scale: f32, zero_point: i32) -> f32 {
        code.saturating_sub(zero_point) as f32 * scale
    }

    /// Number of groups that share a scale in a weight, and weights in each. Fails with
    /// [`FormatError::Group`] where the group size does not divide a row.
    pub fn groups(&self, view: &WeightView) -> Result<(usize, usize), FormatError> {
        let (rows, columns) = (view.rows(), view.columns());
        match self.granularity {
            Granularity::Tensor => Ok((1, rows * columns)),
            Granularity::Channel => Ok((rows, columns)),
            Granularity::Group(group) if columns % group == 0 => {
                Ok((rows * (columns / group), group))
            }
            Granularity::Group(group) => Err(FormatError::Group { group, columns }),
        }
    }
}

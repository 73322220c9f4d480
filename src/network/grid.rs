use serde::{Deserialize, Serialize};

use crate::format::{FormatError, Requantize, Scheme};

/// The real values that an activation's codes stand for: `scale * (code - zero_point) + offset`.
///
/// ```
/// use burn_compress::format::{Granularity, Mapping, Scheme};
/// use burn_compress::network::Grid;
/// let scheme = Scheme::new(8, Mapping::Affine, Granularity::Tensor)?;
/// let grid = Grid::new(scheme, 0.5, 10)?;
/// assert_eq!((grid.low(), grid.high()), (-10, 245)); // centred codes
/// assert_eq!(grid.quantize(1.25), 2);
/// assert_eq!(grid.dequantize(2), 1.0);
/// assert_eq!((grid.scheme(), grid.scale(), grid.zero_point()), (&scheme, 0.5, 10));
/// assert!(Grid::new(scheme, 0.0, 10).is_err() && Grid::new(scheme, 0.5, 256).is_err());
/// let far = grid.with_offset(300.0)?;
/// assert_eq!((far.quantize(301.25), far.dequantize(2)), (2, 301.0));
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GridFields")]
pub struct Grid {
    scheme: Scheme,
    scale: f32,
    zero_point: i32,
    #[serde(skip_serializing_if = "is_zero")]
    offset: f32,
}

fn is_zero(offset: &f32) -> bool {
    *offset == 0.0
}

// What is read from a file passes the same check as what is built in code.
#[derive(Deserialize)]
#[serde(rename = "Grid", deny_unknown_fields)]
struct GridFields {
    scheme: Scheme,
    scale: f32,
    zero_point: i32,
    #[serde(default)]
    offset: f32,
}

impl TryFrom<GridFields> for Grid {
    type Error = FormatError;

    fn try_from(fields: GridFields) -> Result<Self, FormatError> {
        Self::new(fields.scheme, fields.scale, fields.zero_point)?.with_offset(fields.offset)
    }
}

impl Grid {
    /// A grid of a scheme's codes, whose granularity does not matter. Fails with
    /// [`FormatError::Quantized`] where the scale is not positive and finite, the zero point no code, or
    /// not 0 under a symmetric scheme.
    pub fn new(scheme: Scheme, scale: f32, zero_point: i32) -> Result<Self, FormatError> {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(FormatError::Quantized {
                what: format!("its scale is {scale}, which is not positive and finite"),
            });
        }
        Requantize::new(&scheme, zero_point)?;
        Ok(Self {
            scheme,
            scale,
            zero_point,
            offset: 0.0,
        })
    }

    /// The same codes for values around an offset. Fails with [`FormatError::Quantized`] for one that is
    /// not finite.
    pub fn with_offset(self, offset: f32) -> Result<Self, FormatError> {
        match offset.is_finite() {
            true => Ok(Self { offset, ..self }),
            false => Err(FormatError::Quantized {
                what: format!("offset {offset}"),
            }),
        }
    }

    /// The codes.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Distance of neighbouring values.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The code of the offset: of zero, where that is 0.
    pub fn zero_point(&self) -> i32 {
        self.zero_point
    }

    /// The real value of the zero point.
    pub fn offset(&self) -> f32 {
        self.offset
    }

    /// The least centred code.
    pub fn low(&self) -> i32 {
        self.scheme.code_range().0 - self.zero_point
    }

    /// The greatest centred code.
    pub fn high(&self) -> i32 {
        self.scheme.code_range().1 - self.zero_point
    }

    /// The centred code of a real value.
    ///
    /// A number in units of the scale is requantized by [`Requantize`]; this subtracts the offset and
    /// divides first.
    pub fn quantize(&self, value: f32) -> i32 {
        self.centred((value - self.offset) / self.scale)
    }

    /// The value of a centred code: rounded once, and once more where there is an offset.
    pub fn dequantize(&self, code: i32) -> f32 {
        self.scale * code as f32 + self.offset
    }

    /// The centred code of a number in units of the scale.
    ///
    /// ```
    /// use burn_compress::{format::Scheme, network::Grid};
    /// let grid = Grid::new(Scheme::symmetric(4)?, 0.1, 0)?;
    /// assert_eq!(grid.centred(2.5), 2);
    /// # Ok::<(), burn_compress::format::FormatError>(())
    /// ```
    pub fn centred(&self, t: f32) -> i32 {
        // Checked by `new`: the fallback is not reached.
        Requantize::new(&self.scheme, self.zero_point).map_or(0, |r| r.centred(t))
    }

    /// Whether its centred codes are those of another grid, at any scale.
    pub(super) fn has_codes_of(&self, other: &Self) -> bool {
        let codes = |grid: &Self| (grid.scheme, grid.zero_point, grid.offset);
        codes(self) == codes(other)
    }

    /// The greatest absolute centred code.
    pub(super) fn reach(&self) -> u64 {
        let (low, high) = (self.low().unsigned_abs(), self.high().unsigned_abs());
        u64::from(low.max(high))
    }
}

use serde::{Deserialize, Serialize};

use super::{FormatError, Scheme, WeightView, entropy_bits};

/// The element type of an uncompressed tensor.
///
/// ```
/// assert_eq!(burn_compress::format::ElementType::F16.size(), 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // each name says it all
pub enum ElementType {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl ElementType {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}

/// A tensor as it is: little-endian elements in row-major order.
///
/// ```
/// use burn_compress::format::{Dense, ElementType};
/// let dense = Dense { element: ElementType::F32, bytes: 1.5f32.to_le_bytes().to_vec() };
/// assert_eq!(dense.bytes.len(), dense.element.size());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Type of the elements.
    pub element: ElementType,
    /// The elements' bytes.
    pub bytes: Vec<u8>,
}

/// A weight as codes under a scheme, in the row order of its [`WeightView`].
///
/// ```
/// use burn_compress::format::{Quantized, Scheme, WeightView};
/// let view = WeightView::new(vec![1, 3], 0)?;
/// let scheme = Scheme::symmetric(4)?;
/// let weight = Quantized::new(scheme, &view, vec![0.5], vec![0], vec![-7, 0, 3])?;
/// assert_eq!(weight.values(&view)?, [-3.5, 0.0, 1.5]);
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    scheme: Scheme,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    codes: Vec<i32>,
}

impl Quantized {
    /// Codes with a scale and a zero point for each group of the view. Fails where the counts do not
    /// fit the view, a scale is not positive and finite, or a code lies outside the scheme.
    pub fn new(
        scheme: Scheme,
        view: &WeightView,
        scales: Vec<f32>,
        zero_points: Vec<i32>,
        codes: Vec<i32>,
    ) -> Result<Self, FormatError> {
        let (groups, _) = scheme.groups(view)?;
        if scales.len() != groups || zero_points.len() != groups || codes.len() != view.len() {
            return Err(FormatError::corrupt(format!(
                "{} codes, {} scales and {} zero points do not fit {:?} in {groups} groups",
                codes.len(),
                scales.len(),
                zero_points.len(),
                view.dims()
            )));
        }
        if let Some(scale) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(FormatError::corrupt(format!("scale {scale}")));
        }
        let (low, high) = scheme.code_range();
        let outside = |code: &&i32| !(low..=high).contains(*code);
        if let Some(code) = codes.iter().chain(&zero_points).find(outside) {
            return Err(FormatError::corrupt(format!(
                "code {code} outside {low}..={high}"
            )));
        }
        Ok(Self {
            scheme,
            scales,
            zero_points,
            codes,
        })
    }

    /// The scheme of the codes.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// A scale for each group.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// A zero point for each group; 0 under a symmetric scheme.
    pub fn zero_points(&self) -> &[i32] {
        &self.zero_points
    }

    /// The codes, in row order.
    pub fn codes(&self) -> &[i32] {
        &self.codes
    }

    /// The values that the codes stand for, in row order.
    pub fn values(&self, view: &WeightView) -> Result<Vec<f32>, FormatError> {
        let (_, length) = self.scheme.groups(view)?;
        let mut values = Vec::with_capacity(self.codes.len());
        for (group, codes) in self.codes.chunks(length.max(1)).enumerate() {
            let (scale, zero_point) = (self.scales[group], self.zero_points[group]);
            values.extend(
                codes
                    .iter()
                    .map(|&code| self.scheme.dequantize(code, scale, zero_point)),
            );
        }
        Ok(values)
    }

    /// Whether each weight is exactly zero, in row order.
    pub(super) fn zeros(&self, view: &WeightView) -> Result<Vec<bool>, FormatError> {
        let (_, length) = self.scheme.groups(view)?;
        Ok(self
            .codes
            .iter()
            .enumerate()
            .map(|(i, code)| *code == self.zero_points[i / length.max(1)])
            .collect())
    }
}

/// What a tensor of a model is stored as.
///
/// ```
/// use burn_compress::format::Payload;
/// let sparse = Payload::Sparse(vec![0.0, 0.0, 0.0, 2.0]);
/// assert!(sparse.entropy_bits() < 36.0); // 32 for the value, 3.2 for where it is
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// As it is.
    Dense(Dense),
    /// Float weights of which many are zero, in row order.
    Sparse(Vec<f32>),
    /// Codes, pruned or not.
    Quantized(Quantized),
}

impl Payload {
    /// Least number of bits in which the tensor's symbols can be coded one by one: the entropy of
    /// its codes and 32 bits a scale; or of where its zeros are and 32 bits a value that is not zero.
    pub fn entropy_bits(&self) -> f64 {
        match self {
            Self::Dense(dense) => dense.bytes.len() as f64 * 8.0,
            Self::Sparse(values) => {
                let kept = values.iter().filter(|value| **value != 0.0).count();
                entropy_bits(values.iter().map(|value| *value != 0.0)) + kept as f64 * 32.0
            }
            Self::Quantized(weight) => {
                entropy_bits(weight.codes.iter()) + weight.scales.len() as f64 * 32.0
            }
        }
    }
}

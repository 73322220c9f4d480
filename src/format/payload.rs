use serde::{Deserialize, Serialize};

use super::{FormatError, Mapping, Scheme, WeightView, entropy_bits};

/// The element type of an uncompressed tensor.
///
/// ```
/// assert_eq!(burn_compress::format::ElementType::F16.size(), 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // each name says it all
#[non_exhaustive]
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
/// use burn_compress::format::{QuantizedWeight, Scheme, WeightView};
/// let view = WeightView::new(vec![1, 3], 0)?;
/// let scheme = Scheme::symmetric(4)?;
/// let weight = QuantizedWeight::new(scheme, &view, vec![0.5], vec![0], vec![-7, 0, 3])?;
/// assert_eq!(weight.values(&view)?, [-3.5, 0.0, 1.5]);
/// assert_eq!((weight.scheme(), weight.codes()), (&scheme, &[-7, 0, 3][..]));
/// assert_eq!((weight.scales(), weight.zero_points()), (&[0.5][..], &[0][..]));
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedWeight {
    scheme: Scheme,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    codes: Vec<i32>,
}

impl QuantizedWeight {
    /// Codes in the view's row order, with a scale and a zero point for each group.
    ///
    /// Fails with [`FormatError::Group`] where the scheme's groups do not divide a row, and with
    /// [`FormatError::Quantized`] where the counts do not fit the view, a scale is not positive and
    /// finite, a code or a zero point lies outside the scheme's
    /// [`code_range`](Scheme::code_range), or a zero point under a symmetric scheme is not 0.
    pub fn new(
        scheme: Scheme,
        view: &WeightView,
        scales: Vec<f32>,
        zero_points: Vec<i32>,
        codes: Vec<i32>,
    ) -> Result<Self, FormatError> {
        let (groups, _) = scheme.groups(view)?;
        if scales.len() != groups || zero_points.len() != groups || codes.len() != view.len() {
            return Err(invalid(format!(
                "{} codes, {} scales and {} zero points do not fit {:?} in {groups} groups",
                codes.len(),
                scales.len(),
                zero_points.len(),
                view.dims()
            )));
        }
        if let Some(scale) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(invalid(format!(
                "its scale is {scale}, which is not positive and finite"
            )));
        }
        let (low, high) = scheme.code_range();
        let outside = |code: &&i32| !(low..=high).contains(*code);
        if let Some(code) = codes.iter().chain(&zero_points).find(outside) {
            return Err(invalid(format!("code {code} outside {low}..={high}")));
        }
        if scheme.mapping() == Mapping::Symmetric
            && let Some(point) = zero_points.iter().find(|point| **point != 0)
        {
            return Err(invalid(format!("symmetric with zero point {point}")));
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

    /// The values that the codes stand for, in row order. Fails with [`FormatError::Quantized`] where
    /// the view is of another number of weights or groups than that of the codes.
    pub fn values(&self, view: &WeightView) -> Result<Vec<f32>, FormatError> {
        self.check(view)?;
        let mut values = Vec::with_capacity(self.codes.len());
        for (codes, scale, zero_point) in self.groups() {
            let value = |&code| self.scheme.dequantize(code, scale, zero_point);
            values.extend(codes.iter().map(value));
        }
        Ok(values)
    }

    /// Whether the codes fit this view.
    pub(super) fn check(&self, view: &WeightView) -> Result<(), FormatError> {
        let (groups, _) = self.scheme.groups(view)?;
        match (self.codes.len(), self.scales.len()) == (view.len(), groups) {
            true => Ok(()),
            false => Err(invalid(format!(
                "{} codes in {} groups do not fit {:?} in {groups} groups",
                self.codes.len(),
                self.scales.len(),
                view.dims()
            ))),
        }
    }

    /// The codes less their zero points.
    pub(crate) fn centred(&self) -> Vec<i32> {
        let mut centred = Vec::with_capacity(self.codes.len());
        for (codes, _, zero_point) in self.groups() {
            centred.extend(codes.iter().map(|code| code - zero_point));
        }
        centred
    }

    /// Whether each weight is exactly zero, in row order.
    fn zeros(&self) -> Vec<bool> {
        let mut zeros = Vec::with_capacity(self.codes.len());
        for (codes, _, zero_point) in self.groups() {
            zeros.extend(codes.iter().map(|code| *code == zero_point));
        }
        zeros
    }

    // The codes of each group, its scale and its zero point.
    fn groups(&self) -> impl Iterator<Item = (&[i32], f32, i32)> {
        // Groups are equally long: their counts were checked against a view.
        let length = self.codes.len() / self.scales.len().max(1);
        let parameters = self.scales.iter().zip(&self.zero_points);
        let groups = self.codes.chunks(length.max(1)).zip(parameters);
        groups.map(|(codes, (&scale, &zero_point))| (codes, scale, zero_point))
    }

    fn entropy_bits(&self) -> f64 {
        // Two ways to code them: each code, or "zero" (whatever its code in the group) and the others.
        let codes = entropy_bits(self.codes.iter());
        let zeros = self.zeros();
        let or_zero = self.codes.iter().zip(&zeros);
        let or_zero = entropy_bits(or_zero.map(|(code, zero)| (!zero).then_some(code)));
        let mut group = 32.0;
        if self.has_zero_points() {
            group += 16.0;
        }
        codes.min(or_zero) + self.scales.len() as f64 * group
    }

    /// Whether zero is another code than 0 in some group.
    pub(super) fn has_zero_points(&self) -> bool {
        self.zero_points.iter().any(|&point| point != 0)
    }
}

fn invalid(what: String) -> FormatError {
    FormatError::Quantized { what }
}

/// What a tensor of a model is stored as.
///
/// ```
/// use burn_compress::format::Payload;
/// let sparse = Payload::Sparse(vec![0.0, 0.0, 0.0, 2.0]);
/// assert!(sparse.entropy_bits() < 36.0); // 32 for the value, 3.2 for where it is
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// As it is.
    Dense(Dense),
    /// Float weights of which many are zero, in the row order of their [`WeightView`]. A negative
    /// zero is stored as zero.
    Sparse(Vec<f32>),
    /// Codes, pruned or not.
    Quantized(QuantizedWeight),
    /// The content of the tensor at this path, which comes before it in the archive and has the same
    /// dimensions and output axis.
    SameAs(String),
}

impl Payload {
    /// Least number of bits in which the tensor's symbols can be coded one by one.
    ///
    /// Of codes, their entropy, with zeros as one symbol where that is less, and 32 bits a scale (and
    /// 16 a zero point); of sparse weights, the entropy of where the zeros are, and 32 bits a value
    /// that is not zero; of a dense tensor, its bytes; of one that is stored elsewhere, none.
    pub fn entropy_bits(&self) -> f64 {
        match self {
            Self::Dense(dense) => dense.bytes.len() as f64 * 8.0,
            Self::Sparse(values) => {
                let kept = values.iter().filter(|value| **value != 0.0).count();
                entropy_bits(values.iter().map(|value| *value != 0.0)) + kept as f64 * 32.0
            }
            Self::Quantized(weight) => weight.entropy_bits(),
            Self::SameAs(_) => 0.0,
        }
    }
}

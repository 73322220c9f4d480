//! Operations without an integer form: what each is, and how the reference computes it.

mod reference;

use serde::{Deserialize, Serialize};

use super::Dim;

/// An operation that stays in float: what a capture admits beside the rest of [`Op`](super::Op) where it
/// is told to (`graph::Fallback::Float`). In a quantized graph its operands are
/// dequantized, and its result becomes codes where a product reads it.
///
/// A mask is a tensor of ones and zeros. Operands that stand beside each other broadcast: an axis of
/// length 1 repeats.
///
/// ```
/// use burn_compress::network::FloatOp;
/// assert_eq!(FloatOp::CumulativeSum { axis: 1 }.name(), "cumulative_sum");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // an axis is the one that it works along
#[non_exhaustive]
pub enum FloatOp {
    /// The first operand to the power of the second.
    Power,
    /// A mask: where the first is greater than the second.
    Greater,
    /// A mask: where it is greater or equal.
    GreaterEqual,
    /// A mask: where it is less.
    Less,
    /// A mask: where it is less or equal.
    LessEqual,
    /// A mask: where both are equal.
    Equal,
    /// A mask: where they are not.
    NotEqual,
    /// Three operands: the first, but the third where the second, a mask, is not zero.
    Where,
    /// The greatest element along an axis, which stays with length 1.
    Max { axis: usize },
    /// The least element along an axis, which stays with length 1.
    Min { axis: usize },
    /// The product along an axis, which stays with length 1.
    Product { axis: usize },
    /// Each element with all before it summed.
    CumulativeSum { axis: usize },
    /// Each element with all before it multiplied.
    CumulativeProduct { axis: usize },
    /// The greatest of each element and all before it.
    CumulativeMax { axis: usize },
    /// The least of each element and all before it.
    CumulativeMin { axis: usize },
    /// The logarithm of the softmax along an axis.
    LogSoftmax { axis: usize },
    /// The elements of an axis in the order of their size, the least first.
    Sort { axis: usize },
    /// The same, the greatest first.
    SortDescending { axis: usize },
    /// Elements of an axis, by their places.
    Select {
        axis: usize,
        /// The place of each element of the result, at least one.
        indices: Vec<usize>,
    },
    /// Elements of an axis, by places of their own: the second operand, a constant of whole numbers, has
    /// the place of each element of the result. Its other axes are the first operand's, or of length 1.
    Gather { axis: usize },
    /// Rows of a table, the first operand: the second has the place of each, a whole number, or one that is
    /// rounded towards zero. The result has the axes of the places, and those of a row.
    Lookup,
}

impl FloatOp {
    /// The name that prints and reports show.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Greater => "greater",
            Self::GreaterEqual => "greater_equal",
            Self::Less => "less",
            Self::LessEqual => "less_equal",
            Self::Equal => "equal",
            Self::NotEqual => "not_equal",
            Self::Where => "where",
            Self::Max { .. } => "max",
            Self::Min { .. } => "min",
            Self::Product { .. } => "product",
            Self::CumulativeSum { .. } => "cumulative_sum",
            Self::CumulativeProduct { .. } => "cumulative_product",
            Self::CumulativeMax { .. } => "cumulative_max",
            Self::CumulativeMin { .. } => "cumulative_min",
            Self::LogSoftmax { .. } => "log_softmax",
            Self::Sort { .. } => "sort",
            Self::SortDescending { .. } => "sort_descending",
            Self::Select { .. } => "select",
            Self::Gather { .. } => "gather",
            Self::Lookup => "lookup",
        }
    }

    /// The axis that it works along; none of an operation on elements.
    pub(crate) fn axis(&self) -> Option<usize> {
        match self {
            Self::Max { axis }
            | Self::Min { axis }
            | Self::Product { axis }
            | Self::CumulativeSum { axis }
            | Self::CumulativeProduct { axis }
            | Self::CumulativeMax { axis }
            | Self::CumulativeMin { axis }
            | Self::LogSoftmax { axis }
            | Self::Sort { axis }
            | Self::SortDescending { axis }
            | Self::Select { axis, .. }
            | Self::Gather { axis } => Some(*axis),
            _ => None,
        }
    }

    /// The dimensions of the result; the error says what does not fit.
    pub(crate) fn dims(&self, operands: &[Vec<Dim>]) -> Result<Vec<Dim>, String> {
        let wrong = || format!("{} does not take {operands:?}", self.name());
        match (self.axis(), operands) {
            (None, [table, places]) if *self == Self::Lookup => match table.as_slice() {
                [Dim::Fixed(_), row @ ..] => Ok([places, row].concat()),
                _ => Err(wrong()),
            },
            (None, [one, other]) if *self != Self::Where => broadcast(one, other),
            (None, [otherwise, mask, chosen]) if *self == Self::Where => {
                broadcast(&broadcast(otherwise, mask)?, chosen)
            }
            (Some(axis), [input, rest @ ..]) => {
                let length = *input.get(axis).ok_or_else(wrong)?;
                let mut dims = input.clone();
                match (self, length, rest) {
                    (Self::Max { .. } | Self::Min { .. } | Self::Product { .. }, _, []) => {
                        dims[axis] = Dim::Fixed(1);
                    }
                    (Self::Select { indices, .. }, Dim::Fixed(length), []) => {
                        if indices.is_empty() || indices.iter().any(|place| *place >= length) {
                            return Err(wrong());
                        }
                        dims[axis] = Dim::Fixed(indices.len());
                    }
                    (Self::Gather { .. }, Dim::Fixed(_), [indices]) => {
                        let places = *indices.get(axis).ok_or_else(wrong)?;
                        let fits = |(own, dim): (&Dim, &Dim)| *own == Dim::Fixed(1) || own == dim;
                        dims[axis] = places;
                        let same_rank = indices.len() == dims.len();
                        if !same_rank || !indices.iter().zip(&dims).all(fits) {
                            return Err(wrong());
                        }
                    }
                    (Self::Select { .. } | Self::Gather { .. }, ..) => return Err(wrong()),
                    (_, _, []) => {}
                    _ => return Err(wrong()),
                }
                Ok(dims)
            }
            _ => Err(wrong()),
        }
    }
}

/// The dimensions of two operands together, whose axes of length 1 repeat; missing axes come first.
pub(crate) fn broadcast(left: &[Dim], right: &[Dim]) -> Result<Vec<Dim>, String> {
    let rank = left.len().max(right.len());
    let axis = |dims: &[Dim], axis: usize| match (axis + dims.len()).checked_sub(rank) {
        Some(axis) => dims[axis],
        None => Dim::Fixed(1),
    };
    let both = |i: usize| match (axis(left, i), axis(right, i)) {
        (Dim::Fixed(1), dim) | (dim, Dim::Fixed(1)) => Ok(dim),
        (a, b) if a == b => Ok(a),
        _ => Err(format!("{left:?} and {right:?} do not broadcast")),
    };
    (0..rank).map(both).collect()
}

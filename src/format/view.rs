use serde::{Deserialize, Serialize};

use super::FormatError;

/// The layout of a weight of any rank, seen as a matrix: a row for each output channel of the whole
/// layer, a column for each (input channel of its group, kernel tap). The one definition of where
/// channels lie.
///
/// Convolutions hold `[out, in / groups, kernel…]`, linear layers `[in, out]`, transposed convolutions
/// `[in, out / groups, kernel…]`: the output channel lies on axis 0 or on axis 1. Rank-1 parameters are
/// one row.
///
/// ```
/// use burn_compress::format::WeightView;
/// let linear = WeightView::new(vec![3, 2], 1)?; // Burn's [inputs, outputs]
/// assert_eq!((linear.rows(), linear.columns(), linear.len()), (2, 3, 6));
/// assert_eq!((linear.dims(), linear.output_axis()), (&[3, 2][..], 1));
/// assert_eq!((linear.output_first(), linear.taps()), (vec![2, 3], 1));
/// let rows = linear.to_rows(&[1, 2, 3, 4, 5, 6]);
/// assert_eq!(rows, [1, 3, 5, 2, 4, 6]); // the weights of the first output, then of the second
/// assert_eq!(linear.from_rows(&rows), [1, 2, 3, 4, 5, 6]);
/// assert!(WeightView::new(vec![0, 2], 0)?.is_empty());
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WeightViewFields")]
pub struct WeightView {
    dims: Vec<usize>,
    output_axis: usize,
    #[serde(skip_serializing_if = "is_one")]
    groups: usize,
}

// What is read from a file passes the same check as what is built in code.
#[derive(Deserialize)]
#[serde(rename = "WeightView", deny_unknown_fields)]
struct WeightViewFields {
    dims: Vec<usize>,
    output_axis: usize,
    #[serde(default = "one")]
    groups: usize,
}

pub(super) fn one() -> usize {
    1
}

pub(super) fn is_one(count: &usize) -> bool {
    *count == 1
}

impl TryFrom<WeightViewFields> for WeightView {
    type Error = FormatError;

    fn try_from(fields: WeightViewFields) -> Result<Self, FormatError> {
        Self::grouped(fields.dims, fields.output_axis, fields.groups)
    }
}

impl WeightView {
    /// The view of a weight with these dimensions, at least one, in one group. Fails with
    /// [`FormatError::View`] where the output axis is not 0 or 1 or does not exist, and where the
    /// product of the dimensions that are not zero overflows.
    pub fn new(dims: Vec<usize>, output_axis: usize) -> Result<Self, FormatError> {
        let mut dims_above_zero = dims.iter().filter(|dim| **dim > 0);
        let product = dims_above_zero.try_fold(1usize, |product, &dim| product.checked_mul(dim));
        match product {
            Some(_) if output_axis < dims.len().min(2) => Ok(Self {
                dims,
                output_axis,
                groups: 1,
            }),
            _ => Err(FormatError::View { dims, output_axis }),
        }
    }

    /// The view of a convolution's weight whose channels are in groups that do not mix. Fails as
    /// [`new`](Self::new) does, and with [`FormatError::Groups`] where the groups do not divide axis 0.
    ///
    /// ```
    /// use burn_compress::format::WeightView;
    /// // A transposed convolution of 4 to 6 channels in two groups: [4, 6 / 2].
    /// let view = WeightView::grouped(vec![4, 3], 1, 2)?;
    /// assert_eq!((view.rows(), view.inputs(), view.columns()), (6, 4, 2));
    /// let rows = view.to_rows(&[0, 1, 2, 10, 11, 12, 23, 24, 25, 33, 34, 35]);
    /// assert_eq!(rows, [0, 10, 1, 11, 2, 12, 23, 33, 24, 34, 25, 35]);
    /// assert_eq!(view.channels(2), (0, 2)); // input and output channel
    /// assert_eq!(view.channels(6), (2, 3));
    /// assert!(WeightView::grouped(vec![4, 3], 1, 3).is_err());
    /// # Ok::<(), burn_compress::format::FormatError>(())
    /// ```
    pub fn grouped(
        dims: Vec<usize>,
        output_axis: usize,
        groups: usize,
    ) -> Result<Self, FormatError> {
        let view = Self::new(dims, output_axis)?;
        let divides = groups > 0 && view.dims[0].is_multiple_of(groups);
        // Rows that outnumber what fits in memory are no rows.
        let rows = view.dims[view.output_axis].checked_mul(groups);
        match divides && rows.is_some() {
            true => Ok(Self { groups, ..view }),
            false => Err(FormatError::Groups {
                dims: view.dims,
                groups,
            }),
        }
    }

    /// The weight's own dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The axis of the output channel (of a group's, where axis 0 holds the inputs of all groups), 0 or 1.
    pub fn output_axis(&self) -> usize {
        self.output_axis
    }

    /// Groups of channels that do not mix. Rows do not depend on them where the output channel lies on
    /// axis 0.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Whether both views have the same rows: the same weights in each, in the same order.
    ///
    /// ```
    /// use burn_compress::format::WeightView;
    /// let view = |axis, groups| WeightView::grouped(vec![4, 4], axis, groups).unwrap();
    /// assert!(view(0, 1).has_rows_of(&view(0, 2)));
    /// assert!(!view(1, 1).has_rows_of(&view(1, 2)));
    /// ```
    pub fn has_rows_of(&self, other: &Self) -> bool {
        let same = self.dims == other.dims && self.output_axis == other.output_axis;
        same && (self.output_axis == 0 || self.groups == other.groups)
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there is no weight at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Output channels of the layer; 1 for a parameter of rank 1.
    pub fn rows(&self) -> usize {
        match (self.dims.len(), self.output_axis) {
            (1, _) => 1,
            (_, 0) => self.dims[0],
            (_, axis) => self.dims[axis] * self.groups,
        }
    }

    /// Input channels of the layer; the length of a parameter of rank 1.
    pub fn inputs(&self) -> usize {
        match (&self.dims[..], self.output_axis) {
            ([length], _) => *length,
            (dims, 0) => dims[1] * self.groups,
            (dims, _) => dims[0],
        }
    }

    /// Weights of an output channel: input channels of its group times kernel size.
    pub fn columns(&self) -> usize {
        match self.rows() {
            0 => 0,
            rows => self.len() / rows,
        }
    }

    /// Weights between an output and an input channel: the size of a convolution's kernel, else 1.
    pub fn taps(&self) -> usize {
        self.dims.iter().skip(2).product()
    }

    /// The dimensions that the rows have, with the kernel's: `[out, in / groups, kernel…]`.
    pub fn output_first(&self) -> Vec<usize> {
        let mut dims = self.dims.clone();
        if self.output_axis == 1 {
            dims[0] = self.rows();
            dims[1] = self.dims[0] / self.groups;
        }
        dims
    }

    /// The input and the output channel of a kernel: of [`taps`](Self::taps) neighbouring weights,
    /// counted in the weight's own order.
    ///
    /// ```
    /// use burn_compress::format::WeightView;
    /// let grouped = WeightView::grouped(vec![4, 2, 3, 3], 0, 2)?; // 4 channels to 4, in 2 groups
    /// assert_eq!((0..8).map(|kernel| grouped.channels(kernel)).collect::<Vec<_>>(),
    ///     [(0, 0), (1, 0), (0, 1), (1, 1), (2, 2), (3, 2), (2, 3), (3, 3)]);
    /// # Ok::<(), burn_compress::format::FormatError>(())
    /// ```
    pub fn channels(&self, kernel: usize) -> (usize, usize) {
        let [first, second] = match self.dims[..] {
            [_] => return (kernel, 0),
            [first, second, ..] => [first, second.max(1)],
            [] => return (0, 0),
        };
        let (place, within) = (kernel / second, kernel % second);
        let group = place / (first / self.groups).max(1);
        match self.output_axis {
            0 => (group * second + within, place),
            _ => (place, group * second + within),
        }
    }

    /// Values in row order, rearranged to the weight's own order.
    ///
    /// # Panics
    ///
    /// Where there are not [`len`](Self::len) of them.
    pub fn from_rows<T: Copy>(&self, rows: &[T]) -> Vec<T> {
        self.check_count(rows.len());
        if self.output_axis == 0 || self.is_empty() {
            return rows.to_vec();
        }
        self.swap_in_groups(rows, self.dims[1], self.dims[0] / self.groups)
    }

    /// Values in the weight's own order, rearranged to row order.
    ///
    /// # Panics
    ///
    /// Where there are not [`len`](Self::len) of them.
    pub fn to_rows<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.check_count(values.len());
        if self.output_axis == 0 || self.is_empty() {
            return values.to_vec();
        }
        self.swap_in_groups(values, self.dims[0] / self.groups, self.dims[1])
    }

    fn check_count(&self, count: usize) {
        assert_eq!(count, self.len(), "values of a weight of {:?}", self.dims);
    }

    // [groups, first, second, rest] -> [groups, second, first, rest]
    fn swap_in_groups<T: Copy>(&self, values: &[T], first: usize, second: usize) -> Vec<T> {
        let rest = self.taps();
        let mut swapped = Vec::with_capacity(values.len());
        for group in values.chunks(first * second * rest) {
            for j in 0..second {
                for i in 0..first {
                    let start = (i * second + j) * rest;
                    swapped.extend_from_slice(&group[start..start + rest]);
                }
            }
        }
        swapped
    }
}

use serde::{Deserialize, Serialize};

use super::FormatError;

/// A weight of any rank seen as a matrix: a row for each output channel, a column for each
/// (input channel, kernel tap).
///
/// Convolutions hold the output channel on axis 0; linear layers and transposed convolutions on
/// axis 1. Rank-1 parameters are one row.
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
}

// What is read from a file passes the same check as what is built in code.
#[derive(Deserialize)]
#[serde(rename = "WeightView", deny_unknown_fields)]
struct WeightViewFields {
    dims: Vec<usize>,
    output_axis: usize,
}

impl TryFrom<WeightViewFields> for WeightView {
    type Error = FormatError;

    fn try_from(fields: WeightViewFields) -> Result<Self, FormatError> {
        Self::new(fields.dims, fields.output_axis)
    }
}

impl WeightView {
    /// The view of a weight with these dimensions, at least one. Fails with [`FormatError::View`]
    /// where the output axis is not 0 or 1 or does not exist, and where the product of the dimensions
    /// that are not zero overflows.
    pub fn new(dims: Vec<usize>, output_axis: usize) -> Result<Self, FormatError> {
        let mut dims_above_zero = dims.iter().filter(|dim| **dim > 0);
        let product = dims_above_zero.try_fold(1usize, |product, &dim| product.checked_mul(dim));
        match product {
            Some(_) if output_axis < dims.len().min(2) => Ok(Self { dims, output_axis }),
            _ => Err(FormatError::View { dims, output_axis }),
        }
    }

    /// The weight's own dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The axis of the output channel, 0 or 1.
    pub fn output_axis(&self) -> usize {
        self.output_axis
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there is no weight at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Output channels; 1 for a parameter of rank 1.
    pub fn rows(&self) -> usize {
        match self.dims.len() {
            1 => 1,
            _ => self.dims[self.output_axis],
        }
    }

    /// Weights of an output channel: input channels (of its convolution group) times kernel size.
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

    /// The dimensions with the output axis moved to the front.
    pub fn output_first(&self) -> Vec<usize> {
        let mut dims = self.dims.clone();
        dims.swap(0, self.output_axis);
        dims
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
        self.swap_leading(rows, self.dims[1], self.dims[0])
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
        self.swap_leading(values, self.dims[0], self.dims[1])
    }

    fn check_count(&self, count: usize) {
        assert_eq!(count, self.len(), "values of a weight of {:?}", self.dims);
    }

    // [first, second, rest] -> [second, first, rest]
    fn swap_leading<T: Copy>(&self, values: &[T], first: usize, second: usize) -> Vec<T> {
        let rest: usize = self.dims[2..].iter().product();
        let mut swapped = Vec::with_capacity(values.len());
        for j in 0..second {
            for i in 0..first {
                let start = (i * second + j) * rest;
                swapped.extend_from_slice(&values[start..start + rest]);
            }
        }
        swapped
    }
}

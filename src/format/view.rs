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
/// let linear = WeightView::new(vec![64, 10], 1)?; // Burn's [inputs, outputs]
/// assert_eq!((linear.rows(), linear.columns()), (10, 64));
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightView {
    dims: Vec<usize>,
    output_axis: usize,
}

impl WeightView {
    /// The view of a weight with these dimensions. The output axis must be 0 or 1, and exist.
    pub fn new(dims: Vec<usize>, output_axis: usize) -> Result<Self, FormatError> {
        let overflow = dims
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(dim))
            .is_none();
        if dims.is_empty() || output_axis >= dims.len().min(2) || overflow {
            return Err(FormatError::corrupt(format!(
                "no output axis {output_axis} in dimensions {dims:?}"
            )));
        }
        Ok(Self { dims, output_axis })
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

    /// Output channels.
    pub fn rows(&self) -> usize {
        match self.dims.len() {
            1 => 1,
            _ => self.dims[self.output_axis],
        }
    }

    /// Weights of an output channel.
    pub fn columns(&self) -> usize {
        match self.rows() {
            0 => 0,
            rows => self.len() / rows,
        }
    }

    /// The dimensions with the output axis moved to the front.
    pub fn output_first(&self) -> Vec<usize> {
        let mut dims = self.dims.clone();
        dims.swap(0, self.output_axis);
        dims
    }

    /// Values in row order, rearranged to the weight's own order.
    pub fn from_rows<T: Copy>(&self, rows: &[T]) -> Vec<T> {
        if self.output_axis == 0 {
            return rows.to_vec();
        }
        self.swap_leading(rows, self.dims[1], self.dims[0])
    }

    /// Values in the weight's own order, rearranged to row order.
    pub fn to_rows<T: Copy>(&self, values: &[T]) -> Vec<T> {
        if self.output_axis == 0 {
            return values.to_vec();
        }
        self.swap_leading(values, self.dims[0], self.dims[1])
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

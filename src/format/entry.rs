use super::{ElementType, FormatError, Payload, WeightView};

/// A tensor of a model: its path, dimensions and content.
///
/// ```
/// use burn_compress::format::{Entry, Payload};
/// let mut entry = Entry {
///     path: "conv1.weight".into(),
///     dims: vec![2, 2],
///     output_axis: 0,
///     groups: 1,
///     payload: Payload::Sparse(vec![0.0, 1.0, 0.0, 0.0]),
/// };
/// assert_eq!(entry.view()?.rows(), 2);
/// entry.check()?;
/// entry.dims = vec![3, 2];
/// assert!(entry.check().is_err()); // six weights, four values
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Path of the parameter in its module.
    pub path: String,
    /// Dimensions of the parameter; none for a scalar.
    pub dims: Vec<usize>,
    /// Axis of the output channel, 0 or 1; 0 where nothing is compressed.
    pub output_axis: usize,
    /// Groups of a transposed convolution; 1 of anything else, for its rows do not depend on them.
    pub groups: usize,
    /// The content.
    pub payload: Payload,
}

impl Entry {
    /// The tensor as a matrix of output channels. Fails with [`FormatError::Tensor`] where its
    /// dimensions have no such axis or no such groups.
    pub fn view(&self) -> Result<WeightView, FormatError> {
        let view = WeightView::grouped(self.dims.clone(), self.output_axis, self.groups);
        view.map_err(|error| self.wrong(error))
    }

    /// Whether the content fits the dimensions. Fails with [`FormatError::Tensor`] where it does not.
    /// Whether [`Payload::SameAs`] fits, [`Archive::check`](super::Archive::check) tells.
    pub fn check(&self) -> Result<(), FormatError> {
        match &self.payload {
            Payload::Dense(dense) => {
                let size = dense.element.size();
                let bytes = self
                    .dims
                    .iter()
                    .try_fold(size, |product, &dim| product.checked_mul(dim));
                if bytes != Some(dense.bytes.len()) {
                    return Err(self.wrong(format!(
                        "{} bytes are not elements of {size} bytes in dimensions {:?}",
                        dense.bytes.len(),
                        self.dims
                    )));
                }
                if dense.element == ElementType::Bool
                    && let Some(byte) = dense.bytes.iter().find(|byte| **byte > 1)
                {
                    return Err(self.wrong(format!("{byte} is neither true nor false")));
                }
                Ok(())
            }
            Payload::Sparse(values) => match self.view()?.len() {
                weights if weights == values.len() => Ok(()),
                weights => {
                    Err(self.wrong(format!("{} values for {weights} weights", values.len())))
                }
            },
            Payload::Quantized(weight) => {
                let fits = weight.check(&self.view()?);
                fits.map_err(|error| self.wrong(error))
            }
            // By the archive, which has the other one.
            Payload::SameAs(_) => Ok(()),
        }
    }

    pub(super) fn wrong(&self, what: impl ToString) -> FormatError {
        FormatError::tensor(&self.path, what.to_string())
    }
}

//! The inputs that a reconstruction sees.

use burn::tensor::{Device, Tensor};

use super::{ReconstructError, Reconstruction};
use crate::graph::{AnyTensor, any};

/// Batches on a device; fails where they show nothing.
pub(super) fn checked<const D: usize>(
    batches: impl IntoIterator<Item = Tensor<D>>,
    device: &Device,
) -> Result<Vec<AnyTensor>, ReconstructError> {
    let batches = batches.into_iter();
    let batches = batches.map(|batch| any(batch.without_autodiff().to_device(device)));
    let batches: Vec<AnyTensor> = batches.collect::<Result<_, _>>()?;
    let found = batches
        .iter()
        .map(|batch| batch.dims().first().copied().unwrap_or(0));
    let found: usize = found.sum();
    let least = Reconstruction::LEAST_INPUTS;
    if found < least {
        return Err(ReconstructError::Inputs { found, least });
    }
    let mut first: Vec<f32> = Vec::new();
    let mut differ = false;
    for batch in &batches {
        let samples = batch.dims().first().copied().unwrap_or(0).max(1);
        let values = batch.clone().read("an input")?;
        if values.iter().any(|value| !value.is_finite()) {
            let place = "an input".to_string();
            return Err(ReconstructError::NotFinite { place });
        }
        for sample in values.chunks((values.len() / samples).max(1)) {
            match first.is_empty() {
                true => first.extend_from_slice(sample),
                false => differ |= first != sample,
            }
        }
    }
    match differ {
        true => Ok(batches),
        false => Err(ReconstructError::Constant { found }),
    }
}

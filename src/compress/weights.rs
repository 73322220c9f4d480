//! Weights in the processor's memory.

use burn::module::Module;
use burn::tensor::Tensor;

use super::edit::read;
use super::{CompressError, Layer};

// Weights checked at a time.
const PIECE: usize = 1 << 19;

/// The stored weights of these layers, each in rows (`[out, in * kernel]`). Reads from the device.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::compress::{layers, weights};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let layers = layers(&model)?;
/// assert_eq!(weights(&model, &layers[..1])?[0].len(), 8);
/// # Ok::<(), burn_compress::compress::CompressError>(())
/// ```
pub fn weights<M: Module>(module: &M, layers: &[Layer]) -> Result<Vec<Vec<f32>>, CompressError> {
    let parts = layers.iter().zip(read(module, layers)?);
    parts
        .map(|(layer, parts)| host(layer, parts.base))
        .collect()
}

// Whether there is a weight other than zero. Fails where there is none at all, or one that is not
// finite.
pub(super) fn check_weights(layer: &Layer, rows: &Tensor<2>) -> Result<bool, CompressError> {
    if layer.view.is_empty() {
        return Err(CompressError::EmptyLayer {
            layer: layer.path.clone(),
            dims: layer.view.dims().to_vec(),
        });
    }
    let count = layer.view.len();
    let flat = rows.clone().reshape([count]);
    let mut trained = false;
    // Piece by piece: new memory for all of a large layer takes longer than the check.
    for start in (0..count).step_by(PIECE) {
        let piece = flat.clone().narrow(0, start, PIECE.min(count - start));
        let values = host(layer, piece)?;
        if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
            return Err(CompressError::NotFinite {
                layer: layer.path.clone(),
                value,
            });
        }
        trained |= values.iter().any(|value| *value != 0.0);
    }
    Ok(trained)
}

// A layer's values in the processor's memory.
pub(super) fn host<const D: usize>(
    layer: &Layer,
    tensor: Tensor<D>,
) -> Result<Vec<f32>, CompressError> {
    host_of(&layer.path, tensor)
}

pub(super) fn host_of<const D: usize>(
    path: &str,
    tensor: Tensor<D>,
) -> Result<Vec<f32>, CompressError> {
    tensor
        .try_into_vec_as::<f32>()
        .map_err(|error| CompressError::Device {
            layer: path.to_string(),
            reason: error.to_string(),
        })
}

//! Weights in the processor's memory.

use burn::module::Module;
use burn::tensor::Tensor;

use super::edit::read;
use super::{AttachError, Layer};

// Weights checked at a time.
const PIECE: usize = 1 << 19;

/// The stored weights of these layers, each in rows (`[out, in * kernel]`). Reads from the device.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::attach::{layers, weights};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let layers = layers(&model)?;
/// assert_eq!(weights(&model, &layers[..1])?[0].len(), 8);
/// # Ok::<(), burn_compress::attach::AttachError>(())
/// ```
pub fn weights<M: Module>(module: &M, layers: &[Layer]) -> Result<Vec<Vec<f32>>, AttachError> {
    let parts = layers.iter().zip(read(module, layers)?);
    parts
        .map(|(layer, parts)| host(layer, parts.base))
        .collect()
}

pub(super) fn check_weights(
    layer: &Layer,
    rows: &Tensor<2>,
    pruned_before: bool,
) -> Result<(), AttachError> {
    let path = || layer.path.clone();
    if layer.view.is_empty() {
        return Err(AttachError::EmptyLayer {
            layer: path(),
            dims: layer.view.dims().to_vec(),
        });
    }
    let count = layer.view.len();
    let flat = rows.clone().reshape([count]);
    let mut first = None;
    let mut constant = count > 1;
    // Piece by piece: new memory for all of a large layer takes longer than the check.
    for start in (0..count).step_by(PIECE) {
        let piece = flat.clone().narrow(0, start, PIECE.min(count - start));
        for value in host(layer, piece)? {
            if !value.is_finite() {
                return Err(AttachError::NotFinite {
                    layer: path(),
                    value,
                });
            }
            constant &= value == *first.get_or_insert(value);
        }
    }
    match first {
        // Pruning under one threshold may have emptied a layer of small weights.
        Some(value) if constant && !(pruned_before && value == 0.0) => {
            Err(AttachError::ConstantLayer {
                layer: path(),
                value,
            })
        }
        _ => Ok(()),
    }
}

// A layer's values in the processor's memory.
pub(super) fn host<const D: usize>(
    layer: &Layer,
    tensor: Tensor<D>,
) -> Result<Vec<f32>, AttachError> {
    tensor
        .try_into_vec_as::<f32>()
        .map_err(|error| AttachError::Device {
            layer: layer.path.clone(),
            reason: error.to_string(),
        })
}

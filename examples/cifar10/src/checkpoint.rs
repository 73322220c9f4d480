//! Weights of PyTorch.

use std::path::{Path, PathBuf};

use burn::store::{ModuleSnapshot, PytorchStore};
use burn::tensor::Device;

use crate::models::resnet::{Depth, ResNet};

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Depth(#[from] Depth),
    #[error("the weights {path} cannot be loaded into a ResNet-{depth}: {reason}")]
    Checkpoint {
        path: PathBuf,
        depth: usize,
        reason: String,
    },
}

/// A network with the weights of a PyTorch checkpoint: all of them, or an error.
pub fn load(depth: usize, path: &Path, device: &Device) -> Result<ResNet, LoadError> {
    let mut model = ResNet::new(depth, device)?;
    let failed = |reason: String| LoadError::Checkpoint {
        path: path.to_owned(),
        depth,
        reason,
    };
    let mut store = PytorchStore::from_file(path)
        .with_top_level_key("state_dict")
        .with_key_remapping(r"^module\.", "")
        .allow_partial(true);
    let result = model
        .load_from(&mut store)
        .map_err(|error| failed(error.to_string()))?;
    let missing: Vec<_> = result.missing.into_iter().map(|(path, _)| path).collect();
    // Counts of training steps, which Burn's batch norm does not keep.
    let unused: Vec<_> = (result.unused.into_iter())
        .filter(|path| !path.ends_with("num_batches_tracked"))
        .collect();
    if !missing.is_empty() {
        return Err(failed(format!("it lacks {}", listed(missing))));
    }
    if !unused.is_empty() {
        let unused = listed(unused);
        return Err(failed(format!("the network has no place for {unused}")));
    }
    Ok(model)
}

/// The first names of a list, and how many more it has.
fn listed(mut names: Vec<String>) -> String {
    names.sort();
    let more = names.len().saturating_sub(3);
    names.truncate(3);
    let first = names.join(", ");
    match more {
        0 => first,
        _ => format!("{first} and {more} more tensors"),
    }
}

//! What the examples share.

#![allow(dead_code)] // no example uses all of it

pub mod bars;
pub mod cnn;
pub mod device;
pub mod digits;
pub mod evaluate;
pub mod show;
pub mod workload;

use std::path::Path;
use std::{fs, io};

use burn::tensor::{Device, Int, Tensor};

/// Labelled images that fit in memory.
#[allow(clippy::len_without_is_empty, reason = "no set of images is empty")]
pub trait Dataset {
    fn len(&self) -> usize;

    /// The images at `indices` and their labels.
    fn batch(&self, indices: &[usize], device: &Device) -> (Tensor<4>, Tensor<1, Int>);
}

/// Removes the finished trials of a study, and nothing else, from its folder.
pub fn forget(folder: &Path) -> io::Result<()> {
    for file in ["recipe.json", "sensitivity.json"] {
        let path = folder.join(file);
        if path.exists() {
            fs::remove_file(path)?;
        }
    }
    let trials = folder.join("trials");
    match trials.exists() {
        true => fs::remove_dir_all(trials),
        false => Ok(()),
    }
}

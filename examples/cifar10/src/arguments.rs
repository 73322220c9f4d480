//! What the programs on CIFAR-10's ResNets ask for alike.

use std::error::Error;
use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;

use crate::checkpoint;
use crate::cifar::{Cifar, CifarError};
use crate::models::resnet::ResNet;
use crate::support::device::Backend;

#[derive(Args)]
pub struct ResNetArguments {
    /// Folder of data_batch_1.bin to 5 and test_batch.bin, or the same with .xz
    #[arg(long)]
    pub data: PathBuf,
    /// PyTorch checkpoint of the original (.th)
    #[arg(long)]
    pub weights: PathBuf,
    /// 20, 32, 44 or 56
    #[arg(long, default_value_t = 20)]
    pub depth: usize,
    /// Scores on the first images only
    #[arg(long)]
    pub test_images: Option<usize>,
    /// Where it runs
    #[arg(long, value_enum, default_value_t)]
    pub device: Backend,
}

impl ResNetArguments {
    /// The device, and the original network on it.
    pub fn network(&self) -> Result<(Device, ResNet), Box<dyn Error>> {
        let device = self.device.device()?;
        let network = checkpoint::load(self.depth, &self.weights, &device)?;
        Ok((device, network))
    }

    /// The first images of the training set, and the test set.
    pub fn images(&self, train_images: Option<usize>) -> Result<(Cifar, Cifar), CifarError> {
        Cifar::load(&self.data, train_images, self.test_images)
    }
}

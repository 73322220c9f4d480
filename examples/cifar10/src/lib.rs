//! CIFAR-10 and its ResNets, for the programs in `src/bin`.

pub mod arguments;
pub mod channels;
pub mod checkpoint;
pub mod cifar;
pub mod deployed;
#[path = "../../models/mod.rs"]
pub mod models;
pub mod reconstruct;
pub mod search;
#[path = "../../support/mod.rs"]
pub mod support;

use burn::tensor::{Device, Int, Tensor};
use rand::Rng;

use cifar::Cifar;
use models::resnet::ResNet;
use support::workload::{Augmented, Classifier};

impl Classifier for ResNet {
    fn classify(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward(images)
    }
}

impl Augmented for Cifar {
    fn augmented(
        &self,
        indices: &[usize],
        rng: &mut impl Rng,
        device: &Device,
    ) -> (Tensor<4>, Tensor<1, Int>) {
        self.batch_augmented(indices, rng, device)
    }
}

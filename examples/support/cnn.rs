//! A small convolutional network for the digits.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
pub struct Cnn {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Conv2d,
    bn3: BatchNorm,
    linear: Linear,
}

impl Cnn {
    pub fn new(device: &Device) -> Self {
        Self {
            conv1: conv(1, 16, 1, device),
            bn1: BatchNormConfig::new(16).init(device),
            conv2: conv(16, 32, 2, device),
            bn2: BatchNormConfig::new(32).init(device),
            conv3: conv(32, 64, 1, device),
            bn3: BatchNormConfig::new(64).init(device),
            linear: LinearConfig::new(64 * 4 * 4, 10).init(device),
        }
    }

    /// Scores `[n, 10]` of images `[n, 1, 8, 8]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.bn1.forward(self.conv1.forward(images)));
        let x = relu(self.bn2.forward(self.conv2.forward(x)));
        let x = relu(self.bn3.forward(self.conv3.forward(x)));
        self.linear.forward(x.flatten(1, 3))
    }
}

/// A 3x3 convolution without bias, which batch norm makes redundant.
fn conv(from: usize, to: usize, stride: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([from, to], [3, 3])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_bias(false)
        .init(device)
}

//! The ResNets of He et al. for CIFAR-10, with parameter-free shortcuts ("option A").
//!
//! Fields bear the names of Yerlan Idelbayev's PyTorch version.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor, s};

#[derive(Debug, thiserror::Error)]
#[error("no ResNet for CIFAR-10 has the depth {0}; expected 20, 32, 44 or 56")]
pub struct Depth(usize);

#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    linear: Linear,
}

impl ResNet {
    /// A network with fresh weights.
    pub fn new(depth: usize, device: &Device) -> Result<Self, Depth> {
        if !matches!(depth, 20 | 32 | 44 | 56) {
            return Err(Depth(depth));
        }
        let blocks = (depth - 2) / 6;
        let layer = |from: usize, to: usize| -> Vec<Block> {
            (0..blocks)
                .map(|i| Block::new(if i == 0 { from } else { to }, to, device))
                .collect()
        };
        Ok(Self {
            conv1: conv(3, 16, 1, device),
            bn1: BatchNormConfig::new(16).init(device),
            layer1: layer(16, 16),
            layer2: layer(16, 32),
            layer3: layer(32, 64),
            linear: LinearConfig::new(64, 10).init(device),
        })
    }

    /// Scores `[n, 10]` of images `[n, 3, 32, 32]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = relu(self.bn1.forward(self.conv1.forward(images)));
        for block in (self.layer1.iter()).chain(&self.layer2).chain(&self.layer3) {
            x = block.forward(x);
        }
        self.linear
            .forward(adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3))
    }
}

#[derive(Module, Debug)]
pub struct Block {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
}

impl Block {
    fn new(from: usize, to: usize, device: &Device) -> Self {
        Self {
            conv1: conv(from, to, to / from, device),
            bn1: BatchNormConfig::new(to).init(device),
            conv2: conv(to, to, 1, device),
            bn2: BatchNormConfig::new(to).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = relu(self.bn1.forward(self.conv1.forward(x.clone())));
        let y = self.bn2.forward(self.conv2.forward(y));
        let channels = y.dims()[1];
        let shortcut = if x.dims()[1] == channels {
            x
        } else {
            // Padded first: libtorch's gradient of a strided slice wants contiguous values.
            let [n, c, h, w] = x.dims();
            let zeros = Tensor::zeros([n, (channels - c) / 2, h, w], &x.device());
            Tensor::cat(vec![zeros.clone(), x, zeros], 1).slice(s![.., .., ..;2, ..;2])
        };
        relu(y + shortcut)
    }
}

/// A 3x3 convolution without bias.
fn conv(from: usize, to: usize, stride: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([from, to], [3, 3])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_bias(false)
        .init(device)
}

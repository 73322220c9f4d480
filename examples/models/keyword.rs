//! Keyword spotting on 49 frames of 10 cepstral coefficients, a second of sound.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig1d, PaddingConfig2d,
};
use burn::tensor::activation::relu;
use burn::tensor::module::{adaptive_avg_pool1d, adaptive_avg_pool2d};
use burn::tensor::{Device, Tensor};

use super::{conv, conv_in_groups};

/// The depthwise-separable network of Zhang et al. 2017 ("Hello Edge"), small size, as in MLPerf Tiny.
#[derive(Config, Debug)]
pub struct DsCnnConfig {
    #[config(default = 12)]
    pub num_classes: usize,
    #[config(default = 64)]
    pub width: usize,
    #[config(default = 4)]
    pub blocks: usize,
}

#[derive(Module, Debug)]
pub struct DsCnn {
    pub conv: Conv2d,
    pub norm: BatchNorm,
    pub blocks: Vec<Separable>,
    pub head: Linear,
}

/// A depthwise convolution, then one that mixes the channels.
#[derive(Module, Debug)]
pub struct Separable {
    pub depthwise: Conv2d,
    pub norm1: BatchNorm,
    pub pointwise: Conv2d,
    pub norm2: BatchNorm,
}

impl DsCnnConfig {
    pub fn init(&self, device: &Device) -> DsCnn {
        let width = self.width;
        let norm = || BatchNormConfig::new(width).init(device);
        let block = |_| Separable {
            depthwise: conv_in_groups([width, width], 3, 1, width, device),
            norm1: norm(),
            pointwise: conv([width, width], 1, 1, device),
            norm2: norm(),
        };
        DsCnn {
            // Other padding at the start than at the end.
            conv: Conv2dConfig::new([1, width], [10, 4])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Same)
                .with_bias(false)
                .init(device),
            norm: norm(),
            blocks: (0..self.blocks).map(block).collect(),
            head: LinearConfig::new(width, self.num_classes).init(device),
        }
    }
}

impl DsCnn {
    /// Scores `[n, num_classes]` of `[n, 1, 49, 10]`.
    pub fn forward(&self, frames: Tensor<4>) -> Tensor<2> {
        let mut x = relu(self.norm.forward(self.conv.forward(frames)));
        for block in &self.blocks {
            x = relu(block.norm1.forward(block.depthwise.forward(x)));
            x = relu(block.norm2.forward(block.pointwise.forward(x)));
        }
        self.head
            .forward(adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3))
    }
}

/// Convolutions along time alone, the coefficients as channels; residual, after Choi et al. 2019
/// ("Temporal Convolution for Real-time Keyword Spotting").
#[derive(Config, Debug)]
pub struct TemporalConfig {
    #[config(default = 10)]
    pub coefficients: usize,
    #[config(default = 12)]
    pub num_classes: usize,
    /// Channels of the first convolution, then of each block, which halves the length.
    #[config(default = "vec![16, 24, 32]")]
    pub widths: Vec<usize>,
}

#[derive(Module, Debug)]
pub struct Temporal {
    pub conv: Conv1d,
    pub blocks: Vec<TemporalBlock>,
    pub head: Linear,
}

#[derive(Module, Debug)]
pub struct TemporalBlock {
    pub conv1: Conv1d,
    pub norm1: BatchNorm,
    pub conv2: Conv1d,
    pub norm2: BatchNorm,
    pub shortcut: Conv1d,
    pub norm3: BatchNorm,
}

impl TemporalConfig {
    pub fn init(&self, device: &Device) -> Temporal {
        let conv = |from, to, kernel: usize, stride| {
            Conv1dConfig::new(from, to, kernel)
                .with_stride(stride)
                .with_padding(PaddingConfig1d::Explicit(kernel / 2, kernel / 2))
                .with_bias(false)
                .init(device)
        };
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let blocks = self.widths.windows(2).map(|pair| TemporalBlock {
            conv1: conv(pair[0], pair[1], 9, 2),
            norm1: norm(pair[1]),
            conv2: conv(pair[1], pair[1], 9, 1),
            norm2: norm(pair[1]),
            shortcut: conv(pair[0], pair[1], 1, 2),
            norm3: norm(pair[1]),
        });
        let first = self.widths.first().copied().unwrap_or(self.coefficients);
        let last = self.widths.last().copied().unwrap_or(first);
        Temporal {
            conv: conv(self.coefficients, first, 3, 1),
            blocks: blocks.collect(),
            head: LinearConfig::new(last, self.num_classes).init(device),
        }
    }
}

impl Temporal {
    /// Scores `[n, num_classes]` of `[n, coefficients, frames]`.
    pub fn forward(&self, frames: Tensor<3>) -> Tensor<2> {
        let mut x = self.conv.forward(frames);
        for block in &self.blocks {
            let y = relu(block.norm1.forward(block.conv1.forward(x.clone())));
            let y = block.norm2.forward(block.conv2.forward(y));
            let shortcut = relu(block.norm3.forward(block.shortcut.forward(x)));
            x = relu(y + shortcut);
        }
        self.head.forward(adaptive_avg_pool1d(x, 1).flatten(1, 2))
    }
}

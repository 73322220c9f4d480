//! A small U-Net (Ronneberger et al. 2015), padded, with batch norm.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::interpolate::{Interpolate2d, Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::conv;

#[derive(Config, Debug)]
pub struct UNetConfig {
    /// Channels of the image.
    #[config(default = 3)]
    pub inputs: usize,
    #[config(default = 2)]
    pub num_classes: usize,
    /// Channels at full size; twice as many at each halving.
    #[config(default = 16)]
    pub width: usize,
    /// Halvings.
    #[config(default = 3)]
    pub depth: usize,
    /// Enlarges by interpolation, not by transposed convolution.
    #[config(default = false)]
    pub bilinear: bool,
}

#[derive(Module, Debug)]
pub struct UNet {
    /// From full size down.
    pub down: Vec<Double>,
    pub bottom: Double,
    /// From the bottom up.
    pub up: Vec<Up>,
    pub head: Conv2d,
    pub pool: MaxPool2d,
}

impl UNetConfig {
    pub fn init(&self, device: &Device) -> UNet {
        let width = |level: usize| self.width << level;
        let down = (0..self.depth).map(|level| match level {
            0 => Double::new(self.inputs, width(0), device),
            _ => Double::new(width(level - 1), width(level), device),
        });
        let up = (0..self.depth).rev().map(|level| {
            let (from, to) = (width(level + 1), width(level));
            Up {
                enlarge: Enlarge::new(from, to, self.bilinear, device),
                double: Double::new(2 * to, to, device),
            }
        });
        let above = match self.depth {
            0 => self.inputs,
            depth => width(depth - 1),
        };
        UNet {
            down: down.collect(),
            bottom: Double::new(above, width(self.depth), device),
            up: up.collect(),
            head: Conv2dConfig::new([self.width, self.num_classes], [1, 1]).init(device),
            pool: MaxPool2dConfig::new([2, 2]).init(),
        }
    }
}

impl UNet {
    /// Scores `[n, num_classes, height, width]` of images `[n, inputs, height, width]`, whose height and
    /// width can be halved as often as the network is deep.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let mut kept = Vec::with_capacity(self.down.len());
        let mut x = images;
        for double in &self.down {
            let y = double.forward(x);
            x = self.pool.forward(y.clone());
            kept.push(y);
        }
        x = self.bottom.forward(x);
        for (up, beside) in self.up.iter().zip(kept.into_iter().rev()) {
            let x_up = up.enlarge.forward(x);
            x = up.double.forward(Tensor::cat(vec![beside, x_up], 1));
        }
        self.head.forward(x)
    }
}

/// Two convolutions.
#[derive(Module, Debug)]
pub struct Double {
    pub conv1: Conv2d,
    pub norm1: BatchNorm,
    pub conv2: Conv2d,
    pub norm2: BatchNorm,
}

impl Double {
    fn new(from: usize, to: usize, device: &Device) -> Self {
        Self {
            conv1: conv([from, to], 3, 1, device),
            norm1: BatchNormConfig::new(to).init(device),
            conv2: conv([to, to], 3, 1, device),
            norm2: BatchNormConfig::new(to).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.norm1.forward(self.conv1.forward(x)));
        relu(self.norm2.forward(self.conv2.forward(x)))
    }
}

#[derive(Module, Debug)]
pub struct Up {
    pub enlarge: Enlarge,
    pub double: Double,
}

/// Doubles height and width.
#[derive(Module, Debug)]
pub enum Enlarge {
    Transposed(ConvTranspose2d),
    Bilinear(Bilinear),
}

impl Enlarge {
    fn new(from: usize, to: usize, bilinear: bool, device: &Device) -> Self {
        match bilinear {
            false => Self::Transposed(
                ConvTranspose2dConfig::new([from, to], [2, 2])
                    .with_stride([2, 2])
                    .init(device),
            ),
            true => Self::Bilinear(Bilinear {
                interpolate: Interpolate2dConfig::new()
                    .with_scale_factor(Some([2.0, 2.0]))
                    .with_mode(InterpolateMode::Linear)
                    .with_align_corners(false)
                    .init(),
                conv: conv([from, to], 1, 1, device),
            }),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Transposed(transposed) => transposed.forward(x),
            Self::Bilinear(bilinear) => bilinear.conv.forward(bilinear.interpolate.forward(x)),
        }
    }
}

/// Interpolation, then a convolution that halves the channels.
#[derive(Module, Debug)]
pub struct Bilinear {
    pub interpolate: Interpolate2d,
    pub conv: Conv2d,
}

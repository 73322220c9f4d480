//! Networks made of Burn's own layers: what the graph is tested on, and examples to start from.
#![allow(dead_code, reason = "no example uses all of them")]

pub mod keyword;
pub mod mlp;
pub mod mobilenet;
pub mod resnet;
pub mod resnet50;
pub mod unet;
pub mod vgg;
pub mod vit;

use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::Device;

/// A square convolution without bias that keeps height and width, but for its stride.
fn conv(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Conv2d {
    conv_in_groups(channels, kernel, stride, 1, device)
}

/// The same in groups; as many as channels make it depthwise.
fn conv_in_groups(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    device: &Device,
) -> Conv2d {
    let side = kernel / 2;
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(side, side, side, side))
        .with_groups(groups)
        .with_bias(false)
        .init(device)
}

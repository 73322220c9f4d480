//! ResNet-50 for ImageNet (He et al. 2015), the stride in the 3x3 convolution as in torchvision, whose
//! names the fields bear (`downsample.0` and `.1` are `conv` and `norm` here).

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};

use super::conv;

/// How much wider a bottleneck's output is than its middle.
const EXPANSION: usize = 4;

#[derive(Config, Debug)]
pub struct ResNet50Config {
    #[config(default = 1000)]
    pub num_classes: usize,
}

#[derive(Module, Debug)]
pub struct ResNet50 {
    pub conv1: Conv2d,
    pub bn1: BatchNorm,
    pub maxpool: MaxPool2d,
    pub layer1: Vec<Bottleneck>,
    pub layer2: Vec<Bottleneck>,
    pub layer3: Vec<Bottleneck>,
    pub layer4: Vec<Bottleneck>,
    pub fc: Linear,
}

impl ResNet50Config {
    pub fn init(&self, device: &Device) -> ResNet50 {
        let layer = |from: usize, width: usize, blocks: usize, stride: usize| {
            let to = EXPANSION * width;
            let block = |index| match index {
                0 => Bottleneck::new(from, width, stride, device),
                _ => Bottleneck::new(to, width, 1, device),
            };
            (0..blocks).map(block).collect()
        };
        ResNet50 {
            conv1: conv([3, 64], 7, 2, device),
            bn1: BatchNormConfig::new(64).init(device),
            maxpool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            layer1: layer(64, 64, 3, 1),
            layer2: layer(256, 128, 4, 2),
            layer3: layer(512, 256, 6, 2),
            layer4: layer(1024, 512, 3, 2),
            fc: LinearConfig::new(2048, self.num_classes).init(device),
        }
    }
}

impl ResNet50 {
    /// Scores `[n, num_classes]` of images `[n, 3, height, width]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.bn1.forward(self.conv1.forward(images)));
        let mut x = self.maxpool.forward(x);
        for layer in [&self.layer1, &self.layer2, &self.layer3, &self.layer4] {
            x = layer.iter().fold(x, |x, block| block.forward(x));
        }
        self.fc
            .forward(adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3))
    }
}

#[derive(Module, Debug)]
pub struct Bottleneck {
    pub conv1: Conv2d,
    pub bn1: BatchNorm,
    pub conv2: Conv2d,
    pub bn2: BatchNorm,
    pub conv3: Conv2d,
    pub bn3: BatchNorm,
    pub downsample: Option<Downsample>,
}

impl Bottleneck {
    fn new(from: usize, width: usize, stride: usize, device: &Device) -> Self {
        let to = EXPANSION * width;
        Self {
            conv1: conv([from, width], 1, 1, device),
            bn1: BatchNormConfig::new(width).init(device),
            conv2: conv([width, width], 3, stride, device),
            bn2: BatchNormConfig::new(width).init(device),
            conv3: conv([width, to], 1, 1, device),
            bn3: BatchNormConfig::new(to).init(device),
            downsample: (from != to || stride != 1).then(|| Downsample {
                conv: conv([from, to], 1, stride, device),
                norm: BatchNormConfig::new(to).init(device),
            }),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = relu(self.bn1.forward(self.conv1.forward(x.clone())));
        let y = relu(self.bn2.forward(self.conv2.forward(y)));
        let y = self.bn3.forward(self.conv3.forward(y));
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.norm.forward(downsample.conv.forward(x)),
            None => x,
        };
        relu(y + shortcut)
    }
}

#[derive(Module, Debug)]
pub struct Downsample {
    pub conv: Conv2d,
    pub norm: BatchNorm,
}

//! VGG-16 (Simonyan and Zisserman 2014) with batch norm.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d,
};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Channels of the convolutions between poolings.
const STAGES: [&[usize]; 5] = [
    &[64, 64],
    &[128, 128],
    &[256, 256, 256],
    &[512, 512, 512],
    &[512, 512, 512],
];

#[derive(Config, Debug)]
pub struct Vgg16Config {
    #[config(default = 1000)]
    pub num_classes: usize,
    /// Features of the two hidden linear layers.
    #[config(default = 4096)]
    pub hidden: usize,
    /// Height and width that the linear layers see, whatever the image's.
    #[config(default = 7)]
    pub pooled: usize,
    #[config(default = 0.5)]
    pub dropout: f64,
}

#[derive(Module, Debug)]
pub struct Vgg16 {
    pub stages: Vec<Vec<ConvNorm>>,
    pub pool: MaxPool2d,
    pub average: AdaptiveAvgPool2d,
    pub hidden1: Linear,
    pub hidden2: Linear,
    pub head: Linear,
    pub dropout: Dropout,
}

/// A convolution, with a bias as in the paper, and its batch norm.
#[derive(Module, Debug)]
pub struct ConvNorm {
    pub conv: Conv2d,
    pub norm: BatchNorm,
}

impl Vgg16Config {
    pub fn init(&self, device: &Device) -> Vgg16 {
        let mut from = 3;
        let mut layer = |to: usize| {
            let conv = Conv2dConfig::new([from, to], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device);
            from = to;
            let norm = BatchNormConfig::new(to).init(device);
            ConvNorm { conv, norm }
        };
        let stages = STAGES.map(|stage| stage.iter().map(|&to| layer(to)).collect());
        let seen = 512 * self.pooled * self.pooled;
        let average = [self.pooled, self.pooled];
        Vgg16 {
            stages: stages.into(),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            average: AdaptiveAvgPool2dConfig::new(average).init(),
            hidden1: LinearConfig::new(seen, self.hidden).init(device),
            hidden2: LinearConfig::new(self.hidden, self.hidden).init(device),
            head: LinearConfig::new(self.hidden, self.num_classes).init(device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

impl Vgg16 {
    /// Scores `[n, num_classes]` of images `[n, 3, height, width]`, at least 32 pixels each way.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = images;
        for stage in &self.stages {
            for ConvNorm { conv, norm } in stage {
                x = relu(norm.forward(conv.forward(x)));
            }
            x = self.pool.forward(x);
        }
        let x = self.average.forward(x).flatten(1, 3);
        let x = self.dropout.forward(relu(self.hidden1.forward(x)));
        let x = self.dropout.forward(relu(self.hidden2.forward(x)));
        self.head.forward(x)
    }
}

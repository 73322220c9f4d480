//! MobileNetV2 (Sandler et al. 2018): inverted residuals with depthwise convolutions and ReLU6.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::activation::relu6;
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};

use super::conv_in_groups;

/// The paper's table 2: expansion, channels, blocks, stride of the first.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

#[derive(Config, Debug)]
pub struct MobileNetV2Config {
    #[config(default = 1000)]
    pub num_classes: usize,
    /// Scales the channels of all layers.
    #[config(default = 1.0)]
    pub width: f64,
    #[config(default = 0.2)]
    pub dropout: f64,
}

#[derive(Module, Debug)]
pub struct MobileNetV2 {
    pub stem: ConvNorm,
    pub blocks: Vec<InvertedResidual>,
    pub last: ConvNorm,
    pub dropout: Dropout,
    pub classifier: Linear,
}

impl MobileNetV2Config {
    pub fn init(&self, device: &Device) -> MobileNetV2 {
        let mut from = self.channels(32, self.width);
        let stem = ConvNorm::new([3, from], 3, 2, 1, device);
        let mut blocks = Vec::new();
        for (expansion, channels, count, stride) in STAGES {
            let to = self.channels(channels, self.width);
            for index in 0..count {
                let stride = if index == 0 { stride } else { 1 };
                blocks.push(InvertedResidual::new(from, to, stride, expansion, device));
                from = to;
            }
        }
        // Narrow networks keep the wide last layer.
        let last = self.channels(1280, self.width.max(1.0));
        MobileNetV2 {
            stem,
            blocks,
            last: ConvNorm::new([from, last], 1, 1, 1, device),
            dropout: DropoutConfig::new(self.dropout).init(),
            classifier: LinearConfig::new(last, self.num_classes).init(device),
        }
    }

    /// The multiple of 8 next to the scaled number, and not much below it.
    fn channels(&self, channels: usize, width: f64) -> usize {
        let scaled = channels as f64 * width;
        let rounded = (((scaled + 4.0) / 8.0) as usize * 8).max(8);
        match (rounded as f64) < 0.9 * scaled {
            true => rounded + 8,
            false => rounded,
        }
    }
}

impl MobileNetV2 {
    /// Scores `[n, num_classes]` of images `[n, 3, height, width]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu6(self.stem.forward(images));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let x = relu6(self.last.forward(x));
        let x = adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3);
        self.classifier.forward(self.dropout.forward(x))
    }
}

/// A convolution and its batch norm.
#[derive(Module, Debug)]
pub struct ConvNorm {
    pub conv: Conv2d,
    pub norm: BatchNorm,
}

impl ConvNorm {
    fn new(
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
        device: &Device,
    ) -> Self {
        Self {
            conv: conv_in_groups(channels, kernel, stride, groups, device),
            norm: BatchNormConfig::new(channels[1]).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}

#[derive(Module, Debug)]
pub struct InvertedResidual {
    /// None where the expansion is 1.
    pub expand: Option<ConvNorm>,
    pub depthwise: ConvNorm,
    pub project: ConvNorm,
    /// Whether the input is added to the output.
    pub residual: bool,
}

impl InvertedResidual {
    fn new(from: usize, to: usize, stride: usize, expansion: usize, device: &Device) -> Self {
        let middle = from * expansion;
        Self {
            expand: (expansion > 1).then(|| ConvNorm::new([from, middle], 1, 1, 1, device)),
            depthwise: ConvNorm::new([middle, middle], 3, stride, middle, device),
            project: ConvNorm::new([middle, to], 1, 1, 1, device),
            residual: from == to && stride == 1,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = match &self.expand {
            Some(expand) => relu6(expand.forward(x.clone())),
            None => x.clone(),
        };
        let y = relu6(self.depthwise.forward(y));
        let y = self.project.forward(y);
        if self.residual { x + y } else { y }
    }
}

//! A small vision transformer (Dosovitskiy et al. 2020).

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Gelu, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

#[derive(Config, Debug)]
pub struct VitConfig {
    /// Height and width of an image.
    #[config(default = 32)]
    pub image: usize,
    /// Height and width of a patch; divides the image's.
    #[config(default = 8)]
    pub patch: usize,
    /// Features of a token.
    #[config(default = 64)]
    pub width: usize,
    #[config(default = 4)]
    pub heads: usize,
    #[config(default = 4)]
    pub depth: usize,
    #[config(default = 10)]
    pub num_classes: usize,
    /// Reads the answer off a token of its own, not off the mean of all.
    #[config(default = true)]
    pub class_token: bool,
}

#[derive(Module, Debug)]
pub struct Vit {
    pub patches: Conv2d,
    pub class_token: Option<Param<Tensor<3>>>,
    pub positions: Param<Tensor<3>>,
    pub blocks: Vec<Block>,
    pub norm: LayerNorm,
    pub head: Linear,
}

/// Attention, then two linear layers, each on normalized tokens and added to them.
#[derive(Module, Debug)]
pub struct Block {
    pub norm1: LayerNorm,
    pub attention: MultiHeadAttention,
    pub norm2: LayerNorm,
    pub linear1: Linear,
    pub activation: Gelu,
    pub linear2: Linear,
}

impl VitConfig {
    pub fn init(&self, device: &Device) -> Vit {
        let width = self.width;
        let patches = (self.image / self.patch).pow(2);
        let tokens = patches + usize::from(self.class_token);
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let block = |_| Block {
            norm1: LayerNormConfig::new(width).init(device),
            attention: MultiHeadAttentionConfig::new(width, self.heads).init(device),
            norm2: LayerNormConfig::new(width).init(device),
            linear1: LinearConfig::new(width, 4 * width).init(device),
            activation: Gelu::new(),
            linear2: LinearConfig::new(4 * width, width).init(device),
        };
        let side = [self.patch, self.patch];
        Vit {
            patches: Conv2dConfig::new([3, width], side)
                .with_stride(side)
                .init(device),
            class_token: self.class_token.then(|| normal.init([1, 1, width], device)),
            positions: normal.init([1, tokens, width], device),
            blocks: (0..self.depth).map(block).collect(),
            norm: LayerNormConfig::new(width).init(device),
            head: LinearConfig::new(width, self.num_classes).init(device),
        }
    }
}

impl Vit {
    /// Scores `[n, num_classes]` of images `[n, 3, image, image]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x: Tensor<3> = self.patches.forward(images).flatten(2, 3).swap_dims(1, 2);
        let [batch, _, width] = x.dims();
        if let Some(token) = &self.class_token {
            x = Tensor::cat(vec![token.val().expand([batch, 1, width]), x], 1);
        }
        x = x + self.positions.val();
        for block in &self.blocks {
            x = block.forward(x);
        }
        let x = self.norm.forward(x);
        let x = match &self.class_token {
            Some(_) => x.narrow(1, 0, 1),
            None => x.mean_dim(1),
        };
        self.head.forward(x.reshape([batch, width]))
    }
}

impl Block {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let normed = MhaInput::self_attn(self.norm1.forward(x.clone()));
        let x = x + self.attention.forward(normed).context;
        let y = self.linear1.forward(self.norm2.forward(x.clone()));
        x + self.linear2.forward(self.activation.forward(y))
    }
}

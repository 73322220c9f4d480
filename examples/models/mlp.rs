//! A multilayer perceptron.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

#[derive(Config, Debug)]
pub struct MlpConfig {
    /// Features of the input.
    pub inputs: usize,
    /// Features of each hidden layer.
    pub hidden: Vec<usize>,
    pub num_classes: usize,
}

#[derive(Module, Debug)]
pub struct Mlp {
    pub hidden: Vec<Linear>,
    pub head: Linear,
}

impl MlpConfig {
    pub fn init(&self, device: &Device) -> Mlp {
        let mut from = self.inputs;
        let mut hidden = Vec::with_capacity(self.hidden.len());
        for &to in &self.hidden {
            hidden.push(LinearConfig::new(from, to).init(device));
            from = to;
        }
        Mlp {
            hidden,
            head: LinearConfig::new(from, self.num_classes).init(device),
        }
    }
}

impl Mlp {
    /// Scores `[n, num_classes]` of `[n, inputs]`.
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let layers = self.hidden.iter();
        let x = layers.fold(input, |x, layer| relu(layer.forward(x)));
        self.head.forward(x)
    }
}

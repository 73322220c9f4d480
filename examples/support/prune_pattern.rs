//! Magnitude pruning of each layer by itself, single weights or blocks of them, as ../shared/peers does it
//! for other engines.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use clap::ValueEnum;

/// What is removed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pattern {
    /// A single weight.
    Unstructured,
    /// Four neighbouring input channels at one place of a filter; fewer where a layer has fewer.
    Block4,
}

/// The module, this share of every weight with more than one axis zero: what has the least L1 norm.
pub fn pruned<M: Module>(module: M, sparsity: f64, pattern: Pattern) -> M {
    module.map(&mut Prune { sparsity, pattern })
}

struct Prune {
    sparsity: f64,
    pattern: Pattern,
}

impl ModuleMapper for Prune {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D < 2 {
            return param;
        }
        param.map(|weight| {
            let (device, dims) = (weight.device(), weight.dims());
            let data = weight.into_data();
            let mut values: Vec<f32> = data.iter::<f32>().collect();
            let blocks = self.blocks(&dims);
            let size = |block: &Vec<usize>| block.iter().map(|&at| values[at].abs()).sum::<f32>();
            let mut sizes: Vec<(f32, usize)> = blocks.iter().map(size).zip(0..).collect();
            sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
            sizes.truncate((sizes.len() as f64 * self.sparsity) as usize);
            for (_, block) in sizes {
                blocks[block].iter().for_each(|&at| values[at] = 0.0);
            }
            Tensor::from_data(TensorData::new(values, dims), &device)
        })
    }
}

impl Prune {
    // The places of the weights of each block.
    fn blocks(&self, dims: &[usize]) -> Vec<Vec<usize>> {
        let count = dims.iter().product();
        // A linear layer's are `[in, out]`, a convolution's `[out, in, …]`.
        let (inputs, apart) = match dims {
            [inputs, outputs] => (*inputs, *outputs),
            [_, inputs, kernel @ ..] => (*inputs, kernel.iter().product()),
            [..] => (1, 1),
        };
        let length = match self.pattern {
            Pattern::Unstructured => 1,
            Pattern::Block4 => inputs.min(4),
        };
        let firsts = (0..count).filter(|at| at / apart % inputs % length == 0);
        firsts
            .map(|first| {
                let left = inputs - first / apart % inputs;
                (0..length.min(left)).map(|k| first + k * apart).collect()
            })
            .collect()
    }
}

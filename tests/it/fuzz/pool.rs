//! Pools of one dimension and of two.

use burn::tensor::module::{
    adaptive_avg_pool1d, adaptive_avg_pool2d, avg_pool1d, avg_pool2d, max_pool1d, max_pool2d,
};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};

use super::any::Any;
use super::layer::{Padding, Two};

#[derive(Debug, Clone, PartialEq)]
pub enum Pool {
    Max {
        kernel: Two,
        stride: Two,
        dilation: Two,
        padding: Padding,
        ceil: bool,
    },
    Average {
        kernel: Two,
        stride: Two,
        padding: Padding,
        include: bool,
        ceil: bool,
    },
    Adaptive {
        output: Two,
    },
}

impl Pool {
    pub fn apply(&self, x: Any) -> Any {
        match (self, x) {
            (
                &Self::Max {
                    kernel: [_, kernel],
                    stride: [_, stride],
                    dilation: [_, dilation],
                    padding: [_, padding],
                    ceil,
                },
                Any::Three(x),
            ) => {
                let options = MaxPoolOptions::new([kernel])
                    .with_stride([stride])
                    .with_padding_pairs([padding])
                    .with_dilation([dilation])
                    .with_ceil_mode(ceil);
                Any::of(max_pool1d(x, options))
            }
            (
                &Self::Max {
                    kernel,
                    stride,
                    dilation,
                    padding,
                    ceil,
                },
                x,
            ) => {
                let options = MaxPoolOptions::new(kernel)
                    .with_stride(stride)
                    .with_padding_pairs(padding)
                    .with_dilation(dilation)
                    .with_ceil_mode(ceil);
                Any::of(max_pool2d(x.rank(), options))
            }
            (
                &Self::Average {
                    kernel: [_, kernel],
                    stride: [_, stride],
                    padding: [_, padding],
                    include,
                    ceil,
                },
                Any::Three(x),
            ) => {
                let options = AvgPoolOptions::new([kernel])
                    .with_stride([stride])
                    .with_padding_pairs([padding])
                    .with_count_include_pad(include)
                    .with_ceil_mode(ceil);
                Any::of(avg_pool1d(x, options))
            }
            (
                &Self::Average {
                    kernel,
                    stride,
                    padding,
                    include,
                    ceil,
                },
                x,
            ) => {
                let options = AvgPoolOptions::new(kernel)
                    .with_stride(stride)
                    .with_padding_pairs(padding)
                    .with_count_include_pad(include)
                    .with_ceil_mode(ceil);
                Any::of(avg_pool2d(x.rank(), options))
            }
            (Self::Adaptive { output }, Any::Three(x)) => {
                Any::of(adaptive_avg_pool1d(x, output[1]))
            }
            (Self::Adaptive { output }, x) => Any::of(adaptive_avg_pool2d(x.rank(), *output)),
        }
    }
}

//! Several images of so many channels that those read one by one lie line by line.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn_compress::engine::{Options, Program, TuningCache};
use burn_compress::graph::Graph;
use burn_compress::kernel::{Kernels, VectorBlock};
use burn_compress::network::Network;
use serde_json::json;

use super::backends::device::{device, leaves_out};
use super::backends::graph_models::randomized;
use super::backends::quantized::{How, input, quantized};
use super::runs::{images, isas, options};

/// Rows and columns of images: of large ones, of which sixteen do not begin together, and of small ones.
const LARGE: usize = 8 * POOLED;
const SMALL: usize = POOLED;
/// What the first pooling leaves of them, and the first layer of that.
const POOLED: usize = 42;
const TRUNK: usize = 14;
/// More than a first-level cache holds of as many positions as registers.
const CHANNELS: usize = 400;

/// Of a bottleneck: few, or more than a first-level cache holds in floats.
const NARROW: usize = 8;
const WIDE: usize = 68;

/// Two bottlenecks between tensors of many channels.
#[derive(Module, Debug)]
struct Trunk {
    pool: MaxPool2d,
    first: Conv2d,
    reduce: Conv2d,
    near: Conv2d,
    expand: Conv2d,
    reduce2: Conv2d,
    expand2: Conv2d,
    skip2: Conv2d,
    mean: AdaptiveAvgPool2d,
    linear: Linear,
}

impl Trunk {
    fn new(side: usize, within: usize, device: &Device) -> Self {
        let pool = [side / POOLED; 2];
        let conv = |channels: [usize; 2], kernel: usize, stride: usize| {
            let padding = kernel / 2;
            Conv2dConfig::new(channels, [kernel; 2])
                .with_stride([stride; 2])
                .with_padding(PaddingConfig2d::Explicit(
                    padding, padding, padding, padding,
                ))
                .init(device)
        };
        Self {
            pool: MaxPool2dConfig::new(pool).with_strides(pool).init(),
            first: conv([3, CHANNELS], 1, 3),
            reduce: conv([CHANNELS, 8], 1, 1),
            // No windows to transform, which would have to fill the lines of each thread.
            near: conv([8, within], 5, 1),
            expand: conv([within, CHANNELS], 1, 1),
            reduce2: conv([CHANNELS, 10], 1, 1),
            expand2: conv([10, 24], 1, 2),
            skip2: conv([CHANNELS, 24], 1, 2),
            mean: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            linear: LinearConfig::new(24, 5).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.first.forward(self.pool.forward(images)));
        let y = relu(self.near.forward(relu(self.reduce.forward(x.clone()))));
        let x = relu(self.expand.forward(y) + x);
        let y = relu(self.reduce2.forward(x.clone()));
        let x = relu(self.expand2.forward(y) + self.skip2.forward(x));
        self.linear.forward(self.mean.forward(x).flatten(1, 3))
    }
}

fn integers(side: usize) -> Network {
    let device = device();
    let batches = [input([2, 3, side, side], 5, &device)];
    let module = randomized(Trunk::new(side, NARROW, &device));
    let how = How::bits(8, 8).pruned(0.6);
    let (quantized, _) = quantized(module, how, Trunk::forward, &batches);
    quantized.to_integer().unwrap()
}

// Programs in which sixteen images go together from the pooled ones on, and from each later tensor that goes
// on alone: of few channels, of many.
fn splits(model: &Network, options: Options) -> Vec<Program> {
    let program = Program::compile(model, options).unwrap();
    let choices = serde_json::to_value(program.tuning_cache()).unwrap();
    let cut = choices["many"][0]["boundary"].as_u64().unwrap();
    let later = (1..7).map(|further| {
        let mut choices = choices.clone();
        choices["many"][0] = json!({ "samples": 16, "boundary": cut + further, "kernels": [] });
        let choices: TuningCache = serde_json::from_value(choices).unwrap();
        Program::compile_with(model, options, &choices).unwrap()
    });
    let splits: Vec<Program> = [program].into_iter().chain(later).collect();
    let converted = |program: &&Program| {
        let mut rows = program.layers(VectorBlock::LANES).iter();
        rows.any(|row| row.kernel == "layout conversion")
    };
    assert!(splits.iter().filter(converted).count() > 2);
    splits
}

// Lines of so many planes, each with a cell beside it, take more room than planes do.
fn assert_by_line(program: &Program, layer: &str, planes: usize) {
    let lines = planes * TRUNK * (TRUNK + 1);
    let mut rows = program.layers(VectorBlock::LANES).iter();
    let row = rows.find(|row| row.layer == layer).unwrap();
    assert!(row.bytes as usize > lines * VectorBlock::BYTES, "{row:?}");
}

#[test]
fn the_reference_bit_for_bit() {
    if leaves_out("the_reference_bit_for_bit") {
        return;
    }
    let model = integers(LARGE);
    let input = images(&model, 18, 1);
    let (expected, _) = model.run(&input, 18).unwrap();
    let best = Kernels::detect().isa();
    for isa in isas() {
        let threads: &[usize] = if isa == best { &[1, 2, 3] } else { &[2] };
        for &threads in threads {
            let programs = splits(&model, options(isa, threads));
            assert_by_line(&programs[0], "reduce", CHANNELS / 4);
            for program in programs {
                let found = program.run(&input, 18).unwrap();
                assert_eq!(found, expected, "{isa:?} {threads}");
            }
        }
    }
}

#[test]
fn all_layers_of_small_images() {
    if leaves_out("all_layers_of_small_images") {
        return;
    }
    let model = integers(SMALL);
    let input = images(&model, 18, 1);
    let (expected, _) = model.run(&input, 18).unwrap();
    for isa in isas() {
        for threads in [1, 2, 5] {
            let program = Program::compile(&model, options(isa, threads)).unwrap();
            assert_by_line(&program, "reduce", CHANNELS / 4);
            let found = program.run(&input, 18).unwrap();
            assert_eq!(found, expected, "{isa:?} {threads}");
        }
    }
}

#[test]
fn floats_too() {
    let device = device();
    let module = randomized(Trunk::new(LARGE, WIDE, &device));
    let graph = Graph::capture(&module, [1, 3, LARGE, LARGE], Trunk::forward).unwrap();
    let model = graph.simplify().to_float_model(&module).unwrap();
    let input = images(&model, 16, 3);
    let (expected, _) = model.run(&input, 16).unwrap();
    let programs = splits(&model, options(Kernels::detect().isa(), 2));
    // With 8 planes of 18 by 18 and the records, of either kind, it takes as much as 84.3 planes by plane.
    assert_by_line(&programs[0], "near", WIDE + 17);
    for program in programs {
        let found = program.run(&input, 16).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0));
        }
    }
}

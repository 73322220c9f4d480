//! A network whose tensors are large enough to lie line by line, so that threads share out lines.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{
    AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, AvgPool2d, AvgPool2dConfig, MaxPool2d,
    MaxPool2dConfig,
};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn_compress::engine::Program;
use burn_compress::graph::Graph;
use burn_compress::kernel::Kernels;
use burn_compress::network::Network;

use super::backends::device::{device, leaves_out};
use super::backends::graph_models::randomized;
use super::backends::quantized::{How, input, quantized};
use super::runs::{images, isas, options};

/// Rows and columns, of which tiles do not come out even.
const SIZES: [[usize; 2]; 2] = [[40, 37], [29, 51]];

/// Poolings and two bottlenecks between tensors of many channels, the second of which halves them.
#[derive(Module, Debug)]
struct Bottlenecks {
    first: Conv2d,
    greatest: MaxPool2d,
    smooth: AvgPool2d,
    reduce: Conv2d,
    near: Conv2d,
    depthwise: Conv2d,
    expand: Conv2d,
    reduce2: Conv2d,
    half: Conv2d,
    expand2: Conv2d,
    skip2: Conv2d,
    mean: AdaptiveAvgPool2d,
    linear: Linear,
}

impl Bottlenecks {
    fn new(device: &Device) -> Self {
        let conv = |channels: [usize; 2], kernel: usize, stride: usize, groups: usize| {
            let padding = kernel / 2;
            Conv2dConfig::new(channels, [kernel; 2])
                .with_stride([stride; 2])
                .with_groups(groups)
                .with_padding(PaddingConfig2d::Explicit(
                    padding, padding, padding, padding,
                ))
                .init(device)
        };
        Self {
            first: conv([3, 94], 3, 1, 1),
            greatest: MaxPool2dConfig::new([3, 3])
                .with_strides([1, 1])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            smooth: AvgPool2dConfig::new([3, 3])
                .with_strides([1, 1])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            reduce: conv([94, 8], 1, 1, 1),
            near: conv([8, 8], 3, 1, 1),
            depthwise: conv([8, 8], 5, 1, 8),
            expand: conv([8, 94], 1, 1, 1),
            reduce2: conv([94, 10], 1, 1, 1),
            half: conv([10, 10], 3, 2, 1),
            expand2: conv([10, 20], 1, 1, 1),
            skip2: conv([94, 20], 1, 2, 1),
            mean: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            linear: LinearConfig::new(20, 5).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.greatest.forward(relu(self.first.forward(images)));
        let x = self.smooth.forward(x);
        let y = relu(self.near.forward(relu(self.reduce.forward(x.clone()))));
        let y = relu(self.depthwise.forward(y));
        let x = relu(self.expand.forward(y) + x);
        let y = relu(self.half.forward(relu(self.reduce2.forward(x.clone()))));
        let x = relu(self.expand2.forward(y) + self.skip2.forward(x));
        self.linear.forward(self.mean.forward(x).flatten(1, 3))
    }
}

fn integers([rows, columns]: [usize; 2]) -> Network {
    let device = device();
    let batches = [input([2, 3, rows, columns], 5, &device)];
    let module = randomized(Bottlenecks::new(&device));
    let how = How::bits(8, 8).pruned(0.6);
    let (quantized, _) = quantized(module, how, Bottlenecks::forward, &batches);
    quantized.to_integer().unwrap()
}

// Whether threads share out lines: then what lies at a tile's upper and lower edge is made at once.
fn by_line(program: &Program) -> Vec<String> {
    let rows = program.layers(1).iter();
    let halos = rows.filter(|row| row.kernel == "halo" && row.layer != "input");
    halos.map(|row| row.layer.clone()).collect()
}

#[test]
fn the_reference_bit_for_bit() {
    if leaves_out("the_reference_bit_for_bit") {
        return;
    }
    for size in SIZES {
        let model = integers(size);
        let input = images(&model, 3, 1);
        let (expected, _) = model.run(&input, 3).unwrap();
        let each = expected.len() / 3;
        let best = Kernels::detect().isa();
        for isa in isas() {
            let threads: &[usize] = if isa == best { &[1, 2, 3, 5] } else { &[2] };
            for &threads in threads {
                let program = Program::compile(&model, options(isa, threads)).unwrap();
                let layers = by_line(&program);
                assert_eq!(layers.is_empty(), threads == 1, "{layers:?}");
                // A pooling too.
                let pooled = layers.iter().any(|layer| layer == "after first");
                assert_eq!(pooled, threads > 1, "{layers:?}");
                // Alone, and several that have a thread each.
                for batch in [1, 3] {
                    let input = &input[..input.len() / 3 * batch];
                    let found = program.run(input, batch).unwrap();
                    let expected = &expected[..each * batch];
                    assert_eq!(found, expected, "{isa:?} {threads} {batch} {size:?}");
                }
            }
        }
    }
}

#[test]
fn floats_too() {
    let device = device();
    let module = randomized(Bottlenecks::new(&device));
    let [rows, columns] = SIZES[0];
    let graph = Graph::capture(&module, [1, 3, rows, columns], Bottlenecks::forward).unwrap();
    let model = graph.simplify().to_float_model(&module).unwrap();
    let input = images(&model, 1, 3);
    let (expected, _) = model.run(&input, 1).unwrap();
    for isa in isas() {
        let run = |threads: usize| {
            let program = Program::compile(&model, options(isa, threads)).unwrap();
            assert_eq!(by_line(&program).is_empty(), threads == 1);
            program.run(&input, 1).unwrap()
        };
        let alone = run(1);
        for (found, expected) in alone.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0));
        }
        // The same sums in the same order, but for those that lie line by line.
        for (found, expected) in run(2).iter().zip(&alone) {
            assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0));
        }
    }
}

/// The first layer of an image so large that it is loaded line by line, with more lines of its halo above
/// than below, and that sixteen take a megabyte, which is asked for in huge pages.
#[derive(Module, Debug)]
struct Stem {
    first: Conv2d,
    mean: AdaptiveAvgPool2d,
    linear: Linear,
}

impl Stem {
    fn new(device: &Device) -> Self {
        Self {
            first: Conv2dConfig::new([3, 8], [7, 7])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(3, 3, 3, 3))
                .init(device),
            mean: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            linear: LinearConfig::new(8, 5).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.mean.forward(relu(self.first.forward(images)));
        self.linear.forward(x.flatten(1, 3))
    }
}

#[test]
fn an_input_by_line() {
    if leaves_out("an_input_by_line") {
        return;
    }
    let device = device();
    let batches = [input([2, 3, 120, 128], 7, &device)];
    let module = randomized(Stem::new(&device));
    let how = How::bits(8, 8).pruned(0.6);
    let (quantized, _) = quantized(module, how, Stem::forward, &batches);
    let model = quantized.to_integer().unwrap();
    let input = images(&model, 17, 1);
    let (expected, _) = model.run(&input, 17).unwrap();
    let (each, made) = (input.len() / 17, expected.len() / 17);
    for isa in isas() {
        for threads in [1, 2, 3, 5] {
            let program = Program::compile(&model, options(isa, threads)).unwrap();
            let mut rows = program.layers(1).iter();
            assert!(rows.any(|row| row.kernel == "halo" && row.layer == "input"));
            // Alone, several that have a thread each, and sixteen together.
            for batch in [1, 7, 17] {
                let found = program.run(&input[..each * batch], batch).unwrap();
                assert_eq!(found, expected[..made * batch], "{isa:?} {threads} {batch}");
            }
        }
    }
}

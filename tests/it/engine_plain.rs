//! Steps that run plainly, and elements that are made of nothing, between layers on vector blocks.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::activation::{gelu, hard_sigmoid, hard_swish, leaky_relu, relu, sigmoid, silu};
use burn::tensor::ops::PadMode;
use burn::tensor::{Tensor, s};
use burn_compress::engine::{EngineError, Program};
use burn_compress::graph::Graph;
use burn_compress::kernel::{Isa, Kernels};
use burn_compress::network::Network;

use super::backends::device::{device, leaves_out};
use super::backends::graph_models::{assert_close, randomized};
use super::backends::models::values;
use super::backends::quantized::{How, input, quantized};
use super::runs::{assert_runs, images, isas, options};

/// Convolutions of three rows and columns that keep the size: three channels to some, then as many to as
/// many.
fn convolutions(layers: usize, channels: usize) -> Vec<Conv2d> {
    let conv = |layer: usize| {
        Conv2dConfig::new([if layer == 0 { 3 } else { channels }, channels], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(&device())
    };
    randomized((0..layers).map(conv).collect())
}

fn floats<M: Module>(
    module: &M,
    shape: [usize; 4],
    forward: impl Fn(&M, Tensor<4>) -> Tensor<4>,
) -> Network {
    let graph = Graph::capture(module, shape, forward).unwrap();
    graph.simplify().to_float_model(module).unwrap()
}

/// Sixteen images go on together behind some layer, and are what Burn makes of them.
#[track_caller]
fn assert_split<M: Module>(
    module: &M,
    shape: [usize; 4],
    forward: impl Fn(&M, Tensor<4>) -> Tensor<4>,
) -> Program {
    let model = floats(module, shape, &forward);
    let batches = [16, 5];
    let [_, channels, rows, columns] = shape;
    let inputs = batches.map(|batch| input([batch, channels, rows, columns], 7, &device()));
    let expected = inputs.clone().map(|x| values(forward(module, x)));
    let isa = Kernels::detect().isa();
    let [one, two] = [1, 2].map(|threads| {
        let program = Program::compile(&model, options(isa, threads)).unwrap();
        let together = program.layers(16).iter().any(|row| row.samples > 1);
        assert!(together, "{}", program.table(16));
        for ((batch, x), expected) in batches.iter().zip(&inputs).zip(&expected) {
            let found = program.run(&values(x.clone()), *batch).unwrap();
            assert_close(&found, expected);
        }
        program
    });
    assert_eq!((one.threads(), two.threads()), (1, 2));
    two
}

#[test]
fn plain_steps_before_what_runs_together() {
    if leaves_out("plain_steps_before_what_runs_together") {
        return;
    }
    let three = convolutions(2, 16);
    let shape = [1, 3, 56, 56];
    // The first layer, which is the one that reads them, runs image by image, or with others.
    assert_split(&three, shape, |m, x| {
        m[1].forward(m[0].forward(x * 2.0 - 1.0))
    });
    assert_split(&three, shape, |m, x| m[1].forward(m[0].forward(x).sin()));
    assert_split(&three, shape, |m, x| {
        let x = m[0].forward(x.swap_dims(2, 3));
        m[1].forward(x.clone().sin() + x)
    });
    // Packed for a reader in front of the cut, and for one behind it.
    assert_split(&three, shape, |m, x| {
        let x = m[0].forward(x).sin();
        m[1].forward(x.clone()) + x
    });
}

#[test]
fn plain_steps_before_codes_that_run_together() {
    if leaves_out("plain_steps_before_codes_that_run_together") {
        return;
    }
    let conv = |channels: [usize; 2]| Conv2dConfig::new(channels, [1, 1]).init(&device());
    let module: Vec<Conv2d> = randomized(vec![conv([3, 16]), conv([16, 16]), conv([16, 16])]);
    let batches = [input([1, 3, 60, 60], 3, &device())];
    let forward = |m: &Vec<Conv2d>, x| {
        let x = m[0].forward(x).swap_dims(2, 3);
        m[2].forward(m[1].forward(x))
    };
    let (quantized, _) = quantized(module, How::bits(8, 8), forward, &batches);
    let model = quantized.to_integer().unwrap();
    let images = images(&model, 16, 5);
    let (expected, _) = model.run_with(&images, 16, 2).unwrap();
    for isa in isas() {
        let program = Program::compile(&model, options(isa, 2)).unwrap();
        let mut rows = program.layers(16).iter();
        assert!(rows.any(|row| row.samples > 1), "{}", program.table(16));
        assert!(program.run(&images, 16).unwrap() == expected, "{isa:?}");
    }
}

// A plain step reads the whole input, which nothing loads then.
#[test]
fn what_is_not_finite_is_found_in_front_of_a_plain_step() {
    if leaves_out("what_is_not_finite_is_found_in_front_of_a_plain_step") {
        return;
    }
    let module = convolutions(3, 16);
    let program = assert_split(&module, [1, 3, 56, 56], |m, x| {
        let x = m[0].forward(x.clamp(-1.0, 1.0).sin());
        m[2].forward(m[1].forward(x))
    });
    let each = 3 * 56 * 56;
    for (batch, image) in [(1, 0), (16, 0), (17, 11), (17, 16), (33, 20)] {
        let mut input = vec![0.5; each * batch];
        input[each * image + 77] = f32::NAN;
        let found = program.run(&input, batch);
        assert!(
            matches!(found, Err(EngineError::NotFinite { sample, element: 77, .. }) if sample == image),
            "image {image} of {batch}: {:?}",
            found.map(|output| output.len())
        );
    }
}

fn pool(kernel: usize, stride: usize, padding: usize) -> MaxPool2d {
    let p = padding;
    MaxPool2dConfig::new([kernel; 2])
        .with_strides([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(p, p, p, p))
        .init()
}

/// Negative numbers everywhere, so that a zero is the greatest of its window.
#[track_caller]
fn assert_zeros(shape: [usize; 4], forward: impl Fn(Tensor<4>) -> Tensor<4>, what: &str) {
    let module = Vec::<Conv2d>::new();
    let run = |_: &Vec<Conv2d>, x: Tensor<4>| forward(-x.abs() - 0.125);
    let model = floats(&module, shape, run);
    for batch in [1, 4, 17] {
        let mut shape = shape;
        shape[0] = batch;
        let x = input(shape, 9, &device());
        let expected = values(run(&module, x.clone()));
        let (found, _) = model.run(&values(x.clone()), batch).unwrap();
        assert_eq!(found, expected, "the reference, {what}");
        for isa in isas() {
            let program = Program::compile(&model, options(isa, 2)).unwrap();
            let found = program.run(&values(x.clone()), batch).unwrap();
            assert_eq!(found, expected, "{what}, {isa:?}, batch {batch}");
        }
    }
}

#[test]
fn zeros_in_front_of_a_pool_that_pads() {
    let beside = |x: Tensor<4>| {
        let zeros = Tensor::zeros(x.dims(), &x.device());
        Tensor::cat(vec![x, zeros], 1)
    };
    let around = |x: Tensor<4>| x.pad([(0, 0), (0, 0), (1, 1), (1, 2)], PadMode::Constant(0.0));
    for shape in [[1, 1, 2, 2], [1, 4, 6, 5], [1, 3, 23, 9]] {
        for (kernel, stride, padding) in [(3, 1, 1), (2, 2, 1), (3, 2, 1), (5, 3, 2)] {
            let pool = pool(kernel, stride, padding);
            let what = format!("{shape:?} {kernel} {stride} {padding}");
            assert_zeros(shape, |x| pool.forward(beside(x)), &what);
            assert_zeros(shape, |x| pool.forward(around(x)), &what);
            assert_zeros(shape, |x| pool.forward(around(beside(x))), &what);
        }
    }
    // The shortcut of the residual networks for CIFAR-10, and other readers beside the pool.
    let shortcut = |x: Tensor<4>| {
        let x = x.slice(s![.., .., 0..12;2, 0..12;2]);
        let x = beside(x);
        pool(3, 1, 1).forward(x.clone()) + x
    };
    assert_zeros([1, 4, 12, 12], shortcut, "shortcut");
}

#[test]
fn zeros_of_codes_in_front_of_a_pool_that_pads() {
    let channels = 5;
    let module = convolutions(1, channels);
    let forward = |m: &Vec<Conv2d>, x: Tensor<4>| {
        // All codes are below zero's.
        let x = m[0].forward(x) - 6.0;
        let ([n, _, rows, columns], device) = (x.dims(), x.device());
        let x = Tensor::cat(vec![x, Tensor::zeros([n, 7, rows, columns], &device)], 1);
        let x = x.pad([(0, 0), (0, 0), (0, 1), (2, 0)], PadMode::Constant(0.0));
        pool(3, 2, 1).forward(x)
    };
    let batches = [input([2, 3, 9, 7], 3, &device())];
    let (quantized, _) = quantized(module, How::bits(8, 8), forward, &batches);
    let model = quantized.to_integer().unwrap();
    assert_runs(&model, &[1, 4, 17], "codes");
    // Channels of zeros alone stay zero.
    let x = values(batches[0].clone());
    let program = Program::compile(&model, options(Isa::Portable, 1));
    let found = program.unwrap().run(&x, 2).unwrap();
    let each = found.len() / 2;
    let zeros = &found[each / 12 * channels..each];
    assert!(zeros.iter().all(|&x| x == 0.0), "{zeros:?}");
    assert!(found[..each / 12 * channels].iter().any(|&x| x < 0.0));
}

// Names of the rows that run plainly.
fn plain_rows(model: &Network, batch: usize) -> Vec<String> {
    let program = Program::compile(model, options(Kernels::detect().isa(), 2)).unwrap();
    let rows = program.layers(batch).iter().map(|row| row.kernel.clone());
    rows.filter(|kernel| kernel.starts_with("plain")).collect()
}

#[test]
fn gates_constants_and_functions_run_on_blocks() {
    if leaves_out("gates_constants_and_functions_run_on_blocks") {
        return;
    }
    let module = convolutions(2, 8);
    type Forward = fn(&Vec<Conv2d>, Tensor<4>) -> Tensor<4>;
    let forwards: [(&str, Forward); 5] = [
        ("gate", |m, x| {
            let x = m[0].forward(x);
            let gate = sigmoid(x.clone().mean_dims(&[2, 3]) * 3.0);
            m[1].forward(x * gate)
        }),
        ("gate on the left, and added", |m, x| {
            let x = m[0].forward(x);
            let gate = hard_sigmoid(x.clone().mean_dims(&[2, 3]), 0.2, 0.5);
            m[1].forward(gate.clone() * x.clone() + gate)
        }),
        ("product of two tensors", |m, x| {
            let x = m[0].forward(x);
            let y = m[1].forward(x.clone());
            m[1].forward(silu(x) * y)
        }),
        ("constants by channel", |m, x| {
            let x = relu(m[0].forward(x));
            let values = [0.5, -2.0, 1.5, 0.25, 3.0, -0.125, 1.0, 0.75];
            let scale = Tensor::<1>::from_data(values, &x.device()).reshape([1, 8, 1, 1]);
            m[1].forward(x.clone() * scale.clone()) + gelu(x + scale)
        }),
        ("functions", |m, x| {
            let x = m[0].forward(x * 2.0 - 1.0);
            m[1].forward(leaky_relu(x.clone(), 0.1).tanh() - hard_swish(x))
        }),
    ];
    for (name, forward) in forwards {
        let floats = floats(&module, [1, 3, 10, 9], forward);
        let batches = [input([4, 3, 10, 9], 3, &device())];
        let (quantized, _) = quantized(module.clone(), How::bits(8, 8), forward, &batches);
        let integers = quantized.to_integer().unwrap();
        for (model, kind) in [(&floats, "floats"), (&integers, "integers")] {
            let what = format!("{name} in {kind}");
            for batch in [1, 4, 16] {
                assert_eq!(
                    plain_rows(model, batch),
                    Vec::<String>::new(),
                    "{what}, {batch}"
                );
            }
            assert_runs(model, &[1, 2, 4, 5, 16, 17, 33], &what);
        }
    }
}

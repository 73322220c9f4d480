//! The form in floats of whole networks: what they compute, batch norms folded, zeros kept.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::Tensor;
use burn_compress::compress::{Plan, Pruning};
use burn_compress::engine::Program;
use burn_compress::graph::{Graph, GraphError};
use burn_compress::network::{Network, Step, StepOp};
use burn_compress::network::{Op, Value, Window};
use burn_compress::prune::Scope;

use super::device::device;
use super::engine::all_as;
use super::graph_models::networks::keyword::{DsCnnConfig, TemporalConfig};
use super::graph_models::networks::mlp::MlpConfig;
use super::graph_models::networks::mobilenet::MobileNetV2Config;
use super::graph_models::networks::resnet::ResNet;
use super::graph_models::networks::resnet50::ResNet50Config;
use super::graph_models::networks::unet::UNetConfig;
use super::graph_models::networks::vgg::Vgg16Config;
use super::graph_models::networks::vit::VitConfig;
use super::graph_models::{assert_close, randomized};
use super::models::values;
use super::noise::per_image;
use super::quantized::input;
use super::runs::{images, isas, options};

/// The form of the simplified graph, which computes what the module does, for one image and two.
#[track_caller]
fn lowered<M: Module, const D: usize, const E: usize>(
    module: &M,
    shape: [usize; D],
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> Network {
    let graph = Graph::capture(module, shape, &forward).unwrap().simplify();
    let floats = graph.to_float_model(module).unwrap();
    for batch in [1, 2] {
        let mut shape = shape;
        shape[0] = batch;
        let input = input(shape, 5, &device());
        let (found, _) = floats.run(&values(input.clone()), batch).unwrap();
        assert_close(&found, &values(forward(module, input)));
    }
    super::runs::assert_runs(&floats, &[1, 17], "in floats");
    floats
}

/// Of a network whose batch norms are all in its products.
#[track_caller]
fn folded<M: Module, const D: usize, const E: usize>(
    module: M,
    shape: [usize; D],
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) {
    let floats = lowered(&randomized(module), shape, forward);
    let left = |name| floats.steps().iter().any(|step| step.op.name() == name);
    assert!(!left("batch_norm") && !left("multiply"));
}

/// The weights of each product, in order.
fn weights(floats: &Network) -> Vec<&[f32]> {
    let products = floats.steps().iter().filter(|step| match &step.op {
        StepOp::Float(op) => op.is_product() && *op != Op::MatMul,
        _ => false,
    });
    let weight = |value| match value {
        Value::Constant(index) => &floats.constants()[index].values[..],
        other => panic!("{other:?}"),
    };
    products.map(|step| weight(step.inputs[1])).collect()
}

#[test]
fn residual_networks() {
    if super::device::leaves_out("residual_networks") {
        return;
    }
    let model = ResNet::new(20, &device()).unwrap();
    folded(model, [1, 3, 16, 16], |model, x| model.forward(x));
    let model = ResNet50Config::new().with_num_classes(10).init(&device());
    folded(model, [1, 3, 32, 32], |model, x| model.forward(x));
    let model = MobileNetV2Config::new().with_num_classes(10);
    let model = model.init(&device());
    folded(model, [1, 3, 32, 32], |model, x| model.forward(x));
}

#[test]
fn networks_in_a_row() {
    let model = MlpConfig::new(20, vec![30, 40], 10).init(&device());
    folded(model, [1, 20], |model, x| model.forward(x));
    let model = Vgg16Config::new()
        .with_num_classes(10)
        .with_hidden(32)
        .with_pooled(2)
        .init(&device());
    folded(model, [1, 3, 32, 32], |model, x| model.forward(x));
}

#[test]
fn u_nets() {
    for bilinear in [false, true] {
        let config = UNetConfig::new().with_width(4).with_bilinear(bilinear);
        let model = config.init(&device());
        folded(model, [1, 3, 16, 24], |model, x| model.forward(x));
    }
}

#[test]
fn keywords() {
    let model = DsCnnConfig::new().init(&device());
    folded(model, [1, 1, 49, 10], |model, x| model.forward(x));
    let model = TemporalConfig::new().init(&device());
    folded(model, [1, 10, 49], |model, x| model.forward(x));
}

#[test]
fn vision_transformers() {
    for class_token in [true, false] {
        let config = VitConfig::new().with_depth(2).with_class_token(class_token);
        let model = randomized(config.init(&device()));
        lowered(&model, [1, 3, 32, 32], |model, x| model.forward(x));
    }
}

#[test]
fn a_product_is_followed_by_one_bias_a_residual_and_an_activation() {
    let model = randomized(ResNet::new(20, &device()).unwrap());
    let floats = lowered(&model, [1, 3, 8, 8], |model, x| model.forward(x));
    let names: Vec<_> = floats.steps().iter().map(|step| step.op.name()).collect();
    let block = [
        "convolution",
        "add",
        "relu", //
        "convolution",
        "add",
        "add",
        "relu",
    ];
    assert_eq!(names[..3], block[..3]);
    assert_eq!(names[3..10], block);
    let bias = floats.steps()[1].inputs[1];
    let Value::Constant(bias) = bias else {
        panic!("{bias:?}");
    };
    assert_eq!(floats.constants()[bias].dims, [1, 16, 1, 1]);
}

#[derive(Module, Debug)]
struct Normed<L: Module + burn::module::ModuleDisplay> {
    layer: L,
    norm: BatchNorm,
}

#[test]
fn batch_norms_fold_into_transposed_convolutions_in_groups_and_linear_layers() {
    let device = device();
    for (groups, bias) in [(1, false), (2, true)] {
        let layer = ConvTranspose2dConfig::new([4, 6], [3, 2])
            .with_groups(groups)
            .with_bias(bias)
            .init(&device);
        let norm = BatchNormConfig::new(6).init(&device);
        folded(
            Normed { layer, norm },
            [1, 4, 5, 5],
            |model: &Normed<ConvTranspose2d>, x: Tensor<4>| {
                model.norm.forward(model.layer.forward(x))
            },
        );
    }
    let layer = LinearConfig::new(7, 5).init(&device);
    let norm = BatchNormConfig::new(5).init(&device);
    folded(
        Normed { layer, norm },
        [1, 7],
        |model: &Normed<Linear>, x: Tensor<2>| model.norm.forward(model.layer.forward(x)),
    );
}

#[test]
fn a_batch_norm_that_stands_alone_stays() {
    let norm = randomized::<BatchNorm>(BatchNormConfig::new(3).init(&device()));
    let floats = lowered(&norm, [1, 3, 4, 4], |norm, x: Tensor<4>| norm.forward(x));
    assert_eq!(floats.steps()[0].op.name(), "batch_norm");
}

#[test]
fn zeros_of_a_sparse_weight_stay_zeros() {
    let model = randomized(ResNet::new(20, &device()).unwrap());
    let plan = Plan::new().prune(Pruning::to(0.75).scope(Scope::Layer));
    let (model, compression) = plan.attach(model).unwrap();
    let attached = lowered(&model, [1, 3, 8, 8], |model, x| model.forward(x));
    for weights in weights(&attached) {
        let zeros = weights.iter().filter(|x| x.to_bits() == 0).count();
        let expected = (weights.len() as f64 * 0.75).round();
        assert!((zeros as f64 - expected).abs() <= 1.0, "{zeros} zeros");
        assert_eq!(zeros, weights.iter().filter(|x| **x == 0.0).count());
    }
    // As of the plain module.
    let finished = compression.finish(model).unwrap().module;
    let plain = lowered(&finished, [1, 3, 8, 8], |model, x| model.forward(x));
    assert_eq!(plain, attached);
}

#[derive(Module, Debug)]
struct Three {
    layers: Vec<Conv2d>,
}

// What runs the products of a pass, where it is one kernel.
fn kernel(program: &Program, images: usize) -> Option<&str> {
    let rows = program.layers(images).iter();
    let mut products = rows.filter(|row| row.multiply_adds > 0);
    let first = products.next()?;
    let same = products.all(|row| row.kernel == first.kernel);
    same.then_some(&first.kernel)
}

#[test]
fn transformed_windows_give_the_same() {
    let padded = |from, to| {
        let config = Conv2dConfig::new([from, to], [3, 3]);
        let config = config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        config.init(&device())
    };
    let model = Three {
        layers: vec![padded(3, 16), padded(16, 8), padded(8, 10)],
    };
    let model = randomized(model);
    let forward = |model: &Three, x: Tensor<4>| {
        let relu = |x, layer: &Conv2d| burn::tensor::activation::relu(layer.forward(x));
        model.layers.iter().fold(x, relu)
    };
    for side in [16, 24, 64] {
        let graph = Graph::capture(&model, [1, 3, side, side], forward).unwrap();
        let floats = graph.simplify().to_float_model(&model).unwrap();
        let batch = if side == 64 { 1 } else { 17 };
        let input = images(&floats, batch, 3);
        let (expected, _) = floats.run(&input, batch).unwrap();
        for (isa, windows) in isas().flat_map(|isa| [(isa, "winograd 2x2"), (isa, "winograd 4x4")])
        {
            let program = Program::compile(&floats, options(isa, 1)).unwrap();
            let choices = all_as(&program, windows);
            let program = Program::compile_with(&floats, options(isa, 1), &choices).unwrap();
            assert_close(&program.run(&input, batch).unwrap(), &expected);
            // A sixteenth of 24 by 24 is 6 by 6: of four by four results some are made again.
            assert_eq!(kernel(&program, 1), Some(windows));
            assert!(side == 64 || kernel(&program, 16) == Some(windows));
            // Two threads share out the lines of large images.
            let program = Program::compile_with(&floats, options(isa, 2), &choices).unwrap();
            assert_close(&program.run(&input, batch).unwrap(), &expected);
            assert_eq!(kernel(&program, 1), Some(windows));
            let mut rows = program.layers(1).iter();
            let halo = rows.any(|row| row.kernel == "halo" && row.layer != "input");
            assert_eq!(halo, side == 64);
        }
    }
}

// Windows of dilated filters lie in each other, whether they fill the tile or not.
#[test]
fn transformed_windows_of_dilated_filters_give_the_same() {
    for dilation in [[2, 2], [1, 3], [3, 1], [4, 2]] {
        let dilated = |from, to| {
            let [rows, columns] = dilation;
            let padding = PaddingConfig2d::Explicit(rows, columns, rows, columns);
            let config = Conv2dConfig::new([from, to], [3, 3]);
            let config = config.with_padding(padding).with_dilation(dilation);
            config.init(&device())
        };
        let model = randomized(Three {
            layers: vec![dilated(3, 16), dilated(16, 8), dilated(8, 10)],
        });
        let forward = |model: &Three, x: Tensor<4>| {
            let relu = |x, layer: &Conv2d| burn::tensor::activation::relu(layer.forward(x));
            model.layers.iter().fold(x, relu)
        };
        for side in [16, 27, 64] {
            let graph = Graph::capture(&model, [1, 3, side, side], forward).unwrap();
            let floats = graph.simplify().to_float_model(&model).unwrap();
            let batch = if side == 64 { 1 } else { 17 };
            let input = images(&floats, batch, 3);
            let (expected, _) = floats.run(&input, batch).unwrap();
            let tensor = Tensor::<1>::from_floats(&input[..], &device());
            let tensor = tensor.reshape([batch, 3, side, side]);
            assert_close(&values(forward(&model, tensor)), &expected);
            for (isa, windows) in
                isas().flat_map(|isa| [(isa, "winograd 2x2"), (isa, "winograd 4x4")])
            {
                let program = Program::compile(&floats, options(isa, 1)).unwrap();
                let choices = all_as(&program, windows);
                // The fewest lines that lie as far apart as taps, of a tile of one image and of an image.
                let results = if windows == "winograd 2x2" { 2 } else { 4 };
                let fits = |tile: usize| dilation.iter().all(|step| tile / step >= results);
                for threads in [1, 2] {
                    let program =
                        Program::compile_with(&floats, options(isa, threads), &choices).unwrap();
                    assert_close(&program.run(&input, batch).unwrap(), &expected);
                    let one = kernel(&program, 1) == Some(windows);
                    assert_eq!(one, fits(side.div_ceil(4)), "{dilation:?} {side} {windows}");
                    let many = kernel(&program, 16) == Some(windows);
                    assert!(side == 64 || many == fits(side));
                }
            }
        }
    }
}

#[test]
fn a_module_in_training_gives_its_numbers_too() {
    let model = randomized(MlpConfig::new(6, vec![5], 3).init(&device()));
    let graph = Graph::capture(&model, [1, 6], |model, x: Tensor<2>| model.forward(x));
    let graph = graph.unwrap().simplify();
    let expected = graph.to_float_model(&model).unwrap();
    assert_eq!(graph.to_float_model(&model.train()).unwrap(), expected);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let device = device();
    let layer = |channels| Conv2dConfig::new([2, channels], [1, 1]).init(&device);
    let model = layer(3);
    let graph = Graph::capture(&model, [1, 2, 4, 4], |model, x| model.forward(x));
    let graph = graph.unwrap().simplify();
    let found = graph.to_float_model(&layer(4));
    assert!(matches!(found, Err(GraphError::Parameter { .. })));

    let mut broken = model;
    broken.weight = broken.weight.map(|weight| weight / 0.0);
    let error = graph.to_float_model(&broken).unwrap_err().to_string();
    assert!(
        error.contains("weight") && error.contains("finite"),
        "{error}"
    );
}

// All alike, each partial sum of thousands is rounded the same way.
#[test]
fn means_of_large_images_lose_nothing() {
    const SIDE: usize = 60;
    let window = Window {
        kernel: [SIDE; 2],
        stride: [SIDE; 2],
        ..Window::default()
    };
    let pool = Op::AveragePool {
        rank: 2,
        window,
        include_padding: true,
        ceil: false,
    };
    let adaptive = Op::AdaptiveAveragePool {
        rank: 2,
        output: [1, 1],
    };
    let mean = Op::Mean { axes: vec![2, 3] };
    let each = [-4.0943, 0.1, 1000.3];
    let plane = |value: f32| [value; SIDE * SIDE];
    let image = each.map(plane).concat();
    for op in [pool, adaptive, mean] {
        let name = op.name();
        let step = Step {
            op: StepOp::Float(op),
            inputs: vec![Value::Input],
            grid: None,
            dims: per_image(&[3, 1, 1]),
            layer: "pool".into(),
        };
        let input = per_image(&[3, SIDE, SIDE]);
        let model = Network::new(input, vec![], vec![step], Value::Node(0)).unwrap();
        for (isa, batch) in isas().flat_map(|isa| [(isa, 1), (isa, 17)]) {
            let program = Program::compile(&model, options(isa, 1)).unwrap();
            let found = program.run(&image.repeat(batch), batch).unwrap();
            for (found, expected) in found.iter().zip(each.repeat(batch)) {
                let apart = (found - expected).abs() / expected.abs();
                assert!(apart < 1e-5, "{name}, {batch}: {found}, not {expected}");
            }
        }
    }
}

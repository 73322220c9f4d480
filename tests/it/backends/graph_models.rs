//! Whole networks: what their graph computes is what they compute, in as few steps as there should be.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::BatchNorm;
use burn::tensor::{Device, Tensor, TensorData};
use burn_compress::graph::Graph;
use burn_compress::network::Op;

use super::device::device;
use super::models::{spread, values};

#[path = "../../../examples/models/mod.rs"]
pub mod networks;

use networks::keyword::{DsCnnConfig, TemporalConfig};
use networks::mlp::MlpConfig;
use networks::mobilenet::MobileNetV2Config;
use networks::resnet::ResNet;
use networks::resnet50::ResNet50Config;
use networks::unet::UNetConfig;
use networks::vgg::Vgg16Config;
use networks::vit::VitConfig;

/// Gives every float parameter values from their numbers, not from the device's generator: weights as
/// large as He et al. 2015 would have them, statistics and factors that a norm cannot ignore.
#[derive(Default)]
struct Randomize {
    path: Vec<String>,
    parameters: usize,
}

impl ModuleMapper for Randomize {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dims = param.dims();
        let count: usize = dims.iter().product();
        let fan_in = match D {
            2 => dims[0], // of a linear layer: [in, out]
            _ => count / dims[0],
        };
        let (low, high) = match self.path.last().map(String::as_str) {
            Some("running_var" | "gamma") => (0.5, 1.5),
            _ if D == 1 => (-0.3, 0.3),
            _ => {
                let bound = (6.0 / fan_in as f32).sqrt();
                (-bound, bound)
            }
        };
        self.parameters += 1;
        let salt = self.parameters * 7_000_003;
        let numbers = (0..count).map(|index| low + (high - low) * spread(salt + index));
        let data = TensorData::new(numbers.collect::<Vec<f32>>(), dims);
        param.map(|tensor| {
            let required = tensor.is_require_grad();
            Tensor::from_data(data, &tensor.device()).set_require_grad(required)
        })
    }
}

/// A network with values that tell its layers apart.
pub fn randomized<M: Module>(module: M) -> M {
    module.map(&mut Randomize::default())
}

fn input<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let count = shape.iter().product();
    let numbers: Vec<f32> = (0..count).map(|index| 2.0 * spread(index) - 1.0).collect();
    Tensor::from_data(TensorData::new(numbers, shape), device)
}

/// The simplified graph, which computes what the network does: at two images, at which it was not
/// captured, and at one.
#[track_caller]
fn checked<M: Module, const I: usize, const O: usize>(
    module: &M,
    shape: [usize; I],
    forward: impl Fn(&M, Tensor<I>) -> Tensor<O>,
) -> Graph {
    let graph = Graph::capture(module, shape, &forward).unwrap();
    let graph = graph.simplify();
    for batch in [1, 2] {
        let mut shape = shape;
        shape[0] = batch;
        let input = input(shape, &device());
        let expected = forward(module, input.clone());
        let found: Tensor<O> = graph.forward(module, input).unwrap();
        assert_eq!(found.dims(), expected.dims());
        assert_close(&values(found), &values(expected));
    }
    graph
}

/// Within a ten-thousandth of the largest.
#[track_caller]
pub fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    assert!(largest > 0.0 && largest.is_finite(), "{largest}");
    let pairs = found.iter().zip(expected);
    let apart = pairs.fold(0.0, |max: f32, (a, b)| max.max((a - b).abs()));
    assert!(apart <= 1e-4 * largest, "{apart} apart, of {largest}");
    // What is as good as constant would show nothing.
    let least = expected.iter().fold(f32::INFINITY, |min, x| min.min(*x));
    let greatest = expected
        .iter()
        .fold(f32::NEG_INFINITY, |max, x| max.max(*x));
    assert!(greatest - least > 0.01 * largest);
}

fn count(graph: &Graph, name: &str) -> usize {
    let nodes = graph.nodes().iter();
    nodes.filter(|node| node.op.name() == name).count()
}

/// Every batch norm is in an epilogue, and there are as many as in the network.
#[track_caller]
fn assert_folded<M: Module>(graph: &Graph, module: &M) {
    assert_eq!(count(graph, "batch_norm"), 0, "{graph}");
    let folded = graph.nodes().iter();
    let folded = folded.filter(|node| node.epilogue.norm.is_some()).count();
    let mut norms = Norms::default();
    module.visit(&mut norms);
    assert_eq!(folded, norms.0);
    assert!(folded > 0);
}

#[derive(Default)]
struct Norms(usize);

impl burn::module::ModuleVisitor for Norms {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.0 += usize::from(name == "running_var");
    }
}

#[test]
fn the_helper_counts_norms() {
    let norm: BatchNorm = burn::nn::BatchNormConfig::new(3).init(&device());
    let mut norms = Norms::default();
    vec![norm.clone(), norm].visit(&mut norms);
    assert_eq!(norms.0, 2);
}

#[test]
fn mlp() {
    let config = MlpConfig::new(20, vec![30, 40], 10);
    let model = randomized(config.init(&device()));
    let graph = checked(&model, [1, 20], |model, x| model.forward(x));
    let names: Vec<_> = graph.nodes().iter().map(|node| node.op.name()).collect();
    assert_eq!(names, ["linear"; 3]);
    let activations = graph.nodes().iter();
    let activations = activations.map(|node| node.epilogue.activation.is_some());
    assert!(activations.eq([true, true, false]));
}

#[test]
fn resnet_20_and_56() {
    if super::device::leaves_out("resnet_20_and_56") {
        return;
    }
    for (depth, blocks) in [(20, 9), (56, 27)] {
        let model = randomized(ResNet::new(depth, &device()).unwrap());
        let graph = checked(&model, [1, 3, 16, 16], |model, x| model.forward(x));
        assert_folded(&graph, &model);
        assert_eq!(count(&graph, "convolution"), 1 + 2 * blocks);
        assert_eq!(count(&graph, "add") + count(&graph, "relu"), 0, "{graph}");
        // Two shortcuts that grow, then mean, flatten and linear layer.
        assert!(graph.nodes().len() <= 1 + 2 * blocks + 2 * 6 + 3, "{graph}");
    }
}

#[test]
fn resnet_50() {
    if super::device::leaves_out("resnet_50") {
        return;
    }
    let model = randomized(ResNet50Config::new().with_num_classes(10).init(&device()));
    let graph = checked(&model, [1, 3, 64, 64], |model, x| model.forward(x));
    assert_folded(&graph, &model);
    assert_eq!(count(&graph, "convolution"), 53);
    assert!(graph.nodes().len() <= 53 + 4, "{graph}");
    let added = graph.nodes().iter();
    let added = added.filter(|node| node.epilogue.add.is_some()).count();
    assert_eq!(added, 16);
}

#[test]
fn mobilenet_v2() {
    if super::device::leaves_out("mobilenet_v2") {
        return;
    }
    let config = MobileNetV2Config::new().with_num_classes(10);
    let model = randomized(config.init(&device()));
    let graph = checked(&model, [1, 3, 64, 64], |model, x| model.forward(x));
    assert_folded(&graph, &model);
    assert_eq!(count(&graph, "convolution"), 35);
    assert_eq!(count(&graph, "grouped_convolution"), 17);
    assert_eq!(count(&graph, "add") + count(&graph, "clamp"), 0, "{graph}");
    assert!(graph.nodes().len() <= 52 + 3, "{graph}");
}

#[test]
fn vgg_16() {
    if super::device::leaves_out("vgg_16") {
        return;
    }
    let config = Vgg16Config::new()
        .with_num_classes(10)
        .with_hidden(32)
        .with_pooled(2);
    let model = randomized(config.init(&device()));
    for (side, average) in [(32, 1), (64, 0)] {
        let graph = checked(&model, [1, 3, side, side], |model, x| model.forward(x));
        assert_folded(&graph, &model);
        let convolutions = graph.nodes().iter();
        let convolutions = convolutions.filter(|node| matches!(node.op, Op::Convolution { .. }));
        let convolutions = convolutions.map(|node| node.epilogue);
        let full = convolutions.filter(|e| e.bias.is_some() && e.activation.is_some());
        assert_eq!(full.count(), 13);
        // Pooling to the size that is there is nothing.
        assert_eq!(graph.nodes().len(), 13 + 5 + average + 1 + 3, "{graph}");
    }
}

#[test]
fn u_net() {
    for bilinear in [false, true] {
        let config = UNetConfig::new().with_width(4).with_bilinear(bilinear);
        let model = randomized(config.init(&device()));
        let graph = checked(&model, [1, 3, 32, 48], |model, x| model.forward(x));
        assert_folded(&graph, &model);
        assert_eq!(count(&graph, "concatenate"), 3);
        let (transposed, upsampled) = match bilinear {
            false => (3, 0),
            true => (0, 3),
        };
        assert_eq!(count(&graph, "transposed_convolution"), transposed);
        assert_eq!(count(&graph, "upsample_bilinear"), upsampled);
        // Convolutions, poolings, concatenations and enlargements.
        assert_eq!(graph.nodes().len(), 15 + 3 + 3 + 3 + upsampled, "{graph}");
    }
}

#[test]
fn keywords_by_depthwise_separable_convolutions() {
    let model = randomized(DsCnnConfig::new().init(&device()));
    let graph = checked(&model, [1, 1, 49, 10], |model, x| model.forward(x));
    assert_folded(&graph, &model);
    assert_eq!(count(&graph, "pad"), 0, "{graph}");
    let Op::Convolution { window, .. } = &graph.nodes()[0].op else {
        panic!("{graph}");
    };
    assert_eq!(window.padding, [(4, 5), (1, 1)]);
    assert_eq!(count(&graph, "grouped_convolution"), 4);
    assert!(graph.nodes().len() <= 9 + 3, "{graph}");
}

#[test]
fn keywords_by_temporal_convolutions() {
    let model = randomized(TemporalConfig::new().init(&device()));
    let graph = checked(&model, [1, 10, 49], |model, x| model.forward(x));
    assert_folded(&graph, &model);
    assert_eq!(count(&graph, "convolution"), 7);
    assert_eq!(count(&graph, "add") + count(&graph, "relu"), 0, "{graph}");
    assert!(graph.nodes().len() <= 7 + 5, "{graph}");
}

#[test]
fn vision_transformer() {
    for class_token in [true, false] {
        let config = VitConfig::new().with_depth(2).with_class_token(class_token);
        let model = randomized(config.init(&device()));
        let graph = checked(&model, [1, 3, 32, 32], |model, x| model.forward(x));
        assert_eq!(count(&graph, "linear"), 6 * 2 + 1);
        assert_eq!(count(&graph, "matmul"), 2 * 2);
        assert_eq!(count(&graph, "softmax"), 2);
        assert_eq!(count(&graph, "layer_norm"), 2 * 2 + 1);
        assert_eq!(count(&graph, "gelu"), 2);
        // The positions alone: residuals are in the linear layers.
        assert_eq!(count(&graph, "add"), 1, "{graph}");
        assert!(graph.nodes().len() <= 21 * 2 + 10, "{graph}");
    }
}

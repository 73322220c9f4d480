//! A quantized module on tensors equals its integer form: how that is checked, and whole networks.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use burn_compress::compress::{Compression, Plan, Pruning, Quantization};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::{Activations, Calibration, Calibrator, Graph, Quantized};
use burn_compress::network::{Elements, Network, StepOp, Traced};
use burn_compress::prune::Scope;

use super::device::{device, is_exact};
use super::graph_models::networks::keyword::{DsCnnConfig, TemporalConfig};
use super::graph_models::networks::mlp::MlpConfig;
use super::graph_models::networks::mobilenet::MobileNetV2Config;
use super::graph_models::networks::resnet::ResNet;
use super::graph_models::networks::resnet50::ResNet50Config;
use super::graph_models::networks::unet::UNetConfig;
use super::graph_models::networks::vgg::Vgg16Config;
use super::graph_models::networks::vit::VitConfig;
use super::graph_models::randomized;
use super::models::{spread, values};

/// How a module is quantized.
#[derive(Debug, Clone, Copy)]
pub struct How {
    pub weights: Scheme,
    pub activations: Activations,
    /// Share of the weights that are removed from each layer.
    pub removed: f64,
}

impl How {
    pub fn new(weights: (u32, Mapping, Granularity), activations: (u32, Mapping)) -> Self {
        let (bits, mapping, granularity) = weights;
        let (activation_bits, activation_mapping) = activations;
        let activations = Activations {
            scheme: Scheme::new(activation_bits, activation_mapping, Granularity::Tensor).unwrap(),
            calibrator: Calibrator::MinMax,
            ..Activations::bits(activation_bits).unwrap()
        };
        Self {
            weights: Scheme::new(bits, mapping, granularity).unwrap(),
            activations,
            removed: 0.0,
        }
    }

    /// Weights symmetric by channel, activations affine.
    pub fn bits(weights: u32, activations: u32) -> Self {
        let weights = (weights, Mapping::Symmetric, Granularity::Channel);
        Self::new(weights, (activations, Mapping::Affine))
    }

    pub fn pruned(self, removed: f64) -> Self {
        Self { removed, ..self }
    }

    pub fn plan(&self) -> Plan {
        let plan = Plan::new().quantize(Quantization::to(self.weights));
        match self.removed > 0.0 {
            true => plan.prune(Pruning::to(self.removed).scope(Scope::Layer)),
            false => plan,
        }
    }
}

/// The module, quantized as its calibration on these batches says.
#[track_caller]
pub fn quantized<M: Module, const D: usize, const E: usize>(
    module: M,
    how: How,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    batches: &[Tensor<D>],
) -> (Quantized<M>, Compression) {
    let graph = Graph::capture(&module, batches[0].dims(), forward).unwrap();
    calibrated(graph, module, how.plan(), how.activations, batches)
}

/// The same for a graph and a plan that exist.
#[track_caller]
pub fn calibrated<M: Module, const D: usize>(
    graph: Graph,
    module: M,
    plan: Plan,
    activations: Activations,
    batches: &[Tensor<D>],
) -> (Quantized<M>, Compression) {
    let (module, compression) = plan.attach(module).unwrap();
    let graph = graph.simplify();
    let mut calibration = Calibration::new(graph, &module, &compression, activations).unwrap();
    for batch in batches {
        calibration.observe(&module, batch.clone()).unwrap();
    }
    (calibration.finish(module).unwrap(), compression)
}

/// Values between -1 and 1, others for each salt.
pub fn input<const D: usize>(shape: [usize; D], salt: usize, device: &Device) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let numbers = (0..count).map(|index| 2.0 * spread(salt * 1_000_003 + index) - 1.0);
    Tensor::from_data(
        TensorData::new(numbers.collect::<Vec<f32>>(), shape),
        device,
    )
}

/// Checks both on what calibration saw, on what it did not, and on what saturates.
#[track_caller]
pub fn assert_simulates<M: Module, const D: usize, const E: usize>(
    quantized: &Quantized<M>,
    shape: [usize; D],
    what: &str,
) -> Network {
    let integers = quantized
        .to_integer()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let device = device();
    let mut two = shape;
    two[0] = 2;
    let inputs = [
        input(two, 1, &device),
        input(shape, 2, &device) * 40.0,
        input(shape, 3, &device) * 0.01,
        Tensor::zeros(shape, &device),
        Tensor::full(shape, 1e6, &device),
        Tensor::full(shape, -1e6, &device),
    ];
    for (index, input) in inputs.into_iter().enumerate() {
        let what = format!("{what}, input {index}");
        assert_equal::<M, D, E>(quantized, &integers, input, &what);
    }
    super::runs::assert_runs(&integers, &[1, 19], what);
    integers
}

/// Both give the same output, and the same codes on the way.
#[track_caller]
pub fn assert_equal<M: Module, const D: usize, const E: usize>(
    quantized: &Quantized<M>,
    integers: &Network,
    input: Tensor<D>,
    what: &str,
) {
    let simulated = coded(quantized.trace(input.clone()).unwrap());
    let computed = integers.trace(&values(input.clone()), input.dims()[0]);
    let computed = coded(computed.unwrap());
    assert_eq!(simulated.len(), computed.len(), "{what}");
    for (one, other) in simulated.iter().zip(&computed) {
        assert_eq!((&one.dims, one.grid), (&other.dims, other.grid), "{what}");
        assert_codes(&one.elements, &other.elements, what);
    }
    assert_outputs::<M, D, E>(quantized, integers, input, what);
}

#[track_caller]
fn assert_outputs<M: Module, const D: usize, const E: usize>(
    quantized: &Quantized<M>,
    integers: &Network,
    input: Tensor<D>,
    what: &str,
) {
    let (expected, statistics) = integers
        .run(&values(input.clone()), input.dims()[0])
        .unwrap();
    assert_eq!(statistics.inexact(), 0, "{what}");
    let found = values(quantized.forward::<D, E>(input).unwrap());
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let same = match is_exact() {
            true => found.to_bits() == expected.to_bits(),
            // A code may have gone to the other side of a tie.
            false => (found - expected).abs() <= 0.1 * largest,
        };
        assert!(same, "{what}: {found}, not {expected} at {index}");
    }
}

// The results that are codes, of any model one for each quantized tensor.
fn coded(trace: Vec<Traced>) -> Vec<Traced> {
    let coded = trace.into_iter().filter(|traced| traced.grid.is_some());
    coded.collect()
}

#[track_caller]
fn assert_codes(found: &Elements, expected: &Elements, what: &str) {
    let (Elements::Codes(found), Elements::Codes(expected)) = (found, expected) else {
        panic!("{what}: no codes");
    };
    if is_exact() {
        assert_eq!(found, expected, "{what}");
    } else {
        let apart = found.iter().zip(expected).filter(|(a, b)| a != b).count();
        assert!(
            apart * 10 <= found.len(),
            "{what}: {apart} of {}",
            found.len()
        );
    }
}

/// The names of the steps, movements apart.
pub fn steps(integers: &Network) -> Vec<&'static str> {
    let steps = integers.steps().iter();
    steps.map(|step| step.op.name()).collect()
}

/// The steps in float.
pub fn float_steps(integers: &Network) -> Vec<&'static str> {
    let steps = integers.steps().iter();
    let steps = steps.filter(|step| matches!(step.op, StepOp::Float(_)));
    steps.map(|step| step.op.name()).collect()
}

fn names<M: Module>(quantized: &Quantized<M>) -> Vec<&'static str> {
    let nodes = quantized.in_float();
    nodes.iter().map(|node| node.op.name()).collect()
}

// A whole network, all of it in integers.
#[track_caller]
fn whole<M: Module, const D: usize, const E: usize>(
    module: M,
    shape: [usize; D],
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) {
    for how in [How::bits(8, 8), How::bits(4, 4).pruned(0.5)] {
        let (quantized, integers) = in_integers(module.clone(), shape, how, &forward);
        let mut two = shape;
        two[0] = 2;
        let input = input(two, 13, &device());
        assert_equal::<M, D, E>(&quantized, &integers, input, &format!("{how:?}"));
    }
}

// A large one: its output for one image.
#[track_caller]
fn large<M: Module, const D: usize, const E: usize>(
    module: M,
    shape: [usize; D],
    how: How,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) {
    let (quantized, integers) = in_integers(module, shape, how, &forward);
    let input = input(shape, 13, &device());
    assert_outputs::<M, D, E>(&quantized, &integers, input, &format!("{how:?}"));
}

#[track_caller]
fn in_integers<M: Module, const D: usize, const E: usize>(
    module: M,
    shape: [usize; D],
    how: How,
    forward: &impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> (Quantized<M>, Network) {
    let what = format!("{how:?}");
    let batches = [input(shape, 11, &device()), input(shape, 12, &device())];
    let (quantized, _) = quantized(randomized(module), how, forward, &batches);
    assert_eq!(names(&quantized), [""; 0], "{what}");
    let integers = quantized.to_integer().unwrap();
    assert_eq!(float_steps(&integers), [""; 0], "{what}");
    // It computes something: near what the floats say.
    let seen = values(quantized.forward::<D, E>(batches[0].clone()).unwrap());
    let float = values(forward(quantized.module(), batches[0].clone()));
    assert_resembles(&seen, &float, how, &what);
    super::runs::assert_runs(&integers, &[1, 17], &what);
    (quantized, integers)
}

#[track_caller]
fn assert_resembles(seen: &[f32], float: &[f32], how: How, what: &str) {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
    let apart = norm(&mut seen.iter().zip(float).map(|(a, b)| a - b));
    let size = norm(&mut float.iter().copied());
    let share = match how.activations.scheme.bits() {
        8 => 0.3,
        _ => 1.5,
    };
    assert!(
        size > 0.0 && apart <= share * size,
        "{what}: {apart} of {size}"
    );
}

// A network that keeps these operations in float.
#[track_caller]
fn partly<M: Module, const D: usize, const E: usize>(
    module: M,
    shape: [usize; D],
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    float: &[&str],
) {
    for (how, tolerance) in [(How::bits(8, 8), 0.05), (How::bits(4, 4), 0.5)] {
        let what = format!("{how:?}");
        let batches = [input(shape, 11, &device()), input(shape, 12, &device())];
        let (quantized, _) = quantized(randomized(module.clone()), how, &forward, &batches);
        let mut names = names(&quantized);
        names.sort_unstable();
        assert_eq!(names, float, "{what}");
        let integers = quantized.to_integer().unwrap();
        let mut names = float_steps(&integers);
        names.sort_unstable();
        assert_eq!(names, float, "{what}");
        super::runs::assert_runs(&integers, &[1, 17], &what);
        let input = batches[1].clone();
        let (expected, _) = integers.run(&values(input.clone()), shape[0]).unwrap();
        let found = values(quantized.forward::<D, E>(input).unwrap());
        let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        let pairs = found.iter().zip(&expected);
        let apart = pairs.fold(0.0, |max: f32, (a, b)| max.max((a - b).abs()));
        // A float operation may put a number to the other side of a tie; what comes after sees another
        // code there.
        assert!(apart <= tolerance * largest, "{what}: {apart} of {largest}");
    }
}

#[test]
fn mlp() {
    let model = MlpConfig::new(20, vec![30, 40], 10).init(&device());
    whole(model, [1, 20], |model, x| model.forward(x));
}

#[test]
fn resnet_20() {
    if super::device::leaves_out("resnet_20") {
        return;
    }
    let model = ResNet::new(20, &device()).unwrap();
    whole(model, [1, 3, 8, 8], |model, x| model.forward(x));
}

#[test]
fn resnet_50() {
    if super::device::leaves_out("resnet_50") {
        return;
    }
    let model = ResNet50Config::new().with_num_classes(10).init(&device());
    large(model, [1, 3, 32, 32], How::bits(8, 8), |model, x| {
        model.forward(x)
    });
}

#[test]
fn mobilenet_v2() {
    if super::device::leaves_out("mobilenet_v2") {
        return;
    }
    let config = MobileNetV2Config::new()
        .with_num_classes(10)
        .with_width(0.35);
    let model = config.init(&device());
    whole(model, [1, 3, 32, 32], |model, x| model.forward(x));
}

#[test]
fn vgg_16() {
    if super::device::leaves_out("vgg_16") {
        return;
    }
    let config = Vgg16Config::new().with_num_classes(10);
    let model = config.with_hidden(32).with_pooled(1).init(&device());
    let how = How::bits(4, 4).pruned(0.8);
    large(model, [1, 3, 32, 32], how, |model, x| model.forward(x));
}

#[test]
fn u_net() {
    let config = UNetConfig::new().with_width(4);
    let model = config.init(&device());
    whole(model, [1, 3, 16, 24], |model, x| model.forward(x));
    let model = config.with_bilinear(true).init(&device());
    partly(
        model,
        [1, 3, 16, 24],
        |model, x| model.forward(x),
        &["upsample_bilinear"; 3],
    );
}

#[test]
fn keywords() {
    let model = DsCnnConfig::new().with_width(16).init(&device());
    whole(model, [1, 1, 49, 10], |model, x| model.forward(x));
    let model = TemporalConfig::new().init(&device());
    whole(model, [1, 10, 49], |model, x| model.forward(x));
}

#[test]
fn vision_transformer() {
    let model = VitConfig::new().with_depth(2).init(&device());
    // Scores are scaled where softmax reads them, in float.
    let scaled = ["multiply_scalar"; 2];
    let float = [["layer_norm"; 5].as_slice(), &scaled, &["softmax"; 2]].concat();
    partly(model, [1, 3, 32, 32], |model, x| model.forward(x), &float);
}

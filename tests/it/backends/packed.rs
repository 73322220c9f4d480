//! Weights packed on the device: what they compute, what they take, and what they refuse.

use burn::module::{Module, Param};
use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use burn_compress::compress::{Compression, Plan, Pruning, Quantization, Selection};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::{Graph, GraphError, Packed, Quantized};
use burn_compress::network::NetworkError;
use burn_compress::quantize::LearnedStep;

use super::device::{device, is_exact};
use super::graph_models::networks::keyword::DsCnnConfig;
use super::graph_models::networks::mlp::{Mlp, MlpConfig};
use super::graph_models::networks::unet::UNetConfig;
use super::graph_models::networks::vit::VitConfig;
use super::graph_models::randomized;
use super::models::values;
use super::quantized::{How, calibrated, input};

#[track_caller]
fn assert_equals<const D: usize, const E: usize>(
    packed: &Packed,
    expected: impl Fn(Tensor<D>) -> Result<Tensor<E>, GraphError>,
    shape: [usize; D],
) {
    for salt in 0..3 {
        let input = input(shape, 21 + salt, &device());
        let found: Tensor<E> = packed.forward(input.clone()).unwrap();
        assert_alike(&values(found), &values(expected(input).unwrap()));
    }
}

#[track_caller]
fn assert_alike(found: &[f32], expected: &[f32]) {
    if is_exact() {
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(found), bits(expected));
        return;
    }
    // Operations are fused otherwise, so that a last bit and then a code may be another.
    let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    assert_eq!(found.len(), expected.len());
    let mut pairs = found.iter().zip(expected);
    assert!(
        pairs.all(|(a, b)| (a - b).abs() <= 0.1 * largest),
        "{found:?}, not {expected:?}"
    );
}

#[track_caller]
fn pack<M: Module, const D: usize, const E: usize>(
    module: M,
    shape: [usize; D],
    how: How,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> (Quantized<M>, Packed) {
    pack_under(module, shape, how.plan(), how, forward)
}

#[track_caller]
fn pack_under<M: Module, const D: usize, const E: usize>(
    module: M,
    shape: [usize; D],
    plan: Plan,
    how: How,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> (Quantized<M>, Packed) {
    let batches = [input(shape, 11, &device())];
    let graph = Graph::capture(&module, shape, &forward).unwrap();
    let module = randomized(module);
    let (quantized, compression) = calibrated(graph, module, plan, how.activations, &batches);
    let packed = quantized.pack().unwrap();
    assert_equals(&packed, |x| quantized.forward::<D, E>(x), shape);
    // Its weights alone, in floats.
    let graph = quantized.graph();
    let module = quantized.module();
    let floats = graph.pack(module, &compression).unwrap();
    assert_equals(
        &floats,
        |x| graph.forward_under::<M, D, E>(module, &compression, x),
        shape,
    );
    (quantized, packed)
}

fn affine(bits: u32, granularity: Granularity) -> How {
    How::new(
        (bits, Mapping::Affine, granularity),
        (8, Mapping::Symmetric),
    )
}

#[test]
fn networks_compute_the_same() {
    let ds_cnn = DsCnnConfig::new().with_width(8).init(&device());
    let shape = [2, 1, 49, 10];
    pack(ds_cnn, shape, How::bits(4, 8).pruned(0.5), |m, x| {
        m.forward(x)
    });
    let u_net = UNetConfig::new().with_width(4).init(&device());
    let how = affine(5, Granularity::Channel);
    pack(u_net, [1, 3, 16, 16], how, |m, x| m.forward(x));
    let vit = VitConfig::new().with_depth(1).init(&device());
    pack(vit, [1, 3, 32, 32], How::bits(8, 8), |m, x| m.forward(x));
}

#[test]
fn any_number_of_bits_takes_its_share() {
    let floats = 20 * 30 + 30 * 10;
    // In software a GPU takes seconds to compile what each number of bits needs.
    let every = if is_exact() { 1 } else { 7 };
    for bits in (2..=16).step_by(every) {
        for how in [
            How::bits(bits, 8),
            affine(bits, Granularity::Tensor),
            affine(bits, Granularity::Channel),
        ] {
            let model = MlpConfig::new(20, vec![30], 10).init(&device());
            let (_, packed) = pack(model, [3, 20], how, |m, x| m.forward(x));
            // Zero points of channels differ, so that all codes less theirs take a bit more.
            let most = match how.weights.granularity() {
                Granularity::Channel if how.weights.mapping() == Mapping::Affine => bits + 1,
                _ => bits,
            };
            let words = |weights: usize| weights.div_ceil(32 / most as usize);
            // Scales and biases of 40 channels, scales of the activations.
            let others = 40 + 40 + 4;
            let limit = 4 * (words(20 * 30) + words(30 * 10) + others);
            let bytes = packed.bytes();
            assert!(bytes <= limit, "{how:?}: {bytes} of {limit}");
            assert!(bytes > floats * bits as usize / 8, "{how:?}: {bytes}");
        }
    }
}

/// Linear layers that read their weight transposed and not, and a transposed convolution in groups.
#[derive(Module, Debug)]
struct Odd {
    matrix: Param<Tensor<2>>,
    up: ConvTranspose2d,
    head: Linear,
}

const WEIGHTS: [&str; 3] = ["matrix", "up.weight", "head.weight"];

impl Odd {
    fn new(device: &Device) -> Self {
        Self {
            matrix: Param::from_tensor(input([16, 12], 1, device)),
            up: ConvTranspose2dConfig::new([4, 8], [2, 2])
                .with_stride([2, 2])
                .with_groups(2)
                .init(device),
            head: LinearConfig::new(8 * 4 * 4, 5).init(device),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [batch, _] = x.dims();
        let x = x
            .matmul(self.matrix.val().transpose())
            .reshape([batch, 4, 2, 2]);
        self.head.forward(self.up.forward(x).flatten(1, 3))
    }
}

#[test]
fn layouts_that_differ_from_their_rows() {
    for how in [
        How::bits(3, 8),
        affine(8, Granularity::Tensor),
        affine(6, Granularity::Channel),
    ] {
        let plan = how.plan().select(Selection::only(WEIGHTS));
        pack_under(Odd::new(&device()), [2, 12], plan, how, Odd::forward);
    }
}

fn attached(plan: Plan) -> (Graph, Odd, Compression) {
    let model = Odd::new(&device());
    let graph = Graph::capture(&model, [1, 12], Odd::forward).unwrap();
    let (model, compression) = plan.attach(model).unwrap();
    (graph.simplify(), model, compression)
}

#[test]
fn groups_of_weights_and_layers_left_out() {
    let scheme = Scheme::new(4, Mapping::Affine, Granularity::Group(4)).unwrap();
    let plan = Plan::new().select(Selection::only(WEIGHTS));
    let plan = plan.quantize(Quantization::to(scheme));
    let (graph, model, compression) = attached(plan);
    let packed = graph.pack(&model, &compression).unwrap();
    let forward = |x| graph.forward_under::<Odd, 2, 2>(&model, &compression, x);
    assert_equals(&packed, forward, [3, 12]);

    // One layer only, and pruning without quantization: what is not quantized stays in floats.
    let only = Selection::only(["head.weight"]);
    let symmetric = Quantization::to(Scheme::symmetric(8).unwrap());
    let pruned = Plan::new().prune(Pruning::to(0.5));
    for plan in [Plan::new().select(only).quantize(symmetric), pruned] {
        let (graph, model, compression) = attached(plan);
        let packed = graph.pack(&model, &compression).unwrap();
        let forward = |x| graph.forward_under::<Odd, 2, 2>(&model, &compression, x);
        assert_equals(&packed, forward, [3, 12]);
        assert!(packed.bytes() > 4 * (16 * 12 + 4 * 4 * 2 * 2));
    }
}

#[test]
fn a_training_model_packs_as_it_is() {
    let device = device().autodiff();
    let model = MlpConfig::new(6, vec![8], 3).init(&device);
    let graph = Graph::capture(&model, [1, 6], Mlp::forward).unwrap();
    let quantization = Quantization::to(Scheme::symmetric(4).unwrap()).by(LearnedStep);
    let plan = Plan::new().quantize(quantization);
    let activations = How::bits(4, 4).activations;
    let batches = [input([4, 6], 1, &device)];
    let (quantized, _) = calibrated(graph, model, plan, activations, &batches);
    let packed = quantized.pack().unwrap();
    let found: Tensor<2> = packed.forward(batches[0].clone()).unwrap();
    assert!(!found.is_autodiff());
    let expected = quantized.valid();
    let input = batches[0].clone().without_autodiff();
    let expected: Tensor<2> = expected.forward(input).unwrap();
    assert_alike(&values(found), &values(expected));
}

#[test]
fn refuses_what_does_not_fit() {
    let symmetric = Quantization::to(Scheme::symmetric(8).unwrap());
    let (graph, model, compression) = attached(Plan::new().quantize(symmetric));
    let packed = graph.pack(&model, &compression).unwrap();
    let wrong: Result<Tensor<2>, _> = packed.forward(Tensor::<2>::ones([2, 13], &device()));
    assert!(
        matches!(wrong, Err(GraphError::Network(NetworkError::Input { .. }))),
        "{wrong:?}"
    );
    let wrong: Result<Tensor<3>, _> = packed.forward(Tensor::<2>::ones([2, 12], &device()));
    assert!(matches!(wrong, Err(GraphError::Output { .. })), "{wrong:?}");
    // Another module than the graph's.
    let other = LinearConfig::new(12, 5).init(&device());
    let wrong = graph.pack(&other, &compression);
    assert!(
        matches!(wrong, Err(GraphError::Parameter { .. })),
        "{wrong:?}"
    );
    // On the same device it is the same.
    let moved = packed.clone().to_device(&device());
    let x = input([2, 12], 3, &device());
    let pair = [packed, moved].map(|packed| values(packed.forward::<2, 2>(x.clone()).unwrap()));
    assert_eq!(pair[0], pair[1]);
}

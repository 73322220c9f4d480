//! From a compressed module to a network in one call.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn_compress::compress::{Compressed, Plan, Pruning, Quantization};
use burn_compress::engine::{Options, Program};
use burn_compress::format::{Granularity, Mapping, Payload, Scheme};
use burn_compress::graph::{Activations, Calibration, Graph};
use burn_compress::network::{Network, StepOp};
use burn_compress::quantize::LeastSquares;

use super::device::device;
use super::graph_models::networks::resnet::ResNet;
use super::graph_models::randomized;
use super::models::spread;
use super::quantized::input;

const SHAPE: [usize; 4] = [1, 3, 16, 16];

fn resnet() -> ResNet {
    randomized(ResNet::new(20, &device()).unwrap())
}

fn forward(model: &ResNet, x: Tensor<4>) -> Tensor<2> {
    model.forward(x)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn schemes() -> impl Iterator<Item = Scheme> {
    let mappings = [Mapping::Symmetric, Mapping::Affine].into_iter();
    mappings.flat_map(|mapping| {
        [Granularity::Tensor, Granularity::Channel]
            .map(|granularity| Scheme::new(4, mapping, granularity).unwrap())
    })
}

#[test]
fn a_network_of_compressed_weights_computes_what_the_module_does() {
    if super::device::leaves_out("resnet") {
        return;
    }
    for scheme in schemes().map(Some).chain([None]) {
        let mut plan = Plan::new().prune(Pruning::to(0.8));
        if let Some(scheme) = scheme {
            plan = plan.quantize(Quantization::to(scheme).by(LeastSquares));
        }
        let compressed = plan.apply(resnet()).unwrap();
        let network = compressed.network(SHAPE, forward).unwrap();
        let batch = input([3, 3, 16, 16], 4, &device());
        let wanted = numbers(compressed.module.forward(batch.clone()));
        let largest = wanted.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        let program = Program::compile(&network, Options::default()).unwrap();
        let found = program.run(&numbers(batch), 3).unwrap();
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!(
                (found - wanted).abs() <= 1e-4 * largest,
                "{found}, not {wanted}"
            );
        }

        // Its file holds it exactly, in about as many bytes as the packed weights.
        let bytes = network.to_bytes().unwrap();
        assert_eq!(Network::from_bytes(&bytes).unwrap(), network);
        let packed = compressed.archive().to_bytes().unwrap().len();
        assert!(
            bytes.len() < packed + packed / 4 + 6_000,
            "{} bytes, where {packed} hold the weights ({scheme:?})",
            bytes.len()
        );
    }
}

#[test]
fn apply_and_attach_lead_to_the_same_network() {
    if super::device::leaves_out("resnet") {
        return;
    }
    let batches = || {
        [
            input([4, 3, 16, 16], 7, &device()),
            input([4, 3, 16, 16], 8, &device()),
        ]
    };
    for scheme in schemes() {
        let plan = Plan::new()
            .prune(Pruning::to(0.7))
            .quantize(Quantization::to(scheme).by(LeastSquares));
        let activations = Activations::bits(8).unwrap();
        let network = |compressed: Compressed<ResNet>| {
            let network = compressed.quantized_network(SHAPE, forward, activations, batches());
            network.unwrap().to_bytes().unwrap()
        };
        let applied = network(plan.apply(resnet()).unwrap());
        let (attached, compression) = plan.attach(resnet()).unwrap();
        assert_eq!(network(compression.finish(attached).unwrap()), applied);

        // By hand.
        let graph = Graph::capture(&resnet(), SHAPE, forward)
            .unwrap()
            .simplify();
        let (attached, compression) = plan.attach(resnet().valid()).unwrap();
        let calibration = Calibration::new(graph, &attached, &compression, activations);
        let mut calibration = calibration.unwrap();
        for batch in batches() {
            calibration.observe(&attached, batch).unwrap();
        }
        let by_hand = calibration.finish(attached).unwrap().to_integer().unwrap();
        assert_eq!(by_hand.to_bytes().unwrap(), applied, "{scheme:?}");
    }
}

#[test]
fn codes_are_those_of_the_compression() {
    // Its quantizer is not asked again: no channel reaches its greatest code.
    let model = LinearConfig::new(32, 8).init(&device());
    let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(6).unwrap()).by(Wide));
    let compressed = plan.apply(model).unwrap();
    let Some(Payload::Quantized(packed)) = compressed.archive().content("weight") else {
        panic!("no codes");
    };
    let batch = Tensor::<2>::from_data([[0.5f32; 32], [-1.0; 32]], &device());
    let forward = |model: &Linear, x: Tensor<2>| model.forward(x);
    let activations = Activations::bits(8).unwrap();
    let network = compressed.quantized_network([1, 32], forward, activations, [batch]);
    let network = network.unwrap();
    let found = network.steps().iter().find_map(|step| match &step.op {
        StepOp::Product {
            weights: Some(weights),
            ..
        } => Some(Vec::<i32>::from(weights.codes.clone())),
        _ => None,
    });
    // The network reads `[in, out]`.
    let codes = packed.codes();
    let turned: Vec<i32> = (0..32 * 8).map(|at| codes[at % 8 * 32 + at / 8]).collect();
    assert_eq!(found.unwrap(), turned);
    assert!(codes.iter().all(|code| code.abs() <= 16));
}

/// Twice the range that there is.
struct Wide;

impl burn_compress::quantize::Quantizer for Wide {
    fn name(&self) -> &str {
        "wide"
    }

    fn parameters(
        &self,
        values: Tensor<2>,
        scheme: &Scheme,
    ) -> burn_compress::quantize::Parameters {
        let bound = values.abs().max_dim(1) * 2.0;
        burn_compress::quantize::Parameters::for_range(-bound.clone(), bound, scheme)
    }
}

#[test]
fn constants_of_any_kind_are_read_as_they_were_written() {
    use burn_compress::network::{Constant, Dim, FloatOp, Op, Step, Value};
    let noise = |at: usize| spread(at) - 0.5;
    let kinds: [fn(usize, f32) -> f32; 6] = [
        |_, x| x,
        |_, x| (x * 30.0).round() * 0.37,
        |at, x| (x * 200.0).round() * (0.01 + (at / 24) as f32),
        |at, x| (x * 200.0).round() * (0.01 + (at % 24) as f32),
        |at, x| if at % 7 == 0 { x } else { 0.0 },
        |at, x| if at % 7 == 0 { -0.0 } else { x.round() },
    ];
    for kind in kinds {
        let values: Vec<f32> = (0..12 * 24).map(|at| kind(at, noise(at))).collect();
        let dims = vec![12, 24];
        let step = Step {
            op: StepOp::Float(Op::Float(FloatOp::Greater)),
            inputs: vec![Value::Constant(0), Value::Input],
            grid: None,
            dims: vec![Dim::Fixed(12), Dim::Fixed(24)],
            layer: "compare".into(),
        };
        let constant = Constant { dims, values };
        let input = vec![Dim::Fixed(12), Dim::Fixed(24)];
        let network = Network::new(input, vec![constant], vec![step], Value::Node(0)).unwrap();
        let again = Network::from_bytes(&network.to_bytes().unwrap()).unwrap();
        let bits = |network: &Network| -> Vec<u32> {
            network.constants()[0]
                .values
                .iter()
                .map(|x| x.to_bits())
                .collect()
        };
        assert_eq!(bits(&again), bits(&network));
    }
}

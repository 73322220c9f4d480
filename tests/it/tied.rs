//! One parameter in two places, and one layer that is called twice: stored and packed once.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor, activation::relu};
use burn_compress::compress::{Plan, Pruning, Quantization, archive, load};
use burn_compress::engine::{Options, Program, Tuning};
use burn_compress::format::{Container, FormatError, Granularity, Mapping, Payload, Scheme};
use burn_compress::graph::Graph;
use burn_compress::network::NetworkError;
use burn_compress::network::Value;
use burn_compress::network::{Codes, Grid, Network, Op, Rescale, Step, StepOp, Weights};
use serde_json::{Value as Json, json};

use super::allocations::held;
use super::backends::device::device;
use super::backends::models::values;
use super::backends::quantized::{How, input, quantized};
use super::noise::{Noise, per_image};
use super::runs::images;

const CHANNELS: usize = 16;

/// Two layers, which may be one.
#[derive(Module, Debug)]
struct Pair {
    first: Conv2d,
    second: Conv2d,
}

fn layer(device: &Device) -> Conv2d {
    Conv2dConfig::new([CHANNELS, CHANNELS], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init(device)
}

impl Pair {
    fn apart(device: &Device) -> Self {
        Self {
            first: layer(device),
            second: layer(device),
        }
    }

    fn tied(device: &Device) -> Self {
        let first = layer(device);
        Self {
            second: first.clone(),
            first,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.second.forward(relu(self.first.forward(x)))
    }

    fn outputs(&self) -> Vec<f32> {
        let x = input([2, CHANNELS, 5, 5], 3, &self.first.weight.device());
        values(self.forward(x))
    }

    fn is_tied(&self) -> bool {
        self.first.weight.id == self.second.weight.id
    }
}

fn plans() -> [Plan; 4] {
    let affine = Scheme::new(4, Mapping::Affine, Granularity::Group(9)).unwrap();
    [
        Plan::new().prune(Pruning::to(0.0)),
        Plan::new().prune(Pruning::to(0.7)),
        Plan::new().quantize(Quantization::to(Scheme::symmetric(8).unwrap())),
        Plan::new()
            .prune(Pruning::to(0.5))
            .quantize(Quantization::to(affine)),
    ]
}

#[test]
fn a_parameter_in_two_places_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    let pair = Pair::tied(&device());
    for (number, plan) in plans().iter().enumerate() {
        let alone = plan.apply(pair.first.clone()).unwrap().save(&path).unwrap();
        let compressed = plan.apply(pair.clone()).unwrap();
        let both = compressed.save(&path).unwrap();
        // Their description, and what it says of four tensors in place of two.
        assert!(both < alone + 120, "{number}: {both} after {alone}");
        let expected = compressed.module.outputs();
        for module in [Pair::tied(&device()), Pair::apart(&device())] {
            let is_tied = module.is_tied();
            let loaded = load(&path, module).unwrap();
            assert_eq!(loaded.outputs(), expected);
            assert_eq!(loaded.is_tied(), is_tied);
        }
    }
    let archive = archive(&pair).unwrap();
    let stored = |path: &str| archive.content(path).unwrap();
    assert_eq!(stored("second.weight"), stored("first.weight"));
    let same = |path: &str| Payload::SameAs(path.to_string());
    assert_eq!(archive.entries[2].payload, same("first.weight"));
    assert_eq!(archive.entries[3].payload, same("first.bias"));
}

#[test]
fn a_parameter_that_differs_in_its_places_is_stored_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    let apart = Pair::apart(&device());
    // The same parameter by its name, as training leaves it that moves one place alone.
    let moved = Pair {
        second: Conv2d {
            weight: apart.first.weight.clone().map(|weight| weight * 2.0),
            ..apart.first.clone()
        },
        first: apart.first.clone(),
    };
    assert!(moved.is_tied());
    for pair in [apart, moved] {
        let compressed = plans()[1].apply(pair).unwrap();
        compressed.save(&path).unwrap();
        let expected = compressed.module.outputs();
        for module in [Pair::tied(&device()), Pair::apart(&device())] {
            assert_eq!(load(&path, module).unwrap().outputs(), expected);
        }
    }
}

#[test]
fn what_is_loaded_into_one_parameter_trains_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    let training = device().autodiff();
    plans()[1]
        .apply(Pair::tied(&device()))
        .unwrap()
        .save(&path)
        .unwrap();
    let gradients = |pair: &Pair| {
        let x = input([1, CHANNELS, 4, 4], 5, &training);
        let gradients = pair.forward(x).sum().backward();
        let of = |layer: &Conv2d| values(layer.weight.val().grad(&gradients).unwrap());
        [of(&pair.first), of(&pair.second)]
    };
    // One parameter has the sum of what each of two has.
    let [first, second] = gradients(&load(&path, Pair::apart(&training)).unwrap());
    let sum: Vec<f32> = first.iter().zip(&second).map(|(a, b)| a + b).collect();
    let [one, other] = gradients(&load(&path, Pair::tied(&training)).unwrap());
    assert_eq!(one, other);
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * a.abs().max(1.0);
    assert!(one.iter().zip(&sum).all(close));
    assert!(!one.iter().zip(&first).all(close));
}

// In floats and in integers, called once and called twice.
fn called(twice: bool) -> [Network; 2] {
    let forward = move |layer: &Conv2d, x: Tensor<4>| match twice {
        true => layer.forward(relu(layer.forward(x))),
        false => layer.forward(x),
    };
    let layer = layer(&device());
    let shape = [1, CHANNELS, 8, 8];
    let graph = Graph::capture(&layer, shape, forward).unwrap().simplify();
    let floats = graph.to_float_model(&layer).unwrap();
    let batches = [input(shape, 7, &device())];
    let (quantized, _) = quantized(layer, How::bits(8, 8), forward, &batches);
    [floats, quantized.to_integer().unwrap()]
}

#[test]
fn a_layer_called_twice_is_stored_once() {
    for (once, twice) in called(false).iter().zip(&called(true)) {
        let bytes = twice.to_bytes().unwrap();
        let (one, two) = (once.to_bytes().unwrap().len(), bytes.len());
        // Factors of another input, and a step's description.
        assert!(two < one + 400, "{two} after {one}");
        let restored = Network::from_bytes(&bytes).unwrap();
        assert_eq!(&restored, twice);
        let input = images(twice, 2, 3);
        assert_eq!(
            restored.run(&input, 2).unwrap(),
            twice.run(&input, 2).unwrap()
        );
    }
}

fn codes(count: usize, seed: u64) -> Codes {
    let mut noise = Noise(seed);
    (0..count).map(|_| noise.within(-127, 127)).collect()
}

/// Layers of these weights, each after the other.
fn layers(weights: &[Codes], inputs: usize, outputs: usize) -> Network {
    let grid = Grid::new(Scheme::symmetric(8).unwrap(), 1.0, 0).unwrap();
    let step = |op, input, dims: &[usize], last: bool| Step {
        op,
        inputs: vec![input],
        grid: (!last).then_some(grid),
        dims: per_image(dims),
        layer: "fc".into(),
    };
    let mut steps = vec![step(StepOp::Quantize, Value::Input, &[inputs], false)];
    for (index, codes) in weights.iter().enumerate() {
        let product = StepOp::Product {
            op: Op::Linear,
            weights: Some(Weights {
                dims: vec![inputs, outputs],
                codes: codes.clone(),
            }),
            rescale: Rescale::by(1e-4),
        };
        let last = index + 1 == weights.len();
        steps.push(step(product, Value::Node(index), &[outputs], last));
    }
    let last = Value::Node(weights.len());
    Network::new(per_image(&[inputs]), vec![], steps, last).unwrap()
}

#[test]
fn large_models_store_equal_tensors_once() {
    let (one, other) = (codes(768 * 768, 1), codes(768 * 768, 2));
    let bytes = |weights: &[&Codes]| {
        let weights: Vec<Codes> = weights.iter().copied().cloned().collect();
        let model = layers(&weights, 768, 768);
        let bytes = model.to_bytes().unwrap();
        assert_eq!(Network::from_bytes(&bytes).unwrap(), model);
        bytes.len()
    };
    let single = bytes(&[&one]);
    assert!(bytes(&[&one, &one, &one]) < single + 300);
    let two = bytes(&[&one, &other, &one, &other]);
    assert!(two > 2 * single - 1000 && two < 2 * single + 300);

    // Of equal weights that are all zero, a byte must not stand for ever more.
    let zeros = Codes::from(vec![0; 1024 * 1024]);
    let many = layers(&vec![zeros; 6], 1024, 1024);
    let bytes = many.to_bytes().unwrap();
    assert!(bytes.len() < 6 * 1200, "{}", bytes.len());
    assert_eq!(Network::from_bytes(&bytes).unwrap(), many);
}

fn description(bytes: &[u8]) -> (Json, Container) {
    let container = Container::from_bytes("network", bytes).unwrap();
    let description = serde_json::from_str(container.description()).unwrap();
    (description, container)
}

#[test]
fn tensors_that_are_equal_to_none_are_refused() {
    let one = codes(768 * 768, 1);
    let bytes = layers(&[one.clone(), one], 768, 768).to_bytes().unwrap();
    let (good, container) = description(&bytes);
    // Weights, one factor, weights, one factor.
    assert_eq!(good["shared"], json!([[2, 0], [3, 1]]));
    let load = |description: &Json| {
        let parts = container.clone().into_parts().into_values().collect();
        let altered = Container::new("network", description.to_string(), parts);
        Network::from_bytes(&altered.to_bytes().unwrap())
    };
    assert!(load(&good).is_ok());
    for shared in [
        json!([]),
        json!([[2, 0]]),
        json!([[2, 2], [3, 1]]),
        json!([[2, 3], [3, 2]]),
        json!([[2, 0], [3, 3]]),
        json!([[3, 1], [2, 0]]),
        json!([[2, 0], [2, 0], [3, 1]]),
        json!([[2, 1], [3, 1]]),
        json!([[2, 0], [3, 0]]),
        json!([[2, 0], [3, 9]]),
        json!([[2, 0], [9, 1]]),
        json!([[2, 0], [3, u64::MAX]]),
        json!([[2, 0], [3, -1]]),
        json!([[2, 0, 1], [3, 1]]),
    ] {
        let mut description = good.clone();
        description["shared"] = shared.clone();
        let error = load(&description).unwrap_err();
        assert!(
            matches!(error, NetworkError::Format(_)),
            "{shared}: {error}"
        );
    }
    // Of another size than the step says.
    let mut description = good.clone();
    description["model"]["steps"][2]["op"]["product"]["weights"]["dims"] = json!([768, 767]);
    assert!(matches!(load(&description), Err(NetworkError::Step { .. })));
}

#[test]
fn few_bytes_do_not_stand_for_ever_more_weights() {
    let zeros = Codes::from(vec![0; 1024 * 1024]);
    let bytes = layers(&vec![zeros; 6], 1024, 1024).to_bytes().unwrap();
    let (mut description, container) = description(&bytes);
    let first = description["integers"][0].clone();
    let length = first[1].as_u64().unwrap() as usize;
    description["integers"] = json!([first]);
    let shared: Vec<Json> = (1..6)
        .flat_map(|i| [json!([2 * i, 0]), json!([2 * i + 1, 1])])
        .collect();
    description["shared"] = shared.into();
    description["floats"] = json!([1]);
    let mut parts = container.into_parts();
    let integers = parts.get_mut("integers").unwrap();
    integers.bytes.truncate(length);
    integers.shape = vec![length];
    let parts = parts.into_values().collect();
    let altered = Container::new("network", description.to_string(), parts);
    match Network::from_bytes(&altered.to_bytes().unwrap()) {
        Err(NetworkError::Format(FormatError::Corrupt { what })) => {
            assert!(what.contains("equal"), "{what}");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn copies_of_codes_are_in_memory_once() {
    let of = |model: &Network| -> Vec<*const i8> {
        let codes = model.steps().iter().filter_map(|step| match &step.op {
            StepOp::Product { weights, .. } => Some(&weights.as_ref()?.codes),
            _ => None,
        });
        let places = codes.map(|codes| match codes {
            Codes::I8(codes) => codes.as_ptr(),
            other => panic!("{other:?}"),
        });
        places.collect()
    };
    // Two copies of the same, and one that differs in its last code.
    let (one, copy) = (codes(4096, 1), codes(4096, 1));
    let mut last = Vec::from(one.clone());
    *last.last_mut().unwrap() ^= 1;
    let model = layers(&[one, last.into(), copy], 64, 64);
    let places = of(&model);
    assert_eq!(places[0], places[2]);
    assert_ne!(places[0], places[1]);
    let places = of(&Network::from_bytes(&model.to_bytes().unwrap()).unwrap());
    assert_eq!(places[0], places[2]);
}

#[test]
fn a_layer_called_twice_is_packed_once() {
    if super::backends::device::leaves_out("a_layer_called_twice_is_packed_once") {
        return;
    }
    let options = Options {
        threads: Some(1),
        tuning: Tuning::Estimated,
        ..Options::default()
    };
    let forward = |pair: &Pair, x: Tensor<4>| pair.forward(x);
    let shape = [1, CHANNELS, 8, 8];
    let models = |pair: Pair| {
        let graph = Graph::capture(&pair, shape, forward).unwrap().simplify();
        let floats = graph.to_float_model(&pair).unwrap();
        let batches = [input(shape, 7, &device())];
        let (quantized, _) = quantized(pair, How::bits(8, 8), forward, &batches);
        [floats, quantized.to_integer().unwrap()]
    };
    let weights = (CHANNELS * CHANNELS * 9) as isize;
    let [tied, apart] = [Pair::tied(&device()), Pair::apart(&device())].map(models);
    // Of a weight: a float and what is packed of it, and at least a byte that is packed.
    for ((tied, apart), each) in tied.iter().zip(&apart).zip([8, 1]) {
        let compile = |model| held(|| Program::compile(model, options).unwrap());
        let ((program, one), (_, two)) = (compile(tied), compile(apart));
        assert!(two - one >= each * weights, "{one} and {two}");
        for batch in [1, 16, 17] {
            let input = images(tied, batch, 3);
            let (expected, _) = tied.run(&input, batch).unwrap();
            let found = program.run(&input, batch).unwrap();
            let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * largest;
            assert!(found.iter().zip(&expected).all(close), "at batch {batch}");
        }
    }
}

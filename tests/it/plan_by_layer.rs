//! Plans that differ by layer.

use burn::module::Module;
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::Tensor;
use burn_compress::compress::{
    CompressError, Compressed, Compression, Plan, Pruning, Quantization, Regrowth, Selection, load,
};
use burn_compress::format::{Granularity, Mapping, Payload, Scheme};
use burn_compress::graph::Activations;
use burn_compress::prune::{Need, Pattern, Taylor, Wanda};
use burn_compress::schedule::Curve;
use burn_compress::{Options, Program, engine::Tuning};

use super::backends::device::device;
use super::backends::models::{Net, batch, outputs, train_step, trained, values, zeros};

fn only(layers: &[&str]) -> Selection {
    Selection::only(layers.iter().copied())
}

/// `conv` stays as it is, `up` stays in floats, and the others have their own bits and granularity.
fn plan() -> Plan {
    let pairs = Pattern::Block { channels: 2 };
    let fours = Pattern::Block { channels: 4 };
    let tensor = Scheme::new(8, Mapping::Affine, Granularity::Tensor).unwrap();
    let groups = Scheme::new(4, Mapping::Symmetric, Granularity::Channel).unwrap();
    Plan::new()
        .prune(Pruning::to(0.5).pattern(pairs).select(only(&["grouped"])))
        .prune(Pruning::to(0.75).select(only(&["up"])))
        .prune(
            Pruning::to(0.8)
                .pattern(fours)
                .select(only(&["head.weight"])),
        )
        .quantize(Quantization::to(tensor).select(only(&["grouped.weight"])))
        .quantize(Quantization::to(groups).select(only(&["head"])))
}

fn images() -> Vec<Tensor<4>> {
    (20..24).map(|step| batch(step, &device()).0).collect()
}

fn forward(net: &Net, images: Tensor<4>) -> Tensor<2> {
    net.forward(images)
}

#[track_caller]
fn assert_holds(compressed: &Compressed<Net>, original: &Net) {
    let layers = compressed.layers().iter();
    let layers = layers.map(|layer| (layer.path.as_str(), layer.bits));
    let wanted = [("grouped.weight", 8), ("up.weight", 32), ("head.weight", 4)];
    assert_eq!(layers.collect::<Vec<_>>(), wanted);
    let net = &compressed.module;
    let (one, other) = (net.conv.weight.val(), original.conv.weight.val());
    assert_eq!(values(one), values(other));

    let [_, grouped, up, head] = &zeros(net)[..] else {
        panic!("four layers")
    };
    // Two input channels of nine taps: weights of a pair lie nine apart.
    let pairs = grouped
        .chunks(18)
        .flat_map(|row| (0..9).map(|tap| (row[tap], row[tap + 9])));
    let gone = pairs.filter(|(one, other)| *one && *other).count();
    assert!(gone >= 18, "{gone} pairs are gone");
    let count = |zeros: &[bool]| zeros.iter().filter(|zero| **zero).count();
    assert_eq!(count(up), 24);
    let blocks = head
        .chunks(4)
        .filter(|block| block.iter().all(|zero| *zero));
    assert!(blocks.count() >= 43, "{} are gone", count(head));

    let scheme = |path: &str| match compressed.archive().content(path) {
        Some(Payload::Quantized(weight)) => {
            Some((weight.scheme().bits(), weight.scheme().granularity()))
        }
        _ => None,
    };
    assert_eq!(scheme("grouped.weight"), Some((8, Granularity::Tensor)));
    assert_eq!(scheme("head.weight"), Some((4, Granularity::Channel)));
    assert_eq!((scheme("up.weight"), scheme("conv.weight")), (None, None));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    compressed.save(&path).unwrap();
    let loaded = load(&path, Net::new(&device())).unwrap();
    assert_eq!(outputs(&loaded), outputs(net));
    assert_eq!(zeros(&loaded), zeros(net));
}

#[test]
fn each_layer_gets_its_own_after_training() {
    let net = trained(10, &device()).valid();
    assert_holds(&plan().apply(net.clone()).unwrap(), &net);
}

#[test]
fn each_layer_gets_its_own_by_reconstruction_and_runs() {
    let net = trained(10, &device()).valid();
    let statistics = plan().reconstruct(net.clone(), forward, images()).unwrap();
    let found = values(statistics.module.conv.weight.val());
    // Statistics go into the norm behind it.
    assert_eq!(found, values(net.conv.weight.val()));
    assert_holds(&statistics, &net);

    let compressed = statistics;
    let shape = [1, 1, 6, 6];
    let activations = Activations::bits(8).unwrap();
    let quantized = compressed
        .quantized(shape, forward, activations, images())
        .unwrap();
    // What has no codes runs in floats.
    let table = quantized
        .in_float()
        .into_iter()
        .map(|node| node.layer.clone());
    let in_float: Vec<String> = table.collect();
    assert!(in_float.contains(&"conv".to_string()), "{in_float:?}");
    assert!(!in_float.contains(&"head".to_string()), "{in_float:?}");
    let network = quantized.to_integer().unwrap();
    let options = Options {
        tuning: Tuning::Estimated,
        ..Options::default()
    };
    let program = Program::compile(&network, options).unwrap();
    let input = values(images().remove(0));
    let found = program.run(&input, 8).unwrap();
    assert_eq!(found, network.run(&input, 8).unwrap().0);
    let wanted = values(compressed.module.forward(images().remove(0)));
    let error = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
    assert!(error.fold(0.0, f32::max) < 0.2, "{found:?}, not {wanted:?}");
}

#[test]
fn what_selects_none_holds_for_the_rest() {
    let net = trained(5, &device()).valid();
    let eight = Quantization::to(Scheme::symmetric(8).unwrap());
    let four = Quantization::to(Scheme::symmetric(4).unwrap()).select(only(&["head"]));
    let plan = Plan::new().quantize(eight.clone()).quantize(four);
    let compressed = plan
        .prune(Pruning::to(0.5).select(only(&["up"])))
        .apply(net.clone());
    let compressed = compressed.unwrap();
    let layers = compressed.layers().iter().map(|layer| layer.bits);
    assert_eq!(layers.collect::<Vec<_>>(), [8, 8, 8, 4]);
    assert!(compressed.layers()[2].removed >= 16);
    // Of the plan's selection alone.
    let plan = Plan::new().select(only(&["conv", "up"])).quantize(eight);
    let plan = plan.prune(Pruning::to(0.5).select(only(&["head"])));
    let compressed = plan.apply(net).unwrap();
    let layers = compressed
        .layers()
        .iter()
        .map(|layer| (layer.path.as_str(), layer.bits));
    let wanted = [("conv.weight", 8), ("up.weight", 8), ("head.weight", 32)];
    assert_eq!(layers.collect::<Vec<_>>(), wanted);
}

#[test]
fn a_layer_of_two_entries_is_refused() {
    let net = trained(0, &device()).valid();
    let twice = Plan::new()
        .prune(Pruning::to(0.5).select(only(&["up", "head"])))
        .prune(Pruning::to(0.8).select(only(&["head.*"])));
    let error = twice.apply(net.clone()).unwrap_err();
    let CompressError::Claimed { layer, kind } = &error else {
        panic!("{error}")
    };
    assert_eq!((layer.as_str(), *kind), ("head.weight", "pruning"));
    assert!(error.to_string().contains("select other layers"), "{error}");

    let codes = || Quantization::to(Scheme::symmetric(8).unwrap());
    let twice = Plan::new().quantize(codes()).quantize(codes());
    let error = twice.apply(net.clone()).unwrap_err();
    assert!(
        matches!(
            error,
            CompressError::Claimed {
                kind: "quantization",
                ..
            }
        ),
        "{error}"
    );
    let none = Plan::new().prune(Pruning::to(0.5).select(only(&["tail"])));
    let error = none.apply(net).unwrap_err();
    assert!(matches!(error, CompressError::NoMatch { .. }), "{error}");
}

#[test]
fn each_schedule_freezes_its_own_masks_and_training_resumes() {
    let rising = Curve::Linear {
        from: 0.0,
        to: 0.75,
        start: 0,
        end: 6,
    };
    let plan = || {
        Plan::new()
            .prune(Pruning::to(0.5).select(only(&["conv"])))
            .prune(
                Pruning::along(rising.clone())
                    .every(2)
                    .regrowth(Regrowth::Never)
                    .select(only(&["head"])),
            )
            .prune(Pruning::to(0.0).select(only(&["up"])))
            .quantize(
                Quantization::to(Scheme::symmetric(4).unwrap()).select(only(&["grouped", "head"])),
            )
    };
    let net = || Net::new(&device().autodiff());
    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    let (mut model, mut compression) = plan().attach(net()).unwrap();
    let paths: Vec<_> = compression
        .layers()
        .iter()
        .map(|layer| layer.path.clone())
        .collect();
    assert_eq!(
        paths,
        ["conv.weight", "grouped.weight", "up.weight", "head.weight"]
    );
    let zeros_of = |model: &Net| zeros(&Compression::snapshot(model).valid());
    let count = |zeros: &[bool]| zeros.iter().filter(|zero| **zero).count();
    let first = zeros_of(&model)[0].clone();
    assert_eq!(count(&first), 18);
    let mut half = None;
    for step in 0..8 {
        model = train_step(model, &mut optimizer, 0.05, step);
        model = compression.step(model).unwrap();
        let now = zeros_of(&model);
        assert_eq!(now[0], first, "masks that are frozen moved at step {step}");
        // Its stored values stay cleared, whatever momentum makes of them.
        let stored = values(model.conv.weight.base().without_autodiff());
        let stored = stored.iter().filter(|value| **value == 0.0).count();
        assert_eq!(stored, 18);
        assert!(count(&now[3]) >= 216 * [0, 2, 2, 4, 4, 6, 6, 6][step] / 8);
        if step == 3 {
            let record = Compression::snapshot(&model).into_record();
            half = Some((record, compression.state().clone()));
        }
    }
    assert!(!compression.state().frozen, "one has not begun");
    let level = compression.level().unwrap();
    assert!((level - (0.5 * 36.0 + 0.75 * 216.0) / (36.0 + 32.0 + 216.0)).abs() < 1e-9);
    let error = compression.prune_to(model.clone(), 0.5).unwrap_err();
    assert!(matches!(error, CompressError::Fixed { .. }));
    let bits = compression.summary(&model).unwrap();
    let bits: Vec<u32> = bits.iter().map(|layer| layer.bits).collect();
    assert_eq!(bits, [32, 4, 32, 4]);

    // From the middle on, with a fresh optimizer.
    let (record, state) = half.unwrap();
    let (resumed, mut again) = plan().attach(net()).unwrap();
    let mut resumed = resumed.load_record(record);
    again.restore(state).unwrap();
    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    assert_eq!(zeros_of(&resumed)[0], first);
    for step in 4..8 {
        resumed = train_step(resumed, &mut optimizer, 0.05, step);
        resumed = again.step(resumed).unwrap();
        assert_eq!(zeros_of(&resumed)[0], first);
    }
    let finished = again.finish(resumed).unwrap();
    assert!(finished.layers()[3].removed >= 162);
    assert_eq!(finished.layers()[0].removed, 18);
    assert!(finished.unfinished().is_none());
}

#[test]
fn only_layers_whose_criterion_asks_are_observed() {
    let net = trained(0, &device()).valid();
    let plan = Plan::new()
        .prune(Pruning::to(0.5).by(Wanda).select(only(&["conv", "up"])))
        .prune(Pruning::to(0.5).by(Taylor::Squared).select(only(&["head"])))
        .prune(Pruning::to(0.5).select(only(&["grouped"])));
    let seen = plan.observations(&net).unwrap();
    let needs = [Need::Gradient, Need::InputNorms];
    assert!(needs.iter().all(|need| seen.needs().contains(need)));
    // Magnitudes alone are known.
    let error = plan.apply(net).unwrap_err();
    let CompressError::Unobserved { layer, need, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((layer.as_str(), need), ("conv.weight", Need::InputNorms));
}

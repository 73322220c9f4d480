//! Pruning in blocks: whole ones go, lowest first, as close to the level as they can come.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::{Tensor, TensorData};
use burn_compress::compress::{CompressError, Plan, Pruning, Quantization, Regrowth, load};
use burn_compress::format::Scheme;
use burn_compress::prune::{AtLeast, Pattern, Random, Scope, share_of};
use burn_compress::schedule::Curve;
use burn_compress::train::Checkpoint;
use proptest::prelude::*;

use super::device::{cases, device};
use super::models::{Net, assert_same_run, look, seen, spread, train_step, trained};

/// Input channels of a filter, and taps, of each layer of [`Net`].
const SHAPES: [[usize; 2]; 4] = [[1, 9], [2, 9], [4, 4], [72, 1]];
pub const TOTAL: f64 = 356.0;

fn block(channels: usize) -> Pattern {
    Pattern::Block { channels }
}

/// The places of each block of a layer in rows, in the order in which equal ones go.
fn blocks(rows: usize, [channels, taps]: [usize; 2], size: usize) -> Vec<Vec<usize>> {
    let whole = channels / size;
    let of = |first: usize, end: usize| {
        (0..rows).flat_map(move |row| {
            (first..end).flat_map(move |block| {
                (0..taps).map(move |tap| {
                    let inside = block * size..channels.min((block + 1) * size);
                    let place = |channel| (row * channels + channel) * taps + tap;
                    inside.map(place).collect()
                })
            })
        })
    };
    of(0, whole)
        .chain(of(whole, channels.div_ceil(size)))
        .collect()
}

/// How many weights each block has, and how many of them are marked.
fn counts(marked: &[bool], shape: [usize; 2], size: usize) -> Vec<(usize, usize)> {
    let blocks = blocks(marked.len() / shape[0] / shape[1], shape, size);
    assert_eq!(blocks.iter().map(Vec::len).sum::<usize>(), marked.len());
    let marked = |block: &Vec<usize>| block.iter().filter(|place| marked[**place]).count();
    blocks.iter().map(|b| (b.len(), marked(b))).collect()
}

fn masks(net: &Net) -> Vec<Vec<bool>> {
    let layers = seen(net).into_iter();
    layers.map(|layer| layer.removed.unwrap()).collect()
}

/// Whether each block of each layer is there as a whole, or not at all.
pub fn is_whole(masks: &[Vec<bool>], size: usize) -> bool {
    let mut layers = masks.iter().zip(SHAPES);
    let whole = |(length, removed): (usize, usize)| removed == 0 || removed == length;
    layers.all(|(mask, shape)| counts(mask, shape, size).into_iter().all(whole))
}

/// Returns how many weights are gone.
#[track_caller]
pub fn assert_whole(masks: &[Vec<bool>], size: usize) -> usize {
    assert!(is_whole(masks, size), "{masks:?}");
    masks.iter().flatten().filter(|gone| **gone).count()
}

#[track_caller]
pub fn assert_share(removed: usize, level: f64, total: f64, longest: usize) {
    let off = (removed as f64 - level * total).abs();
    assert!(off <= longest as f64 / 2.0 + 1e-9, "{removed} at {level}");
}

#[derive(Module, Debug)]
struct Two {
    conv: Conv2d,
    head: Linear,
}

/// Weights on a grid, so that many scores are equal; the first differs, as a layer must not be constant.
fn grid<const D: usize>(param: Param<Tensor<D>>, steps: f32) -> Param<Tensor<D>> {
    let dims = param.dims();
    let value = |i| match i {
        0 => 1.5,
        _ => ((spread(i * 5 + dims[0]) - 0.5) * steps).round() / steps,
    };
    let values: Vec<f32> = (0..dims.iter().product()).map(value).collect();
    Param::from_data(TensorData::new(values, dims), &param.device())
}

impl Two {
    fn new([inputs, filters, kernel, features]: [usize; 4], steps: f32) -> Self {
        let conv = Conv2dConfig::new([inputs, filters], [kernel, 2]).init(&device());
        let head = LinearConfig::new(features, 3).init(&device());
        Self {
            conv: Conv2d {
                weight: grid(conv.weight, steps),
                ..conv
            },
            head: Linear {
                weight: grid(head.weight, steps),
                ..head
            },
        }
    }
}

/// Of the blocks of one threshold: length, score, and whether it is gone.
type Judged = Vec<(usize, f64, bool)>;

/// By trying: no fewer and no more blocks, in the order of their scores, come closer to the level.
fn check_threshold(blocks: &Judged, level: f64) -> Result<(), TestCaseError> {
    let total: usize = blocks.iter().map(|block| block.0).sum();
    let longest = blocks.iter().map(|block| block.0).max().unwrap_or(0);
    let of = |wanted: bool| blocks.iter().filter(move |block| block.2 == wanted);
    let removed: usize = of(true).map(|block| block.0).sum();
    let off = |removed: usize| (removed as f64 - level * total as f64).abs();
    prop_assert!(off(removed) <= longest as f64 / 2.0 + 1e-9, "{removed}");
    let dearest = of(true).map(|block| block.1).fold(-1.0, f64::max);
    let cheapest = of(false).map(|block| block.1).fold(f64::MAX, f64::min);
    prop_assert!(dearest <= cheapest + 1e-6);
    let closer = |other: usize| off(other) < off(removed) - 1e-9;
    let mut next = of(false).filter(|block| block.1 <= cheapest + 1e-6);
    prop_assert!(next.clone().count() == 0 || next.any(|b| !closer(removed + b.0)));
    let mut last = of(true).filter(|block| block.1 >= dearest - 1e-6);
    prop_assert!(last.clone().count() == 0 || last.any(|b| !closer(removed - b.0)));
    let middle = level * blocks.len() as f64;
    if blocks.iter().all(|block| block.0 == longest) && (middle.fract() - 0.5).abs() > 1e-9 {
        let gone = share_of(level, blocks.len());
        prop_assert_eq!(removed, gone * longest);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64)))]

    #[test]
    fn whole_blocks_go_lowest_first_as_close_to_the_level_as_they_can(
        inputs in 1usize..10,
        filters in 1usize..4,
        kernel in 1usize..3,
        features in 2usize..20,
        size in 1usize..6,
        steps in 2.0..30.0f32,
        level in 0.0..0.999f64,
        layer in any::<bool>(),
    ) {
        let two = Two::new([inputs, filters, kernel, features], steps);
        let scope = if layer { Scope::Layer } else { Scope::Global };
        // Neither zeros nor a rest of each layer count here.
        let pruning = |pruning: Pruning| {
            let pruning = pruning.keep_zeros(false).at_least(AtLeast::Weights(0));
            pruning.scope(scope).pattern(block(size))
        };
        let at_once = Plan::new().prune(pruning(Pruning::to(level)));
        let (first, _) = at_once.attach(two.valid()).unwrap();
        // Scores are those of before: frozen masks clear what they remove.
        let layers = [
            (
                look("conv.weight", &two.conv.weight, 0).stored,
                look("conv.weight", &first.conv.weight, 0).removed.unwrap(),
                [inputs, kernel * 2],
            ),
            (
                look("head.weight", &two.head.weight, 1).stored,
                look("head.weight", &first.head.weight, 1).removed.unwrap(),
                [features, 1],
            ),
        ];
        let mut all = Vec::new();
        for (weights, mask, shape) in &layers {
            let rows = mask.len() / shape[0] / shape[1];
            let places = blocks(rows, *shape, size);
            let judged = places.iter().zip(counts(mask, *shape, size));
            let judged = judged.map(|(places, (length, removed))| {
                assert!(removed == 0 || removed == length, "{removed} of {length}");
                let sum: f64 = places.iter().map(|i| f64::from(weights[*i].abs())).sum();
                (length, sum / length as f64, removed > 0)
            });
            all.push(judged.collect::<Judged>());
        }
        match scope {
            Scope::Layer => all.iter().try_for_each(|layer| check_threshold(layer, level))?,
            Scope::Global => check_threshold(&all.concat(), level)?,
            Scope::Erk => unreachable!("not among the scopes drawn"),
        }
        // The same, found on the device after a step.
        let later = Curve::Steps { values: vec![(0, 0.0), (1, level), (9, level)] };
        let later = Plan::new().prune(pruning(Pruning::along(later)));
        let (second, mut compression) = later.attach(two).unwrap();
        let second = compression.step(second).unwrap();
        let found = [
            look("conv.weight", &second.conv.weight, 0),
            look("head.weight", &second.head.weight, 1),
        ];
        for (found, (_, mask, _)) in found.iter().zip(&layers) {
            prop_assert_eq!(found.removed.as_ref(), Some(mask), "{}", found.path);
        }
    }
}

fn linear(rows: [[f32; 5]; 2]) -> Linear {
    let linear = LinearConfig::new(5, 2).init(&device());
    let columns: Vec<f32> = (0..5).flat_map(|i| [rows[0][i], rows[1][i]]).collect();
    Linear {
        weight: Param::from_data(TensorData::new(columns, [5, 2]), &device()),
        ..linear
    }
}

#[test]
fn equal_blocks_go_in_their_order_whole_ones_before_short_ones() {
    let ones = [[1.0, 1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 3.0]];
    for (level, expected) in [
        (0.0, "          "),
        (0.09, "          "), // the middle of the first is 1 of 10
        (0.1, "xx        "),
        (0.29, "xx        "), // of the second: 3
        (0.3, "xxxx      "),
        (0.5, "xxxx xx   "),
        (0.84, "xxxx xxxx "),
        (0.85, "xxxxxxxxx "),
        (0.94, "xxxxxxxxx "),
        (0.95, "xxxxxxxxxx"),
    ] {
        // On the host, then on the device.
        let at_once = Pruning::to(level);
        let values = vec![(0, 0.0), (1, level), (9, level)];
        let later = Pruning::along(Curve::Steps { values });
        for pruning in [at_once, later] {
            let pruning = pruning.pattern(block(2)).at_least(AtLeast::Weights(0));
            let (linear, mut compression) =
                Plan::new().prune(pruning).attach(linear(ones)).unwrap();
            let linear = compression.step(linear).unwrap();
            let mask = look("weight", &linear.weight, 1).removed.unwrap();
            let mask = mask.iter().map(|gone| if *gone { 'x' } else { ' ' });
            assert_eq!(mask.collect::<String>(), expected, "at {level}");
        }
    }
}

#[test]
fn short_blocks_compare_by_the_size_of_their_weights() {
    // The mean of the first is 2, of the short one beside it 3; its sum is the greater one.
    let rows = [[2.0, -2.0, -4.0, 4.0, 3.0], [5.0, 5.0, 5.0, 5.0, 6.0]];
    let plan = Plan::new().prune(Pruning::to(0.2).pattern(block(2)));
    let compressed = plan.apply(linear(rows)).unwrap();
    let left = look("weight", &compressed.module.weight, 1).used;
    assert_eq!(left, [0.0, 0.0, -4.0, 4.0, 3.0, 5.0, 5.0, 5.0, 5.0, 6.0]);
}

#[test]
fn a_block_of_a_convolution_lies_across_channels_at_one_tap() {
    let conv = Conv2dConfig::new([4, 1], [1, 2]).init(&device());
    // A small weight among large ones, and the other way round.
    let values = [9.0f32, 0.5, 9.0, 0.5, 0.1, 0.5, 9.0, 4.0];
    let conv = Conv2d {
        weight: Param::from_data(TensorData::new(values.to_vec(), [1, 4, 1, 2]), &device()),
        ..conv
    };
    let plan = Plan::new().prune(Pruning::to(0.5).pattern(block(4)));
    let compressed = plan.apply(conv).unwrap();
    let left = look("weight", &compressed.module.weight, 0).used;
    assert_eq!(left, [9.0, 0.0, 9.0, 0.0, 0.1, 0.0, 9.0, 0.0]);
}

#[test]
fn weights_of_a_depthwise_convolution_are_blocks_of_their_own() {
    let conv = Conv2dConfig::new([6, 6], [3, 3])
        .with_groups(6)
        .init(&device());
    let mask = |pattern| {
        let plan = Plan::new().prune(Pruning::to(0.4).pattern(pattern));
        look("weight", &plan.attach(conv.valid()).unwrap().0.weight, 0).removed
    };
    assert_eq!(mask(block(4)), mask(Pattern::Unstructured));
}

#[test]
fn blocks_of_one_channel_are_single_weights() {
    let net = trained(3, &device()).valid();
    let mask = |pattern| {
        let pruning = Pruning::to(0.7).pattern(pattern).by(Random { seed: 3 });
        masks(&Plan::new().prune(pruning).attach(net.valid()).unwrap().0)
    };
    assert_eq!(mask(block(1)), mask(Pattern::Unstructured));
}

fn optimizers() -> [ModuleOptimizer; 2] {
    let momentum = Some(MomentumConfig::new());
    [
        SgdConfig::new().with_momentum(momentum).init(),
        AdamConfig::new().init(),
    ]
}

// Weights come back and go; the level falls again at the end of the second.
fn curves() -> [Curve; 2] {
    let (start, end) = (1, 6);
    [
        Curve::Cubic {
            from: 0.1,
            to: 0.75,
            start,
            end,
        },
        Curve::OneCycle {
            from: 0.2,
            peak: 0.8,
            to: 0.6,
            peak_at: 3,
            end,
        },
    ]
}

fn train_in_blocks(mut optimizer: ModuleOptimizer, curve: &Curve, regrowth: Regrowth, size: usize) {
    let pruning = Pruning::along(curve.clone()).regrowth(regrowth);
    let plan = Plan::new().prune(pruning.pattern(block(size)));
    let (mut net, mut compression) = plan.attach(Net::new(&device().autodiff())).unwrap();
    let mut frozen = None;
    for step in 0..9 {
        net = train_step(net, &mut optimizer, 0.05, step);
        net = compression.step(net).unwrap();
        let gone = assert_whole(&masks(&net), size);
        if regrowth == Regrowth::UntilFrozen || matches!(curve, Curve::Cubic { .. }) {
            let level = burn_compress::schedule::Schedule::at(curve, step + 1);
            assert_share(gone, level, TOTAL, size);
        }
        for layer in seen(&net) {
            let mask = layer.removed.unwrap();
            let mut values = layer.used.iter().zip(&layer.stored).zip(mask);
            let cleared = regrowth == Regrowth::Never || compression.state().frozen;
            assert!(values.all(|((used, stored), gone)| {
                !gone || *used == 0.0 && (!cleared || *stored == 0.0)
            }));
        }
        if compression.state().frozen {
            assert_eq!(*frozen.get_or_insert_with(|| masks(&net)), masks(&net));
        }
    }
    let frozen = frozen.unwrap();
    let zeros = |net: &Net| -> Vec<Vec<bool>> {
        let layers = seen(net).into_iter();
        layers
            .map(|layer| layer.used.iter().map(|value| *value == 0.0).collect())
            .collect()
    };
    assert_eq!(zeros(&compression.strip(net.valid())), frozen);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.bcm");
    compression.finish(net).unwrap().save(&path).unwrap();
    let loaded = load(&path, Net::new(&device())).unwrap();
    assert_eq!(zeros(&loaded), frozen);
}

#[test]
fn blocks_stay_whole_under_every_schedule_and_regrowth() {
    for curve in curves() {
        for regrowth in [Regrowth::UntilFrozen, Regrowth::Never] {
            let [sgd, adam] = optimizers();
            train_in_blocks(sgd, &curve, regrowth, 4);
            train_in_blocks(adam, &curve, regrowth, 3);
        }
    }
}

#[test]
fn a_steered_level_removes_whole_blocks() {
    let plan = Plan::new().prune(Pruning::to(0.0).pattern(block(4)));
    let (mut net, mut compression) = plan.attach(trained(3, &device())).unwrap();
    for level in [0.3, 0.65, 0.9, 0.5] {
        net = compression.prune_to(net, level).unwrap();
        assert_share(assert_whole(&masks(&net), 4), level, TOTAL, 4);
    }
    let net = compression.freeze(net).unwrap();
    assert_share(assert_whole(&masks(&net), 4), 0.5, TOTAL, 4);
}

#[test]
fn a_run_in_blocks_stopped_at_any_step_goes_on_as_if_it_had_not() {
    const STEPS: usize = 9;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    for regrowth in [Regrowth::UntilFrozen, Regrowth::Never] {
        let [curve, _] = curves();
        let pruning = Pruning::along(curve).regrowth(regrowth).every(2);
        let plan = Plan::new()
            .prune(pruning.pattern(block(4)))
            .quantize(Quantization::to(Scheme::symmetric(5).unwrap()).every(3));
        let start = || {
            let net = Net::new(&device().autodiff());
            let optimizer: ModuleOptimizer = AdamConfig::new().init();
            (plan.attach(net).unwrap(), optimizer)
        };
        let run = |stop: usize| {
            let ((mut net, mut compression), mut optimizer) = start();
            for step in 0..STEPS {
                if step == stop {
                    let checkpoint = Checkpoint::new(&net, &optimizer, &compression, &step);
                    checkpoint.unwrap().save(&path).unwrap();
                    let ((fresh, unmoved), new) = start();
                    let read = Checkpoint::load(&path).unwrap();
                    let read = read.restore::<_, usize>(fresh, new, unmoved).unwrap();
                    (net, optimizer, compression, _) = read;
                }
                net = train_step(net, &mut optimizer, 0.05, step);
                net = compression.step(net).unwrap();
            }
            net
        };
        let whole = run(STEPS);
        assert_whole(&masks(&whole), 4);
        for stop in [0, 3, 5, 8] {
            assert_same_run(&run(stop), &whole);
        }
    }
}

#[test]
fn zeros_that_are_there_stay_as_they_are() {
    let single = Plan::new().prune(Pruning::to(0.5));
    let pruned = single.apply(trained(3, &device())).unwrap().module;
    let zeros = |net: &Net| -> Vec<Vec<f32>> {
        let layers = seen(net).into_iter();
        layers.map(|layer| layer.used).collect()
    };
    let before = zeros(&pruned);
    let kept = Plan::new().prune(Pruning::existing().pattern(block(4)));
    assert_eq!(zeros(&kept.apply(pruned).unwrap().module), before);
}

#[test]
fn a_block_without_channels_is_refused() {
    let plan = Plan::new().prune(Pruning::to(0.5).pattern(block(0)));
    let error = plan.attach(Net::new(&device())).err().unwrap();
    assert!(matches!(error, CompressError::PruningPattern(_)), "{error}");
    let error = plan.apply(Net::new(&device())).err().unwrap();
    assert!(matches!(error, CompressError::PruningPattern(_)), "{error}");
}

#[test]
fn patterns_have_names() {
    for (pattern, json, name) in [
        (Pattern::Unstructured, r#""unstructured""#, "unstructured"),
        (block(4), r#""block4""#, "block4"),
    ] {
        assert_eq!(serde_json::to_string(&pattern).unwrap(), json);
        assert_eq!(serde_json::from_str::<Pattern>(json).unwrap(), pattern);
        assert_eq!(pattern.to_string(), name);
    }
    assert_eq!(Pattern::default(), Pattern::Unstructured);
    for bad in [
        r#""block""#,
        r#"{"block":{"channels":4}}"#,
        r#""block-4""#,
        r#""row""#,
        r#""2:""#,
    ] {
        assert!(serde_json::from_str::<Pattern>(bad).is_err(), "{bad}");
    }
}

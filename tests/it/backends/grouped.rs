//! Transposed convolutions in groups: an output channel is one of the whole layer, whatever asks.

use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::conv::{
    ConvTranspose1d, ConvTranspose1dConfig, ConvTranspose2d, ConvTranspose2dConfig,
    ConvTranspose3dConfig,
};
use burn::tensor::{Tensor, TensorData};
use burn_compress::compress::{
    CompressError, Compressed, Plan, Pruning, Quantization, Selection, layers, load,
};
use burn_compress::format::{FormatError, Granularity, Mapping, Scheme, WeightView};
use burn_compress::graph::{Activations, Calibration, Graph, GraphError};
use burn_compress::prune::{Missing, Pattern, Pruner, Scope, Weight};
use burn_compress::quantize::LearnedStep;
use proptest::prelude::*;

use super::device::device;
use super::models::{spread, values};
use super::quantized::{How, assert_simulates, input, quantized};

/// Inputs and outputs of the layer, groups, and taps.
type Shape = [usize; 4];

/// The places of each output channel's weights in a transposed convolution's own order, by its definition:
/// output `o` of group `g` reads the inputs of that group alone.
fn places([inputs, outputs, groups, taps]: Shape) -> Vec<Vec<usize>> {
    let (each_in, each_out) = (inputs / groups, outputs / groups);
    let of = |output: usize| {
        let (group, within) = (output / each_out, output % each_out);
        let inputs = group * each_in..(group + 1) * each_in;
        let taps = inputs.flat_map(move |input| {
            (0..taps).map(move |tap| (input * each_out + within) * taps + tap)
        });
        taps.collect()
    };
    (0..outputs).map(of).collect()
}

/// Channels of very different size: one scale for several loses the small ones.
fn sizes(shape: Shape) -> Vec<f32> {
    let mut values = vec![0.0; shape[0] * (shape[1] / shape[2]) * shape[3]];
    for (channel, places) in places(shape).into_iter().enumerate() {
        for place in places {
            let size = 0.01f32.powi(channel as i32 % 3);
            values[place] = (spread(place * 3 + 1) * 2.0 - 1.0) * size;
        }
    }
    values
}

fn with_values<const D: usize>(param: Param<Tensor<D>>, values: Vec<f32>) -> Param<Tensor<D>> {
    let dims = param.dims();
    Param::from_data(TensorData::new(values, dims), &param.device())
}

fn up2(shape: Shape, bias: bool) -> ConvTranspose2d {
    let [inputs, outputs, groups, taps] = shape;
    let config = ConvTranspose2dConfig::new([inputs, outputs], [taps, 1]);
    let up = config.with_groups(groups).with_bias(bias).init(&device());
    ConvTranspose2d {
        weight: with_values(up.weight, sizes(shape)),
        ..up
    }
}

/// Symmetric codes with a scale for each output channel, by hand.
fn coded(values: &[f32], shape: Shape, bits: u32) -> Vec<f32> {
    let last = ((1 << (bits - 1)) - 1) as f32;
    let mut coded = values.to_vec();
    for places in places(shape) {
        let size = places
            .iter()
            .fold(0.0f32, |max, place| max.max(values[*place].abs()));
        let scale = size / last;
        for place in places {
            coded[place] = (values[place] / scale).round_ties_even() * scale;
        }
    }
    coded
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() <= 1e-5 * expected.abs();
        assert!(close, "{found}, not {expected} at {place}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_are_output_channels_of_the_layer(
        groups in 1usize..4,
        each_in in 1usize..4,
        each_out in 1usize..4,
        taps in 1usize..4,
    ) {
        let shape = [groups * each_in, groups * each_out, groups, taps];
        let dims = vec![shape[0], each_out, taps];
        let view = WeightView::grouped(dims.clone(), 1, groups).unwrap();
        prop_assert_eq!((view.rows(), view.inputs()), (shape[1], shape[0]));
        prop_assert_eq!((view.columns(), view.taps()), (each_in * taps, taps));
        prop_assert_eq!(view.output_first(), vec![shape[1], each_in, taps]);
        let own: Vec<usize> = (0..view.len()).collect();
        let rows = view.to_rows(&own);
        prop_assert_eq!(&rows, &places(shape).concat());
        prop_assert_eq!(view.from_rows(&rows), own);
        for (output, places) in places(shape).iter().enumerate() {
            for (column, place) in places.iter().enumerate() {
                let input = output / each_out * each_in + column / taps;
                prop_assert_eq!(view.channels(place / taps), (input, output));
            }
        }
        let text = serde_json::to_string(&view).unwrap();
        prop_assert_eq!(serde_json::from_str::<WeightView>(&text).unwrap(), view);
        // And a convolution's, `[out, in / groups, kernel]`.
        let view = WeightView::grouped(vec![shape[1], each_in, taps], 0, groups).unwrap();
        for kernel in 0..shape[1] * each_in {
            let (output, within) = (kernel / each_in, kernel % each_in);
            let input = output / each_out * each_in + within;
            prop_assert_eq!(view.channels(kernel), (input, output));
        }
        prop_assert_eq!(view.inputs(), shape[0]);
    }
}

#[test]
fn groups_that_do_not_divide_are_refused() {
    for groups in [0, 3, 8, usize::MAX] {
        let error = WeightView::grouped(vec![4, 2], 1, groups).unwrap_err();
        assert!(matches!(error, FormatError::Groups { .. }), "{error}");
    }
    let text = r#"{"dims":[4,2],"output_axis":1,"groups":3}"#;
    assert!(serde_json::from_str::<WeightView>(text).is_err());
}

#[test]
fn each_output_channel_has_its_own_scale() {
    for shape in [[4, 6, 2, 3], [4, 4, 4, 9], [6, 3, 3, 1], [4, 4, 1, 2]] {
        for bits in [8, 4] {
            let scheme = Scheme::symmetric(bits).unwrap();
            let plan = Plan::new().quantize(Quantization::to(scheme));
            for bias in [true, false] {
                let expected = coded(&sizes(shape), shape, bits);
                let compressed = plan.apply(up2(shape, bias)).unwrap();
                assert_near(&values(compressed.module.weight.val()), &expected);
                // In force while training.
                let (attached, _) = plan.attach(up2(shape, bias)).unwrap();
                assert_near(&values(attached.weight.val()), &expected);
                assert_saved(&compressed, up2(shape, bias));
            }
        }
    }
}

fn assert_saved(compressed: &Compressed<ConvTranspose2d>, fresh: ConvTranspose2d) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("up.bcm");
    compressed.save(&path).unwrap();
    let loaded = load(&path, fresh).unwrap();
    assert_eq!(
        values(loaded.weight.val()),
        values(compressed.module.weight.val())
    );
}

#[test]
fn in_one_and_three_dimensions_too() {
    let scheme = Scheme::symmetric(4).unwrap();
    let plan = Plan::new().quantize(Quantization::to(scheme));
    for bias in [true, false] {
        let shape = [4, 6, 2, 3];
        let config = ConvTranspose1dConfig::new([4, 6], 3).with_groups(2);
        let up = config.with_bias(bias).init(&device());
        let weight = with_values(up.weight.clone(), sizes(shape));
        let compressed = plan.apply(ConvTranspose1d { weight, ..up }).unwrap();
        let expected = coded(&sizes(shape), shape, 4);
        assert_near(&values(compressed.module.weight.val()), &expected);

        let shape = [4, 4, 4, 8];
        let config = ConvTranspose3dConfig::new([4, 4], [2, 2, 2]).with_groups(4);
        let mut up = config.with_bias(bias).init(&device());
        up.weight = with_values(up.weight, sizes(shape));
        let compressed = plan.apply(up).unwrap();
        let expected = coded(&sizes(shape), shape, 4);
        assert_near(&values(compressed.module.weight.val()), &expected);
    }
}

// Each scale is the one of its own weights, whatever they are shared by.
#[test]
fn every_granularity_and_learned_scales_keep_channels_apart() {
    let shape = [4, 6, 2, 3];
    let before = sizes(shape);
    for (mapping, granularity) in [
        (Mapping::Affine, Granularity::Channel),
        (Mapping::Symmetric, Granularity::Group(3)),
        (Mapping::Affine, Granularity::Group(6)),
    ] {
        let scheme = Scheme::new(8, mapping, granularity).unwrap();
        let plan = Plan::new().quantize(Quantization::to(scheme));
        let compressed = plan.apply(up2(shape, false)).unwrap();
        let after = values(compressed.module.weight.val());
        for places in places(shape) {
            let size = places
                .iter()
                .fold(0.0f32, |max, place| max.max(before[*place].abs()));
            for place in places {
                assert!(
                    (after[place] - before[place]).abs() <= size / 127.0,
                    "{scheme:?}"
                );
            }
        }
        assert_saved(&compressed, up2(shape, false));
    }
    let learned = Quantization::to(Scheme::symmetric(8).unwrap()).by(LearnedStep);
    let (attached, _) = Plan::new()
        .quantize(learned)
        .attach(up2(shape, false))
        .unwrap();
    let scales = scales(&attached);
    assert_eq!(scales.len(), 6);
    for (scale, places) in scales.iter().zip(places(shape)) {
        let mean = places.iter().map(|place| before[*place].abs()).sum::<f32>() / 6.0;
        let expected = 2.0 * mean / 127f32.sqrt();
        assert!(
            (scale - expected).abs() <= 1e-4 * expected,
            "{scale}, not {expected}"
        );
    }
}

fn scales<M: Module>(module: &M) -> Vec<f32> {
    struct Scales(Vec<String>, Vec<f32>);
    impl ModuleVisitor for Scales {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.0.last().is_some_and(|name| name == "scale") {
                self.1.extend(values(param.base()));
            }
        }
    }
    let mut scales = Scales(Vec::new(), Vec::new());
    module.visit(&mut scales);
    scales.1
}

/// Whole rows go, the smallest first.
struct ByRow;

impl Pruner for ByRow {
    fn name(&self) -> &str {
        "by_row"
    }

    fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing> {
        let dims = weight.values.dims();
        Ok(weight.values.abs().sum_dim(1).expand(dims))
    }
}

#[test]
fn a_score_by_row_is_one_of_an_output_channel() {
    let shape = [4, 6, 2, 3];
    let plan = Plan::new().prune(Pruning::to(1.0 / 3.0).by(ByRow));
    let compressed = plan.apply(up2(shape, true)).unwrap();
    let after = values(compressed.module.weight.val());
    for (channel, places) in places(shape).into_iter().enumerate() {
        let left = places.iter().filter(|place| after[**place] != 0.0).count();
        let expected = if channel % 3 == 2 { 0 } else { places.len() };
        assert_eq!(left, expected, "channel {channel}");
    }
}

#[test]
fn blocks_lie_across_the_inputs_of_a_group() {
    let shape = [6, 4, 2, 2];
    let pruning = Pruning::to(0.5).scope(Scope::Layer);
    let pruning = pruning.pattern(Pattern::Block { channels: 3 });
    let compressed = Plan::new().prune(pruning).apply(up2(shape, false)).unwrap();
    let (before, after) = (sizes(shape), values(compressed.module.weight.val()));
    let mut blocks = Vec::new();
    for places in places(shape) {
        for tap in 0..2 {
            let block: Vec<usize> = places.iter().copied().skip(tap).step_by(2).collect();
            let score: f32 = block.iter().map(|place| before[*place].abs()).sum();
            blocks.push((score, block));
        }
    }
    blocks.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (rank, (_, block)) in blocks.iter().enumerate() {
        for place in block {
            assert_eq!(after[*place] == 0.0, rank < 4, "block {rank}");
        }
    }
}

#[test]
fn integers_and_the_engine_compute_with_them() {
    for shape in [[4, 6, 2, 4], [4, 4, 4, 3]] {
        for bias in [true, false] {
            let module = up2(shape, bias);
            let forward = |up: &ConvTranspose2d, x: Tensor<4>| up.forward(x);
            let dims = [2, 4, 5, 3];
            let batches = [input(dims, 1, &device())];
            let (quantized, _) = quantized(module.clone(), How::bits(8, 8), forward, &batches);
            assert!(quantized.in_float().is_empty());
            let integers = assert_simulates::<_, 4, 4>(&quantized, [1, 4, 5, 3], "grouped");
            let (found, _) = integers.run(&values(batches[0].clone()), 2).unwrap();
            let expected = module.forward(batches[0].clone());
            let [_, channels, height, width] = expected.dims();
            let expected = values(expected);
            // Each channel by itself: the small ones are no worse than the large ones.
            for channel in 0..channels {
                let of = |values: &[f32]| -> Vec<f32> {
                    let plane = height * width;
                    let images = values.chunks(channels * plane);
                    images
                        .flat_map(|image| image[channel * plane..][..plane].to_vec())
                        .collect()
                };
                let (found, expected) = (of(&found), of(&expected));
                let square = |values: &mut dyn Iterator<Item = f32>| -> f32 {
                    values.map(|value| value * value).sum()
                };
                let off = square(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
                let size = square(&mut expected.iter().copied());
                assert!((off / size).sqrt() < 0.02, "channel {channel} of {shape:?}");
            }
        }
    }
}

#[derive(Module, Debug)]
struct Decoder {
    ups: Vec<ConvTranspose2d>,
    last: Option<ConvTranspose1d>,
}

#[test]
fn layers_tell_their_groups_wherever_they_are() {
    let decoder = Decoder {
        ups: vec![
            up2([4, 6, 2, 3], true),
            up2([4, 4, 4, 3], false),
            up2([4, 4, 1, 1], false),
        ],
        last: Some(
            ConvTranspose1dConfig::new([6, 9], 2)
                .with_groups(3)
                .with_bias(false)
                .init(&device()),
        ),
    };
    let found = layers(&decoder).unwrap();
    let found = found.iter().filter(|layer| layer.is_weight);
    let found: Vec<(&str, usize, bool)> = found
        .map(|layer| (layer.path.as_str(), layer.view.groups(), layer.groups_known))
        .collect();
    assert_eq!(
        found,
        [
            ("ups.0.weight", 2, true),
            ("ups.1.weight", 4, true),
            ("ups.2.weight", 1, true),
            ("last.weight", 3, true),
        ]
    );
}

/// Prints nothing of itself.
#[derive(Module)]
struct Silent {
    up: ConvTranspose2d,
}

impl fmt::Debug for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Silent")
    }
}

impl Silent {
    fn new(shape: Shape, bias: bool) -> Self {
        Self {
            up: up2(shape, bias),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.up.forward(x)
    }
}

#[test]
fn groups_that_cannot_be_seen_are_to_be_stated() {
    let shape = [4, 6, 2, 3];
    let plan = |selection: Selection| {
        let scheme = Scheme::symmetric(8).unwrap();
        Plan::new()
            .select(selection)
            .quantize(Quantization::to(scheme))
    };
    // A bias tells them.
    plan(Selection::default())
        .apply(Silent::new(shape, true))
        .unwrap();
    let model = Silent::new(shape, false);
    let error = plan(Selection::default()).apply(model.clone()).unwrap_err();
    assert!(
        matches!(&error, CompressError::Groups { layer, .. } if layer == "up.weight"),
        "{error}"
    );
    assert!(error.to_string().contains("Selection::groups"), "{error}");
    // The captured graph knows them.
    let graph = Graph::capture(&model, [1, 4, 5, 3], Silent::forward).unwrap();
    let mut selection = Selection::default();
    for (path, groups) in graph.groups() {
        assert_eq!((path.as_str(), groups), ("up.weight", 2));
        selection = selection.groups(path, groups);
    }
    let compressed = plan(selection.clone()).apply(model.clone()).unwrap();
    let expected = coded(&sizes(shape), shape, 8);
    assert_near(&values(compressed.module.up.weight.val()), &expected);
    let text = toml::to_string(&selection).unwrap();
    assert_eq!(toml::from_str::<Selection>(&text).unwrap(), selection);
    // What is wrong is found, if not at once then when the pass is known.
    for (pattern, groups) in [("up", 3), ("up.weight", 0)] {
        let error = plan(Selection::default().groups(pattern, groups)).apply(model.clone());
        let error = error.unwrap_err();
        assert!(matches!(error, CompressError::Groups { .. }), "{error}");
    }
    let wrong = plan(Selection::default().groups("up", 4));
    let (attached, compression) = wrong.attach(model.clone()).unwrap();
    let activations = Activations::bits(8).unwrap();
    let error = Calibration::new(graph, &attached, &compression, activations)
        .err()
        .unwrap();
    assert!(
        matches!(&error, GraphError::Parameter { path, .. } if path == "up.weight"),
        "{error}"
    );
    // What is known is not contradicted, and what is none has none.
    for (pattern, known) in [("weight", up2(shape, true)), ("bias", up2(shape, true))] {
        let error = plan(Selection::default().groups(pattern, 4))
            .apply(known)
            .unwrap_err();
        assert!(matches!(error, CompressError::Groups { .. }), "{error}");
    }
    let error = plan(Selection::default().groups("down", 2))
        .apply(model)
        .unwrap_err();
    assert!(matches!(error, CompressError::NoMatch { .. }), "{error}");
}

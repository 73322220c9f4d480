//! Channels: scores, files, and modules with something unusual.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::GradientsParams;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use burn_compress::channels::{self, ChannelError, Channels, Fields, Reason, Removal, Score};
use burn_compress::compress::{CompressError, archive};
use burn_compress::graph::Graph;
use burn_compress::prune::{Pattern, Scope, Taylor};
use burn_compress::{Plan, Pruning, Quantization, Scheme, Selection};

use super::backends::device::device;
use super::backends::graph_models::networks::mobilenet::{MobileNetV2, MobileNetV2Config};
use super::backends::graph_models::networks::resnet::ResNet;
use super::backends::graph_models::{assert_close, randomized};
use super::backends::models::{tensors, values};
use super::channels::{checked, input};

fn plain<M>(_: &mut M, _: &mut Fields) {}

fn conv(from: usize, to: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([from, to], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init(device)
}

/// Two branches that are added.
#[derive(Module, Debug)]
struct Branches {
    stem: Conv2d,
    left: Conv2d,
    right: Conv2d,
    norm: BatchNorm,
    head: Conv2d,
}

impl Branches {
    fn new(device: &Device) -> Self {
        Self {
            stem: conv(3, 16, device),
            left: conv(16, 8, device),
            right: conv(16, 8, device),
            norm: BatchNormConfig::new(8).init(device),
            head: conv(8, 4, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.stem.forward(x));
        let y = self.left.forward(x.clone()) + self.right.forward(x);
        self.head.forward(relu(self.norm.forward(y)))
    }
}

const SHAPE: [usize; 4] = [1, 3, 6, 6];

#[test]
fn a_frozen_branch_stays_whole() {
    let device = device().autodiff();
    let mut model = Branches::new(&device);
    model.right = model.right.no_grad();
    let half = Channels::share(0.5);
    let error = half
        .apply(model.clone(), SHAPE, Branches::forward)
        .unwrap_err();
    let ChannelError::Nothing { fixed } = error else {
        panic!("{error}");
    };
    // What it reads, and what it is added to.
    for layer in ["stem.weight", "left.weight"] {
        let frozen = |(path, reason): &(String, Reason)| {
            path == layer && matches!(reason, Reason::Frozen { path } if path.starts_with("right."))
        };
        assert!(fixed.iter().any(frozen), "{layer}: {fixed:?}");
    }
    let smaller = half
        .prune_frozen(true)
        .apply(model, SHAPE, Branches::forward)
        .unwrap();
    // What trains goes on training.
    let gradients = |weight: &Param<Tensor<4>>| weight.val().is_require_grad();
    assert!(gradients(&smaller.module.left.weight));
    assert!(!gradients(&smaller.module.right.weight));
    let loss = smaller.module.forward(Tensor::ones(SHAPE, &device)).sum();
    let gradients = loss.backward();
    let gradient = smaller.module.left.weight.val().grad(&gradients).unwrap();
    assert_eq!(gradient.dims(), smaller.module.left.weight.dims());
}

#[test]
fn the_original_keeps_its_statistics() {
    let model = randomized(Branches::new(&device()));
    let before = tensors(&model);
    let narrowed = Channels::share(0.5)
        .scope(Scope::Layer)
        .apply(model.clone(), SHAPE, Branches::forward)
        .unwrap();
    assert_eq!(tensors(&model), before);
    let left = narrowed.removal().kept("norm.gamma", 0).unwrap().len();
    assert_eq!(narrowed.module.norm.running_mean.value().dims(), [left]);
    assert_eq!(
        narrowed
            .removal()
            .kept("norm.running_var", 0)
            .unwrap()
            .len(),
        left
    );
}

/// One convolution, called twice.
#[derive(Module, Debug)]
struct Shared {
    stem: Conv2d,
    again: Conv2d,
    head: Conv2d,
}

#[test]
fn a_layer_that_is_called_twice() {
    let device = device();
    let model = Shared {
        stem: conv(3, 8, &device),
        again: conv(8, 8, &device),
        head: conv(8, 2, &device),
    };
    let forward = |m: &Shared, x: Tensor<4>| {
        let x = relu(m.stem.forward(x));
        m.head.forward(m.again.forward(relu(m.again.forward(x))))
    };
    let narrowed = checked(&Channels::share(0.5), model, SHAPE, forward, plain);
    assert_eq!(narrowed.module.again.weight.dims(), [4, 4, 3, 3]);
    let kept = |axis| narrowed.removal().kept("again.weight", axis).unwrap();
    assert_eq!(kept(0), kept(1));
}

#[test]
fn one_parameter_in_two_places() {
    let device = device();
    let first = conv(3, 8, &device);
    let tied = conv(8, 8, &device);
    // Clones share their identity, as tied layers do.
    let model = Branches {
        stem: first,
        left: tied.clone(),
        right: tied,
        norm: BatchNormConfig::new(8).init(&device),
        head: conv(8, 4, &device),
    };
    let narrowed = Channels::share(0.5)
        .apply(model, SHAPE, Branches::forward)
        .unwrap();
    let kept = |path, axis| narrowed.removal().kept(path, axis).map(<[usize]>::to_vec);
    assert_eq!(kept("left.weight", 0), kept("right.weight", 0));
    let (left, right) = (&narrowed.module.left.weight, &narrowed.module.right.weight);
    assert_eq!(left.id, right.id);
    assert_eq!(values(left.val()), values(right.val()));
}

#[test]
fn shares_that_are_none_and_that_nothing_bears() {
    let model = || Branches::new(&device());
    for share in [0.0, 1.0, -0.5, f64::NAN] {
        let error = Channels::macs(share)
            .apply(model(), SHAPE, Branches::forward)
            .unwrap_err();
        assert!(matches!(error, ChannelError::Share { .. }), "{error}");
    }
    let careful = Channels::macs(0.95).at_least(4);
    let error = careful
        .apply(model(), SHAPE, Branches::forward)
        .unwrap_err();
    let ChannelError::Unreachable { most, .. } = error else {
        panic!("{error}");
    };
    assert!((0.5..0.95).contains(&most), "{most}");
    // What it says can be had, can be.
    let most = Channels::macs(most).at_least(4);
    let narrowed = most.apply(model(), SHAPE, Branches::forward).unwrap();
    assert_eq!(narrowed.module.stem.weight.dims()[0], 4);
}

#[test]
fn nothing_to_remove() {
    let model = LinearConfig::new(5, 3).init(&device());
    let error = Channels::share(0.5)
        .apply(model, [1, 5], |m: &Linear, x: Tensor<2>| m.forward(x))
        .unwrap_err();
    let ChannelError::Nothing { fixed } = error else {
        panic!("{error}");
    };
    assert_eq!(fixed, [("weight".to_string(), Reason::Output)]);
}

#[test]
fn a_convolution_of_one_output_keeps_it() {
    let device = device();
    let model = Shared {
        stem: conv(3, 1, &device),
        again: conv(1, 8, &device),
        head: conv(8, 2, &device),
    };
    let forward = |m: &Shared, x: Tensor<4>| {
        let x = relu(m.stem.forward(x));
        m.head.forward(relu(m.again.forward(x)))
    };
    let narrowed = checked(&Channels::share(0.8), model, SHAPE, forward, plain);
    assert_eq!(narrowed.module.stem.weight.dims(), [1, 3, 3, 3]);
    assert_eq!(narrowed.module.again.weight.dims(), [1, 1, 3, 3]);
}

#[test]
fn weights_that_are_not_finite() {
    let mut model = Branches::new(&device());
    model.left.weight = model.left.weight.map(|weight| weight * f32::NAN);
    let error = Channels::share(0.5)
        .apply(model, SHAPE, Branches::forward)
        .unwrap_err();
    assert!(
        matches!(&error, ChannelError::NotFinite { layer, .. } if layer == "left.weight"),
        "{error}"
    );
}

#[test]
fn a_module_that_carries_a_compression() {
    let plan = Plan::new().prune(Pruning::to(0.5));
    let (model, _) = plan.attach(Branches::new(&device())).unwrap();
    let error = Channels::share(0.5)
        .apply(model, SHAPE, Branches::forward)
        .unwrap_err();
    assert!(
        matches!(
            error,
            ChannelError::Compress(CompressError::Occupied { .. })
        ),
        "{error}"
    );
}

#[test]
fn the_selection_says_whose_channels_go() {
    let selected = Channels::share(0.5).select(Selection::default().except(["stem"]));
    let narrowed = checked(
        &selected,
        Branches::new(&device()),
        SHAPE,
        Branches::forward,
        plain,
    );
    assert_eq!(narrowed.module.stem.weight.dims(), [16, 3, 3, 3]);
    assert_eq!(narrowed.module.left.weight.dims(), [4, 16, 3, 3]);
}

#[test]
fn scores_find_the_channels_that_matter_least() {
    let device = device().autodiff();
    let model = Branches::new(&device);
    // Every second channel of the stem has small weights, and every fourth of the sum a small scale.
    let factors = |every: usize, count: usize| -> Vec<f32> {
        (0..count)
            .map(|i| if i % every == 0 { 0.01 } else { 1.0 })
            .collect()
    };
    let mut model = randomized(model);
    let stem = Tensor::<1>::from_data(factors(2, 16).as_slice(), &device);
    model.stem.weight = (model.stem.weight).map(|w| {
        (w * stem.clone().reshape([16, 1, 1, 1]))
            .detach()
            .require_grad()
    });
    model.stem.bias =
        (model.stem.bias).map(|bias| bias.map(|b| (b * stem.clone()).detach().require_grad()));
    let scale = TensorData::from(factors(4, 8).as_slice());
    model.norm.gamma = model
        .norm
        .gamma
        .map(|gamma| Tensor::<1>::from_data(scale, &gamma.device()).require_grad());
    let few = Selection::only(["stem"]);
    let gone = |channels: Channels, path: &str| -> Vec<usize> {
        let narrowed = channels
            .apply(model.clone(), SHAPE, Branches::forward)
            .unwrap();
        let length = if path == "stem.weight" { 16 } else { 8 };
        let kept = narrowed.removal().kept(path, 0).unwrap().to_vec();
        (0..length).filter(|place| !kept.contains(place)).collect()
    };
    let even: Vec<usize> = (0..16).step_by(2).collect();
    let sums = Channels::share(0.25).by(Score::NormScale);
    assert_eq!(gone(sums, "norm.gamma"), [0, 4]);

    let plan = Plan::new().prune(Pruning::to(0.5).by(Taylor::default()));
    let mut observed = plan.observations(&model).unwrap();
    let taylor = Channels::share(0.5).by(Score::Taylor).select(few);
    let error = taylor
        .clone()
        .apply(model.clone(), SHAPE, Branches::forward)
        .unwrap_err();
    assert!(
        matches!(&error, ChannelError::Unobserved { layer } if layer == "stem.weight"),
        "{error}"
    );
    let batch: Tensor<4> = Tensor::from_data(input(SHAPE).into_data(), &device);
    let loss = model.forward(batch).powi_scalar(2).mean();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    observed.gradients(&gradients, &model).unwrap();
    let removed = gone(taylor.observed(observed), "stem.weight");
    assert_eq!(removed, even);
}

#[test]
fn groups_keep_what_is_asked() {
    let model = || Branches::new(&device());
    let eights = Channels::macs(0.3).multiple_of(8);
    let narrowed = checked(&eights, model(), SHAPE, Branches::forward, plain);
    assert_eq!(narrowed.module.stem.weight.dims()[0], 8);
    assert_eq!(narrowed.module.left.weight.dims()[0], 8);
    let each = Channels::share(0.5).scope(Scope::Layer).at_least(7);
    let error = each.apply(model(), SHAPE, Branches::forward).unwrap_err();
    assert!(error.to_string().contains("at_least"), "{error}");
}

#[test]
fn a_removal_is_data() {
    let narrowed = Channels::share(0.5)
        .apply(Branches::new(&device()), SHAPE, Branches::forward)
        .unwrap();
    let text = serde_json::to_string(narrowed.removal()).unwrap();
    let removal: Removal = serde_json::from_str(&text).unwrap();
    assert_eq!(&removal, narrowed.removal());
    let again = removal.cut(Branches::new(&device())).unwrap();
    assert_eq!(again.stem.weight.dims(), narrowed.module.stem.weight.dims());
    let error = removal.cut(again).unwrap_err();
    assert!(matches!(error, ChannelError::Removal { .. }), "{error}");
}

#[test]
fn saved_and_loaded_at_full_width() {
    let build = || {
        let config = MobileNetV2Config::new()
            .with_num_classes(4)
            .with_width(0.25);
        config.init(&device())
    };
    let fields = |model: &mut MobileNetV2, fields: &mut Fields| {
        for block in &mut model.blocks {
            fields.set(&mut block.depthwise.conv);
        }
    };
    let half = Channels::macs(0.5);
    let shape = [1, 3, 32, 32];
    let narrowed = half
        .apply_with(randomized(build()), shape, MobileNetV2::forward, fields)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    archive(&narrowed.module).unwrap().save(&path).unwrap();
    let loaded = channels::load_with(&path, build(), fields).unwrap();
    let outputs = |model: &MobileNetV2| values(model.forward(input(shape)));
    assert_eq!(outputs(&loaded), outputs(&narrowed.module));
    // A narrower module than the file's.
    let error = channels::load_with(&path, loaded.clone(), fields);
    assert!(error.is_ok());
    let quarter = Channels::macs(0.8).apply_with(build(), shape, MobileNetV2::forward, fields);
    let error = channels::load_with(&path, quarter.unwrap().module, fields).unwrap_err();
    assert!(error.to_string().contains("full width"), "{error}");
}

#[test]
fn blocks_and_bits_on_what_is_left() {
    let model = randomized(ResNet::new(20, &device()).unwrap());
    let shape = [2, 3, 16, 16];
    let narrowed = Channels::macs(0.5)
        .apply(model, shape, ResNet::forward)
        .unwrap();
    let plan = Plan::new()
        .prune(Pruning::to(0.7).pattern(Pattern::Block { channels: 4 }))
        .quantize(Quantization::to(Scheme::symmetric(8).unwrap()));
    let compressed = plan.apply(narrowed.module).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    compressed.save(&path).unwrap();
    let loaded = channels::load(&path, ResNet::new(20, &device()).unwrap()).unwrap();
    let outputs = |model: &ResNet| values(model.forward(input(shape)));
    assert_eq!(outputs(&loaded), outputs(&compressed.module));
    let graph = Graph::capture(&loaded, shape, ResNet::forward).unwrap();
    let found: Tensor<2> = graph.forward(&loaded, input(shape)).unwrap();
    assert_close(&values(found), &outputs(&loaded));
}

//! Whole channels are removed: the smaller module computes what the masked original computes.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::{gelu, relu, sigmoid, softmax};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor, TensorData};
use burn_compress::channels::{ChannelGroup, Channels, Fields, Narrowed, Reason};
use burn_compress::macs;
use burn_compress::prune::Scope;

use super::backends::device::device;
use super::backends::graph_models::networks::mobilenet::{MobileNetV2, MobileNetV2Config};
use super::backends::graph_models::networks::resnet::ResNet;
use super::backends::graph_models::networks::resnet50::ResNet50Config;
use super::backends::graph_models::networks::unet::UNetConfig;
use super::backends::graph_models::networks::vit::VitConfig;
use super::backends::graph_models::{assert_close, randomized};
use super::backends::models::{spread, values};

pub fn input<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let count = shape.iter().product();
    let numbers: Vec<f32> = (0..count).map(|i| 2.0 * spread(i + 5) - 1.0).collect();
    Tensor::from_data(TensorData::new(numbers, shape), &device())
}

/// Removes channels, and compares the smaller module with the masked original and with what is told of it.
#[track_caller]
pub fn checked<M: Module, const D: usize, const E: usize>(
    channels: &Channels,
    module: M,
    shape: [usize; D],
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    fields: impl Fn(&mut M, &mut Fields),
) -> Narrowed<M> {
    let module = randomized(module);
    let narrowed = channels
        .apply_with(module.clone(), shape, &forward, fields)
        .unwrap();
    let masked = narrowed.removal().mask(module.clone()).unwrap();
    let found = values(forward(&narrowed.module, input(shape)));
    assert_close(&found, &values(forward(&masked, input(shape))));
    // The module passed in is as it was, and the mask is no mask of nothing.
    let original = values(forward(&module, input(shape)));
    assert_ne!(found, original);
    assert_eq!(
        original,
        values(forward(&randomized(module.clone()), input(shape)))
    );
    let mut one = shape;
    one[0] = 1;
    let count = |module: &M| {
        let counted = macs::measure(module, |module, device| {
            forward(module, Tensor::<D>::ones(one, device))
        });
        counted.unwrap().total(|_| None)
    };
    assert_eq!(
        narrowed.macs(),
        (count(&module), count(&narrowed.module)),
        "{narrowed}"
    );
    let counts = (module.num_params(), narrowed.module.num_params());
    assert_eq!(narrowed.parameters(), counts);
    narrowed
}

fn plain<M>(_: &mut M, _: &mut Fields) {}

fn fixed<M>(narrowed: &Narrowed<M>, layer: &str) -> Option<Reason> {
    let made = |path: &String| path.as_str() == layer;
    let group = narrowed
        .groups()
        .iter()
        .find(|group| group.layers.iter().any(made));
    group
        .unwrap_or_else(|| panic!("{layer}: {narrowed}"))
        .fixed
        .clone()
}

fn conv(from: usize, to: usize, kernel: usize, device: &Device) -> Conv2d {
    let side = kernel / 2;
    Conv2dConfig::new([from, to], [kernel, kernel])
        .with_padding(PaddingConfig2d::Explicit(side, side, side, side))
        .init(device)
}

#[test]
fn a_resnet_with_padded_shortcuts() {
    let model = ResNet::new(20, &device()).unwrap();
    let half = Channels::macs(0.5);
    let narrowed = checked(&half, model, [2, 3, 16, 16], ResNet::forward, plain);
    let (before, after) = narrowed.macs();
    assert!(2 * after <= before && 5 * after > 2 * before, "{narrowed}");
    // The trunk goes too, through shortcuts that are filled up with zeros.
    assert_eq!(fixed(&narrowed, "conv1.weight"), None, "{narrowed}");
    assert_eq!(fixed(&narrowed, "linear.weight"), Some(Reason::Output));
}

#[test]
fn a_resnet_with_projected_shortcuts() {
    let model = ResNet50Config::new().with_num_classes(5).init(&device());
    let third = Channels::share(0.3).scope(Scope::Layer).multiple_of(8);
    let narrowed = checked(&third, model, [1, 3, 32, 32], |m, x| m.forward(x), plain);
    for group in narrowed
        .groups()
        .iter()
        .filter(|group| group.fixed.is_none())
    {
        assert_eq!(group.kept % 8, 0, "{group}");
        assert!(group.kept < group.channels, "{group}");
    }
    // A stage's trunk: the last of each block, and the projection.
    let trunk = |group: &&ChannelGroup| {
        group
            .layers
            .contains(&"layer1.0.downsample.conv.weight".to_string())
    };
    let trunk = narrowed.groups().iter().find(trunk).unwrap();
    assert_eq!(trunk.layers.len(), 4, "{trunk:?}");
}

#[test]
fn a_unet_with_transposed_convolutions() {
    let config = UNetConfig::new().with_width(8).with_depth(2);
    for bilinear in [false, true] {
        let model = config.clone().with_bilinear(bilinear).init(&device());
        let half = Channels::macs(0.5);
        let narrowed = checked(&half, model, [1, 3, 16, 16], |m, x| m.forward(x), plain);
        assert_eq!(fixed(&narrowed, "head.weight"), Some(Reason::Output));
        let free = narrowed
            .groups()
            .iter()
            .filter(|group| group.fixed.is_none());
        assert_eq!(free.count(), 12, "{narrowed}");
    }
}

fn mobilenet_fields(model: &mut MobileNetV2, fields: &mut Fields) {
    for block in &mut model.blocks {
        fields.set(&mut block.depthwise.conv);
    }
}

#[test]
fn a_mobilenet_whose_groups_follow() {
    let build = || {
        let config = MobileNetV2Config::new()
            .with_num_classes(4)
            .with_width(0.25);
        config.init(&device())
    };
    let half = Channels::macs(0.5).multiple_of(4);
    let forward = MobileNetV2::forward;
    let narrowed = checked(&half, build(), [1, 3, 32, 32], forward, mobilenet_fields);
    let thinner = &narrowed.module.blocks[1].depthwise.conv;
    assert_eq!(thinner.groups, thinner.weight.dims()[0]);
    assert_eq!(fixed(&narrowed, "blocks.1.depthwise.conv.weight"), None);

    // Without code that sets them, what a depthwise convolution touches stays.
    let narrowed = checked(
        &Channels::share(0.3),
        build(),
        [1, 3, 32, 32],
        forward,
        plain,
    );
    let reason = Reason::Field {
        layer: "blocks.1.depthwise.conv".into(),
        field: "groups".into(),
    };
    assert_eq!(
        fixed(&narrowed, "blocks.1.depthwise.conv.weight"),
        Some(reason)
    );
}

#[derive(Module, Debug)]
struct Dense {
    stem: Conv2d,
    layers: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    last: BatchNorm,
    head: Linear,
}

impl Dense {
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = self.stem.forward(x);
        for (norm, layer) in self.norms.iter().zip(&self.layers) {
            let y = layer.forward(relu(norm.forward(x.clone())));
            x = Tensor::cat(vec![x, y], 1);
        }
        let x = relu(self.last.forward(x));
        // Flattened with all its positions.
        self.head.forward(x.flatten(1, 3))
    }
}

#[test]
fn a_densenet_that_is_flattened() {
    let device = device();
    let widths = [8, 12, 16];
    let model = Dense {
        stem: conv(3, 8, 3, &device),
        layers: widths.iter().map(|&w| conv(w, 4, 3, &device)).collect(),
        norms: widths
            .iter()
            .map(|&w| BatchNormConfig::new(w).init(&device))
            .collect(),
        last: BatchNormConfig::new(20).init(&device),
        head: LinearConfig::new(20 * 16, 3).init(&device),
    };
    let half = Channels::share(0.5).scope(Scope::Layer);
    let narrowed = checked(&half, model, [2, 3, 4, 4], Dense::forward, plain);
    assert_eq!(narrowed.module.stem.weight.dims(), [4, 3, 3, 3]);
    assert_eq!(narrowed.module.layers[2].weight.dims(), [2, 8, 3, 3]);
    assert_eq!(narrowed.module.last.gamma.dims(), [10]);
    assert_eq!(narrowed.module.head.weight.dims(), [10 * 16, 3]);
}

#[derive(Module, Debug)]
struct Squeeze {
    first: Conv2d,
    down: Linear,
    up: Linear,
    spatial: Conv2d,
    head: Conv2d,
}

impl Squeeze {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = gelu(self.first.forward(x));
        let [n, c, ..] = x.dims();
        let pooled = adaptive_avg_pool2d(x.clone(), [1, 1]).reshape([n, c]);
        let gate = sigmoid(self.up.forward(relu(self.down.forward(pooled))));
        let x = x * gate.reshape([n, c, 1, 1]);
        // A gate of one channel, of a convolution with one output.
        let place = sigmoid(self.spatial.forward(x.clone()));
        self.head.forward(x * place)
    }
}

#[test]
fn gates_of_channels_and_of_positions() {
    let device = device();
    let model = Squeeze {
        first: conv(3, 16, 3, &device),
        down: LinearConfig::new(16, 8).init(&device),
        up: LinearConfig::new(8, 16).init(&device),
        spatial: conv(16, 1, 3, &device),
        head: conv(16, 4, 1, &device),
    };
    let half = Channels::share(0.5).scope(Scope::Layer);
    let narrowed = checked(&half, model, [1, 3, 6, 6], Squeeze::forward, plain);
    assert_eq!(narrowed.module.first.weight.dims(), [8, 3, 3, 3]);
    assert_eq!(narrowed.module.up.weight.dims(), [4, 8]);
    assert_eq!(narrowed.module.spatial.weight.dims(), [1, 8, 3, 3]);
}

/// Attention whose widths are its own choice.
#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
    /// Whether the number of heads, or the width of a head, is what the pass states.
    states_heads: bool,
}

impl Attention {
    fn new(states_heads: bool) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(&device());
        Self {
            query: linear(6, 16),
            key: linear(6, 16),
            value: linear(6, 16),
            output: linear(16, 6),
            heads: 4,
            states_heads,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [n, t, _] = x.dims();
        let split = |y: Tensor<3>| {
            let split: Tensor<4> = match self.states_heads {
                true => y.reshape([n as i32, t as i32, self.heads as i32, -1]),
                false => y.reshape([n as i32, t as i32, -1, 4]),
            };
            split.swap_dims(1, 2)
        };
        let query = split(self.query.forward(x.clone()));
        let key = split(self.key.forward(x.clone()));
        let value = split(self.value.forward(x.clone()));
        let scores = softmax(query.matmul(key.transpose()) * 0.5, 3);
        let context = scores.matmul(value).swap_dims(1, 2);
        let context: Tensor<3> = context.reshape([n as i32, t as i32, -1]);
        x + self.output.forward(context)
    }
}

#[test]
fn heads_of_attention_and_parts_of_heads() {
    let half = Channels::share(0.5).scope(Scope::Layer);
    let forward = Attention::forward;
    let whole = checked(&half, Attention::new(false), [1, 5, 6], forward, plain);
    let kept = whole.removal().kept("query.weight", 1).unwrap().to_vec();
    assert_eq!(kept.len(), 8, "{whole}");
    // Two heads of four neighbours.
    assert!(
        kept.chunks(4)
            .all(|head| head[0] % 4 == 0 && head[3] == head[0] + 3)
    );
    assert_eq!(whole.removal().kept("value.weight", 1).unwrap(), kept);

    let parts = checked(&half, Attention::new(true), [1, 5, 6], forward, plain);
    let query = parts.removal().kept("query.weight", 1).unwrap();
    let value = parts.removal().kept("value.weight", 1).unwrap();
    for kept in [query, value] {
        // The same two of each head.
        assert_eq!(kept.len(), 8, "{parts}");
        assert!(
            (2..8).all(|place| kept[place] == kept[place - 2] + 4),
            "{kept:?}"
        );
    }
    assert_eq!(parts.removal().kept("key.weight", 1).unwrap(), query);
}

#[test]
fn what_burn_s_attention_and_layer_norms_fix() {
    let config = VitConfig::new().with_width(16).with_depth(1).with_heads(2);
    let model = config.with_num_classes(3).init(&device());
    let half = Channels::share(0.5);
    let narrowed = checked(&half, model, [1, 3, 32, 32], |m, x| m.forward(x), plain);
    assert_eq!(
        fixed(&narrowed, "blocks.0.linear1.weight"),
        None,
        "{narrowed}"
    );
    assert_eq!(narrowed.module.blocks[0].linear1.weight.dims(), [16, 32]);
    let query = fixed(&narrowed, "blocks.0.attention.query.weight");
    assert!(matches!(query, Some(Reason::Pass { .. })), "{query:?}");
    let trunk = fixed(&narrowed, "patches.weight");
    assert!(matches!(trunk, Some(Reason::Norm { .. })), "{trunk:?}");
}

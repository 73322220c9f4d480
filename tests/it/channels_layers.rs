//! Channels of single layers and operations: grouped and transposed convolutions, norms, pixel shuffle,
//! slices.

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::conv::{ConvTranspose1d, ConvTranspose1dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::nn::{PixelShuffle, PixelShuffleConfig};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};
use burn_compress::channels::{ChannelError, Channels, Fields, Reason};
use burn_compress::prune::Scope;

use super::backends::device::device;
use super::backends::graph_models::{assert_close, randomized};
use super::backends::models::values;
use super::channels::{checked, input};

fn plain<M>(_: &mut M, _: &mut Fields) {}

fn half() -> Channels {
    Channels::share(0.5).scope(Scope::Layer)
}

fn conv(channels: [usize; 2], kernel: usize, groups: usize) -> Conv2d {
    let config = Conv2dConfig::new(channels, [kernel, kernel]).with_groups(groups);
    config.init(&device())
}

#[derive(Module, Debug)]
struct Three {
    first: Conv2d,
    middle: Conv2d,
    last: Conv2d,
}

impl Three {
    fn new(groups: usize, width: usize) -> Self {
        Self {
            first: conv([3, 16], 1, 1),
            middle: conv([16, width], 3, groups),
            last: conv([width, 4], 1, 1),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.middle.forward(relu(self.first.forward(x)));
        self.last.forward(sigmoid(x))
    }

    fn fields(&mut self, fields: &mut Fields) {
        fields.set(&mut self.middle);
    }
}

#[test]
fn groups_that_stay_lose_the_same_channels_each() {
    let narrowed = checked(
        &half(),
        Three::new(4, 8),
        [1, 3, 5, 5],
        Three::forward,
        plain,
    );
    assert_eq!(narrowed.module.middle.weight.dims(), [4, 2, 3, 3]);
    assert_eq!(narrowed.module.middle.groups, 4);
    let kept = narrowed.removal().kept("first.weight", 0).unwrap();
    assert!(
        (2..8).all(|place| kept[place] == kept[place - 2] + 4),
        "{kept:?}"
    );
}

#[test]
fn groups_that_are_as_many_as_inputs() {
    // Two outputs of each input: where groups cannot go, one of the two can.
    let model = || Three::new(16, 32);
    let narrowed = checked(&half(), model(), [1, 3, 5, 5], Three::forward, plain);
    assert_eq!(narrowed.module.middle.weight.dims(), [16, 1, 3, 3]);
    assert_eq!(narrowed.module.middle.groups, 16);
    let narrowed = checked(
        &half(),
        model(),
        [1, 3, 5, 5],
        Three::forward,
        Three::fields,
    );
    assert_eq!(narrowed.module.middle.weight.dims(), [16, 1, 3, 3]);
    assert_eq!(narrowed.module.middle.groups, 8);
    assert_eq!(narrowed.module.first.weight.dims(), [8, 3, 1, 1]);
}

#[derive(Module, Debug)]
struct Up {
    first: Conv1d,
    up: ConvTranspose1d,
    last: Conv1d,
}

impl Up {
    fn new(groups: usize) -> Self {
        let device = device();
        Self {
            first: Conv1dConfig::new(3, 8, 3).init(&device),
            up: ConvTranspose1dConfig::new([8, 8], 2)
                .with_stride(2)
                .with_groups(groups)
                .init(&device),
            last: Conv1dConfig::new(8, 2, 1).init(&device),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.last
            .forward(self.up.forward(relu(self.first.forward(x))))
    }

    fn fields(&mut self, fields: &mut Fields) {
        fields.set(&mut self.up);
    }
}

#[test]
fn transposed_convolutions_of_one_dimension() {
    for groups in [1, 2, 8] {
        let shape = [1, 3, 9];
        let narrowed = checked(&half(), Up::new(groups), shape, Up::forward, Up::fields);
        assert_eq!(narrowed.module.first.weight.dims(), [4, 3, 3]);
        let expected = [
            4,
            if groups == 1 {
                4
            } else {
                narrowed.module.up.weight.dims()[1]
            },
            2,
        ];
        assert_eq!(narrowed.module.up.weight.dims(), expected);
        assert_eq!(narrowed.module.last.weight.dims(), [2, 4, 1]);
        assert_eq!(narrowed.module.up.groups, groups.min(4));
    }
}

#[derive(Module, Debug)]
struct Norms {
    first: Conv2d,
    group: GroupNorm,
    instance: InstanceNorm,
    last: Conv2d,
}

impl Norms {
    fn new(groups: usize) -> Self {
        let device = device();
        Self {
            first: conv([3, 16], 3, 1),
            group: GroupNormConfig::new(groups, 16).init(&device),
            instance: InstanceNormConfig::new(16).init(&device),
            last: conv([16, 4], 1, 1),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.group.forward(self.first.forward(x));
        self.last.forward(self.instance.forward(x))
    }

    fn fields(&mut self, fields: &mut Fields) {
        fields.set(&mut self.group);
        fields.set(&mut self.instance);
    }
}

#[test]
fn a_group_norm_loses_whole_groups() {
    let narrowed = checked(
        &half(),
        Norms::new(4),
        [1, 3, 6, 6],
        Norms::forward,
        Norms::fields,
    );
    let norm = &narrowed.module.group;
    assert_eq!((norm.num_groups, norm.num_channels), (2, 8));
    let kept = narrowed.removal().kept("first.weight", 0).unwrap();
    assert!(
        kept.chunks(4).all(|g| g[0] % 4 == 0 && g[3] == g[0] + 3),
        "{kept:?}"
    );

    let model = Norms::new(4);
    let error = half()
        .apply(model, [1, 3, 6, 6], Norms::forward)
        .unwrap_err();
    let ChannelError::Nothing { fixed } = error else {
        panic!("{error}");
    };
    let field = |(layer, reason): &(String, Reason)| {
        layer == "first.weight"
            && matches!(reason, Reason::Field { field, .. } if field == "num_channels")
    };
    assert!(fixed.iter().any(field), "{fixed:?}");
}

#[derive(Module, Debug)]
struct Normed {
    first: Linear,
    norm: LayerNorm,
    last: Linear,
}

impl Normed {
    fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(5, 16).init(device),
            norm: LayerNormConfig::new(16).init(device),
            last: LinearConfig::new(16, 3).init(device),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.last.forward(self.norm.forward(self.first.forward(x)))
    }
}

#[test]
fn a_layer_norm_sees_fewer_channels_where_that_is_wanted() {
    let model = randomized(Normed::new(&device()));
    let error = half()
        .apply(model.clone(), [1, 5], Normed::forward)
        .unwrap_err();
    assert!(error.to_string().contains("renormalize"), "{error}");

    let half = half().renormalize(true);
    let narrowed = half.apply(model.clone(), [1, 5], Normed::forward).unwrap();
    assert_eq!(narrowed.module.norm.gamma.dims(), [8]);
    // By hand: the norm over the channels that are left.
    let kept = narrowed.removal().kept("norm.gamma", 0).unwrap();
    let kept: Vec<i64> = kept.iter().map(|&place| place as i64).collect();
    let kept = Tensor::from_data(kept.as_slice(), &device());
    let x = model.first.forward(input([2, 5])).select(1, kept.clone());
    let x = x.clone() - x.mean_dim(1);
    let x = x.clone() / (x.powi_scalar(2).mean_dim(1) + 1e-5).sqrt();
    let of = |vector: Tensor<1>| vector.select(0, kept.clone()).unsqueeze::<2>();
    let x = x * of(model.norm.gamma.val()) + of(model.norm.beta.as_ref().unwrap().val());
    let weight = model.last.weight.val().select(0, kept.clone());
    let expected = x.matmul(weight) + model.last.bias.as_ref().unwrap().val().unsqueeze();
    let found = narrowed.module.forward(input([2, 5]));
    assert_close(&values(found), &values(expected));
}

#[derive(Module, Debug)]
struct Shuffle {
    first: Conv2d,
    shuffle: PixelShuffle,
    last: Conv2d,
}

#[test]
fn pixel_shuffle_takes_the_channels_of_a_square() {
    let model = Shuffle {
        first: conv([3, 24], 3, 1),
        shuffle: PixelShuffleConfig::new(2).init(),
        last: conv([6, 2], 1, 1),
    };
    let forward =
        |m: &Shuffle, x: Tensor<4>| m.last.forward(m.shuffle.forward(relu(m.first.forward(x))));
    let narrowed = checked(&half(), model, [1, 3, 6, 6], forward, plain);
    assert_eq!(narrowed.module.first.weight.dims(), [12, 3, 3, 3]);
    assert_eq!(narrowed.module.last.weight.dims(), [2, 3, 1, 1]);
    let kept = narrowed.removal().kept("first.weight", 0).unwrap();
    assert!(
        kept.chunks(4).all(|s| s[0] % 4 == 0 && s[3] == s[0] + 3),
        "{kept:?}"
    );
}

#[test]
fn channels_that_are_shuffled_between_groups() {
    // As ShuffleNet does, with the length of a group taken from the tensor.
    let forward = |m: &Three, x: Tensor<4>| {
        let x = relu(m.first.forward(x));
        let [n, c, h, w] = x.dims();
        let x = x.reshape([n, 4, c / 4, h, w]).swap_dims(1, 2);
        m.last.forward(m.middle.forward(x.reshape([n, c, h, w])))
    };
    let narrowed = checked(&half(), Three::new(1, 8), [1, 3, 5, 5], forward, plain);
    assert_eq!(narrowed.module.first.weight.dims(), [8, 3, 1, 1]);
    let kept = narrowed.removal().kept("first.weight", 0).unwrap();
    assert!(
        (2..8).all(|place| kept[place] == kept[place - 2] + 4),
        "{kept:?}"
    );
}

#[derive(Module, Debug)]
struct Pair {
    first: Linear,
    second: Linear,
}

impl Pair {
    fn new(inner: usize, outer: usize) -> Self {
        Self {
            first: LinearConfig::new(5, inner).init(&device()),
            second: LinearConfig::new(outer, 3).init(&device()),
        }
    }
}

#[test]
fn halves_of_a_gated_unit_go_together() {
    let forward = |m: &Pair, x: Tensor<2>| {
        let x = m.first.forward(x);
        let width = x.dims()[1] / 2;
        let gate = sigmoid(x.clone().narrow(1, width, width));
        m.second.forward(x.narrow(1, 0, width) * gate)
    };
    let narrowed = checked(&half(), Pair::new(16, 8), [2, 5], forward, plain);
    assert_eq!(narrowed.module.first.weight.dims(), [5, 8]);
    let kept = narrowed.removal().kept("first.weight", 1).unwrap();
    assert!(
        (0..4).all(|place| kept[place] + 8 == kept[place + 4]),
        "{kept:?}"
    );
}

#[test]
fn numbers_in_the_pass_fix_a_width() {
    // A slice and a reshape by numbers.
    let slice = |m: &Pair, x: Tensor<2>| {
        let x = relu(m.first.forward(x));
        m.second.forward(x.narrow(1, 8, 8))
    };
    let reshape = |m: &Pair, x: Tensor<2>| {
        let n = x.dims()[0];
        let x = relu(m.first.forward(x)).reshape([n, 4, 4]).swap_dims(1, 2);
        m.second.forward(x.reshape([n, 16]))
    };
    for (outer, forward) in [
        (8, &slice as &dyn Fn(&Pair, Tensor<2>) -> Tensor<2>),
        (16, &reshape),
    ] {
        let error = half()
            .apply(Pair::new(16, outer), [1, 5], forward)
            .unwrap_err();
        let ChannelError::Nothing { fixed } = error else {
            panic!("{error}");
        };
        let first = fixed.iter().filter(|(layer, _)| layer == "first.weight");
        let reasons: Vec<_> = first.map(|(_, reason)| reason).collect();
        assert!(!reasons.is_empty());
        assert!(
            reasons
                .iter()
                .all(|reason| matches!(reason, Reason::Pass { .. })),
            "{reasons:?}"
        );
    }
}

#[test]
fn a_sum_over_channels_counts_no_removed_one() {
    // Zero stays zero through a ReLU, and does not through a sigmoid.
    let forward = |function: fn(Tensor<2>) -> Tensor<2>| {
        move |m: &Pair, x: Tensor<2>| {
            let x = function(m.first.forward(x));
            m.second.forward(x.sum_dim(1).repeat_dim(1, 1))
        }
    };
    let narrowed = checked(&half(), Pair::new(16, 1), [2, 5], forward(relu), plain);
    assert_eq!(narrowed.module.first.weight.dims(), [5, 8]);
    let error = half()
        .apply(Pair::new(16, 1), [1, 5], forward(sigmoid))
        .unwrap_err();
    let ChannelError::Nothing { fixed } = error else {
        panic!("{error}");
    };
    let reason = |(layer, reason): &(String, Reason)| {
        layer == "first.weight" && matches!(reason, Reason::NotZero { .. })
    };
    assert!(fixed.iter().any(reason), "{fixed:?}");
}

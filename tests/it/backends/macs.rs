//! Multiply-adds of a forward pass, against counts by hand.

use burn::module::{Module, Param};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::{
    Conv1dConfig, Conv2d, Conv2dConfig, Conv3dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig,
};
use burn::nn::{
    Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, LinearLayout,
    PaddingConfig1d, PaddingConfig2d,
};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Int, Tensor};
use burn_compress::macs::{MacCount, measure};
use proptest::prelude::*;

use super::device::device;

fn of<M: Module, const D: usize>(
    model: &M,
    shape: [usize; D],
    forward: impl FnOnce(&M, Tensor<D>) -> Tensor<D>,
) -> MacCount {
    measure(model, |model, device| {
        forward(model, Tensor::ones(shape, device))
    })
    .unwrap()
}

fn total(macs: &MacCount) -> u64 {
    macs.total(|_| None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn convolutions_of_any_shape(
        batch in 1usize..3,
        size in 6usize..12,
        kernel in 1usize..4,
        stride in 1usize..3,
        padding in 0usize..3,
        dilation in 1usize..3,
        groups in 1usize..4,
        channels in (1usize..3, 1usize..4),
    ) {
        let (input, output) = (channels.0 * groups, channels.1 * groups);
        let model = Conv2dConfig::new([input, output], [kernel; 2])
            .with_stride([stride; 2])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .with_dilation([dilation; 2])
            .with_groups(groups)
            .init(&device());
        let macs = of(&model, [batch, input, size, size], |model, x| model.forward(x));
        let side = (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
        let positions = batch * side * side;
        prop_assert_eq!(macs.uses("weight"), Some(positions as u64));
        prop_assert_eq!(macs.uses("bias"), None);
        let weights = output * channels.0 * kernel * kernel;
        prop_assert_eq!(total(&macs), (weights * positions) as u64);
        prop_assert_eq!(macs.total(|_| Some(5)), 5 * positions as u64);
        prop_assert_eq!(macs.total(|_| Some(0)), 0);
    }

    #[test]
    fn transposed_convolutions_of_any_shape(
        batch in 1usize..3,
        size in 2usize..6,
        kernel in 1usize..4,
        stride in 1usize..4,
        groups in 1usize..3,
        channels in (1usize..3, 1usize..4),
    ) {
        let (input, output) = (channels.0 * groups, channels.1 * groups);
        let model = ConvTranspose2dConfig::new([input, output], [kernel; 2])
            .with_stride([stride; 2])
            .with_groups(groups)
            .init(&device());
        let macs = of(&model, [batch, input, size, size], |model, x| model.forward(x));
        prop_assert_eq!(macs.uses("weight"), Some((batch * size * size) as u64));
        let weights = input * channels.1 * kernel * kernel;
        prop_assert_eq!(total(&macs), (weights * batch * size * size) as u64);
    }
}

#[test]
fn convolutions_along_one_and_three_axes() {
    let model = Conv1dConfig::new(3, 4, 5)
        .with_padding(PaddingConfig1d::Explicit(2, 2))
        .init(&device());
    let macs = of(&model, [2, 3, 10], |model, x| model.forward(x));
    assert_eq!(
        (macs.uses("weight"), total(&macs)),
        (Some(20), 20 * 4 * 3 * 5)
    );
    let model = Conv3dConfig::new([1, 2], [2, 2, 2]).init(&device());
    let macs = of(&model, [1, 1, 3, 4, 5], |model, x| model.forward(x));
    assert_eq!(
        (macs.uses("weight"), total(&macs)),
        (Some(2 * 3 * 4), 24 * 16)
    );
    let model = ConvTranspose1dConfig::new([3, 4], 5).init(&device());
    let macs = of(&model, [2, 3, 10], |model, x| model.forward(x));
    assert_eq!((macs.uses("weight"), total(&macs)), (Some(20), 20 * 60));
}

#[test]
fn a_linear_layer_works_on_every_row() {
    for layout in [LinearLayout::Row, LinearLayout::Col] {
        let model = LinearConfig::new(6, 4).with_layout(layout).init(&device());
        let macs = of(&model, [6], |model, x| model.forward(x));
        assert_eq!(
            (macs.uses("weight"), total(&macs)),
            (Some(1), 24),
            "{layout:?}"
        );
        let macs = of(&model, [5, 6], |model, x| model.forward(x));
        assert_eq!(
            (macs.uses("weight"), total(&macs)),
            (Some(5), 120),
            "{layout:?}"
        );
        let macs = of(&model, [2, 5, 6], |model, x| model.forward(x));
        assert_eq!(
            (macs.uses("weight"), total(&macs)),
            (Some(10), 240),
            "{layout:?}"
        );
    }
}

#[test]
fn a_layer_used_twice_counts_twice_and_one_that_is_not_does_not() {
    let model = [0, 1].map(|_| LinearConfig::new(4, 4).init(&device()));
    let macs = of(&model.to_vec(), [3, 4], |model, x| {
        model[0].forward(model[0].forward(x))
    });
    assert_eq!(
        (macs.uses("0.weight"), macs.uses("1.weight")),
        (Some(6), None)
    );
    assert_eq!(total(&macs), 6 * 16);
    assert_eq!(macs.uses("2.weight"), None);
}

/// Two layers that start equal, as after an initialization with a constant.
#[derive(Module, Debug)]
struct Twins {
    first: Linear,
    second: Linear,
}

fn twins(device: &Device) -> Twins {
    let layer = || Linear {
        weight: Param::from_tensor(Tensor::full([4, 4], 0.5, device)),
        bias: None,
    };
    Twins {
        first: layer(),
        second: layer(),
    }
}

#[test]
fn equal_parameters_are_told_apart() {
    let model = twins(&device());
    let macs = of(&model, [3, 4], |model, x| {
        let once = model.second.forward(x);
        model.first.forward(model.first.forward(once))
    });
    assert_eq!(
        (macs.uses("first.weight"), macs.uses("second.weight")),
        (Some(6), Some(3))
    );
    // Also where only the later one is used, and the input is their equal.
    let macs = measure(&model, |model, device| {
        model.second.forward(Tensor::<2>::full([4, 4], 0.5, device))
    });
    let macs = macs.unwrap();
    assert_eq!(
        (macs.uses("first.weight"), macs.uses("second.weight")),
        (None, Some(4))
    );
}

/// Uses its weights by other ways than layers.
#[derive(Module, Debug)]
struct Own {
    weight: Param<Tensor<2>>,
}

#[test]
fn weights_are_followed_through_what_only_rearranges_them() {
    let model = Own {
        weight: Param::from_tensor(Tensor::ones([6, 4], &device())),
    };
    let uses = |forward: fn(Tensor<2>, &Device) -> Tensor<3>| {
        let macs = measure(&model, |model, device| forward(model.weight.val(), device)).unwrap();
        assert_eq!(total(&macs), 24 * macs.uses("weight").unwrap_or(0));
        macs.uses("weight")
    };
    // On the right, on the left, transposed.
    assert_eq!(
        uses(|w, d| Tensor::<2>::ones([5, 6], d).matmul(w).unsqueeze()),
        Some(5)
    );
    assert_eq!(
        uses(|w, d| w.matmul(Tensor::<2>::ones([4, 7], d)).unsqueeze()),
        Some(7)
    );
    assert_eq!(
        uses(|w, d| Tensor::<2>::ones([5, 4], d)
            .matmul(w.transpose())
            .unsqueeze()),
        Some(5)
    );
    // Repeated for each of three, and once for all of them.
    assert_eq!(
        uses(|w, d| Tensor::<3>::ones([3, 5, 6], d).matmul(w.unsqueeze::<3>().expand([3, 6, 4]))),
        Some(15)
    );
    assert_eq!(
        uses(|w, d| Tensor::<3>::ones([3, 5, 6], d).matmul(w.unsqueeze::<3>())),
        Some(15)
    );
    // In two halves, as projections that share a parameter do; or one half alone: half a use of all.
    assert_eq!(
        uses(|w, d| {
            let x = Tensor::<2>::ones([5, 6], d);
            let halves = w.chunk(2, 1).into_iter();
            let sum = halves
                .map(|half| x.clone().matmul(half))
                .reduce(|a, b| a + b);
            sum.unwrap().unsqueeze()
        }),
        Some(5)
    );
    assert_eq!(
        uses(|w, d| Tensor::<2>::ones([4, 6], d)
            .matmul(w.narrow(1, 0, 2))
            .unsqueeze()),
        Some(2)
    );
    // Not multiplied by at all.
    assert_eq!(uses(|w, _| relu(w).unsqueeze()), None);
}

#[derive(Module, Debug)]
struct Transformer {
    embedding: Embedding,
    norm: LayerNorm,
    attention: MultiHeadAttention,
    head: Linear,
}

#[test]
fn products_of_activations_and_lookups_are_no_weights() {
    let model = Transformer {
        embedding: EmbeddingConfig::new(11, 8).init(&device()),
        norm: LayerNormConfig::new(8).init(&device()),
        attention: MultiHeadAttentionConfig::new(8, 2).init(&device()),
        head: LinearConfig::new(8, 3).init(&device()),
    };
    let macs = measure(&model, |model, device| {
        let x = model
            .embedding
            .forward(Tensor::<2, Int>::zeros([2, 5], device));
        let x = model.norm.forward(x);
        let x = model.attention.forward(MhaInput::self_attn(x)).context;
        let scores = x.clone().matmul(x.clone().swap_dims(1, 2));
        model.head.forward(softmax(scores, 2).matmul(x))
    });
    let macs = macs.unwrap();
    for layer in ["query", "key", "value", "output"] {
        assert_eq!(
            macs.uses(&format!("attention.{layer}.weight")),
            Some(10),
            "{layer}"
        );
    }
    assert_eq!(macs.uses("head.weight"), Some(10));
    assert_eq!(macs.uses("embedding.weight"), None);
    assert_eq!(macs.uses("norm.gamma"), None);
    assert_eq!(total(&macs), 10 * (4 * 64 + 24));
}

#[derive(Module, Debug)]
struct Residual {
    convs: Vec<Conv2d>,
}

#[test]
fn the_module_is_not_changed_and_may_be_in_training() {
    let device = device().autodiff();
    let config = Conv2dConfig::new([2, 2], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_bias(false);
    let model = Residual {
        convs: (0..3).map(|_| config.init(&device)).collect(),
    };
    let before = model.convs[0].weight.val().into_data();
    let macs = of(&model, [1, 2, 8, 8], |model, x| {
        model
            .convs
            .iter()
            .fold(x, |x, conv| x.clone() + conv.forward(x))
    });
    assert_eq!(total(&macs), 3 * 64 * 36);
    model.convs[0]
        .weight
        .val()
        .into_data()
        .assert_eq(&before, true);
}

#[test]
fn a_pass_that_depends_on_data_or_panics_is_an_error() {
    let model = LinearConfig::new(4, 2).init(&device());
    let reads = measure(&model, |model, device| {
        model
            .forward(Tensor::<2>::ones([3, 4], device))
            .sum()
            .into_scalar::<f32>()
    });
    let error = reads.unwrap_err();
    assert!(error.to_string().contains("cannot be recorded"), "{error}");
    let panics = measure(&model, |_, _| -> Tensor<1> { panic!("a layer is missing") });
    assert!(
        panics
            .unwrap_err()
            .to_string()
            .contains("a layer is missing")
    );
    let shapes = measure(&model, |model, device| {
        model.forward(Tensor::<2>::ones([3, 5], device))
    });
    assert!(shapes.is_err());
    // None of it lasts.
    let macs = of(&model, [3, 4], |model, x| model.forward(x));
    assert_eq!(macs.uses("weight"), Some(3));
    assert_eq!(total(&MacCount::default()), 0);
}

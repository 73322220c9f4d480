//! Operations of a captured pass, against the pass itself.

use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::{Conv1dConfig, Conv2dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig};
use burn::nn::interpolate::{Interpolate1dConfig, Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::{
    AdaptiveAvgPool1dConfig, AdaptiveAvgPool2dConfig, AvgPool1dConfig, AvgPool2dConfig,
    MaxPool1dConfig, MaxPool2dConfig,
};
use burn::nn::{
    BatchNormConfig, GroupNormConfig, InstanceNormConfig, LayerNormConfig, Linear, LinearConfig,
    LinearLayout, PReluConfig, PaddingConfig1d, PaddingConfig2d,
};
use burn::tensor::activation::{
    gelu, gelu_approximate, hard_sigmoid, hard_swish, leaky_relu, relu, relu6, sigmoid, silu,
    softmax, softmin,
};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Int, Tensor, s};
use burn_compress::graph::GraphError;
use burn_compress::network::{Dim, Op, Unary, Value};

use super::device::device;
use super::graph_check::{check, filled, numbers, plain, refused};

#[test]
fn convolutions() {
    let device = &device();
    let conv = |config: Conv2dConfig| filled(config.init(device));
    let model = conv(
        Conv2dConfig::new([3, 4], [3, 2])
            .with_stride([2, 1])
            .with_padding(PaddingConfig2d::Explicit(1, 0, 2, 1)),
    );
    let (graph, names) = check(&model, [4, 3, 7, 6], |m, x| m.forward(x));
    assert_eq!(names, ["convolution"]);
    let node = &graph.nodes()[0];
    assert_eq!(node.inputs, [Value::Input, Value::Parameter(0)]);
    assert_eq!(node.epilogue.bias, Some(Value::Parameter(1)));
    assert_eq!(node.dims[..2], [Dim::Batch(1), Dim::Fixed(4)]);
    let Op::Convolution { window, .. } = node.op else {
        panic!()
    };
    assert_eq!(window.padding, [(1, 2), (0, 1)]);

    let model = conv(Conv2dConfig::new([2, 3], [4, 4]).with_padding(PaddingConfig2d::Same));
    let (graph, _) = check(&model, [1, 2, 6, 6], |m, x| m.forward(x));
    assert_eq!(graph.nodes()[0].dims[2..], [Dim::Fixed(6), Dim::Fixed(6)]);

    let model = conv(
        Conv2dConfig::new([4, 4], [3, 3])
            .with_groups(4)
            .with_dilation([2, 1])
            .with_bias(false),
    );
    let (graph, names) = check(&model, [1, 4, 9, 5], |m, x| m.forward(x));
    assert_eq!(names, ["grouped_convolution"]);
    assert_eq!(graph.nodes()[0].epilogue.bias, None);

    let model = Conv1dConfig::new(3, 4, 3)
        .with_padding(PaddingConfig1d::Explicit(2, 1))
        .with_stride(2)
        .init(device);
    let (_, names) = check(&filled(model), [1, 3, 9], |m, x| m.forward(x));
    assert_eq!(names, ["convolution"]);
}

#[test]
fn transposed_convolutions() {
    let model = ConvTranspose2dConfig::new([4, 6], [3, 2])
        .with_stride([2, 2])
        .with_padding([1, 0])
        .with_padding_out([1, 0])
        .with_groups(2)
        .init(&device());
    let (_, names) = check(&filled(model), [1, 4, 5, 4], |m, x| m.forward(x));
    assert_eq!(names, ["transposed_convolution"]);
    let model = ConvTranspose1dConfig::new([3, 2], 4)
        .with_stride(3)
        .with_dilation(2)
        .init(&device());
    let (_, names) = check(&filled(model), [1, 3, 5], |m, x| m.forward(x));
    assert_eq!(names, ["transposed_convolution"]);
}

#[test]
fn linear_layers_of_any_rank_and_layout() {
    for layout in [LinearLayout::Row, LinearLayout::Col] {
        let model = LinearConfig::new(6, 4).with_layout(layout).init(&device());
        let model = filled(model);
        let (graph, names) = check(&model, [1, 6], |m, x| m.forward(x));
        assert_eq!(names.last(), Some(&"linear"), "{layout:?}");
        assert_eq!(graph.parameters()[0].dims, [6, 4]);
        let (_, names) = check(&model, [1, 5, 6], |m, x| m.forward(x));
        assert_eq!(names.last(), Some(&"linear"));
        check(&model, [1, 2, 5, 6], |m, x| m.forward(x));
    }
}

#[test]
fn products_with_a_parameter_are_linear() {
    let model = filled(LinearConfig::new(6, 4).init(&device()));
    let (_, names) = check(&model, [1, 6], |m, x| x.matmul(m.weight.val()));
    assert_eq!(names, ["linear"]);
    let (graph, names) = check(&model, [1, 5, 6], |m, x| {
        x.matmul(m.weight.val().unsqueeze())
    });
    assert_eq!(names, ["linear"]);
    assert_eq!(graph.nodes()[0].inputs[1], Value::Parameter(0));
    let (_, names) = check(&model, [1, 5, 4], |m, x| {
        x.matmul(m.weight.val().transpose().unsqueeze())
    });
    assert_eq!(names, ["linear"]);
    let (graph, names) = check(&model, [1, 4, 5], |m, x| {
        m.weight.val().unsqueeze::<3>().matmul(x)
    });
    assert_eq!(names, ["reshape", "matmul"]);
    assert!(graph.nodes().iter().all(|node| node.layer == "weight"));
    let names = plain([1, 3, 4], |x| x.clone().matmul(x.swap_dims(1, 2)));
    assert_eq!(names, ["permute", "matmul"]);
}

#[test]
fn a_product_and_a_bias_are_one_linear_layer() {
    let model = filled(LinearConfig::new(6, 4).init(&device()));
    let (graph, names) = check(&model, [1, 3, 6], |m, x| {
        let bias = m.bias.as_ref().unwrap().val();
        x.matmul(m.weight.val().unsqueeze()) + bias.unsqueeze()
    });
    assert_eq!(names, ["linear"]);
    assert_eq!(graph.nodes()[0].epilogue.bias, Some(Value::Parameter(1)));
    // Not where the product is seen too.
    let (_, names) = check(&model, [1, 6], |m, x| {
        let x = x.matmul(m.weight.val());
        let biased = x.clone() + m.bias.as_ref().unwrap().val().unsqueeze();
        x * biased
    });
    assert_eq!(names, ["linear", "reshape", "add", "multiply"]);
    // Nor are two activations a layer.
    let names = plain([1, 3, 6], |x| {
        let weight = x.clone().mean_dim(0).reshape([6, 3]);
        x.matmul(weight.unsqueeze())
    });
    assert_eq!(names, ["mean", "reshape", "matmul"]);
}

// Burn records a linear layer in one of two forms, by the number of rows: here by one for two images
// and by the other for three.
#[test]
fn the_form_of_a_linear_layer_is_no_difference() {
    for (rows, inputs, outputs) in [(5, 8, 8), (1, 4, 6), (32, 4, 6), (3, 5, 2)] {
        let model = filled(LinearConfig::new(inputs, outputs).init(&device()));
        let (_, names) = check(&model, [1, rows, inputs], |m, x| m.forward(x));
        assert_eq!(names, ["linear"]);
        let model = Linear {
            bias: None,
            ..model
        };
        let (_, names) = check(&model, [1, 2, rows, inputs], |m, x| m.forward(x));
        assert_eq!(names, ["linear"]);
    }
}

#[test]
fn norms() {
    let device = &device();
    let model = filled(BatchNormConfig::new(3).init(device));
    let (graph, names) = check(&model, [1, 3, 4, 5], |m, x| m.forward(x));
    assert_eq!(names, ["batch_norm"]);
    let paths: Vec<_> = graph.parameters().iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["gamma", "beta", "running_mean", "running_var"]);
    check(&model, [1, 3], |m, x| m.forward(x));
    let model = filled(LayerNormConfig::new(6).init(device));
    let (_, names) = check(&model, [1, 4, 6], |m, x| m.forward(x));
    assert_eq!(names, ["layer_norm"]);
    let model = filled(LayerNormConfig::new(6).with_bias(false).init(device));
    let (_, names) = check(&model, [1, 4, 6], |m, x| m.forward(x));
    assert_eq!(names, ["layer_norm"]);
    let model = filled(GroupNormConfig::new(2, 6).init(device));
    let (graph, names) = check(&model, [1, 6, 3, 4], |m, x| m.forward(x));
    assert_eq!(names, ["group_norm"]);
    assert!(matches!(graph.nodes()[0].op, Op::GroupNorm { groups: 2, epsilon } if epsilon == 1e-5));
    assert_eq!(
        graph.nodes()[0].inputs[1..],
        [Value::Parameter(0), Value::Parameter(1)]
    );
    let model = filled(GroupNormConfig::new(3, 6).with_affine(false).init(device));
    let (_, names) = check(&model, [1, 6, 5], |m, x| m.forward(x));
    assert_eq!(names, ["group_norm"]);
    let model = filled(InstanceNormConfig::new(4).init(device));
    let (graph, names) = check(&model, [1, 4, 7], |m, x| m.forward(x));
    assert_eq!(names, ["group_norm"]);
    assert!(matches!(
        graph.nodes()[0].op,
        Op::GroupNorm { groups: 4, .. }
    ));
    let (_, names) = check(&model, [1, 4, 3, 3], |m, x| m.forward(x));
    assert_eq!(names, ["group_norm"]);
}

#[test]
fn activations() {
    fn one(f: impl Fn(Tensor<2>) -> Tensor<2>) -> Op {
        let (graph, names) = check(&Vec::<Linear>::new(), [1, 9], |_, x| f(x));
        assert_eq!(names.len(), 1, "{names:?}");
        graph.nodes()[0].op.clone()
    }
    let is = |f: fn(Tensor<2>) -> Tensor<2>, unary: Unary| assert_eq!(one(f), Op::Unary(unary));
    let clamp = |min, max| Unary::Clamp { min, max };
    is(relu, Unary::Relu);
    is(relu6, clamp(0.0, 6.0));
    is(|x| x.clamp(-0.5, 0.5), clamp(-0.5, 0.5));
    is(|x| x.clamp_min(0.0), Unary::Relu);
    is(|x| x.clamp_min(0.25), clamp(0.25, f32::INFINITY));
    is(|x| x.clamp_max(0.25), clamp(f32::NEG_INFINITY, 0.25));
    is(|x| leaky_relu(x, 0.1), Unary::LeakyRelu { slope: 0.1 });
    is(sigmoid, Unary::Sigmoid);
    is(|x| x.tanh(), Unary::Tanh);
    is(gelu, Unary::Gelu);
    is(gelu_approximate, Unary::GeluTanh);
    is(silu, Unary::Silu);
    is(|x| sigmoid(x.clone()) * x, Unary::Silu);
    is(hard_swish, Unary::HardSwish);
    let hard = Unary::HardSigmoid {
        alpha: 0.2,
        beta: 0.5,
    };
    is(|x| hard_sigmoid(x, 0.2, 0.5), hard);
    is(|x| x.exp(), Unary::Exp);
    is(|x| x.erf(), Unary::Erf);
    is(|x| x.abs(), Unary::Abs);
    is(|x| x.powi_scalar(2), Unary::Power(2.0));
    is(|x| x.clone() * x, Unary::Power(2.0));
    is(|x| x.powi_scalar(3), Unary::Power(3.0));
    is(|x| x + 1.5, Unary::AddScalar(1.5));
    is(|x| x - 1.5, Unary::AddScalar(-1.5));
    is(|x| x * 1.5, Unary::MulScalar(1.5));
    is(|x| x / 4.0, Unary::MulScalar(0.25));
    is(|x| -x, Unary::MulScalar(-1.0));
    let positive = |x: Tensor<2>| x.abs() + 0.5;
    assert_eq!(plain([1, 9], |x| positive(x).log())[2], "log");
    assert_eq!(plain([1, 9], |x| positive(x).sqrt())[2], "sqrt");
    assert_eq!(plain([1, 9], |x| positive(x).recip())[2], "reciprocal");
    assert_eq!(plain([1, 9], |x| positive(x).powf_scalar(0.3))[2], "power");
    assert_eq!(plain([1, 3, 9], |x| softmax(x, 1)), ["softmax"]);
    assert_eq!(
        plain([1, 9], |x| softmin(x, 1)),
        ["multiply_scalar", "softmax"]
    );
    let model = PReluConfig::new().with_num_parameters(3).init(&device());
    let (_, names) = check(&filled(model), [1, 3, 4], |m, x| m.forward(x));
    assert_eq!(names.last(), Some(&"subtract"));
}

#[test]
fn what_a_pass_writes_out_itself() {
    let norm = |x: Tensor<3>| {
        let x = x.clone() - x.mean_dim(2);
        let variance = x.clone().powi_scalar(2).mean_dim(2);
        x / (variance + 1e-3).sqrt()
    };
    assert_eq!(plain([1, 3, 6], norm), ["layer_norm"]);
    let model = filled(LayerNormConfig::new(6).init(&device()));
    let (graph, names) = check(&model, [1, 3, 6], |m, x| {
        let beta = m.beta.as_ref().unwrap().val();
        norm(x) * m.gamma.val().unsqueeze() + beta.unsqueeze()
    });
    assert_eq!(names, ["layer_norm"]);
    assert_eq!(
        graph.nodes()[0].inputs,
        [Value::Input, Value::Parameter(0), Value::Parameter(1)]
    );
    // What is scaled after it is shifted is no norm's own.
    let (_, names) = check(&model, [1, 3, 6], |m, x| {
        let beta = m.beta.as_ref().unwrap().val();
        (norm(x) + beta.unsqueeze()) * m.gamma.val().unsqueeze()
    });
    assert_eq!(names, ["layer_norm", "reshape", "multiply"]);
    // Nor is a mean over other elements.
    let names = plain([1, 3, 6], |x| {
        let x = x.clone() - x.mean_dim(1);
        let variance = x.clone().powi_scalar(2).mean_dim(2);
        x / (variance + 1e-3).sqrt()
    });
    assert_eq!(names.len(), 7);
    let erf = |x: Tensor<2>| (x / 2.0f64.sqrt()).erf() + 1.0;
    assert_eq!(plain([1, 9], |x| x.clone() * 0.5 * erf(x)), ["gelu"]);
    assert_eq!(plain([1, 9], |x| erf(x.clone()) * x * 0.5), ["gelu"]);
    assert_eq!(plain([1, 9], |x| x.clone() * (erf(x) * 0.5)), ["gelu"]);
    assert_eq!(plain([1, 9], |x| x.clone() * erf(x)).len(), 4);
    let names = plain([1, 9], |x| x.clone().exp() / x.exp().sum_dim(1));
    assert_eq!(names, ["exp", "exp", "sum", "divide"]);
    let names = plain([1, 9], |x| {
        let x = x.exp();
        x.clone() / x.sum_dim(1)
    });
    assert_eq!(names, ["softmax"]);
    // Another gate than its own.
    let names = plain([1, 9], |x| x.clone() * sigmoid(x * 2.0));
    assert_eq!(names, ["multiply_scalar", "sigmoid", "multiply"]);
}

#[test]
fn pools() {
    let max = MaxPool2dConfig::new([3, 2])
        .with_strides([2, 2])
        .with_padding(PaddingConfig2d::Explicit(1, 0, 1, 0));
    let pool = max.init();
    assert_eq!(plain([1, 2, 7, 6], |x| pool.forward(x)), ["max_pool"]);
    let pool = MaxPool2dConfig::new([2, 2])
        .with_strides([2, 2])
        .with_padding(PaddingConfig2d::Explicit(0, 1, 1, 0))
        .init();
    let names = plain([1, 2, 7, 6], |x| pool.forward(x));
    assert_eq!(names, ["max_pool"], "asymmetric padding is the pool's own");
    let pool = MaxPool2dConfig::new([2, 2])
        .with_strides([2, 2])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_ceil_mode(true)
        .init();
    assert_eq!(plain([1, 2, 5, 5], |x| pool.forward(x)), ["max_pool"]);
    assert_eq!(plain([1, 2, 6, 5], |x| pool.forward(x)), ["max_pool"]);
    let pool = MaxPool1dConfig::new(3)
        .with_stride(2)
        .with_dilation(2)
        .init();
    assert_eq!(plain([1, 2, 9], |x| pool.forward(x)), ["max_pool"]);
    let pool = AvgPool2dConfig::new([3, 3])
        .with_strides([2, 2])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
    for include in [true, false] {
        let pool = pool.clone().with_count_include_pad(include).init();
        assert_eq!(plain([1, 2, 7, 6], |x| pool.forward(x)), ["average_pool"]);
    }
    let pool = pool.with_ceil_mode(true).init();
    assert_eq!(plain([1, 2, 6, 5], |x| pool.forward(x)), ["average_pool"]);
    let pool = AvgPool1dConfig::new(2).with_stride(2).init();
    assert_eq!(plain([1, 2, 7], |x| pool.forward(x)), ["average_pool"]);
    let pool = AdaptiveAvgPool2dConfig::new([2, 3]).init();
    let names = plain([1, 2, 7, 6], |x| pool.forward(x));
    assert_eq!(names, ["adaptive_average_pool"]);
    let pool = AdaptiveAvgPool1dConfig::new(3).init();
    let names = plain([1, 2, 7], |x| pool.forward(x));
    assert_eq!(names, ["adaptive_average_pool"]);
    assert_eq!(plain([1, 2, 7], |x| x.max_dim(2)), ["max_pool"]);
    assert_eq!(plain([1, 2, 5, 4], |x| x.max_dim(2)), ["max_pool"]);
    assert_eq!(plain([1, 2, 5, 4], |x| x.max_dim(3)), ["max_pool"]);
}

#[test]
fn reductions() {
    let (graph, names) = check(&Vec::<Linear>::new(), [1, 2, 5, 4], |_, x| {
        x.mean_dims(&[3, 2])
    });
    assert_eq!(names, ["mean"]);
    assert_eq!(graph.nodes()[0].op, Op::Mean { axes: vec![2, 3] });
    assert_eq!(plain([1, 2, 5], |x| x.sum_dim(1)), ["sum"]);
    assert_eq!(plain([1, 2, 5, 4], |x| x.sum_dims(&[1, 3])), ["sum"]);
    // Fifty numbers of both signs would cancel, and leave little but what each device rounds.
    let over_all = |how: fn(Tensor<3>) -> Tensor<1>| plain([1, 2, 5], |x| how(x + 2.0));
    assert_eq!(over_all(Tensor::mean), ["add_scalar", "mean", "reshape"]);
    assert_eq!(over_all(Tensor::sum), ["add_scalar", "sum", "reshape"]);
}

#[test]
fn arithmetic_of_tensors() {
    let two = |f: fn(Tensor<3>, Tensor<3>) -> Tensor<3>| {
        plain([1, 2, 5], |x| f(x.clone(), x.abs() + 0.5)).pop()
    };
    assert_eq!(two(|a, b| a + b), Some("add"));
    assert_eq!(two(|a, b| a - b), Some("subtract"));
    assert_eq!(two(|a, b| a * b), Some("multiply"));
    assert_eq!(two(|a, b| a / b), Some("divide"));
    // With axes that repeat, as squeeze and excitation has them.
    let names = plain([1, 2, 5, 4], |x| x.clone() * sigmoid(x.mean_dims(&[2, 3])));
    assert_eq!(names, ["mean", "sigmoid", "multiply"]);
    let model = filled(LinearConfig::new(5, 5).init(&device()));
    let (_, names) = check(&model, [1, 2, 5], |m, x| {
        x + m.bias.as_ref().unwrap().val().unsqueeze()
    });
    assert_eq!(names, ["reshape", "add"]);
}

#[test]
fn constants_of_the_pass() {
    let names = plain([1, 5], |x| {
        let device = x.device();
        x + numbers([1, 5], 4, &device)
    });
    assert_eq!(names, ["add"]);
    // One row for each image, and a number for all.
    let names = plain([1, 2, 5], |x| {
        let ([n, _, _], device) = (x.dims(), x.device());
        let rows = numbers([1, 1, 5], 4, &device).repeat_dim(0, n);
        x * rows + Tensor::full([n, 2, 5], 0.5, &device)
    });
    assert_eq!(names, ["multiply", "add_scalar"]);
    let names = plain([1, 5], |x| {
        let x = Tensor::ones_like(&x) - x;
        Tensor::ones_like(&x) / (x.abs() + 2.0)
    });
    let expected = [
        "multiply_scalar",
        "add_scalar",
        "abs",
        "add_scalar",
        "reciprocal",
        "multiply_scalar",
    ];
    assert_eq!(names, expected);
    // Positions, computed from integers.
    let names = plain([1, 4, 2], |x| {
        let device = x.device();
        let positions = Tensor::<1, Int>::arange(0..4, &device).float() * 0.5;
        x + positions.sin().reshape([1, 4, 1])
    });
    assert_eq!(names, ["add"]);
}

#[test]
fn masks_of_the_pass() {
    let names = plain([1, 4, 4], |x| {
        let ([n, rows, _], device) = (x.dims(), x.device());
        let mask = Tensor::<3, Bool>::tril_mask([n, rows, rows], 0, &device);
        softmax(x.mask_fill(mask, -1e4), 2)
    });
    assert_eq!(names, ["multiply", "add", "softmax"]);
    let error = refused([1, 4], |x: Tensor<2>| {
        let mask = x.clone().greater_elem(0.0);
        x.mask_fill(mask, 0.5)
    });
    let GraphError::Unsupported {
        op,
        layer,
        place: 0,
        in_float: true,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((op.as_str(), layer.as_str()), ("GreaterElem", "input"));
}

#[test]
fn shapes() {
    assert_eq!(
        plain([1, 3, 4], |x| x.reshape([0, -1]).reshape([-1, 2, 6])),
        ["reshape"]
    );
    assert_eq!(plain([1, 3, 4], |x| x.flatten::<2>(1, 2)), ["reshape"]);
    // Positions of all images as rows.
    let (graph, _) = check(&Vec::<Linear>::new(), [1, 3, 4], |_, x| {
        x.flatten::<2>(0, 1)
    });
    assert_eq!(graph.nodes()[0].dims, [Dim::Batch(3), Dim::Fixed(4)]);
    assert_eq!(plain([1, 3, 4], |x| x.unsqueeze_dim::<4>(1)), ["reshape"]);
    assert_eq!(plain([1, 1, 4], |x| x.squeeze_dim::<2>(1)), ["reshape"]);
    assert_eq!(plain([1, 3, 4], |x| x.swap_dims(1, 2)), ["permute"]);
    assert_eq!(
        plain([1, 3, 4, 2], |x| x.permute([0, 2, 3, 1])),
        ["permute"]
    );
    assert_eq!(plain([1, 1, 4], |x| x.expand([-1, 3, 4])), ["expand"]);
    assert_eq!(plain([1, 1, 4], |x| x.repeat_dim(1, 3)), ["expand"]);
    assert_eq!(plain([1, 2, 4], |x| x.repeat_dim(1, 3)), ["concatenate"]);
    assert_eq!(plain([1, 5, 4], |x| x.slice(s![.., 1..4])), ["slice"]);
    assert_eq!(
        plain([1, 5, 4], |x| x.slice(s![.., 0..5;2, 1..])),
        ["slice"]
    );
    assert_eq!(plain([1, 5, 4], |x| x.narrow(1, 2, 2)), ["slice"]);
    let names = plain([1, 6, 4], |x| {
        let parts = x.chunk(3, 1);
        parts[0].clone() * parts[2].clone()
    });
    assert_eq!(names, ["slice", "slice", "multiply"]);
    assert_eq!(plain([1, 5, 4], |x| x.slice(s![0..1])), ["slice"]);
    let names = plain([1, 3, 4], |x| {
        let device = x.device();
        x.select(1, Tensor::from_data([0, 2], &device))
    });
    assert_eq!(names, ["slice"]);
    let names = plain([1, 3, 4], |x| {
        Tensor::cat(vec![x.clone(), x.clone().abs(), x], 1)
    });
    assert_eq!(names, ["abs", "concatenate"]);
    let names = plain([1, 3, 4, 4], |x| x.pad((1, 2, 0, 1), 0.5));
    assert_eq!(names, ["pad"]);
    // Nothing at all.
    let names = plain([1, 3, 4], |x| {
        let x = x.reshape([0, 3, 4]).slice(s![.., 0..3]).permute([0, 1, 2]);
        x.cast(burn::tensor::FloatDType::F32)
            .repeat_dim(1, 1)
            .expand([-1, 3, 4])
    });
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn zeros_beside_channels_are_padding() {
    // The shortcut of the residual networks for CIFAR-10 (He et al. 2016, option A).
    let names = plain([1, 4, 6, 6], |x| {
        let ([n, _, _, _], device) = (x.dims(), x.device());
        let x = x.slice(s![.., .., 0..6;2, 0..6;2]);
        let zeros = || Tensor::zeros([n, 2, 3, 3], &device);
        Tensor::cat(vec![zeros(), x, zeros()], 1)
    });
    assert_eq!(names, ["slice", "pad"]);
    let names = plain([1, 4], |x| {
        let ([n, _], device) = (x.dims(), x.device());
        Tensor::cat(vec![numbers([1, 2], 1, &device).expand([n, 2]), x], 1)
    });
    assert_eq!(names, ["expand", "concatenate"]);
}

#[test]
fn padding_before_a_convolution_or_pool_is_its_own() {
    let model = filled(
        Conv2dConfig::new([2, 3], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(&device()),
    );
    let (graph, names) = check(&model, [1, 2, 5, 5], |m, x| {
        m.forward(x.pad((0, 1, 0, 2), 0.0))
    });
    assert_eq!(names, ["convolution"]);
    let Op::Convolution { window, .. } = graph.nodes()[0].op else {
        panic!()
    };
    assert_eq!(window.padding, [(1, 3), (1, 2)]);
    let (_, names) = check(&model, [1, 2, 5, 5], |m, x| {
        m.forward(x.pad((0, 1, 0, 2), 1.0))
    });
    assert_eq!(names, ["pad", "convolution"]);
    // Seen by another operation too.
    let names = plain([1, 2, 5, 5], |x| {
        let x = x.pad((0, 1, 0, 1), f32::MIN);
        x.clone().clamp_min(0.0) + x
    });
    assert_eq!(names, ["pad", "relu", "add"]);
}

#[test]
fn upsampling() {
    let nearest = Interpolate2dConfig::new()
        .with_output_size(Some([6, 8]))
        .with_mode(InterpolateMode::Nearest)
        .init();
    let names = plain([1, 2, 3, 4], |x| nearest.forward(x));
    assert_eq!(names, ["upsample_nearest"]);
    for align in [true, false] {
        let linear = Interpolate2dConfig::new()
            .with_scale_factor(Some([2.0, 1.5]))
            .with_mode(InterpolateMode::Linear)
            .with_align_corners(align)
            .init();
        let (graph, names) = check(&Vec::<Linear>::new(), [1, 2, 3, 4], |_, x| {
            linear.forward(x)
        });
        assert_eq!(names, ["upsample_bilinear"]);
        let expected = Op::UpsampleBilinear {
            align_corners: align,
        };
        assert_eq!(graph.nodes()[0].op, expected);
    }
    let nearest = Interpolate1dConfig::new()
        .with_scale_factor(Some(2.0))
        .with_mode(InterpolateMode::Nearest)
        .init();
    let names = plain([1, 2, 5], |x| nearest.forward(x));
    assert_eq!(names, ["reshape", "upsample_nearest", "reshape"]);
}

#[test]
fn attentions() {
    let model: MultiHeadAttention = filled(MultiHeadAttentionConfig::new(8, 2).init(&device()));
    let (_, names) = check(&model, [1, 5, 8], |m, x| {
        m.forward(MhaInput::self_attn(x)).context
    });
    let expected = [
        "linear",
        "reshape",
        "permute",
        "linear",
        "reshape",
        "linear",
        "reshape",
        "permute",
        "permute",
        "matmul",
        "multiply_scalar",
        "softmax",
        "matmul",
        "permute",
        "reshape",
        "linear",
    ];
    assert_eq!(names, expected);
    let options = AttentionModuleOptions {
        scale: Some(0.3),
        softcap: Some(2.0),
        is_causal: true,
    };
    let names = plain([1, 2, 4, 6], |x| {
        attention(x.clone(), x.clone() * 0.5, x, None, None, options)
    });
    assert_eq!(names.iter().filter(|name| **name == "matmul").count(), 2);
    assert!(names.contains(&"softmax") && names.contains(&"tanh"));
    let names = plain([1, 2, 4, 6], |x| {
        attention(
            x.clone(),
            x.clone(),
            x,
            None,
            None,
            AttentionModuleOptions::default(),
        )
    });
    assert_eq!(
        names,
        ["permute", "matmul", "multiply_scalar", "softmax", "matmul"]
    );
}

#[test]
fn what_the_pass_computes_from_its_own_numbers_is_a_constant() {
    type Compare = fn(Tensor<2>, Tensor<2>) -> Tensor<2, Bool>;
    let comparisons: [Compare; 6] = [
        |a, b| a.greater(b),
        |a, b| a.greater_equal(b),
        |a, b| a.lower(b),
        |a, b| a.lower_equal(b),
        |a, b| a.equal(b),
        |a, b| a.not_equal(b),
    ];
    for compare in comparisons {
        let names = plain([1, 3], |x| {
            let row = |row: [f32; 3]| Tensor::<2>::from_data([row], &x.device());
            let mask = compare(row([1.0, 2.0, 3.0]), row([2.0, 2.0, 2.0]));
            x * mask.float()
        });
        assert_eq!(names, ["multiply"]);
    }
    // A row of equal numbers is one number.
    let names = plain([1, 3], |x| {
        let twos = Tensor::<2>::from_data([[2.0, 2.0, 2.0]], &x.device());
        x.clone() * twos.clone() + twos
    });
    assert_eq!(names, ["multiply_scalar", "add_scalar"]);
    // At one index: a slice as any other.
    let (graph, names) = check(&Vec::<Linear>::new(), [1, 3, 4], |_, x: Tensor<3>| {
        let device = x.device();
        x.select(1, Tensor::from_data([2], &device))
    });
    assert_eq!(names, ["slice"]);
    let ranges = vec![(0, None, 1), (2, Some(3), 1), (0, Some(4), 1)];
    assert_eq!(graph.nodes()[0].op, Op::Slice { ranges });
}

#[test]
fn an_attention_hides_what_its_mask_says_in_each_head() {
    for is_causal in [false, true] {
        let options = AttentionModuleOptions {
            is_causal,
            ..AttentionModuleOptions::default()
        };
        let names = plain([1, 2, 3, 6], |x| {
            // The first head sees all but one position, the second all but another; each row its own.
            let hidden = |index: usize| {
                let (head, row, column) = (index / 9, index / 3 % 3, index % 3);
                column > 0 && (head + row + column) % 3 == 0
            };
            let hidden: Vec<bool> = (0..18).map(hidden).collect();
            let mask = Tensor::<1, Bool>::from_data(hidden.as_slice(), &x.device());
            let mask = mask.reshape([1, 2, 3, 3]).expand([x.dims()[0], 2, 3, 3]);
            attention(x.clone(), x.clone() * 0.5, x, Some(mask), None, options)
        });
        assert_eq!(names.iter().filter(|name| **name == "add").count(), 1);
    }
}

#[test]
fn a_product_with_a_reshaped_parameter_is_no_layer_of_it() {
    let model = filled(LinearConfig::new(6, 4).init(&device()));
    // The numbers of `[6, 4]` in rows of six.
    let (_, names) = check(&model, [1, 4], |m, x| {
        x.matmul(m.weight.val().reshape([4, 6]))
    });
    assert!(names.contains(&"reshape"), "{names:?}");
    let (_, names) = check(&model, [1, 5, 4], |m, x| {
        x.matmul(m.weight.val().reshape([1, 4, 6]))
    });
    assert!(names.contains(&"reshape"), "{names:?}");
}

// Its series; where it converges slowly it is one to the last bit.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn functions_have_the_values_of_their_definitions() {
    use std::f64::consts::{FRAC_1_SQRT_2, PI};
    type Function = fn(f64) -> f64;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let functions: [(Unary, Function); 27] = [
        (Unary::Relu, |x| if x > 0.0 { x } else { 0.0 }),
        (
            Unary::Clamp {
                min: -1.0,
                max: 2.5,
            },
            |x| x.clamp(-1.0, 2.5),
        ),
        (Unary::LeakyRelu { slope: 0.25 }, |x| {
            if x < 0.0 { 0.25 * x } else { x }
        }),
        (Unary::Sigmoid, sigmoid),
        (Unary::Tanh, |x| {
            (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())
        }),
        (Unary::Gelu, |x| x * 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2))),
        (Unary::GeluTanh, |x| {
            let inner = (2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3));
            x * 0.5 * (1.0 + inner.tanh())
        }),
        (Unary::Silu, |x| x / (1.0 + (-x).exp())),
        (Unary::HardSwish, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        (
            Unary::HardSigmoid {
                alpha: 0.25,
                beta: 0.5,
            },
            |x| (0.25 * x + 0.5).clamp(0.0, 1.0),
        ),
        (Unary::AddScalar(1.5), |x| x + 1.5),
        (Unary::MulScalar(-1.5), |x| x * -1.5),
        (Unary::Power(3.0), |x| x * x * x),
        (Unary::Exp, f64::exp),
        (Unary::Log, f64::ln),
        (Unary::Sqrt, f64::sqrt),
        (Unary::Reciprocal, |x| 1.0 / x),
        (Unary::Erf, erf),
        (Unary::Abs, |x| if x < 0.0 { -x } else { x }),
        (Unary::LogOnePlus, |x| (1.0 + x).ln()),
        (Unary::LogSigmoid, |x| -(1.0 + (-x).exp()).ln()),
        (Unary::Sin, f64::sin),
        (Unary::Cos, f64::cos),
        (Unary::Sign, |x| {
            f64::from(i8::from(x > 0.0) - i8::from(x < 0.0))
        }),
        (Unary::Floor, |x| {
            f64::from(x as i32 - i32::from(x < f64::from(x as i32)))
        }),
        (Unary::Ceil, |x| {
            f64::from(x as i32 + i32::from(x > f64::from(x as i32)))
        }),
        (Unary::Round, |x| {
            let below = (x - 0.5).ceil();
            // A tie goes to the even one of both.
            if x - below == 0.5 && below % 2.0 != 0.0 {
                below + 1.0
            } else {
                below
            }
        }),
    ];
    for (unary, function) in functions {
        for place in -48..=48 {
            let x = place as f32 / 8.0;
            let (found, expected) = (f64::from(unary.value(x)), function(f64::from(x)));
            let same = match expected.is_finite() {
                true => (found - expected).abs() <= 5e-7 * expected.abs().max(1.0),
                false => found.is_nan() == expected.is_nan() && !found.is_finite(),
            };
            assert!(same, "{unary:?} of {x}: {found}, not {expected}");
        }
    }
}

//! Operations of a captured pass, against the pass itself.

use burn::module::{Module, Param};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::{
    Conv1dConfig, Conv2d, Conv2dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig,
};
use burn::nn::interpolate::{Interpolate1dConfig, Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::{
    AdaptiveAvgPool1dConfig, AdaptiveAvgPool2dConfig, AvgPool1dConfig, AvgPool2dConfig,
    MaxPool1dConfig, MaxPool2dConfig,
};
use burn::nn::{
    BatchNorm, BatchNormConfig, GroupNormConfig, InstanceNormConfig, LayerNormConfig, Linear,
    LinearConfig, LinearLayout, PReluConfig, PaddingConfig1d, PaddingConfig2d,
};
use burn::tensor::activation::{
    gelu, gelu_approximate, hard_sigmoid, hard_swish, leaky_relu, relu, relu6, sigmoid, silu,
    softmax, softmin,
};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Int, Tensor, s};
use burn_compress::graph::{Dim, Graph, GraphError, Op, Unary, Value};

use super::device::device;

// Numbers that no two elements share, the same on every device.
fn numbers<const D: usize>(dims: [usize; D], seed: usize, device: &Device) -> Tensor<D> {
    let count: usize = dims.iter().product();
    let value = |i: usize| ((i * 7 + seed * 13 + 3) as f32 * 0.61).sin() * 1.7;
    let values: Vec<f32> = (0..count).map(value).collect();
    Tensor::<1>::from_data(values.as_slice(), device).reshape(dims)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs();
        assert!(
            error <= 1e-5 * largest.max(1e-3),
            "{found} instead of {expected}"
        );
    }
}

/// Captures a pass, compares the graph's output with the pass's at several batch sizes, and gives the
/// names of its operations.
#[track_caller]
fn check<M: Module, const D: usize, const E: usize>(
    module: &M,
    shape: [usize; D],
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> (Graph, Vec<&'static str>) {
    let graph = Graph::capture(module, shape, &forward).unwrap();
    for batch in [1, 2, 5] {
        let mut dims = shape;
        dims[0] = batch;
        let input = numbers(dims, 0, &device());
        let expected = forward(module, input.clone());
        let found: Tensor<E> = graph.forward(module, input).unwrap();
        assert_eq!(found.dims(), expected.dims());
        assert_close(&values(found), &values(expected));
    }
    let names = graph.nodes().iter().map(|node| node.op.name()).collect();
    (graph, names)
}

/// The same without parameters.
#[track_caller]
fn plain<const D: usize, const E: usize>(
    shape: [usize; D],
    forward: impl Fn(Tensor<D>) -> Tensor<E>,
) -> Vec<&'static str> {
    check(&Vec::<Linear>::new(), shape, |_, x| forward(x)).1
}

/// The error of a pass without parameters.
#[track_caller]
fn refused<const D: usize, const E: usize>(
    shape: [usize; D],
    forward: impl Fn(Tensor<D>) -> Tensor<E>,
) -> GraphError {
    Graph::capture(&Vec::<Linear>::new(), shape, |_, x| forward(x)).unwrap_err()
}

fn filled<M: Module>(module: M) -> M {
    struct Fill(usize);
    impl burn::module::ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            let seed = self.0;
            // Positive, so that they serve as variances too.
            param.map(|tensor| {
                let (dims, device) = (tensor.dims(), tensor.device());
                let required = tensor.is_require_grad();
                let tensor = numbers(dims, seed, &device).powi_scalar(2) * 0.4 + 0.1;
                tensor.detach().set_require_grad(required)
            })
        }
    }
    module.map(&mut Fill(0))
}

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
    assert_eq!(names, ["permute", "linear"]);
    let (graph, names) = check(&model, [1, 4, 5], |m, x| {
        m.weight.val().unsqueeze::<3>().matmul(x)
    });
    assert_eq!(names, ["reshape", "matmul"]);
    assert!(graph.nodes().iter().all(|node| node.layer == "weight"));
    let names = plain([1, 3, 4], |x| x.clone().matmul(x.swap_dims(1, 2)));
    assert_eq!(names, ["permute", "matmul"]);
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
    assert_eq!(plain([1, 2, 5], |x| x.mean()), ["mean", "reshape"]);
    assert_eq!(plain([1, 2, 5], |x| x.sum()), ["sum", "reshape"]);
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
    let GraphError::Unsupported { op, layer, place } = error else {
        panic!("{error}")
    };
    assert_eq!(
        (op.as_str(), layer.as_str(), place),
        ("GreaterElem", "input", 0)
    );
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
        "permute",
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

#[derive(Module, Debug)]
struct Block {
    conv: Conv2d,
    norm: BatchNorm,
    head: Linear,
}

impl Block {
    fn new(device: &Device) -> Self {
        filled(Self {
            conv: Conv2dConfig::new([2, 2], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_bias(false)
                .init(device),
            norm: BatchNormConfig::new(2).init(device),
            head: LinearConfig::new(32, 3).init(device),
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let y = relu(self.norm.forward(self.conv.forward(x.clone())) + x);
        self.head.forward(y.flatten(1, 3))
    }
}

#[test]
fn nodes_name_their_layers() {
    let model = Block::new(&device());
    let (graph, names) = check(&model, [1, 2, 4, 4], |m, x| m.forward(x));
    let expected = [
        "convolution",
        "batch_norm",
        "add",
        "relu",
        "reshape",
        "linear",
    ];
    assert_eq!(names, expected);
    let layers: Vec<_> = graph
        .nodes()
        .iter()
        .map(|node| node.layer.as_str())
        .collect();
    let after = "after norm";
    assert_eq!(layers, ["conv", "norm", after, after, after, "head"]);
    assert_eq!(graph.output(), Value::Node(5));
    assert_eq!(graph.input()[0], Dim::Batch(1));
}

#[test]
fn gradients_reach_the_modules_own_parameters() {
    let device = device().autodiff();
    // Batch norm that trains would use the batch's statistics.
    let model = Block::new(&device);
    let model = Block {
        norm: model.norm.freeze(),
        ..model
    };
    let graph = Graph::capture(&model, [1, 2, 4, 4], Block::forward).unwrap();
    let input = numbers([3, 2, 4, 4], 2, &device);
    let expected = model.forward(input.clone()).powi_scalar(2).sum().backward();
    let output: Tensor<2> = graph.forward(&model, input).unwrap();
    let found = output.powi_scalar(2).sum().backward();
    let conv = model.conv.weight.val();
    let close = |found: Vec<f32>, expected: Vec<f32>| {
        assert!(expected.iter().any(|x| x.abs() > 1e-3));
        assert_close(&found, &expected);
    };
    close(
        values(conv.grad(&found).unwrap()),
        values(conv.grad(&expected).unwrap()),
    );
    let head = model.head.weight.val();
    close(
        values(head.grad(&found).unwrap()),
        values(head.grad(&expected).unwrap()),
    );
    let bias = model.head.bias.as_ref().unwrap().val();
    close(
        values(bias.grad(&found).unwrap()),
        values(bias.grad(&expected).unwrap()),
    );
    // An input without gradients is as good.
    let plain = numbers([3, 2, 4, 4], 2, &super::device::device());
    let again: Tensor<2> = graph.forward(&model, plain).unwrap();
    let again = again.powi_scalar(2).sum().backward();
    close(
        values(conv.grad(&again).unwrap()),
        values(conv.grad(&expected).unwrap()),
    );
}

#[test]
fn another_module_of_the_same_type_serves() {
    let model = Block::new(&device());
    let graph = Graph::capture(&model, [1, 2, 4, 4], Block::forward).unwrap();
    let other = Block {
        head: filled(filled(LinearConfig::new(32, 3).init(&device()))),
        ..Block::new(&device())
    };
    let input = numbers([2, 2, 4, 4], 1, &device());
    let found: Tensor<2> = graph.forward(&other, input.clone()).unwrap();
    assert_close(&values(found), &values(other.forward(input.clone())));
    // But not one without a layer, or with a layer of another size.
    let fewer = LinearConfig::new(32, 3).init(&device());
    let error = graph.forward::<_, 4, 2>(&fewer, input.clone()).unwrap_err();
    assert!(matches!(&error, GraphError::Parameter { path, .. } if path == "conv.weight"));
    let larger = Block {
        head: LinearConfig::new(32, 5).init(&device()),
        ..model
    };
    let error = graph.forward::<_, 4, 2>(&larger, input).unwrap_err();
    assert!(
        error.to_string().contains("[32, 5], not [32, 3]"),
        "{error}"
    );
}

#[test]
fn layers_may_share_a_parameter() {
    let first = filled(LinearConfig::new(4, 4).init(&device()));
    let model = vec![first.clone(), first];
    let (graph, names) = check(&model, [1, 4], |m, x| {
        m[0].forward(relu(m[1].forward(m[0].forward(x))))
    });
    assert_eq!(names, ["linear", "linear", "relu", "linear"]);
    let weight = |index: usize| graph.nodes()[index].inputs[1];
    assert_eq!(weight(0), weight(3));
    assert_ne!(weight(0), weight(1));
    let paths: Vec<_> = graph.parameters().iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["0.weight", "0.bias", "1.weight", "1.bias"]);
}

#[test]
fn parameters_that_are_not_used_are_not_in_the_graph() {
    let model = Block::new(&device());
    let (graph, _) = check(&model, [1, 32], |m, x| m.head.forward(x));
    let paths: Vec<_> = graph.parameters().iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["head.weight", "head.bias"]);
    let (graph, names) = check(&model, [1, 4], |_, x| x);
    assert!(names.is_empty() && graph.parameters().is_empty());
    assert_eq!(graph.output(), Value::Input);
}

#[test]
fn a_pass_that_depends_on_data_or_panics_is_an_error() {
    let error = refused([1, 4], |x: Tensor<2>| {
        match x.clone().sum().into_scalar::<f32>() > 0.0 {
            true => relu(x),
            false => x,
        }
    });
    assert!(matches!(error, GraphError::Capture { .. }), "{error}");
    let error = refused([1, 4], |_: Tensor<2>| -> Tensor<2> {
        panic!("a layer is missing")
    });
    assert!(error.to_string().contains("a layer is missing"), "{error}");
    // None of it lasts.
    assert_eq!(plain([1, 4], relu), ["relu"]);
}

#[test]
fn a_pass_that_varies_with_the_batch_is_an_error() {
    let varies = |error: GraphError| match error {
        GraphError::Varies { place, layer, what } => (place, layer, what),
        other => panic!("{other}"),
    };
    let (place, ..) = varies(refused([1, 4], |x: Tensor<2>| {
        let [n, _] = x.dims();
        let x = x.abs();
        if n > 2 { x.exp() } else { x.tanh() }
    }));
    assert_eq!(place, 1);
    let (.., what) = varies(refused([1, 4], |x: Tensor<2>| {
        let [n, _] = x.dims();
        if n > 2 { x.exp().abs() } else { x.exp() }
    }));
    assert!(what.contains("1 operations or 2"), "{what}");
    let scaled = |x: Tensor<2>| {
        let [n, _] = x.dims();
        x / n as f32
    };
    varies(refused([1, 4], scaled));
    // One row more than images.
    varies(refused([1, 4], |x: Tensor<2>| {
        let device = x.device();
        Tensor::cat(vec![x, Tensor::zeros([1, 4], &device)], 0)
    }));
    // All images but the first.
    varies(refused([1, 4], |x: Tensor<2>| x.slice(s![1..])));
    varies(refused([1, 4], |x: Tensor<2>| x.slice(s![0..2])));
    // Another number for each image.
    varies(refused([1, 4], |x: Tensor<2>| {
        let ([n, _], device) = (x.dims(), x.device());
        x + numbers([n, 4], 1, &device)
    }));
}

#[test]
fn unsupported_operations_are_named_with_their_place() {
    let model = Block::new(&device());
    let error = Graph::capture(&model, [1, 32], |m, x| m.head.forward(x).cumsum(1)).unwrap_err();
    let GraphError::Unsupported { op, layer, place } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (op.as_str(), layer.as_str(), *place),
        ("CumSum", "after head", 1)
    );
    let name = |error: GraphError| match error {
        GraphError::Unsupported { op, .. } => op,
        other => panic!("{other}"),
    };
    assert_eq!(name(refused([1, 4], |x: Tensor<2>| x.flip([1]))), "Flip");
    assert_eq!(
        name(refused([1, 4], |x: Tensor<2>| x.slice(s![.., ..;-1]))),
        "Slice"
    );
    let argmax = name(refused([1, 4], |x: Tensor<2>| x.argmax(1).float()));
    assert_eq!(argmax, "ArgMax");
    let reflect = |x: Tensor<2>| x.pad([(1, 1)], burn::tensor::ops::PadMode::Reflect);
    assert_eq!(name(refused([1, 4], reflect)), "Pad");
}

#[test]
fn inputs_of_other_dimensions_are_refused() {
    let model = Block::new(&device());
    let graph = Graph::capture(&model, [1, 2, 4, 4], Block::forward).unwrap();
    let input = |dims: [usize; 4]| Tensor::<4>::ones(dims, &device());
    for dims in [[1, 3, 4, 4], [1, 2, 4, 5]] {
        let error = graph.forward::<_, 4, 2>(&model, input(dims)).unwrap_err();
        let GraphError::Input { found, expected } = &error else {
            panic!("{error}")
        };
        assert_eq!(found, &dims);
        assert!(expected.starts_with("[n, 2, 4, 4]"), "{expected}");
    }
    let flat = Tensor::<2>::ones([1, 32], &device());
    let error = graph.forward::<_, 2, 2>(&model, flat).unwrap_err();
    assert!(matches!(error, GraphError::Input { .. }), "{error}");
    let error = graph
        .forward::<_, 4, 3>(&model, input([1, 2, 4, 4]))
        .unwrap_err();
    assert!(matches!(error, GraphError::Input { .. }), "{error}");
}

#[cfg(all(feature = "flex", feature = "ndarray"))]
#[test]
#[expect(deprecated, reason = "works, and stays supported")]
fn a_module_on_two_devices_is_an_error() {
    let model = [Device::flex(), Device::ndarray()].map(|d| LinearConfig::new(4, 4).init(&d));
    let forward = |m: &Vec<Linear>, x| m[1].forward(m[0].forward(x));
    let error = Graph::capture(&model.to_vec(), [1, 4], forward).unwrap_err();
    assert!(matches!(error, GraphError::Devices { count: 2 }), "{error}");
}

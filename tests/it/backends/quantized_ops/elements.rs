//! Sums and products element by element, and functions of one number.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::{
    gelu, gelu_approximate, hard_sigmoid, hard_swish, leaky_relu, log_sigmoid, relu, relu6,
    sigmoid, silu, softmax, tanh,
};
use burn::tensor::module::adaptive_avg_pool2d;

use super::*;

#[test]
fn sums_and_products_of_two_activations() {
    let conv = || {
        let config = Conv2dConfig::new([3, 3], [3, 3]).with_padding(same2([1, 1, 1, 1]));
        conv2d(config)
    };
    let shape = [1, 3, 4, 5];
    // Into the convolution.
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        conv.forward(x.clone()) + x
    });
    assert!(!steps.contains(&"add"), "{steps:?}");
    check(conv(), shape, |conv, x: Tensor<4>| {
        relu(x.clone() + conv.forward(x))
    });
    check(conv(), shape, |conv, x: Tensor<4>| {
        relu6(conv.forward(x.clone()) + x)
    });
    check(
        (conv(), conv()),
        shape,
        |(a, b): &(Conv2d, Conv2d), x: Tensor<4>| a.forward(x.clone()) + b.forward(x),
    );
    // On their own.
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        tanh(conv.forward(x.clone())) + sigmoid(x)
    });
    assert!(steps.contains(&"add"), "{steps:?}");
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        relu(relu(conv.forward(x.clone())) + x).clamp(0.25, 1.5)
    });
    assert!(steps.contains(&"add"), "{steps:?}");
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        x.clone() - conv.forward(x)
    });
    assert!(steps.contains(&"add"), "{steps:?}");
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        conv.forward(x.clone()) * x
    });
    assert!(steps.contains(&"multiply"), "{steps:?}");
    check_function(shape, |x: Tensor<4>| x.clone() * x.clone() + x);
    // Channels weighed by themselves, which broadcast.
    let squeeze = |conv: &Conv2d, x: Tensor<4>| {
        let gate = sigmoid(conv.forward(adaptive_avg_pool2d(x.clone(), [1, 1])));
        x * gate
    };
    let pointwise = conv2d(Conv2dConfig::new([3, 3], [1, 1]));
    let steps = check(pointwise, shape, squeeze);
    assert!(steps.contains(&"multiply"), "{steps:?}");
}

/// Numbers that a module learns beside its layers.
#[derive(Module, Debug)]
struct Vector<const D: usize> {
    values: Param<Tensor<D>>,
}

fn vector<const D: usize>(shape: [usize; D]) -> Vector<D> {
    let values = input(shape, 33, &device());
    Vector {
        values: Param::from_tensor(values),
    }
}

#[test]
fn sums_and_products_with_a_parameter() {
    let shape = [1, 3, 4, 5];
    let steps = check(vector([1, 3, 4, 5]), shape, |vector, x: Tensor<4>| {
        x + vector.values.val()
    });
    assert!(steps.contains(&"add_constant"), "{steps:?}");
    let steps = check(vector([1, 3, 1, 1]), shape, |vector, x: Tensor<4>| {
        vector.values.val() * x
    });
    assert!(steps.contains(&"multiply_constant"), "{steps:?}");
    check(vector([1, 1, 1, 5]), shape, |vector, x: Tensor<4>| {
        relu(x * vector.values.val()) + vector.values.val()
    });
    // The result has an axis that the activation had not.
    check(vector([1, 2, 4]), [1, 1, 4], |vector, x: Tensor<3>| {
        x + vector.values.val()
    });
}

#[test]
fn functions_of_parameters_are_operands_too() {
    // They depend on no input: floats, which the sum beside them takes as codes.
    for function in [
        |x: Tensor<4>| x.exp(),
        |x: Tensor<4>| x.clone() * x,
        |x: Tensor<4>| x.mean_dim(1),
    ] {
        let forward = |vector: &Vector<4>, x: Tensor<4>| x * function(vector.values.val());
        let how = How::bits(8, 8);
        let shape = [1, 3, 4, 5];
        let quantized = of(vector([1, 3, 4, 5]), shape, how, &forward);
        assert_eq!(quantized.in_float().len(), 1);
        assert_simulates::<_, 4, 2>(&quantized, shape, "a function of a parameter");
    }
}

#[test]
fn functions_become_tables() {
    let shape = [1, 3, 4];
    type Function = fn(Tensor<3>) -> Tensor<3>;
    let functions: [(&str, Function); 22] = [
        ("relu", |x| relu(tanh(x))),
        ("clamp", |x| tanh(x).clamp(-0.3, 0.4)),
        ("leaky_relu", |x| leaky_relu(x, 0.1)),
        ("sigmoid", sigmoid),
        ("tanh", tanh),
        ("gelu", gelu),
        ("gelu_tanh", gelu_approximate),
        ("silu", silu),
        ("hard_swish", hard_swish),
        ("hard_sigmoid", |x| hard_sigmoid(x, 0.2, 0.5)),
        ("scalars", |x| x * 0.7 + 0.2),
        ("abs", |x| x.abs()),
        ("exp", |x| x.exp()),
        ("sin", |x| (x * 2.0).sin()),
        ("cos", |x| (x * 2.0).cos()),
        ("sign", |x| x.sign()),
        ("floor", |x| (x * 3.0).floor()),
        ("ceil", |x| (x * 3.0).ceil()),
        ("round", |x| (x * 3.0).round()),
        ("log_one_plus", |x| x.abs().log1p()),
        ("log_sigmoid", log_sigmoid),
        // Neither a number nor finite for half of the codes.
        ("logarithm", |x| (x.abs() + 0.01).log()),
    ];
    for (name, function) in functions {
        let steps = check_function(shape, function);
        assert!(steps.contains(&"table"), "{name}: {steps:?}");
    }
    // In the product before it.
    let conv = || conv2d(Conv2dConfig::new([3, 3], [1, 1]));
    for function in [relu, relu6, |x: Tensor<4>| x.clamp(-0.5, 0.25)] {
        let steps = check(conv(), [1, 3, 4, 4], |conv, x: Tensor<4>| {
            function(conv.forward(x))
        });
        assert!(!steps.contains(&"table"), "{steps:?}");
    }
}

#[test]
fn an_output_of_codes() {
    // What is moved beside it is dequantized, signs of zeros included.
    let shape = [1, 2, 3, 4];
    for how in hows() {
        let linear = LinearConfig::new(4, 4).init(&device());
        let forward = |module: &Between<Vec<Linear>>, x: Tensor<4>| {
            let y = silu(module.before.forward(x));
            let z = module.layer[0].forward(y.clone());
            Tensor::cat(vec![y * 0.0, z], 1)
        };
        let module = between(vec![linear], shape, &|_: &Vec<Linear>, x: Tensor<4>| x);
        let batches = [input(shape, 21, &device())];
        let (quantized, _) = quantized(module, how, forward, &batches);
        assert_simulates::<_, 4, 4>(&quantized, shape, &format!("{how:?}"));
    }
}

#[test]
fn softmax_between_products_is_in_float() {
    let forward = |_: &Vec<Linear>, x: Tensor<3>| softmax(x, 2);
    let quantized = of(Vec::new(), [1, 3, 4], How::bits(8, 8), &forward);
    let float: Vec<&str> = quantized
        .in_float()
        .iter()
        .map(|node| node.op.name())
        .collect();
    assert_eq!(float, ["softmax"]);
}

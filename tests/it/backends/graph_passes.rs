//! What each pass does to a captured graph: fewer steps, the same result.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::activation::{relu, relu6};
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::{AvgPoolOptions, PadMode};
use burn::tensor::{Tensor, TensorData, s};
use burn_compress::graph::Graph;
use burn_compress::network::{Op, Unary, Value};

use super::device::device;
use super::models::{spread, values};

/// Two convolutions that keep the dimensions, and a norm.
#[derive(Module, Debug)]
struct Layers {
    one: Conv2d,
    two: Conv2d,
    norm: BatchNorm,
}

const CHANNELS: usize = 4;
const SHAPE: [usize; 4] = [2, CHANNELS, 6, 6];

fn numbers<const D: usize>(shape: [usize; D], salt: usize) -> TensorData {
    let count = shape.iter().product();
    let numbers = (0..count).map(|index| spread(salt * 10_007 + index) - 0.4);
    TensorData::new(numbers.collect::<Vec<f32>>(), shape)
}

fn layers() -> Layers {
    let device = device();
    let conv = |salt| {
        let conv = Conv2dConfig::new([CHANNELS, CHANNELS], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_initializer(Initializer::Zeros)
            .init(&device);
        let weight = numbers([CHANNELS, CHANNELS, 3, 3], salt);
        let bias = numbers([CHANNELS], salt + 1);
        Conv2d {
            weight: conv.weight.map(|_| Tensor::from_data(weight, &device)),
            bias: (conv.bias).map(|it| it.map(|_| Tensor::from_data(bias, &device))),
            ..conv
        }
    };
    let vector = |salt, low: f32| Tensor::<1>::from_data(numbers([CHANNELS], salt), &device) + low;
    let norm = BatchNormConfig::new(CHANNELS)
        .with_epsilon(0.01)
        .init(&device);
    Layers {
        one: conv(1),
        two: conv(3),
        norm: BatchNorm {
            gamma: norm.gamma.map(|_| vector(5, 1.0)),
            beta: norm.beta.map(|_| vector(6, 0.0)),
            running_mean: burn::module::RunningState::new(vector(7, 0.0)),
            running_var: burn::module::RunningState::new(vector(8, 1.0)),
            ..norm
        },
    }
}

/// The graph before and after, which give what the module gives.
#[track_caller]
fn simplified<const E: usize>(forward: impl Fn(&Layers, Tensor<4>) -> Tensor<E>) -> (Graph, Graph) {
    let layers = layers();
    let before = Graph::capture(&layers, SHAPE, &forward).unwrap();
    let after = before.clone().simplify();
    let input = Tensor::from_data(numbers(SHAPE, 9), &device());
    let expected = values(forward(&layers, input.clone()));
    for graph in [&before, &after] {
        let found: Tensor<E> = graph.forward(&layers, input.clone()).unwrap();
        let found = values(found);
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{a} and {b}");
        }
    }
    // It is as simple as it gets.
    assert_eq!(after.clone().simplify(), after);
    (before, after)
}

fn names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().iter().map(|node| node.op.name()).collect()
}

#[test]
fn rearrangements_that_cancel_are_gone() {
    let (before, after) = simplified(|layers, x| {
        let x = layers.one.forward(x);
        let x = x.swap_dims(1, 3).swap_dims(1, 3).reshape([0, 4, 36]);
        let x = x.reshape([0, 12, 12]).mul_scalar(1.0).add_scalar(0.0);
        x.slice(s![.., 0..12, ..])
    });
    assert!(before.nodes().len() > 2, "{before}");
    assert_eq!(names(&after), ["convolution", "reshape"], "{after}");
}

#[test]
fn zeros_around_an_image_become_a_convolutions_padding() {
    let (before, after) = simplified(|layers, x| {
        let zeros = x.pad((2, 1, 0, 3), PadMode::Constant(0.0));
        layers.one.forward(zeros)
    });
    // Burn pads so itself before it convolves: what is captured is one convolution already.
    assert_eq!(names(&before), ["convolution"], "{before}");
    assert_eq!(names(&after), ["convolution"], "{after}");
    let Op::Convolution { window, .. } = &after.nodes()[0].op else {
        panic!("{after}");
    };
    // Left, right, top, bottom, and one more on each side.
    assert_eq!(window.padding, [(1, 4), (3, 2)]);

    let (_, after) = simplified(|layers, x| {
        let ones = x.pad((2, 1, 0, 3), PadMode::Constant(1.0));
        layers.one.forward(ones)
    });
    assert_eq!(names(&after), ["pad", "convolution"], "{after}");
}

#[test]
fn zeros_before_an_average_become_its_padding() {
    for counts in [true, false] {
        let (_, after) = simplified(|_, x| {
            let zeros = x.pad((1, 0, 1, 1), PadMode::Constant(0.0));
            let options = AvgPoolOptions {
                kernel_size: [3, 3],
                stride: [2, 2],
                padding: [(0, 0); 2],
                count_include_pad: counts,
                ceil_mode: false,
            };
            avg_pool2d(zeros, options)
        });
        assert_eq!(names(&after), ["average_pool"], "{after}");
    }
}

#[test]
fn what_the_input_does_not_touch_is_computed() {
    let (_, after) = simplified(|layers, x| {
        let device = x.device();
        let row = Tensor::<1>::from_data([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &device);
        let row = row.mul_scalar(0.5).reshape([1, 1, 1, 6]);
        let column = Tensor::<4>::from_data(numbers([1, 1, 6, 1], 10), &device);
        layers.one.forward(x) * (row + column).exp()
    });
    assert_eq!(names(&after), ["convolution", "multiply"], "{after}");
    assert_eq!(after.constants().len(), 1);
    assert_eq!(after.constants()[0].dims, [1, 1, 6, 6]);

    // A tensor of one number.
    let (_, after) = simplified(|layers, x| {
        let number = Tensor::<4>::from_data([[[[0.25]]]], &x.device());
        layers.one.forward(x) / number
    });
    assert_eq!(names(&after), ["convolution", "multiply_scalar"], "{after}");
    assert_eq!(after.nodes()[1].op, Op::Unary(Unary::MulScalar(4.0)));
    assert!(after.constants().is_empty());
}

#[test]
fn a_norm_is_folded_where_nothing_else_sees_its_input() {
    let (before, after) = simplified(|layers, x| layers.norm.forward(layers.one.forward(x)));
    assert_eq!(names(&before), ["convolution", "batch_norm"]);
    assert_eq!(names(&after), ["convolution"]);
    let epilogue = after.nodes()[0].epilogue;
    assert_eq!(epilogue.norm.unwrap().epsilon, 0.01);
    assert!(epilogue.bias.is_some());

    let (_, after) = simplified(|layers, x| {
        let x = layers.one.forward(x);
        layers.norm.forward(x.clone()) * x
    });
    assert_eq!(names(&after), ["convolution", "batch_norm", "multiply"]);

    let (_, after) = simplified(|layers, x| layers.norm.forward(relu(layers.one.forward(x))));
    assert_eq!(names(&after), ["convolution", "batch_norm"], "{after}");
    assert_eq!(after.nodes()[0].epilogue.activation, Some(Unary::Relu));
}

#[test]
fn a_residual_block_is_two_steps() {
    let (_, after) = simplified(|layers, x| {
        let y = relu6(layers.norm.forward(layers.one.forward(x.clone())));
        relu(x + layers.two.forward(y))
    });
    assert_eq!(names(&after), ["convolution"; 2], "{after}");
    let [one, two] = [0, 1].map(|index| after.nodes()[index].epilogue);
    let clamp = Unary::Clamp { min: 0.0, max: 6.0 };
    assert_eq!((one.add, one.activation), (None, Some(clamp)));
    assert_eq!(two.add, Some(Value::Input));
    assert_eq!(two.activation, Some(Unary::Relu));
}

#[test]
fn of_two_branches_the_later_adds_the_other() {
    for swapped in [false, true] {
        let (_, after) = simplified(|layers, x| {
            let (one, two) = (layers.one.forward(x.clone()), layers.two.forward(x));
            if swapped { two + one } else { one + two }
        });
        assert_eq!(names(&after), ["convolution"; 2], "{after}");
        assert_eq!(after.nodes()[0].layer, "one");
        assert_eq!(after.nodes()[1].layer, "two");
        assert_eq!(after.nodes()[1].epilogue.add, Some(Value::Node(0)));
    }
}

#[test]
fn what_is_added_after_an_activation_stays_an_addition() {
    let (_, after) = simplified(|layers, x| {
        let one = relu(layers.one.forward(x.clone()));
        relu(one + x)
    });
    assert_eq!(names(&after), ["convolution", "add"], "{after}");
    assert_eq!(after.nodes()[1].epilogue.activation, Some(Unary::Relu));
}

#[test]
fn what_nobody_uses_is_gone() {
    let (_, after) = simplified(|layers, x| {
        let unused = layers.norm.forward(layers.two.forward(x.clone()));
        drop(unused.exp());
        layers.one.forward(x)
    });
    assert_eq!(names(&after), ["convolution"]);
    let paths: Vec<_> = after.parameters().iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["one.weight", "one.bias"]);
}

//! What a capture finds, what it refuses, and where a graph can run.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, s};
use burn_compress::compress::{Plan, Pruning};
use burn_compress::graph::{Graph, GraphError};
use burn_compress::network::NetworkError;
use burn_compress::network::{Dim, Value};

use super::device::device;
use super::graph_check::{assert_close, check, filled, numbers, plain, refused, values};

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
fn what_is_attached_is_captured_and_not_ignored() {
    let plan = Plan::new().prune(Pruning::to(0.5));
    let model = LinearConfig::new(8, 4).init(&device().autodiff());
    let (model, compression) = plan.attach(filled(model)).unwrap();
    let graph = Graph::capture(&model, [1, 8], |m, x| m.forward(x)).unwrap();
    let input = numbers([3, 8], 1, &device());
    let error = graph.forward::<_, 2, 2>(&model, input.clone()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("parameter weight: it carries a compression"),
        "{error}"
    );
    let expected = model.valid().forward(input.clone());
    let stored: Tensor<2> = graph
        .forward(&model.valid().materialize(), input.clone())
        .unwrap();
    assert_close(&values(stored), &values(expected.clone()));
    let under: Tensor<2> = graph
        .forward_under(&model.valid(), &compression, input)
        .unwrap();
    assert_close(&values(under), &values(expected));
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
    let GraphError::Unsupported {
        op,
        layer,
        place: 1,
        in_float: true,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((op.as_str(), layer.as_str()), ("CumSum", "after head"));
    assert!(error.to_string().contains("Fallback::Float"), "{error}");
    let name = |error: GraphError| match error {
        GraphError::Unsupported { op, .. } => op,
        other => panic!("{other}"),
    };
    assert_eq!(name(refused([1, 4], |x: Tensor<2>| x.flip([1]))), "Flip");
    assert_eq!(
        name(refused([1, 4], |x: Tensor<2>| x.slice(s![.., ..;-1]))),
        "Slice"
    );
    // No float tensor: not even in float.
    let argmax = refused([1, 4], |x: Tensor<2>| x.argmax(1).float());
    assert!(!argmax.to_string().contains("Fallback"), "{argmax}");
    assert_eq!(name(argmax), "ArgMax");
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
        let GraphError::Network(NetworkError::Input { found, expected }) = &error else {
            panic!("{error}")
        };
        assert_eq!(found, &dims);
        assert!(expected.starts_with("[N, 2, 4, 4]"), "{expected}");
    }
    let flat = Tensor::<2>::ones([1, 32], &device());
    let error = graph.forward::<_, 2, 2>(&model, flat).unwrap_err();
    assert!(
        matches!(error, GraphError::Network(NetworkError::Input { .. })),
        "{error}"
    );
    let error = graph
        .forward::<_, 4, 3>(&model, input([1, 2, 4, 4]))
        .unwrap_err();
    assert!(
        matches!(error, GraphError::Output { wanted: 3, .. }),
        "{error}"
    );
}

#[test]
fn a_module_on_two_devices_is_an_error() {
    // Its second layer is made where nothing is computed, once it is used.
    let devices = [device(), Device::capture()];
    let model = devices.map(|device| LinearConfig::new(4, 4).init(&device));
    let forward = |m: &Vec<Linear>, x| m[1].forward(m[0].forward(x));
    let error = Graph::capture(&model.to_vec(), [1, 4], forward).unwrap_err();
    assert!(matches!(error, GraphError::Devices { count: 2 }), "{error}");
    let one = vec![model[0].clone(), model[0].clone()];
    let graph = Graph::capture(&one, [1, 4], forward).unwrap();
    let input = Tensor::<2>::ones([1, 4], &device());
    let error = graph
        .forward::<_, 2, 2>(&model.to_vec(), input)
        .unwrap_err();
    assert!(matches!(error, GraphError::Devices { count: 2 }), "{error}");
}

#[cfg(feature = "ndarray")]
#[test]
#[expect(deprecated, reason = "works, and stays supported")]
fn an_input_on_another_device_is_an_error() {
    if crate::backends::device::name() == "ndarray" {
        eprintln!("skipped on ndarray: it takes a second device");
        return;
    }
    let model = LinearConfig::new(4, 4).init(&device());
    let graph = Graph::capture(&model, [1, 4], |m, x| m.forward(x)).unwrap();
    let input = Tensor::<2>::ones([1, 4], &Device::ndarray());
    let error = graph.forward::<_, 2, 2>(&model, input).unwrap_err();
    assert!(matches!(error, GraphError::Devices { count: 2 }), "{error}");
}

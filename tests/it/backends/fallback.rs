//! Operations that have no integer form: refused, or, where the capture is told so, left in float.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::{
    celu, elu, hard_shrink, log_sigmoid, log_softmax, mish, quiet_softmax, relu, shrink, softplus,
    thresholded_relu,
};
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Int, Tensor, s};
use burn_compress::graph::{Fallback, Graph, GraphError, Quantized};
use burn_compress::network::{Constant, Dim, FloatOp, Op, Value};
use burn_compress::network::{Network, Step, StepOp};

use super::device::device;
use super::graph_check::{assert_close, filled, numbers, plain, refused};
use super::graph_models::randomized;
use super::models::values;
use super::quantized::{How, assert_simulates, calibrated, float_steps, input};

type Nothing = Vec<Linear>;

/// Refused by default, under this name of Burn's; else captured as these operations, which compute the
/// same with the same gradients, on tensors and without Burn.
#[track_caller]
fn check<const D: usize, const E: usize>(
    shape: [usize; D],
    burn: &str,
    names: &[&str],
    forward: impl Fn(Tensor<D>) -> Tensor<E>,
) {
    let error = refused(shape, &forward);
    let GraphError::Unsupported { op, in_float, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((op.as_str(), *in_float), (burn, true));

    let module = Nothing::new();
    let run = |_: &Nothing, x: Tensor<D>| forward(x);
    let graph = Graph::capture_with(&module, shape, Fallback::Float, run).unwrap();
    let found: Vec<_> = graph.nodes().iter().map(|node| node.op.name()).collect();
    assert_eq!(found, names, "{graph}");
    for batch in [1, 2, 5] {
        let mut dims = shape;
        dims[0] = batch;
        let input = numbers(dims, 3, &device());
        let expected = forward(input.clone());
        let found: Tensor<E> = graph.forward(&module, input).unwrap();
        assert_eq!(found.dims(), expected.dims());
        assert_close(&values(found), &values(expected));

        let gradient = |run: &dyn Fn(Tensor<D>) -> Tensor<E>| {
            let input = numbers(dims, 3, &device().autodiff()).require_grad();
            let output = run(input.clone());
            if !output.is_tracked() {
                return vec![];
            }
            let weights = numbers(output.dims(), 4, &device().autodiff());
            let gradients = (output * weights).sum().backward();
            input.grad(&gradients).map_or(vec![], values)
        };
        let expected = gradient(&forward);
        let found = gradient(&|x| graph.forward(&module, x).unwrap());
        assert_close(&found, &expected);
    }

    let floats = graph.simplify().to_float_model(&module).unwrap();
    let mut dims = shape;
    dims[0] = 3;
    let input = numbers(dims, 5, &device());
    let expected = values(forward(input.clone()));
    let (found, _) = floats.run(&values(input.clone()), 3).unwrap();
    assert_close(&found, &expected);
    let loaded = Network::from_bytes(&floats.to_bytes().unwrap()).unwrap();
    assert_eq!(loaded.run(&values(input), 3).unwrap().0, found);
    super::runs::assert_runs(&floats, &[1, 17], burn);
}

#[test]
fn along_an_axis() {
    let shape = [1, 3, 4];
    check(shape, "CumSum", &["cumulative_sum"], |x| x.cumsum(1));
    check(shape, "CumProd", &["cumulative_product"], |x| x.cumprod(2));
    check(shape, "CumMax", &["cumulative_max"], |x| x.cummax(1));
    check(shape, "CumMin", &["cumulative_min"], |x| x.cummin(2));
    check(shape, "MaxDim", &["max"], |x| x.max_dim(1));
    check(shape, "MinDim", &["min"], |x| x.min_dim(2));
    check(shape, "ProdDim", &["product"], |x| x.prod_dim(1));
    check([1, 5], "LogSoftmax", &["log_softmax"], |x| {
        log_softmax(x, 1)
    });
    check([1, 4, 3, 2], "LogSoftmax", &["log_softmax"], |x| {
        log_softmax(x, 1)
    });
}

#[test]
fn in_the_order_of_their_size() {
    let shape = [1, 5, 4];
    check(shape, "Sort", &["sort"], |x| x.sort(1));
    check(shape, "Sort", &["sort_descending"], |x| {
        x.sort_descending(2)
    });
    let greatest = ["sort_descending", "select"];
    check(shape, "TopK", &greatest, |x| x.topk(3, 1));
    check([1, 6], "TopKWithIndices", &greatest, |x| {
        x.topk_with_indices(2, 1).0
    });
    check([1, 6], "SortWithIndices", &["sort"], |x| {
        x.sort_with_indices(1).0
    });
}

#[test]
fn elements_in_other_places() {
    let shape = [1, 3, 4];
    check(shape, "Flip", &["select", "select"], |x| x.flip([1, 2]));
    check(shape, "Slice", &["select"], |x| {
        x.slice(s![.., .., 0..4;-2])
    });
    check(shape, "Slice", &["select", "select"], |x| {
        x.slice(s![.., 1..;-1, 1..3])
    });
    check(shape, "Select", &["select"], |x| {
        let device = x.device();
        x.select(2, Tensor::from_data([3, 0, 0, 1, 2], &device))
    });
    check(shape, "Gather", &["gather"], |x| {
        let ([n, ..], device) = (x.dims(), x.device());
        let places = [[[2, 0, 1, 1], [0, 0, 2, 1]]];
        let places = Tensor::<3, Int>::from_data(places, &device);
        x.gather(1, places.expand([n, 2, 4]))
    });
    check(shape, "Pad", &["select", "select"], |x| {
        x.pad([(0, 0), (2, 1), (1, 3)], PadMode::Reflect)
    });
    check(shape, "Pad", &["select"], |x| {
        x.pad([(0, 0), (0, 0), (2, 3)], PadMode::Edge)
    });
}

#[test]
fn masks_of_values() {
    let shape = [1, 3, 4];
    check(shape, "GreaterElem", &["greater", "where"], |x| {
        let mask = x.clone().greater_elem(0.3);
        x.mask_fill(mask, -0.25)
    });
    check(
        shape,
        "LowerEqual",
        &["multiply_scalar", "add_scalar", "less_equal", "where"],
        |x| {
            let other = x.clone() * -0.5 + 0.2;
            x.clone().mask_where(x.lower_equal(other.clone()), other)
        },
    );
    // Logic on masks, and a mask as numbers.
    let names = [
        "less",
        "greater_equal",
        "multiply",
        "multiply_scalar",
        "add_scalar",
        "greater",
        "add",
        "greater",
        "not_equal",
        "multiply",
    ];
    check(shape, "LowerElem", &names, |x| {
        let low = x.clone().lower_elem(0.9);
        let inside = low.clone().bool_and(x.clone().greater_equal_elem(-0.9));
        let chosen = inside.bool_not().bool_or(x.clone().greater_elem(0.1));
        x * chosen.bool_xor(low).float()
    });
    // A mask in another form, against a constant of the pass.
    check(
        [1, 4],
        "NotEqual",
        &[
            "not_equal",
            "reshape",
            "expand",
            "reshape",
            "expand",
            "where",
        ],
        |x| {
            let ([n, _], device) = (x.dims(), x.device());
            let row = numbers([1, 4], 3, &device);
            let mask = x.clone().not_equal(row.expand([n, 4]));
            let mask = mask.unsqueeze_dim::<3>(1).expand([n, 2, 4]);
            x.unsqueeze_dim::<3>(1)
                .expand([n, 2, 4])
                .mask_fill(mask, 2.0)
        },
    );
}

#[test]
fn functions_made_of_masks() {
    let shape = [1, 3, 4];
    let elu_names = [
        "exp",
        "add_scalar",
        "multiply_scalar",
        "less_equal",
        "where",
    ];
    check(shape, "LowerEqualElem", &elu_names, |x| elu(x, 0.7));
    check(
        shape,
        "LowerEqualElem",
        &[
            "multiply_scalar",
            "exp",
            "add_scalar",
            "multiply_scalar",
            "less_equal",
            "where",
        ],
        |x| celu(x, 0.7),
    );
    // Its bound against overflow is a clamp.
    let softplus_names = [
        "multiply_scalar",
        "clamp",
        "exp",
        "log_one_plus",
        "multiply_scalar",
        "greater",
        "where",
    ];
    check(shape, "GreaterElem", &softplus_names, |x| softplus(x, 1.0));
    let mish_names = [&softplus_names[..], &["tanh", "multiply"]].concat();
    check(shape, "GreaterElem", &mish_names, mish);
    check(
        shape,
        "LowerEqualElem",
        &["abs", "less_equal", "where"],
        |x| hard_shrink(x, 0.5),
    );
    check(
        shape,
        "LowerEqualElem",
        &[
            "abs",
            "sign",
            "multiply_scalar",
            "subtract",
            "less_equal",
            "where",
        ],
        |x| shrink(x, 0.5, 0.2),
    );
    check(shape, "LowerEqualElem", &["less_equal", "where"], |x| {
        thresholded_relu(x, 0.4)
    });
    check(shape, "Powf", &["abs", "add_scalar", "power"], |x| {
        (x.clone().abs() + 0.5).powf(x)
    });
}

#[test]
fn functions_of_one_number_need_no_choice() {
    let shape = [1, 3, 4];
    assert_eq!(
        plain(shape, |x| (x * 2.0).sin()),
        ["multiply_scalar", "sin"]
    );
    assert_eq!(plain(shape, |x| x.cos()), ["cos"]);
    assert_eq!(plain(shape, |x| x.sign()), ["sign"]);
    assert_eq!(plain(shape, |x| x.floor()), ["floor"]);
    assert_eq!(plain(shape, |x| x.ceil()), ["ceil"]);
    assert_eq!(plain(shape, |x| x.round()), ["round"]);
    assert_eq!(plain(shape, |x| x.abs().log1p()), ["abs", "log_one_plus"]);
    assert_eq!(plain(shape, log_sigmoid), ["log_sigmoid"]);
}

#[test]
fn what_has_no_form_in_float_either_is_refused_all_the_same() {
    let module = Nothing::new();
    let order = |_: &Nothing, x: Tensor<2>| x.argsort(1).float();
    let error = Graph::capture_with(&module, [1, 4], Fallback::Float, order).unwrap_err();
    let GraphError::Unsupported { op, in_float, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((op.as_str(), *in_float), ("ArgSort", false));
    // The places of the greatest are no floats.
    let places = |_: &Nothing, x: Tensor<2>| x.max_dim_with_indices(1).1.float();
    let error = Graph::capture_with(&module, [1, 4], Fallback::Float, places).unwrap_err();
    assert!(matches!(error, GraphError::Unsupported { .. }), "{error}");
    // A deployed model has finite numbers alone.
    let quiet = |_: &Nothing, x: Tensor<2>| quiet_softmax(x, 1);
    let graph = Graph::capture_with(&module, [1, 4], Fallback::Float, quiet).unwrap();
    let x = numbers([3, 4], 1, &device());
    let found: Tensor<2> = graph.forward(&module, x.clone()).unwrap();
    assert_close(&values(found), &values(quiet_softmax(x, 1)));
    let error = graph.to_float_model(&module).unwrap_err();
    assert!(error.to_string().contains("-inf is not finite"), "{error}");
}

/// Operations between two layers.
#[derive(Module, Debug)]
struct Between {
    before: Linear,
    after: Linear,
}

impl Between {
    fn new(device: &Device) -> Self {
        randomized(Self {
            before: LinearConfig::new(6, 6).init(device),
            after: LinearConfig::new(6, 3).init(device),
        })
    }

    fn forward(&self, x: Tensor<2>, layer: &dyn Fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        self.after.forward(layer(self.before.forward(x)))
    }
}

fn quantized(
    how: How,
    layer: &dyn Fn(Tensor<2>) -> Tensor<2>,
    device: &Device,
) -> Quantized<Between> {
    let model = Between::new(device);
    let run = |model: &Between, x: Tensor<2>| model.forward(x, layer);
    let graph = Graph::capture_with(&model, [1, 6], Fallback::Float, run).unwrap();
    let batches = [input([16, 6], 1, device), input([16, 6], 2, device)];
    calibrated(graph, model, how.plan(), how.activations, &batches).0
}

fn listed(quantized: &Quantized<Between>) -> Vec<(&str, &str)> {
    let nodes = quantized.in_float().into_iter();
    nodes
        .map(|node| (node.layer.as_str(), node.op.name()))
        .collect()
}

fn limited(x: Tensor<2>) -> Tensor<2> {
    let mask = x.clone().greater_elem(0.2);
    let raised = relu(x.clone()) * 0.5 + 0.1;
    x.mask_where(mask, raised)
}

// What is exact in floats is equal in each code.
#[test]
fn parts_in_float_lie_between_parts_in_integers() {
    let maximum = |x: Tensor<2>| x.clone().max_pair(x.flip([1]));
    let mirrored = |x: Tensor<2>| x.pad([(0, 0), (2, 0)], PadMode::Reflect).narrow(1, 0, 6);
    let rising = |x: Tensor<2>| x.cummax(1);
    let cases: [(&str, &dyn Fn(Tensor<2>) -> Tensor<2>); 4] = [
        ("where", &limited),
        ("select", &maximum),
        ("select", &mirrored),
        ("cumulative_max", &rising),
    ];
    for (name, layer) in cases {
        for how in [How::bits(8, 8), How::bits(4, 5).pruned(0.4)] {
            let quantized = quantized(how, layer, &device());
            let listed = listed(&quantized);
            assert!(listed.contains(&("after before", name)), "{listed:?}");
            assert!(listed.iter().all(|(layer, _)| *layer == "after before"));
            let integers = assert_simulates::<_, 2, 2>(&quantized, [1, 6], name);
            assert!(float_steps(&integers).contains(&name));
            let linear = integers.steps().iter();
            let linear =
                linear.filter(|step| matches!(step.op, StepOp::Product { op: Op::Linear, .. }));
            assert_eq!(linear.count(), 2, "{name}");
            let path = tempfile::tempdir().unwrap();
            let path = path.path().join("model.bcm");
            integers.save(&path).unwrap();
            assert_eq!(Network::load(&path).unwrap(), integers);
        }
    }
}

#[test]
fn gradients_flow_through_what_stays_in_float() {
    let device = device().autodiff();
    let mut quantized = quantized(How::bits(8, 8), &limited, &device);
    let weight = |model: &Quantized<Between>| values(model.module().before.weight.val());
    let before = weight(&quantized);
    let mut optimizer = SgdConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..8 {
        let output = quantized
            .forward::<2, 2>(input([16, 6], 4, &device))
            .unwrap();
        let loss = (output - 0.5).powi_scalar(2).mean();
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &quantized);
        quantized = optimizer.step(0.1, quantized, gradients);
    }
    assert_ne!(before, weight(&quantized));
    assert!(losses[7] < 0.8 * losses[0], "{losses:?}");
    assert_simulates::<_, 2, 2>(&quantized.valid(), [1, 6], "trained");
}

// Places beyond their axis, and places that are none.
#[test]
fn a_forged_model_is_refused() {
    let model = |op: FloatOp, inputs: Vec<Value>, places: Vec<f32>, length: usize| {
        let step = Step {
            op: StepOp::Float(Op::Float(op)),
            inputs,
            grid: None,
            dims: vec![Dim::Batch(1), Dim::Fixed(length)],
            layer: "layer".into(),
        };
        let constant = Constant {
            dims: vec![1, places.len()],
            values: places,
        };
        let input = vec![Dim::Batch(1), Dim::Fixed(3)];
        Network::new(input, vec![constant], vec![step], Value::Node(0))
    };
    let gather = |places: &[f32]| {
        let inputs = vec![Value::Input, Value::Constant(0)];
        model(
            FloatOp::Gather { axis: 1 },
            inputs,
            places.to_vec(),
            places.len(),
        )
    };
    let (found, _) = gather(&[2.0, 0.0])
        .unwrap()
        .run(&[5.0, 6.0, 7.0], 1)
        .unwrap();
    assert_eq!(found, [7.0, 5.0]);
    for places in [[3.0, 0.0], [-1.0, 0.0], [0.5, 0.0]] {
        assert!(gather(&places).is_err(), "{places:?}");
    }
    let by_input = vec![Value::Input, Value::Input];
    assert!(model(FloatOp::Gather { axis: 1 }, by_input, vec![0.0], 3).is_err());
    let select = |indices: &[usize], axis| {
        let indices = indices.to_vec();
        let length = indices.len();
        let op = FloatOp::Select { axis, indices };
        model(op, vec![Value::Input], vec![0.0], length)
    };
    assert!(select(&[2, 1], 1).is_ok());
    assert!(select(&[3], 1).is_err() && select(&[], 1).is_err());
    assert!(select(&[0], 0).is_err() && select(&[0], 2).is_err());
    let one = vec![Value::Input];
    assert!(model(FloatOp::Where, one.clone(), vec![0.0], 3).is_err());
    assert!(
        model(
            FloatOp::CumulativeSum { axis: 2 },
            one.clone(),
            vec![0.0],
            3
        )
        .is_err()
    );
    assert!(model(FloatOp::Max { axis: 1 }, one, vec![0.0], 1).is_ok());
}

// Sums over images cannot be run one image at a time.
#[test]
fn what_mixes_images_sees_all_of_them() {
    let model = filled(LinearConfig::new(3, 2).init(&device()));
    let run = |model: &Linear, x: Tensor<2>| model.forward(x.cumsum(0));
    let graph = Graph::capture_with(&model, [1, 3], Fallback::Float, run).unwrap();
    let floats = graph.simplify().to_float_model(&model).unwrap();
    let x = numbers([5, 3], 2, &device());
    let expected = values(run(&model, x.clone()));
    let (found, _) = floats.run_with(&values(x), 5, 2).unwrap();
    assert_close(&found, &expected);
    super::runs::assert_runs(&floats, &[1, 19], "sums over images");
}

//! A weight that the pass reads transposed, `x.matmul(w.transpose())`: a linear layer like any other.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn_compress::compress::{Plan, Pruning, Quantization, Selection};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::repair::equalize;
use burn_compress::graph::{Activations, Calibrator, Graph, Quantized};
use burn_compress::network::Value;
use burn_compress::network::{Op, StepOp};
use burn_compress::prune::Scope;

use super::device::device;
use super::graph_check::{assert_close, check};
use super::graph_models::randomized;
use super::models::values;
use super::quantized::{assert_simulates, calibrated, float_steps, input, steps};

/// `shared` holds `[out, in]`, as other frameworks do.
#[derive(Module, Debug)]
struct Shared {
    first: Linear,
    shared: Param<Tensor<2>>,
    last: Linear,
}

const ONLY: [&str; 3] = ["first.weight", "shared", "last.weight"];

impl Shared {
    fn new(device: &Device) -> Self {
        randomized(Self {
            first: LinearConfig::new(4, 6).init(device),
            shared: Param::from_tensor(Tensor::zeros([5, 6], device)),
            last: LinearConfig::new(5, 3).init(device),
        })
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = relu(self.first.forward(x));
        let x = relu(x.matmul(self.shared.val().transpose()));
        self.last.forward(x)
    }
}

fn scheme(bits: u32, granularity: Granularity) -> Scheme {
    Scheme::new(bits, Mapping::Symmetric, granularity).unwrap()
}

fn activations(bits: u32) -> Activations {
    Activations {
        calibrator: Calibrator::MinMax,
        ..Activations::bits(bits).unwrap()
    }
}

fn plan(only: &[&str], scheme: Scheme) -> Plan {
    let plan = Plan::new().select(Selection::only(only.iter().copied()));
    plan.prune(Pruning::to(0.4).scope(Scope::Layer))
        .quantize(Quantization::to(scheme))
}

fn quantized(model: Shared, scheme: Scheme) -> Quantized<Shared> {
    let graph = Graph::capture(&model, [1, 4], Shared::forward).unwrap();
    let device = model.shared.device();
    let batches = [input([16, 4], 1, &device), input([16, 4], 2, &device)];
    calibrated(graph, model, plan(&ONLY, scheme), activations(8), &batches).0
}

#[test]
fn it_is_a_linear_layer_under_its_own_path() {
    let model = Shared::new(&device());
    let (graph, names) = check(&model, [1, 4], Shared::forward);
    assert_eq!(names, ["linear", "relu", "linear", "relu", "linear"]);
    let node = &graph.nodes()[2];
    let Value::Parameter(index) = node.inputs[1] else {
        panic!("{graph}")
    };
    let parameter = &graph.parameters()[index];
    assert_eq!(
        (parameter.path.as_str(), parameter.transposed),
        ("shared", true)
    );
    assert_eq!(parameter.dims, [5, 6]);
    assert_eq!(parameter.read_dims(), [6, 5]);
    assert_eq!(node.layer, "shared");
    assert!(graph.to_string().contains("shared transposed"), "{graph}");
    // With leading axes, on either side of the transposition.
    type Form = fn(&Shared) -> Tensor<3>;
    let forms: [Form; 3] = [
        |m| m.shared.val().transpose().unsqueeze(),
        |m| m.shared.val().unsqueeze::<3>().swap_dims(1, 2),
        |m| {
            m.shared
                .val()
                .unsqueeze::<3>()
                .expand([2, 5, 6])
                .swap_dims(1, 2)
                .narrow(0, 0, 1)
        },
    ];
    for form in &forms[..2] {
        let (graph, names) = check(&model, [1, 3, 6], |m, x: Tensor<3>| x.matmul(form(m)));
        assert_eq!(names, ["linear"]);
        assert!(graph.parameters()[0].transposed && graph.parameters().len() == 1);
    }
    check(&model, [1, 3, 6], |m, x: Tensor<3>| x.matmul(forms[2](m)));
    // There and back again is the parameter as it is.
    let (graph, names) = check(&model, [1, 5], |m, x: Tensor<2>| {
        x.matmul(m.shared.val().transpose().transpose())
    });
    assert_eq!(names, ["linear"]);
    assert!(!graph.parameters()[0].transposed);
}

#[test]
fn it_is_quantized_and_pruned_as_a_weight() {
    for (bits, granularity) in [
        (8, Granularity::Channel),
        (4, Granularity::Channel),
        (5, Granularity::Tensor),
    ] {
        let what = format!("{bits} bits, {granularity:?}");
        let quantized = quantized(Shared::new(&device()), scheme(bits, granularity));
        assert!(quantized.in_float().is_empty(), "{what}");
        let integers = assert_simulates::<_, 2, 2>(&quantized, [1, 4], &what);
        assert_eq!(float_steps(&integers), [""; 0], "{what}");
        assert_eq!(
            steps(&integers).iter().filter(|s| **s == "linear").count(),
            3
        );
        // Its codes are those of the module's own weight, a mask's zeros among them.
        let effective = values(quantized.module().shared.val());
        let step = integers.steps().iter().find(|step| step.layer == "shared");
        let Some(StepOp::Product {
            op: Op::Linear,
            weights: Some(weights),
            rescale,
        }) = step.map(|step| &step.op)
        else {
            panic!("{what}: no linear step")
        };
        assert_eq!(weights.dims, [6, 5]);
        if granularity == Granularity::Channel {
            assert_eq!(rescale.multiplier.len(), 5);
        }
        let codes = weights.codes.widened();
        let mut zeros = 0;
        for (place, effective) in effective.iter().enumerate() {
            let (output, input) = (place / 6, place % 6);
            let code = codes[input * 5 + output];
            assert_eq!(code == 0, *effective == 0.0, "{what}");
            assert!(code.signum() as f32 * effective >= 0.0, "{what}");
            zeros += usize::from(code == 0);
        }
        assert!(zeros >= 12, "{what}: {zeros}");
    }
}

#[test]
fn gradients_reach_it_where_it_was_not_removed() {
    let device = device().autodiff();
    let model = Shared::new(&device);
    let quantized = quantized(model, scheme(8, Granularity::Channel));
    let x = input([8, 4], 5, &device);
    let loss = quantized
        .forward::<2, 2>(x.clone())
        .unwrap()
        .powi_scalar(2)
        .sum();
    let gradients = loss.backward();
    let found = quantized.module().shared.base().grad(&gradients).unwrap();
    // What the module itself, with its weights as they are compressed, would get.
    let expected = {
        let module = quantized.module();
        let loss = module.forward(x).powi_scalar(2).sum();
        module.shared.base().grad(&loss.backward()).unwrap()
    };
    assert_eq!(found.dims(), [5, 6]);
    let (found, expected) = (values(found), values(expected));
    let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    assert!(largest > 0.0);
    let effective = values(quantized.module().shared.val());
    for ((found, expected), effective) in found.iter().zip(&expected).zip(&effective) {
        assert!(
            (found - expected).abs() < 0.1 * largest,
            "{found}, not {expected}"
        );
        if *effective == 0.0 && *expected == 0.0 {
            assert_eq!(*found, 0.0);
        }
    }
    assert!(expected.iter().filter(|gradient| **gradient == 0.0).count() >= 12);
}

#[test]
fn it_trains_and_stays_equal_to_its_integer_form() {
    let device = device().autodiff();
    let model = Shared::new(&device);
    let mut quantized = quantized(model, scheme(6, Granularity::Channel));
    let before = values(quantized.module().shared.val());
    let mut optimizer = SgdConfig::new().init();
    for step in 0..3 {
        let loss = quantized.forward::<2, 2>(input([8, 4], 30 + step, &device));
        let loss = loss.unwrap().powi_scalar(2).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &quantized);
        quantized = optimizer.step(0.01, quantized, gradients);
    }
    assert_ne!(before, values(quantized.module().shared.val()));
    assert_simulates::<_, 2, 2>(&quantized.valid(), [1, 4], "trained");
}

/// One matrix, read as it is and transposed.
#[derive(Module, Debug)]
struct Tied {
    weight: Param<Tensor<2>>,
}

impl Tied {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = relu(x.matmul(self.weight.val().transpose()));
        hidden.matmul(self.weight.val())
    }
}

// A row of a bare parameter is an output, as `[out, in]` has it: a scale for each row is one for each
// output only where it is read transposed.
#[test]
fn scales_for_rows_serve_the_side_whose_outputs_they_are() {
    let model = randomized(Tied {
        weight: Param::from_tensor(Tensor::zeros([5, 4], &device())),
    });
    let (graph, names) = check(&model, [1, 4], Tied::forward);
    assert_eq!(names, ["linear", "relu", "linear"]);
    for (granularity, in_float) in [(Granularity::Channel, 1), (Granularity::Tensor, 0)] {
        let batches = [input([9, 4], 1, &device()), input([9, 4], 2, &device())];
        let plan = plan(&["weight"], scheme(8, granularity));
        let (quantized, _) =
            calibrated(graph.clone(), model.clone(), plan, activations(8), &batches);
        let nodes = quantized.in_float();
        assert_eq!(nodes.len(), in_float, "{granularity:?}");
        assert!(nodes.iter().all(|node| node.op.name() == "linear"));
        let integers = quantized.to_integer().unwrap();
        let x = batches[0].clone();
        let (expected, _) = integers.run(&values(x.clone()), 9).unwrap();
        let found: Tensor<2> = quantized.forward(x.clone()).unwrap();
        assert_close(&values(found.clone()), &expected);
        // And both are near what the compressed module computes.
        let of_module = values(quantized.module().forward(x));
        let largest = of_module.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        for (found, expected) in values(found).iter().zip(&of_module) {
            assert!((found - expected).abs() < 0.05 * largest, "{granularity:?}");
        }
        super::runs::assert_runs(&integers, &[1, 17], "tied");
    }
}

#[test]
fn its_form_in_floats_and_equalization_hold_it_as_the_module_does() {
    let model = Shared::new(&device());
    let graph = Graph::capture(&model, [1, 4], Shared::forward).unwrap();
    let x = input([7, 4], 3, &device());
    let expected = values(model.forward(x.clone()));
    let floats = graph.clone().simplify().to_float_model(&model).unwrap();
    let (found, _) = floats.run(&values(x.clone()), 7).unwrap();
    assert_close(&found, &expected);
    super::runs::assert_runs(&floats, &[1, 17], "in floats");

    let before = values(model.shared.val());
    let equalized = equalize(&graph, model).unwrap();
    let pairs: Vec<_> = equalized
        .pairs
        .iter()
        .map(|p| (p.first.as_str(), p.second.as_str()))
        .collect();
    assert_eq!(pairs, [("first", "shared"), ("shared", "last")]);
    assert_ne!(before, values(equalized.module.shared.val()));
    assert_close(&values(equalized.module.forward(x)), &expected);
    // Each row has the range of what reads it.
    let shared = values(equalized.module.shared.val());
    let last = values(equalized.module.last.weight.val());
    for output in 0..5 {
        let range =
            |values: &mut dyn Iterator<Item = f32>| values.fold(0.0f32, |a, b| a.max(b.abs()));
        let row = range(&mut shared[output * 6..][..6].iter().copied());
        let read = range(&mut last[output * 3..][..3].iter().copied());
        assert!((row / read - 1.0).abs() < 1e-3, "{row} and {read}");
    }
}

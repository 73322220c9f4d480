//! What importers and other people's models write, recognized.

use burn::module::{Module, Param};
use burn::tensor::activation::{hard_swish, leaky_relu};
use burn::tensor::{Device, Tensor};
use burn_compress::graph::{Graph, GraphError};
use burn_compress::network::{Op, Unary};

use super::device::device;
use super::graph_check::{assert_close, check, numbers, plain, values};

/// Constants as burn-onnx keeps them: parameters of one element that nobody trains.
#[derive(Module, Debug)]
struct Imported {
    three: Param<Tensor<1>>,
    six: Param<Tensor<2>>,
    slope: Param<Tensor<1>>,
}

fn number<const D: usize>(value: f32, trained: bool, device: &Device) -> Param<Tensor<D>> {
    let tensor = Tensor::<1>::from_data([value], device).reshape([1; D]);
    Param::from_tensor(tensor).set_require_grad(trained)
}

fn imported(trained: bool) -> Imported {
    let device = &device();
    Imported {
        three: number(3.0, trained, device),
        six: number(6.0, trained, device),
        slope: number(0.1, trained, device),
    }
}

fn swish(model: &Imported, x: Tensor<4>) -> Tensor<4> {
    let gate = x
        .clone()
        .add(model.three.val().unsqueeze::<4>())
        .clamp(0.0, 6.0);
    let six = model.six.val().unsqueeze::<4>();
    x * gate.div(six)
}

#[test]
fn untrained_parameters_of_one_element_are_numbers() {
    let model = imported(false);
    let (graph, names) = check(&model, [1, 3, 4, 5], swish);
    assert_eq!(names, ["hard_swish"]);
    assert!(graph.parameters().is_empty());

    // Expanded, as importers do where ranks differ.
    let expanded = |model: &Imported, x: Tensor<4>| {
        let slope = model.slope.val().reshape([1, 1, 1, 1]).expand(x.dims());
        x * slope
    };
    let (graph, _) = check(&model, [1, 3, 4, 5], expanded);
    assert_eq!(graph.nodes()[0].op, Op::Unary(Unary::MulScalar(0.1)));

    // In validation nothing has gradients, trained or not.
    let names = check(&model.valid(), [1, 3, 4, 5], swish).1;
    assert_eq!(names, ["hard_swish"]);
}

#[test]
fn trained_parameters_of_one_element_stay_parameters() {
    for model in [imported(true), imported(true).valid()] {
        let (graph, _) = check(&model, [1, 3, 4, 5], swish);
        assert_eq!(graph.parameters().len(), 2);
    }
}

#[test]
fn a_number_that_changed_is_refused() {
    let model = imported(false);
    let graph = Graph::capture(&model, [1, 3, 4, 5], swish).unwrap();
    let changed = Imported {
        three: number(2.5, false, &device()),
        ..model
    };
    let input = numbers([1, 3, 4, 5], 0, &device());
    let error = graph.forward::<_, 4, 4>(&changed, input).unwrap_err();
    assert!(matches!(error, GraphError::Parameter { .. }), "{error}");
    let error = error.to_string();
    for part in ["three", "number 3", "2.5", "capture"] {
        assert!(error.contains(part), "{error}");
    }
}

// The one operation of a pass.
#[track_caller]
fn one(forward: impl Fn(Tensor<4>) -> Tensor<4>) -> Op {
    let model = Vec::<burn::nn::Linear>::new();
    let (graph, names) = check(&model, [1, 3, 4, 5], |_, x| forward(x));
    assert_eq!(names.len(), 1, "{names:?}");
    graph.nodes()[0].op.clone()
}

#[test]
fn hard_functions_however_they_are_written() {
    let swish = Op::Unary(Unary::HardSwish);
    assert_eq!(one(hard_swish), swish);
    assert_eq!(one(|x| x.clone() * (x + 3.0).clamp(0.0, 6.0) / 6.0), swish);
    assert_eq!(
        one(|x| x.clone() * ((x + 3.0).clamp(0.0, 6.0) / 6.0)),
        swish
    );
    assert_eq!(
        one(|x| (x.clone() + 3.0).clamp(0.0, 6.0) * x * (1.0 / 6.0)),
        swish
    );
    let sigmoid = one(|x| (x * 0.2 + 0.5).clamp(0.0, 1.0));
    let expected = Unary::HardSigmoid {
        alpha: 0.2,
        beta: 0.5,
    };
    assert_eq!(sigmoid, Op::Unary(expected));
    // Of other numbers it is none of them.
    assert_eq!(
        plain([1, 3], |x| x.clone() * (x + 3.0).clamp(0.0, 5.0) / 6.0).len(),
        4
    );
}

#[test]
fn choices_that_are_functions_of_one_number() {
    let leaky = Op::Unary(Unary::LeakyRelu { slope: 0.1 });
    let zero = |x: &Tensor<4>| x.zeros_like();
    assert_eq!(one(|x| leaky_relu(x, 0.1)), leaky);
    assert_eq!(
        one(|x| x.clone().mask_where(x.clone().lower_elem(0.0), x * 0.1)),
        leaky
    );
    assert_eq!(
        one(|x| x.clone().mask_where(x.clone().lower(zero(&x)), x * 0.1)),
        leaky
    );
    assert_eq!(
        one(|x| (x.clone() * 0.1).mask_where(x.clone().greater_elem(0.0), x)),
        leaky
    );
    assert_eq!(
        one(|x| (x.clone() * 0.1).mask_where(zero(&x).lower_equal(x.clone()), x)),
        leaky
    );
    assert_eq!(one(|x| x.clone().max_pair(x * 0.1)), leaky);
    assert_eq!(one(|x| x.clone().max_pair(leaky_relu(x, 0.1))), leaky);
    let relu = Op::Unary(Unary::Relu);
    assert_eq!(one(|x| x.clone().mask_fill(x.lower_elem(0.0), 0.0)), relu);
    assert_eq!(one(|x| x.clone().max_pair(x.zeros_like())), relu);
    let clamp = |min, max| Op::Unary(Unary::Clamp { min, max });
    assert_eq!(
        one(|x| x.clone().max_pair(x.zeros_like() + 0.5)),
        clamp(0.5, f32::INFINITY)
    );
    assert_eq!(
        one(|x| x.clone().min_pair(x.zeros_like() + 0.5)),
        clamp(f32::NEG_INFINITY, 0.5)
    );
    assert_eq!(
        one(|x| x.clone().powf(x.zeros_like() + 2.0)),
        Op::Unary(Unary::Power(2.0))
    );
}

#[test]
fn other_comparisons_are_still_refused_by_name() {
    let model = Vec::<burn::nn::Linear>::new();
    let forward = |_: &_, x: Tensor<2>| {
        x.clone()
            .mask_where(x.clone().lower_elem(0.5), Tensor::ones([1, 3], &x.device()))
    };
    let error = Graph::capture(&model, [1, 3], forward).unwrap_err();
    assert!(
        matches!(error, GraphError::Unsupported { in_float: true, .. }),
        "{error}"
    );
    assert!(error.to_string().starts_with("LowerElem"), "{error}");
}

#[test]
fn a_part_of_a_permuted_tensor_keeps_its_batch_in_front() {
    // Queries, keys and values as timm and Swin cut them.
    let forward = |x: Tensor<3>| {
        let [n, s, _] = x.dims();
        let three = x.reshape([n, s, 3, 2, 4]).permute([2, 0, 3, 1, 4]);
        let part = |i: usize| three.clone().narrow(0, i, 1).squeeze_dim::<4>(0);
        let weights = part(0).matmul(part(1).swap_dims(2, 3));
        weights.matmul(part(2))
    };
    let model = Vec::<burn::nn::Linear>::new();
    let (graph, names) = check(&model, [1, 5, 24], |_, x| forward(x));
    let batch = |dims: &[_]| matches!(dims[0], burn_compress::network::Dim::Batch(_));
    for (node, name) in graph.nodes().iter().zip(names) {
        assert!(batch(&node.dims), "{name}: {:?}", node.dims);
    }
    let input = numbers([2, 5, 24], 3, &device());
    let found: Tensor<4> = graph.forward(&model, input.clone()).unwrap();
    assert_close(&values(found), &values(forward(input)));
}

#[derive(Module, Debug)]
struct Recurrent {
    lstm: burn::nn::Lstm,
    gru: burn::nn::Gru,
    both: burn::nn::BiLstm,
}

#[test]
fn recurrent_layers_fill_their_results_part_by_part() {
    let device = &device();
    let model = Recurrent {
        lstm: burn::nn::LstmConfig::new(6, 4, true).init(device),
        gru: burn::nn::GruConfig::new(4, 5, true).init(device),
        both: burn::nn::BiLstmConfig::new(5, 3, true).init(device),
    };
    let forward = |model: &Recurrent, x: Tensor<3>| {
        let x = model.lstm.forward(x, None).0;
        let x = model.gru.forward(x, None);
        model.both.forward(x, None).0
    };
    let graph = Graph::capture(&model, [1, 3, 6], forward)
        .unwrap()
        .simplify();
    let input = numbers([4, 3, 6], 5, device);
    let expected = values(forward(&model, input.clone()));
    let found: Tensor<3> = graph.forward(&model, input.clone()).unwrap();
    assert_close(&values(found), &expected);
    let network = graph.to_float_model(&model).unwrap();
    let program = burn_compress::Program::compile(&network, Default::default()).unwrap();
    assert_close(&program.run(&values(input), 4).unwrap(), &expected);
}

#[test]
fn a_tensor_is_filled_by_parts_and_what_is_left_stays() {
    let forward = |x: Tensor<2>| {
        let [n, _] = x.dims();
        let ones = Tensor::<2>::ones([n, 6], &x.device());
        let two = x.clone().narrow(1, 0, 2) * 2.0;
        let filled = ones.slice_assign([0..n, 1..3], two.clone());
        let again = filled.slice_assign([0..n, 4..5], x.clone().narrow(1, 2, 1));
        again.slice_assign([0..n, 1..3], two + 1.0)
    };
    let model = Vec::<burn::nn::Linear>::new();
    let (graph, _) = check(&model, [1, 3], |_, x| forward(x));
    let input = numbers([3, 3], 3, &device());
    let found: Tensor<2> = graph.forward(&model, input.clone()).unwrap();
    assert_close(&values(found), &values(forward(input)));
}

#[derive(Module, Debug)]
struct Tokens {
    table: burn::nn::Embedding,
    head: burn::nn::Linear,
}

#[test]
fn token_ids_are_looked_up() {
    use burn_compress::graph::Fallback;
    use burn_compress::{Activations, Plan, Program, Quantization, Scheme};

    let device = &device();
    let model = Tokens {
        table: burn::nn::EmbeddingConfig::new(1000, 8).init(device),
        head: burn::nn::LinearConfig::new(8, 3).init(device),
    };
    // As Burn's layer does it, and as importers do.
    let layer = |model: &Tokens, x: Tensor<2>| model.head.forward(model.table.forward(x.int()));
    let rows = |model: &Tokens, x: Tensor<2>| {
        let [n, length] = x.dims();
        let ids = x.int().reshape([n * length]);
        let rows = model.table.weight.val().select(0, ids);
        model.head.forward(rows.reshape([n, length, 8]))
    };
    let error = Graph::capture(&model, [1, 4], layer).unwrap_err();
    assert!(error.to_string().contains("Embedding"), "{error}");
    let ids = [3.0, 999.0, 0.0, 517.0, 42.0, 42.0, 998.0, 1.0];
    let input = Tensor::<2>::from_data(burn::tensor::TensorData::new(ids.to_vec(), [2, 4]), device);
    let expected = values(layer(&model, input.clone()));
    for graph in [
        Graph::capture_with(&model, [1, 4], Fallback::Float, layer).unwrap(),
        Graph::capture_with(&model, [1, 4], Fallback::Float, rows).unwrap(),
    ] {
        let found: Tensor<3> = graph.forward(&model, input.clone()).unwrap();
        assert_close(&values(found), &expected);
    }
    let graph = Graph::capture_with(&model, [1, 4], Fallback::Float, layer).unwrap();
    let network = graph.simplify().to_float_model(&model).unwrap();
    let program = Program::compile(&network, Default::default()).unwrap();
    assert_close(&program.run(&ids, 2).unwrap(), &expected);
    let error = program.run(&[0.0, 1.0, 1000.0, 2.0], 1).unwrap_err();
    assert!(
        error.to_string().contains("1000 is no row of 1000"),
        "{error}"
    );
    assert!(program.run(&[0.0, 1.0, -1.0, 2.0], 1).is_err());

    // Ids are no activations: they are not rounded to codes.
    let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(8).unwrap()));
    let activations = Activations::bits(8).unwrap();
    let network = plan.apply(model).unwrap();
    let network = network
        .quantized_network([1, 4], layer, activations, [input])
        .unwrap();
    let program = Program::compile(&network, Default::default()).unwrap();
    let found = program.run(&ids, 2).unwrap();
    let error: f32 = found
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    let size: f32 = expected.iter().map(|x| x * x).sum();
    assert!(error < 1e-3 * size, "{error} of {size}");
}

#[test]
fn a_batch_that_is_fixed_at_one_is_free_in_the_graph() {
    let conv = burn::nn::conv::Conv2dConfig::new([2, 4], [3, 3]).init(&device());
    type Conv = burn::nn::conv::Conv2d;
    // As files exported with a batch of 1 have it: heads beside each other, and flattened.
    let forward = |conv: &Conv, x: Tensor<4>| {
        let x = conv.forward(x).reshape([4, 9]).reshape([1, 2, 2, 9]);
        let heads = x.permute([0, 2, 1, 3]).reshape([2, 2, 9]);
        let products = heads.clone().matmul(heads.swap_dims(1, 2));
        products.reshape([1, 8])
    };
    let graph = Graph::capture(&conv, [1, 2, 5, 5], forward).unwrap();
    let input = numbers([3, 2, 5, 5], 3, &device());
    let found: Tensor<2> = graph.forward(&conv, input.clone()).unwrap();
    let expected: Vec<f32> = (0..3)
        .flat_map(|i| values(forward(&conv, input.clone().narrow(0, i, 1))))
        .collect();
    assert_close(&values(found), &expected);

    // A pass that mixes what would be two samples is refused.
    let mixed = |conv: &Conv, x: Tensor<4>| {
        let x = conv.forward(x).reshape([4, 9]);
        let all = x.clone().sum_dim(0);
        (x + all).reshape([1, 36])
    };
    let error = Graph::capture(&conv, [1, 2, 5, 5], mixed).unwrap_err();
    assert!(error.to_string().contains("batch"), "{error}");
}

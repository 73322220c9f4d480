//! How ranges of activations are found, and what is refused.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, TensorData};
use burn_compress::compress::{Compression, Plan, Quantization, Selection};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::{Activations, Calibration, Calibrator, Coding, Graph, GraphError};
use burn_compress::network::NetworkError;
use proptest::prelude::*;

use super::device::device;
use super::graph_models::networks::mlp::{Mlp, MlpConfig};
use super::graph_models::randomized;
use super::runs::spread;

const ALL: [Calibrator; 5] = [
    Calibrator::MinMax,
    Calibrator::MovingAverage { momentum: 0.9 },
    Calibrator::Percentile { outside: 0.01 },
    Calibrator::Entropy,
    Calibrator::LeastSquares,
];

fn activations(calibrator: Calibrator, bits: u32, mapping: Mapping) -> Activations {
    Activations {
        scheme: Scheme::new(bits, mapping, Granularity::Tensor).unwrap(),
        input_bits: bits,
        calibrator,
        ..Activations::bits(bits).unwrap()
    }
}

fn linear(inputs: usize) -> (Graph, Linear, Compression) {
    let linear = LinearConfig::new(inputs, 1).init(&device());
    let graph = Graph::capture(&linear, [1, inputs], |linear, x: Tensor<2>| {
        linear.forward(x)
    });
    with_graph(linear, graph.unwrap())
}

fn padded_linear(inputs: usize) -> (Graph, Linear, Compression) {
    let linear = LinearConfig::new(inputs + 1, 1).init(&device());
    let forward = |linear: &Linear, x: Tensor<2>| linear.forward(x.pad((0, 1, 0, 0), 0.0));
    let graph = Graph::capture(&linear, [1, inputs], forward);
    with_graph(linear, graph.unwrap())
}

fn with_graph(linear: Linear, graph: Graph) -> (Graph, Linear, Compression) {
    let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(8).unwrap()));
    let (linear, compression) = plan.attach(linear).unwrap();
    (graph.simplify(), linear, compression)
}

/// Scale and zero point that these batches give for the input of a layer that needs zero among the
/// codes.
fn found(activations: Activations, batches: &[Vec<f32>]) -> Result<(f32, i32), GraphError> {
    let coding = coding(padded_linear(1), activations, batches)?;
    assert_eq!(coding.offset, 0.0);
    Ok((coding.scale, coding.zero_point))
}

fn coding(
    (graph, linear, compression): (Graph, Linear, Compression),
    activations: Activations,
    batches: &[Vec<f32>],
) -> Result<Coding, GraphError> {
    let mut calibration = Calibration::new(graph, &linear, &compression, activations)?;
    assert_eq!(calibration.quantizers().len(), 1);
    assert_eq!(calibration.quantizers()[0].layer, "input");
    for batch in batches {
        let data = TensorData::new(batch.clone(), [batch.len(), 1]);
        calibration.observe(&linear, Tensor::<2>::from_data(data, &device()))?;
    }
    assert_eq!(calibration.batches(), batches.len());
    Ok(calibration.parameters()?[0])
}

/// The real values of the least and the greatest code.
fn range(activations: Activations, batches: &[Vec<f32>]) -> (f32, f32) {
    let (scale, zero_point) = found(activations, batches).unwrap();
    let (low, high) = activations.scheme.code_range();
    let value = |code| activations.scheme.dequantize(code, scale, zero_point);
    (value(low), value(high))
}

fn squared_error(activations: Activations, batches: &[Vec<f32>]) -> f64 {
    let (scale, zero_point) = found(activations, batches).unwrap();
    let scheme = activations.scheme;
    let error = |value: &f32| {
        let code = scheme.quantize(*value, scale, zero_point);
        f64::from(scheme.dequantize(code, scale, zero_point) - value).powi(2)
    };
    batches.iter().flatten().map(error).sum()
}

#[test]
fn least_and_greatest() {
    let batches = [vec![-0.5, 2.0], vec![1.0, 0.25], vec![-1.0, 0.0]];
    let affine = activations(Calibrator::MinMax, 8, Mapping::Affine);
    assert_eq!(found(affine, &batches).unwrap(), (3.0 / 255.0, 85));
    let symmetric = activations(Calibrator::MinMax, 8, Mapping::Symmetric);
    assert_eq!(found(symmetric, &batches).unwrap(), (2.0 / 127.0, 0));
    // Zero is a code, whatever the values are, where it is padded with.
    assert_eq!(found(affine, &[vec![2.0, 3.0]]).unwrap(), (3.0 / 255.0, 0));
    assert_eq!(
        found(affine, &[vec![-2.0, -3.0]]).unwrap(),
        (3.0 / 255.0, 255)
    );
}

#[test]
fn values_far_from_zero_are_coded_around_their_middle() {
    for calibrator in ALL {
        for mapping in [Mapping::Affine, Mapping::Symmetric] {
            let how = activations(calibrator, 8, mapping);
            let batch = |salt: usize| -> Vec<f32> {
                (0..3000)
                    .map(|i| 290.0 + 20.0 * spread(salt * 9973 + i))
                    .collect()
            };
            let coding = coding(linear(1), how, &[batch(1), batch(2), batch(3)]).unwrap();
            let (first, last) = how.scheme.code_range();
            let (low, high) = (coding.value(first), coding.value(last));
            let near = |a: f32, b: f32| (a - b).abs() < 0.5;
            assert!(
                near(low, 290.0) && near(high, 310.0),
                "{calibrator:?}: {coding:?}"
            );
        }
    }
    // One outlier, of which most calibrators take no notice.
    let mut batch: Vec<f32> = (0..3000).map(|i| 290.0 + 20.0 * spread(i)).collect();
    batch.push(500.0);
    for calibrator in [
        Calibrator::Percentile { outside: 0.001 },
        Calibrator::LeastSquares,
    ] {
        let how = activations(calibrator, 4, Mapping::Affine);
        let coding = coding(linear(1), how, &[batch.clone()]).unwrap();
        let (low, high) = (coding.value(0), coding.value(15));
        assert!(low > 285.0 && high < 400.0, "{calibrator:?}: {coding:?}");
    }
}

#[test]
fn tensors_that_share_a_scale_are_no_batches() {
    // The second is a hundred times the first.
    let model = LinearConfig::new(2, 1).init(&device());
    let forward =
        |linear: &Linear, x: Tensor<2>| linear.forward(Tensor::cat(vec![x.clone(), x * 100.0], 1));
    for batches in [1, 3, 30] {
        for calibrator in [
            Calibrator::MovingAverage { momentum: 0.9 },
            Calibrator::MinMax,
        ] {
            let graph = Graph::capture(&model, [1, 1], forward).unwrap();
            let (graph, model, compression) = with_graph(model.clone(), graph);
            let how = activations(calibrator, 8, Mapping::Affine);
            let mut calibration = Calibration::new(graph, &model, &compression, how).unwrap();
            let data = Tensor::<2>::from_data([[0.0], [0.5], [1.0]], &device());
            for _ in 0..batches {
                calibration.observe(&model, data.clone()).unwrap();
            }
            let quantized = calibration.finish(model).unwrap();
            let rows = quantized.table().unwrap().0;
            let high = rows.iter().map(|row| row.high).fold(0.0, f32::max);
            assert!(
                (high - 100.0).abs() < 1e-3,
                "{batches}, {calibrator:?}: {rows:?}"
            );
        }
    }
}

#[test]
fn a_moving_average_is_one_of_all_tensors_of_a_batch() {
    // Now the first is large, now the second.
    let model = LinearConfig::new(2, 1).init(&device());
    let forward = |linear: &Linear, x: Tensor<2>| {
        let parts = vec![x.clone().narrow(1, 0, 1) * 2.0, x.narrow(1, 1, 1) * 2.0];
        linear.forward(Tensor::cat(parts, 1))
    };
    let graph = Graph::capture(&model, [1, 2], forward).unwrap();
    let (graph, model, compression) = with_graph(model, graph);
    let how = activations(
        Calibrator::MovingAverage { momentum: 0.5 },
        8,
        Mapping::Affine,
    );
    let mut calibration = Calibration::new(graph, &model, &compression, how).unwrap();
    for batch in [[[0.0, 1.0], [0.5, 50.0]], [[50.0, 1.0], [0.0, 0.5]]] {
        let data = Tensor::<2>::from_data(batch, &device());
        calibration.observe(&model, data).unwrap();
    }
    let rows = calibration.finish(model).unwrap().table().unwrap().0;
    let high = rows.iter().map(|row| row.high).fold(0.0, f32::max);
    assert!((high - 100.0).abs() < 1e-3, "{rows:?}");
}

// Two layers that make more of a large input than a float holds.
fn exploding() -> (Graph, Vec<Linear>, Compression) {
    let layers: Vec<Linear> = [1.0, 1e30, 1.0]
        .map(|weight| {
            let linear = LinearConfig::new(1, 1).with_bias(false).init(&device());
            Linear {
                weight: Param::from_tensor(Tensor::from_data([[weight]], &device())),
                ..linear
            }
        })
        .into();
    let forward =
        |layers: &Vec<Linear>, x: Tensor<2>| layers.iter().fold(x, |x, layer| layer.forward(x));
    let graph = Graph::capture(&layers, [1, 1], forward).unwrap().simplify();
    let (layers, compression) = plan().attach(layers).unwrap();
    (graph, layers, compression)
}

#[test]
fn a_refused_batch_leaves_no_trace() {
    for calibrator in ALL {
        let (graph, layers, compression) = exploding();
        let how = activations(calibrator, 8, Mapping::Affine);
        let mut calibration = Calibration::new(graph, &layers, &compression, how).unwrap();
        let batch = |size: f32| Tensor::<2>::from_data([[size], [-size]], &device());
        calibration.observe(&layers, batch(1.0)).unwrap();
        let before = calibration.parameters().unwrap();
        let error = calibration.observe(&layers, batch(1e9)).unwrap_err();
        assert!(
            matches!(&error, GraphError::Network(NetworkError::Activation { layer, .. }) if layer == "1"),
            "{error}"
        );
        assert_eq!(calibration.parameters().unwrap(), before, "{calibrator:?}");
        assert_eq!(calibration.batches(), 1);
        // What comes after counts as if it had not been.
        calibration.observe(&layers, batch(2.0)).unwrap();
        let (graph, layers, compression) = exploding();
        let mut other = Calibration::new(graph, &layers, &compression, how).unwrap();
        other.observe(&layers, batch(1.0)).unwrap();
        other.observe(&layers, batch(2.0)).unwrap();
        assert_eq!(
            calibration.parameters().unwrap(),
            other.parameters().unwrap()
        );
    }
}

#[test]
fn ranges_as_wide_as_floats_have_finite_codes() {
    for calibrator in ALL {
        for mapping in [Mapping::Affine, Mapping::Symmetric] {
            for bits in [2, 8] {
                let how = activations(calibrator, bits, mapping);
                let batch = vec![3e38, -3e38, 1e38, -1e37, 0.0, 2e38];
                let (scale, zero_point) = found(how, &[batch.clone(), batch]).unwrap();
                assert!(scale.is_finite() && scale > 1e35, "{calibrator:?}: {scale}");
                let (first, last) = how.scheme.code_range();
                for code in [first, last] {
                    let value = how.scheme.dequantize(code, scale, zero_point);
                    assert!(
                        value.is_finite(),
                        "{calibrator:?}, {mapping:?}, {bits}: {value}"
                    );
                }
                // Subnormal numbers are no reason to fail, either.
                let tiny = found(how, &[vec![1e-40, 0.0, -1e-42]]).unwrap();
                assert_eq!(tiny.0, 1.0, "{calibrator:?}");
            }
        }
    }
    let half = Linear {
        weight: Param::from_tensor(Tensor::from_data([[0.5]], &device())),
        ..LinearConfig::new(1, 1).init(&device())
    };
    let graph = Graph::capture(&half, [1, 1], |linear, x: Tensor<2>| linear.forward(x));
    let (graph, linear, compression) = with_graph(half, graph.unwrap());
    let how = activations(Calibrator::MinMax, 8, Mapping::Affine);
    let mut calibration = Calibration::new(graph, &linear, &compression, how).unwrap();
    let huge = Tensor::<2>::from_data([[3e38], [-3e38]], &device());
    calibration.observe(&linear, huge.clone()).unwrap();
    let integers = calibration.finish(linear).unwrap().to_integer().unwrap();
    let (output, _) = integers.run(&[3e38, -3e38], 2).unwrap();
    assert!(output.iter().all(|x| x.is_finite()), "{output:?}");
}

#[test]
fn a_moving_average() {
    let batches = [vec![0.0, 1.0], vec![-1.0, 3.0], vec![-0.5, 0.5]];
    let average = activations(
        Calibrator::MovingAverage { momentum: 0.75 },
        8,
        Mapping::Affine,
    );
    // 1, 1.5, 1.25 and 0, -0.25, -0.3125.
    let (scale, zero_point) = found(average, &batches).unwrap();
    assert_eq!((scale, zero_point), (1.5625 / 255.0, 51));
}

fn with_outlier(outlier: f32) -> Vec<f32> {
    let mut values: Vec<f32> = (0..2000).map(|index| spread(index) * 2.0 - 1.0).collect();
    values.push(outlier);
    values
}

#[test]
fn a_percentile_leaves_out_its_share() {
    let values = with_outlier(40.0);
    for outside in [0.001, 0.01, 0.1] {
        let percentile = activations(Calibrator::Percentile { outside }, 8, Mapping::Affine);
        // In two batches, the outlier first, or last.
        let (first, second) = values.split_at(700);
        for batches in [[first, second], [second, first]] {
            let batches = batches.map(<[f32]>::to_vec);
            let (low, high) = range(percentile, &batches);
            let allowed = (values.len() as f64 * outside) as usize;
            // A bin is as wide as 40 over 2048, or twice that where it grew.
            let bin = 2.0 * 40.0 / 2048.0;
            let below = values.iter().filter(|value| **value < low - bin).count();
            let above = values.iter().filter(|value| **value > high + bin).count();
            assert!(below <= allowed && above <= allowed, "{below}, {above}");
            let inner = |value: f32| values.iter().filter(|v| **v > value).count() >= allowed;
            assert!(
                high < 1.0 + 2.0 * bin && low > -1.0 - 2.0 * bin,
                "{low} to {high}"
            );
            assert!(inner(high - 2.0 * bin), "{high} leaves out too few");
        }
    }
    // Nothing to leave out.
    let none = activations(Calibrator::Percentile { outside: 0.0 }, 8, Mapping::Affine);
    let all = range(none, &[values]);
    assert!(
        (all.1 - 40.0).abs() < 0.2 && (all.0 + 1.0).abs() < 0.2,
        "{all:?}"
    );
}

#[test]
fn an_outlier_does_not_set_the_range() {
    // Values as a sum of many makes them, most of them small.
    let bell = |place: usize| (0..6).map(|i| spread(place * 6 + i) - 0.5).sum::<f32>();
    let mut values: Vec<f32> = (0..4000).map(bell).collect();
    values.push(12.0);
    let batches = [values];
    let min_max = range(
        activations(Calibrator::MinMax, 4, Mapping::Affine),
        &batches,
    );
    for calibrator in [Calibrator::Entropy, Calibrator::LeastSquares] {
        for mapping in [Mapping::Affine, Mapping::Symmetric] {
            let (low, high) = range(activations(calibrator, 4, mapping), &batches);
            assert!(high < 0.7 * min_max.1, "{calibrator:?}: {low} to {high}");
            assert!(high >= 0.5, "{calibrator:?}: {low} to {high}");
        }
    }
}

#[test]
fn without_outliers_all_ranges_are_about_the_values() {
    let batches: Vec<Vec<f32>> = (0..4)
        .map(|batch| {
            (0..500)
                .map(|i| spread(batch * 500 + i) * 4.0 - 1.0)
                .collect()
        })
        .collect();
    for calibrator in ALL {
        let (low, high) = range(activations(calibrator, 8, Mapping::Affine), &batches);
        assert!(
            (-1.1..=-0.9).contains(&low),
            "{calibrator:?}: {low} to {high}"
        );
        assert!(
            (2.8..=3.1).contains(&high),
            "{calibrator:?}: {low} to {high}"
        );
    }
}

#[test]
fn zeros_and_constants() {
    for calibrator in ALL {
        for mapping in [Mapping::Affine, Mapping::Symmetric] {
            let how = activations(calibrator, 8, mapping);
            let zeros = found(how, &[vec![0.0; 5], vec![0.0; 3]]).unwrap();
            assert_eq!(zeros, (1.0, 0), "{calibrator:?}");
            for constant in [0.3, -7.0, 1e-30] {
                let (low, high) = range(how, &[vec![constant; 20]]);
                let reached = match constant > 0.0 {
                    true => high,
                    false => low,
                };
                let near = (reached - constant).abs() <= 0.02 * constant.abs();
                assert!(near, "{calibrator:?}, {constant}: {low} to {high}");
            }
            if matches!(calibrator, Calibrator::MovingAverage { .. }) {
                continue; // does not follow at once
            }
            // Values that grow by far.
            let (_, high) = range(how, &[vec![0.0], vec![1e-20, 1e-21], vec![5.0; 50]]);
            assert!((4.5..5.5).contains(&high), "{calibrator:?}: {high}");
        }
    }
}

#[test]
fn the_order_of_batches_does_not_matter() {
    let [small, large] = [0.3, 5.0].map(|size: f32| -> Vec<f32> {
        (0..800).map(|index| (spread(index) - 0.4) * size).collect()
    });
    for calibrator in ALL {
        if matches!(calibrator, Calibrator::MovingAverage { .. }) {
            continue; // later ones weigh more
        }
        let how = activations(calibrator, 6, Mapping::Affine);
        let one = range(how, &[small.clone(), large.clone()]);
        let other = range(how, &[large.clone(), small.clone()]);
        let together = range(how, &[[small.clone(), large.clone()].concat()]);
        let close = |a: f32, b: f32| (a - b).abs() < 0.15;
        assert!(
            close(one.0, other.0) && close(one.1, other.1),
            "{one:?}, {other:?}"
        );
        assert!(close(one.0, together.0) && close(one.1, together.1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn least_squares_are_no_worse_than_the_whole_range(
        values in prop::collection::vec(-1.0f32..1.0, 20..300),
        outlier in prop_oneof![Just(0.0f32), 1.0f32..30.0, -30.0f32..-1.0],
        bits in 2u32..=8,
        affine in any::<bool>(),
    ) {
        let mut values = values;
        values.push(outlier);
        let mapping = if affine { Mapping::Affine } else { Mapping::Symmetric };
        let batches = [values];
        let [least, whole] = [Calibrator::LeastSquares, Calibrator::MinMax]
            .map(|calibrator| squared_error(activations(calibrator, bits, mapping), &batches));
        // Errors are those of bins, of which there are many more than codes.
        prop_assert!(least <= whole * 1.05 + 1e-9, "{least} and {whole}");
    }
}

fn mlp() -> (Graph, Mlp) {
    let mlp = randomized(MlpConfig::new(4, vec![5], 3).init(&device()));
    let graph = Graph::capture(&mlp, [1, 4], |mlp, x| mlp.forward(x)).unwrap();
    (graph.simplify(), mlp)
}

fn plan() -> Plan {
    Plan::new().quantize(Quantization::to(Scheme::symmetric(8).unwrap()))
}

#[test]
fn nothing_is_found_without_data() {
    let (graph, mlp) = mlp();
    let (mlp, compression) = plan().attach(mlp).unwrap();
    let activations = Activations::bits(8).unwrap();
    let calibration = Calibration::new(graph, &mlp, &compression, activations).unwrap();
    assert!(matches!(calibration.parameters(), Err(GraphError::NoData)));
    assert!(matches!(calibration.finish(mlp), Err(GraphError::NoData)));
}

#[test]
fn what_is_not_finite_is_refused_with_its_layer() {
    for calibrator in ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in 0..2 {
                let mut values = vec![0.5; 30];
                values[place * 17] = bad;
                let how = activations(calibrator, 8, Mapping::Affine);
                let error = found(how, &[vec![1.0, 2.0], values]).unwrap_err();
                let GraphError::Network(NetworkError::Activation { layer, .. }) = &error else {
                    panic!("{error}");
                };
                assert_eq!(layer, "input", "{calibrator:?}, {bad}");
            }
        }
        // Within the model: what its weights make of a good input.
        let (graph, mlp) = mlp();
        let (mut mlp, compression) = plan().attach(mlp).unwrap();
        let bias = Tensor::<1>::full([5], f32::INFINITY, &device());
        mlp.hidden[0].bias = Some(Param::from_tensor(bias));
        let how = activations(calibrator, 8, Mapping::Affine);
        let mut calibration = Calibration::new(graph, &mlp, &compression, how).unwrap();
        let error = calibration
            .observe(&mlp, Tensor::<2>::ones([2, 4], &device()))
            .unwrap_err();
        assert!(
            matches!(&error, GraphError::Network(NetworkError::Activation { layer, .. }) if layer == "hidden.0"),
            "{error}"
        );
        // It did not count.
        assert_eq!(calibration.batches(), 0);
        assert!(matches!(calibration.parameters(), Err(GraphError::NoData)));
    }
}

#[test]
fn an_input_of_another_shape_is_refused() {
    let (graph, mlp) = mlp();
    let (mlp, compression) = plan().attach(mlp).unwrap();
    let how = activations(Calibrator::MinMax, 8, Mapping::Affine);
    let mut calibration = Calibration::new(graph, &mlp, &compression, how).unwrap();
    let good = Tensor::<2>::ones([2, 4], &device());
    calibration.observe(&mlp, good.clone()).unwrap();
    let before = calibration.parameters().unwrap();
    let error = calibration.observe(&mlp, Tensor::<2>::ones([2, 5], &device()) * 100.0);
    assert!(
        matches!(error, Err(GraphError::Network(NetworkError::Input { .. }))),
        "{error:?}"
    );
    let error = calibration.observe(&mlp, Tensor::<3>::ones([2, 4, 1], &device()) * 100.0);
    assert!(
        matches!(error, Err(GraphError::Network(NetworkError::Input { .. }))),
        "{error:?}"
    );
    // And leaves no trace.
    assert_eq!(calibration.parameters().unwrap(), before);
    let quantized = calibration.finish(mlp).unwrap();
    let error = quantized
        .forward::<2, 2>(Tensor::ones([2, 5], &device()))
        .unwrap_err();
    assert!(
        matches!(error, GraphError::Network(NetworkError::Input { .. })),
        "{error}"
    );
    let error = quantized.forward::<2, 3>(good).unwrap_err();
    assert!(matches!(error, GraphError::Output { .. }), "{error}");
}

#[test]
fn a_module_without_what_the_graph_needs_is_refused() {
    let (graph, _) = mlp();
    let how = activations(Calibrator::MinMax, 8, Mapping::Affine);
    let others = [
        MlpConfig::new(4, vec![6], 3), // other dimensions
        MlpConfig::new(4, vec![], 3),  // no such layer
    ];
    for other in others {
        let (other, compression) = plan().attach(other.init(&device())).unwrap();
        let error = Calibration::new(graph.clone(), &other, &compression, how)
            .err()
            .unwrap();
        assert!(
            matches!(&error, GraphError::Parameter { path, .. } if path.contains("hidden.0")
                || path.contains("head")),
            "{error}"
        );
    }
}

#[test]
fn a_compression_that_the_graph_is_not_told_of_is_refused() {
    let (graph, mlp) = mlp();
    let how = activations(Calibrator::MinMax, 8, Mapping::Affine);
    let (attached, _) = plan().attach(mlp.clone()).unwrap();
    // That of the head alone, where the hidden layer carries one too.
    let only_head = plan().select(Selection::only(["head"]));
    let (_, of_head) = only_head.attach(mlp.clone()).unwrap();
    let error = Calibration::new(graph.clone(), &attached, &of_head, how)
        .err()
        .unwrap();
    assert!(
        matches!(&error, GraphError::Parameter { path, .. } if path == "hidden.0.weight"),
        "{error}"
    );
    let error = graph
        .forward::<_, 2, 2>(&attached, Tensor::ones([1, 4], &device()))
        .unwrap_err();
    assert!(matches!(error, GraphError::Parameter { .. }), "{error}");
    // And one that is told of, but not there.
    let (_, compression) = plan().attach(mlp.clone()).unwrap();
    let error = Calibration::new(graph, &mlp.valid(), &compression, how)
        .err()
        .unwrap();
    assert!(matches!(error, GraphError::Parameter { .. }), "{error}");
}

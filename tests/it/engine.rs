//! A compiled model gives what its integer reference does, bit for bit, on every instruction set.

use burn::tensor::Tensor;
use burn_compress::engine::{Choice, Choices, EngineError, LayerRow, Options, Program};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::integer::{Grid, IntegerModel, IntegerOp, Rescale, Step, Weights};
use burn_compress::graph::{Dim, Value, Window};
use burn_compress::kernel::{Isa, Kernels};
use serde_json::json;

use super::device::device;
use super::graph_models::networks::resnet::ResNet;
use super::graph_models::randomized;
use super::models::spread;
use super::quantized::{How, input, quantized};

/// Numbers between -1 and 1 for a batch.
pub fn images(model: &IntegerModel, batch: usize, salt: usize) -> Vec<f32> {
    let each: usize = model.input().iter().map(|dim| dim.at(1)).product();
    let number = |index| 2.0 * spread(salt * 7_919 + index) - 1.0;
    (0..each * batch).map(number).collect()
}

pub fn options(isa: Isa, threads: usize) -> Options {
    Options {
        threads: Some(threads),
        isa: Some(isa),
        choice: Choice::Estimated,
    }
}

/// The instruction sets of this machine.
pub fn isas() -> impl Iterator<Item = Isa> {
    // No backend runs them: one run of the tests in full is enough.
    let all = std::env::var("BURN_COMPRESS_DEVICE").is_err();
    let best = Kernels::detect().isa();
    let here = move |isa: &Isa| Kernels::of(*isa).is_some() && (all || *isa == best);
    Isa::ALL.into_iter().filter(here)
}

/// Checks batches that fill passes, and that do not. A large model runs alone on the best set: tests
/// are compiled without optimization, where its reference takes minutes.
#[track_caller]
pub fn assert_runs(model: &IntegerModel, batches: &[usize], what: &str) {
    let float = |op: &IntegerOp| matches!(op, IntegerOp::Float(_));
    let exact = !model.steps().iter().any(|step| float(&step.op));
    let (batches, isas) = match weights(model) {
        0..200_000 => (batches, isas().collect()),
        _ => (&batches[..1], vec![Kernels::detect().isa()]),
    };
    for &batch in batches {
        let input = images(model, batch, 17);
        let (expected, _) = model.run(&input, batch).unwrap();
        for &isa in &isas {
            let program = Program::compile(model, options(isa, 2)).unwrap();
            let found = program.run(&input, batch).unwrap();
            let what = format!("{what}, {} at batch {batch}", isa.name());
            assert_close(&found, &expected, exact, &what);
        }
    }
}

// Numbers that a model holds.
fn weights(model: &IntegerModel) -> usize {
    let codes = model.steps().iter().map(|step| match &step.op {
        IntegerOp::Convolution { weights, .. }
        | IntegerOp::TransposedConvolution { weights, .. }
        | IntegerOp::Linear { weights, .. } => weights.codes.len(),
        _ => 0,
    });
    let constants = model
        .constants()
        .iter()
        .map(|constant| constant.values.len());
    codes.chain(constants).sum()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], exact: bool, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same = match exact {
            true => found.to_bits() == expected.to_bits(),
            false => (found - expected).abs() <= 1e-4 * largest,
        };
        assert!(same, "{what}: {found}, not {expected} at {index}");
    }
}

// One linear layer in whole numbers.
fn linear() -> IntegerModel {
    let scheme = Scheme::new(8, Mapping::Affine, Granularity::Tensor).unwrap();
    let step = |op, inputs, grid, outputs| Step {
        op,
        inputs,
        grid,
        dims: vec![Dim::Batch(1), Dim::Fixed(outputs)],
        layer: "fc".to_string(),
    };
    let weights = Weights {
        dims: vec![3, 2],
        codes: vec![1, 0, -7, 3, 0, 2].into(),
    };
    let rescale = Rescale::by(0.05);
    let linear = IntegerOp::Linear { weights, rescale };
    let grid = Grid::new(scheme, 0.5, 128).unwrap();
    let steps = vec![
        step(IntegerOp::Quantize, vec![Value::Input], Some(grid), 3),
        step(linear, vec![Value::Node(0)], None, 2),
    ];
    let input = vec![Dim::Batch(1), Dim::Fixed(3)];
    IntegerModel::new(input, vec![], steps, Value::Node(1)).unwrap()
}

// A convolution to 13 channels, and one that reads these alone.
fn reads_channels(read: &[usize]) -> IntegerModel {
    const CHANNELS: usize = 13;
    let scheme = Scheme::new(8, Mapping::Affine, Granularity::Tensor).unwrap();
    let grid = Some(Grid::new(scheme, 0.5, 128).unwrap());
    let step = |op, inputs, grid, channels, layer: &str| Step {
        op,
        inputs,
        grid,
        dims: [
            vec![Dim::Batch(1)],
            [channels, 6, 6].map(Dim::Fixed).to_vec(),
        ]
        .concat(),
        layer: layer.to_string(),
    };
    let convolution = |weights: Weights| IntegerOp::Convolution {
        rank: 2,
        window: Window::default(),
        groups: 1,
        weights,
        rescale: Rescale::by(0.01),
    };
    let first = (0..CHANNELS * 4).map(|place| place as i32 * 37 % 101 - 50);
    let first = Weights {
        dims: vec![CHANNELS, 4, 1, 1],
        codes: first.collect(),
    };
    let mut second = vec![0; 8 * CHANNELS];
    for (filter, row) in second.chunks_mut(CHANNELS).enumerate() {
        for (place, &channel) in read.iter().enumerate() {
            row[channel] = (filter * 29 + place * 53) as i32 % 90 + 7;
        }
    }
    let second = Weights {
        dims: vec![8, CHANNELS, 1, 1],
        codes: second.into(),
    };
    let steps = vec![
        step(IntegerOp::Quantize, vec![Value::Input], grid, 4, "input"),
        step(
            convolution(first),
            vec![Value::Node(0)],
            grid,
            CHANNELS,
            "first",
        ),
        step(convolution(second), vec![Value::Node(1)], None, 8, "second"),
    ];
    let input = [vec![Dim::Batch(1)], [4, 6, 6].map(Dim::Fixed).to_vec()].concat();
    IntegerModel::new(input, vec![], steps, Value::Node(2)).unwrap()
}

#[test]
fn channels_that_are_read_go_together_wherever_they_are() {
    // Four channels are stored together: what reads four needs the weights of four, not of thirteen.
    let bytes = |read: &[usize]| {
        let model = reads_channels(read);
        let program = Program::compile(&model, options(Kernels::detect().isa(), 1)).unwrap();
        let rows = program.layers(1).iter();
        let rows: Vec<&LayerRow> = rows.filter(|row| row.layer == "second").collect();
        assert_runs(&model, &[1, 3], &format!("{read:?}"));
        assert_eq!(rows.len(), 1);
        (rows[0].bytes, rows[0].kernel.clone())
    };
    let together = bytes(&[0, 1, 2, 3]);
    for apart in [[0, 4, 8, 12], [1, 5, 6, 11], [3, 4, 7, 8]] {
        assert_eq!(bytes(&apart), together, "{apart:?}");
    }
    let all: Vec<usize> = (0..13).collect();
    assert!(bytes(&all).0 > together.0);
}

// ResNet-20 in integers, pruned, for small images.
pub fn resnet() -> IntegerModel {
    let model = ResNet::new(20, &device()).unwrap();
    let how = How::bits(8, 8).pruned(0.8);
    let batches = [input([2, 3, 16, 16], 11, &device())];
    let (quantized, _) = quantized(
        randomized(model),
        how,
        |model: &ResNet, x: Tensor<4>| model.forward(x),
        &batches,
    );
    quantized.to_integer().unwrap()
}

#[test]
fn options_that_a_machine_cannot_meet() {
    let model = linear();
    let none = Options {
        threads: Some(0),
        ..Options::default()
    };
    assert!(matches!(
        Program::compile(&model, none),
        Err(EngineError::Threads)
    ));
    let lacking = Isa::ALL.into_iter().find(|isa| Kernels::of(*isa).is_none());
    if let Some(isa) = lacking {
        let found = Program::compile(&model, options(isa, 1));
        assert!(matches!(found, Err(EngineError::Isa { isa: found }) if found == isa));
    }
}

#[test]
fn a_residual_network_runs_on_cells_alone() {
    if super::device::leaves_out("a_residual_network_runs_on_cells_alone") {
        return;
    }
    let model = resnet();
    // Measured choices, too, change no bit.
    for choice in [Choice::Measured, Choice::Estimated] {
        let options = Options {
            threads: Some(2),
            choice,
            ..Options::default()
        };
        let program = Program::compile(&model, options).unwrap();
        for batch in [1, 16, 35] {
            let plain = |row: &&LayerRow| row.kernel.starts_with("plain");
            assert_eq!(program.layers(batch).iter().find(plain), None);
            let input = images(&model, batch, 3);
            let (expected, _) = model.run(&input, batch).unwrap();
            assert_close(&program.run(&input, batch).unwrap(), &expected, true, "");
        }
        let products = program.layers(1).iter().filter(|row| row.multiply_adds > 0);
        for row in products {
            assert_eq!(row.microseconds.is_some(), choice == Choice::Measured);
            assert!(row.kept_share <= 1.0 && program.table(1).contains(&row.layer));
        }
    }
}

#[test]
fn factors_of_products_to_codes_are_short() {
    let bits = |factor: &f32| match factor.to_bits() & 0x7f_ffff {
        0 => 1,
        mantissa => 24 - mantissa.trailing_zeros(),
    };
    if super::device::leaves_out("factors_of_products_to_codes_are_short") {
        return;
    }
    let (mut multipliers, mut residuals) = (0, 0);
    for step in resnet().steps() {
        let (IntegerOp::Convolution { rescale, .. }, Some(_)) = (&step.op, step.grid) else {
            continue;
        };
        multipliers += rescale.multiplier.len();
        residuals += rescale.residual.iter().len();
        assert!(rescale.multiplier.iter().all(|m| bits(m) <= 22));
        assert!(rescale.residual.iter().all(|r| bits(r) <= 16));
    }
    assert!(
        multipliers > 600 && residuals == 9,
        "{multipliers} {residuals}"
    );
}

#[test]
fn inputs_that_do_not_fit() {
    let program = Program::compile(&linear(), Options::default()).unwrap();
    let error = |input: &[f32], batch| program.run(input, batch).unwrap_err();
    assert!(matches!(
        error(&[1.0; 4], 1),
        EngineError::Input {
            found: 4,
            expected: 3,
            ..
        }
    ));
    assert!(matches!(error(&[], 0), EngineError::EmptyBatch));
    assert!(matches!(error(&[1.0; 3], 0), EngineError::EmptyBatch));
    assert!(matches!(
        error(&[1.0; 3], usize::MAX),
        EngineError::Input { .. }
    ));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for batch in [1, 2, 40] {
            let mut input = vec![0.5; 3 * batch];
            input[3 * batch - 2] = bad;
            match error(&input, batch) {
                EngineError::NotFinite {
                    sample,
                    element,
                    value,
                } => {
                    assert_eq!((sample, element), (batch - 1, 1));
                    assert_eq!(value.to_bits(), bad.to_bits());
                }
                other => panic!("{other}"),
            }
        }
    }
    let mut short = [0.0; 3];
    let found = program.run_into(&[1.0; 6], 2, &mut short);
    assert!(matches!(
        found,
        Err(EngineError::Output {
            found: 3,
            expected: 4
        })
    ));
    // After an error it goes on.
    assert!(program.run(&[1.0, 2.0, 3.0], 1).is_ok());
}

#[test]
fn threads_share_one_program() {
    let model = linear();
    let program = Program::compile(&model, options(Isa::Portable, 2)).unwrap();
    std::thread::scope(|scope| {
        for salt in 0..4 {
            let (program, model) = (program.clone(), &model);
            scope.spawn(move || {
                for batch in [1, 3, 16, 33, 64] {
                    let input = images(model, batch, salt);
                    let (expected, _) = model.run(&input, batch).unwrap();
                    assert_close(&program.run(&input, batch).unwrap(), &expected, true, "");
                }
            });
        }
    });
}

#[test]
fn files_and_kept_choices() {
    if super::device::leaves_out("files_and_kept_choices") {
        return;
    }
    let model = resnet();
    let program = Program::compile(&model, Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    let bytes = program.save(&path).unwrap();
    assert_eq!(bytes, std::fs::metadata(&path).unwrap().len());
    let input = images(&model, 17, 5);
    let expected = program.run(&input, 17).unwrap();
    let loaded = Program::load(&path, Options::default()).unwrap();
    assert_eq!(loaded.run(&input, 17).unwrap(), expected);
    let mapped = Program::from_bytes(&std::fs::read(&path).unwrap(), Options::default()).unwrap();
    assert_eq!(mapped.model(), program.model());
    assert!(matches!(
        Program::from_bytes(b"no model", Options::default()),
        Err(EngineError::Graph(_))
    ));

    // Kept choices are used: no kernel is timed.
    let kept = serde_json::to_string(program.choices()).unwrap();
    let kept: Choices = serde_json::from_str(&kept).unwrap();
    let again = Program::compile_as(&model, Options::default(), &kept).unwrap();
    assert_eq!(again.choices(), program.choices());
    assert!(again.layers(1).iter().all(|row| row.microseconds.is_none()));
    assert_eq!(again.run(&input, 17).unwrap(), expected);
    let again = Program::load_as(&path, Options::default(), &kept).unwrap();
    assert_eq!(again.choices(), program.choices());
    assert!(again.layers(1).iter().all(|row| row.microseconds.is_none()));
    assert_eq!(again.run(&input, 17).unwrap(), expected);
    // The orders of channels that they hold are those of the tensors, or not used.
    let orders = serde_json::to_value(&kept).unwrap()["orders"].clone();
    assert!(!orders.as_array().unwrap().is_empty());
    for wrong in [json!([0]), json!(vec![0; 16]), json!([1e15 as usize])] {
        let mut altered = serde_json::to_value(&kept).unwrap();
        for order in altered["orders"].as_array_mut().unwrap() {
            order["channels"] = wrong.clone();
        }
        let altered: Choices = serde_json::from_value(altered).unwrap();
        let again = Program::compile_as(&model, Options::default(), &altered).unwrap();
        assert_eq!(again.choices(), program.choices());
        assert_eq!(again.run(&input, 17).unwrap(), expected);
    }
    let mut turned = serde_json::to_value(&kept).unwrap();
    for order in turned["orders"].as_array_mut().unwrap() {
        // Any order gives the same results.
        let channels = order["channels"].as_array_mut().unwrap();
        channels.reverse();
    }
    let turned: Choices = serde_json::from_value(turned).unwrap();
    let again = Program::compile_as(&model, Options::default(), &turned).unwrap();
    assert_eq!(again.choices(), &turned);
    assert_eq!(again.run(&input, 17).unwrap(), expected);
    // Those of another machine are not.
    let other = Program::compile_as(&model, options(Isa::Portable, 1), &kept).unwrap();
    assert_eq!(other.choices().isa, Isa::Portable);
    assert_eq!(other.run(&input, 17).unwrap(), expected);
    // Nor those of another model.
    let linear = linear();
    let other = Program::compile_as(&linear, Options::default(), &kept).unwrap();
    assert!(other.run(&[1.0, 2.0, 3.0], 1).is_ok());
}

/// The choices of a program, with another kernel for all layers.
pub fn all_as(program: &Program, kernel: &str) -> Choices {
    let mut choices = serde_json::to_value(program.choices()).unwrap();
    let set = |kernels: &mut serde_json::Value| {
        for kept in kernels.as_array_mut().unwrap() {
            kept["kernel"] = json!(kernel);
        }
    };
    set(&mut choices["one"]);
    for together in choices["many"].as_array_mut().unwrap() {
        set(&mut together["kernels"]);
    }
    serde_json::from_value(choices).unwrap()
}

#[test]
fn tiles_run_with_and_without_a_matrix_unit() {
    let model = resnet();
    let input = images(&model, 17, 4);
    let (expected, _) = model.run(&input, 17).unwrap();
    for isa in isas() {
        let program = Program::compile(&model, options(isa, 2)).unwrap();
        let choices = all_as(&program, "tiled");
        let tiled = Program::compile_as(&model, options(isa, 3), &choices).unwrap();
        // But for the threads that it was compiled with.
        let mut expected_choices = serde_json::to_value(&choices).unwrap();
        expected_choices["threads"] = json!(3);
        let found = serde_json::to_value(tiled.choices()).unwrap();
        assert_eq!(found, expected_choices);
        let products = |row: &&LayerRow| row.multiply_adds > 0;
        let mut rows = tiled.layers(17).iter().filter(products);
        assert!(rows.all(|row| row.kernel == "tiled"));
        assert_eq!(tiled.run(&input, 17).unwrap(), expected, "{}", isa.name());
        let one = &input[..input.len() / 17];
        let found = tiled.run(one, 1).unwrap();
        assert_eq!(found, expected[..found.len()], "{}", isa.name());
    }
}

//! A compiled model gives what its integer reference does, bit for bit, on every instruction set.

use burn::tensor::Tensor;
use burn_compress::engine::{EngineError, LayerProfile, Options, Program, Tuning, TuningCache};
use burn_compress::kernel::Isa;
use burn_compress::network::{Network, Op, StepOp};
use serde_json::json;

use super::device::device;
use super::graph_models::networks::resnet::ResNet;
use super::graph_models::randomized;
use super::quantized::{How, input, quantized};
use super::runs::{assert_close, images, isas, options};

// ResNet-20 in integers, pruned, for small images.
pub fn resnet() -> Network {
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
fn a_residual_network_runs_on_cells_alone() {
    if super::device::leaves_out("a_residual_network_runs_on_cells_alone") {
        return;
    }
    let model = resnet();
    // Measured choices, too, change no bit.
    for tuning in [Tuning::Measured, Tuning::Estimated] {
        let options = Options {
            threads: Some(2),
            tuning,
            ..Options::default()
        };
        let program = Program::compile(&model, options).unwrap();
        for batch in [1, 16, 35] {
            let plain = |row: &&LayerProfile| row.kernel.starts_with("plain");
            assert_eq!(program.layers(batch).iter().find(plain), None);
            let input = images(&model, batch, 3);
            let (expected, _) = model.run(&input, batch).unwrap();
            assert_close(&program.run(&input, batch).unwrap(), &expected, true, "");
        }
        let products = program.layers(1).iter().filter(|row| row.multiply_adds > 0);
        for row in products {
            assert_eq!(row.microseconds.is_some(), tuning == Tuning::Measured);
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
        let (
            StepOp::Product {
                op: Op::Convolution { .. },
                rescale,
                ..
            },
            Some(_),
        ) = (&step.op, step.grid)
        else {
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
        Err(EngineError::Network(_))
    ));

    // Tuning caches are used: no kernel is timed.
    let kept = serde_json::to_string(program.tuning_cache()).unwrap();
    let kept: TuningCache = serde_json::from_str(&kept).unwrap();
    let again = Program::compile_with(&model, Options::default(), &kept).unwrap();
    assert_eq!(again.tuning_cache(), program.tuning_cache());
    assert!(again.layers(1).iter().all(|row| row.microseconds.is_none()));
    assert_eq!(again.run(&input, 17).unwrap(), expected);
    let again = Program::load_with(&path, Options::default(), &kept).unwrap();
    assert_eq!(again.tuning_cache(), program.tuning_cache());
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
        let altered: TuningCache = serde_json::from_value(altered).unwrap();
        let again = Program::compile_with(&model, Options::default(), &altered).unwrap();
        assert_eq!(again.tuning_cache(), program.tuning_cache());
        assert_eq!(again.run(&input, 17).unwrap(), expected);
    }
    let mut turned = serde_json::to_value(&kept).unwrap();
    for order in turned["orders"].as_array_mut().unwrap() {
        // Any order gives the same results.
        let channels = order["channels"].as_array_mut().unwrap();
        channels.reverse();
    }
    let turned: TuningCache = serde_json::from_value(turned).unwrap();
    let again = Program::compile_with(&model, Options::default(), &turned).unwrap();
    assert_eq!(again.tuning_cache(), &turned);
    assert_eq!(again.run(&input, 17).unwrap(), expected);
    // Those of another machine are not.
    let other = Program::compile_with(&model, options(Isa::Portable, 1), &kept).unwrap();
    assert_eq!(other.tuning_cache().isa, Isa::Portable);
    assert_eq!(other.run(&input, 17).unwrap(), expected);
}

/// The choices of a program, with another kernel for all layers.
pub fn all_as(program: &Program, kernel: &str) -> TuningCache {
    let mut choices = serde_json::to_value(program.tuning_cache()).unwrap();
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
        let tiled = Program::compile_with(&model, options(isa, 3), &choices).unwrap();
        // But for the threads that it was compiled with.
        let mut expected_choices = serde_json::to_value(&choices).unwrap();
        expected_choices["threads"] = json!(3);
        let found = serde_json::to_value(tiled.tuning_cache()).unwrap();
        assert_eq!(found, expected_choices);
        let products = |row: &&LayerProfile| row.multiply_adds > 0;
        let mut rows = tiled.layers(17).iter().filter(products);
        assert!(rows.all(|row| row.kernel == "tiled"));
        assert_eq!(tiled.run(&input, 17).unwrap(), expected, "{}", isa.name());
        let one = &input[..input.len() / 17];
        let found = tiled.run(one, 1).unwrap();
        assert_eq!(found, expected[..found.len()], "{}", isa.name());
    }
}

//! A compiled model gives what its integer reference does, bit for bit, on every instruction set.

use burn_compress::engine::{Choice, EngineError, Options, Program};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::integer::{Grid, IntegerModel, IntegerOp, Rescale, Step, Weights};
use burn_compress::graph::{Dim, Value};
use burn_compress::kernel::{Isa, Kernels};

use super::models::spread;

/// Numbers between -1 and 1 for a batch.
fn images(model: &IntegerModel, batch: usize, salt: usize) -> Vec<f32> {
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
    let here = |isa: &Isa| Kernels::of(*isa).is_some();
    Isa::ALL.into_iter().filter(here)
}

/// Checks batches that fill passes, and that do not.
#[track_caller]
pub fn assert_runs(model: &IntegerModel, batches: &[usize], what: &str) {
    let float = |op: &IntegerOp| matches!(op, IntegerOp::Float(_));
    let exact = !model.steps().iter().any(|step| float(&step.op));
    for &batch in batches {
        let input = images(model, batch, 17);
        let (expected, _) = model.run(&input, batch).unwrap();
        for isa in isas() {
            let program = Program::compile(model, options(isa, 2)).unwrap();
            let found = program.run(&input, batch).unwrap();
            let what = format!("{what}, {} at batch {batch}", isa.name());
            assert_close(&found, &expected, exact, &what);
        }
    }
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
        codes: vec![1, 0, -7, 3, 0, 2],
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
}

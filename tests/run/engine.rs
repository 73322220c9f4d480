//! A compiled network gives what its reference does, bit for bit, on every instruction set.

use burn_compress::engine::{EngineError, LayerProfile, Options, Program};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::kernel::{Isa, Kernels};
use burn_compress::network::{
    Arithmetic, Dim, Grid, Network, Op, Rescale, Step, StepOp, Value, Weights, Window,
};

#[cfg(not(target_family = "wasm"))]
use super::runs::{assert_close, images};
use super::runs::{assert_runs, best, options};

// One linear layer in whole numbers.
fn linear() -> Network {
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
    let linear = StepOp::Product {
        op: Op::Linear,
        weights: Some(weights),
        rescale,
    };
    let grid = Grid::new(scheme, 0.5, 128).unwrap();
    let steps = vec![
        step(StepOp::Quantize, vec![Value::Input], Some(grid), 3),
        step(linear, vec![Value::Node(0)], None, 2),
    ];
    let input = vec![Dim::Batch(1), Dim::Fixed(3)];
    Network::new(input, vec![], steps, Value::Node(1)).unwrap()
}

// A convolution to 13 channels, and one that reads these alone.
fn reads_channels(read: &[usize]) -> Network {
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
    let convolution = |weights: Weights| StepOp::Product {
        op: Op::Convolution {
            rank: 2,
            window: Window::default(),
            groups: 1,
        },
        weights: Some(weights),
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
        step(StepOp::Quantize, vec![Value::Input], grid, 4, "input"),
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
    Network::new(input, vec![], steps, Value::Node(2)).unwrap()
}

#[test]
fn channels_that_are_read_go_together_wherever_they_are() {
    // Four channels are stored together: what reads four needs the weights of four, not of thirteen.
    let bytes = |read: &[usize]| {
        let model = reads_channels(read);
        let program = Program::compile(&model, options(Kernels::detect().isa(), 1)).unwrap();
        let rows = program.layers(1).iter();
        let rows: Vec<&LayerProfile> = rows.filter(|row| row.layer == "second").collect();
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

#[cfg(not(target_family = "wasm"))]
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
fn memory_is_of_weights_and_tensors() {
    let memory = |model: &Network, threads| {
        let options = options(best(), threads);
        Program::compile(model, options).unwrap().memory()
    };
    // Weights of one layer, of a byte each; each tensor is a vector block for its four channels.
    let model = linear();
    let one = memory(&model, 1);
    assert_eq!(one.network, 6);
    assert!(one.weights > 0 && one.weights.is_multiple_of(8), "{one:?}");
    assert!(one.one_sample >= 2 * 64 && one.one_sample <= one.arena);
    // Each thread has tensors of its own, and all read the same weights.
    let two = memory(&model, 2);
    assert_eq!((two.network, two.weights), (one.network, one.weights));
    assert_eq!(two.arena, 2 * one.arena);

    // Layers of the same weights hold them once.
    let beside = |codes: Vec<i32>| {
        let mut steps = model.steps().to_vec();
        let scheme = Scheme::new(8, Mapping::Affine, Granularity::Tensor).unwrap();
        steps[1].grid = Some(Grid::new(scheme, 0.5, 128).unwrap());
        let mut second = steps[1].clone();
        second.op = StepOp::Product {
            op: Op::Linear,
            weights: Some(Weights {
                dims: vec![3, 2],
                codes: codes.into(),
            }),
            rescale: Rescale::by(0.05),
        };
        let mut sum = second.clone();
        sum.inputs = vec![Value::Node(1), Value::Node(2)];
        sum.op = StepOp::Arithmetic {
            how: Arithmetic::Add {
                left: 1.0,
                right: 1.0,
            },
            activation: None,
        };
        steps.extend([second, sum]);
        let model = Network::new(model.input().to_vec(), vec![], steps, Value::Node(3)).unwrap();
        memory(&model, 1)
    };
    let (same, other) = (
        beside(vec![1, 0, -7, 3, 0, 2]),
        beside(vec![1, 0, -7, 3, 5, 2]),
    );
    assert_eq!((same.network, other.network), (6, 12));
    assert_eq!(same.weights, one.weights);
    assert!(other.weights > same.weights);
}

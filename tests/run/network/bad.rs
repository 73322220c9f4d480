//! What is refused, and how.

use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::network::NetworkError;
use burn_compress::network::{
    Activation, Arithmetic, Divide, Grid, Network, Rescale, Step, StepOp, Weights,
};
use burn_compress::network::{Constant, Dim, Op, Unary, Value, Window};

use crate::noise::per_image;

/// Two channels of 3 by 3, convolved to two and pooled.
pub fn steps() -> Vec<Step> {
    let scheme = Scheme::new(8, Mapping::Affine, Granularity::Tensor).unwrap();
    let grid = Some(Grid::new(scheme, 0.5, 100).unwrap());
    let step = |op, input, grid, dims: &[usize], layer: &str| Step {
        op,
        inputs: vec![input],
        grid,
        dims: per_image(dims),
        layer: layer.into(),
    };
    let window = Window {
        kernel: [2, 2],
        ..Window::default()
    };
    let convolution = StepOp::Product {
        op: Op::Convolution {
            rank: 2,
            window,
            groups: 1,
        },
        weights: Some(Weights {
            dims: vec![2, 2, 2, 2],
            codes: (-7..=7).chain([0]).collect(),
        }),
        rescale: Rescale {
            multiplier: vec![0.125, 0.3],
            offset: Some(vec![0.5]),
            residual: None,
            activation: Some(Activation::Clamp {
                min: 0.0,
                max: f32::INFINITY,
            }),
        },
    };
    let sum = StepOp::Sum {
        op: Op::Sum { axes: vec![2, 3] },
        divide: Divide::None,
        multiplier: 0.1,
        activation: None,
    };
    vec![
        step(StepOp::Quantize, Value::Input, grid, &[2, 3, 3], "input"),
        step(convolution, Value::Node(0), grid, &[2, 2, 2], "conv"),
        step(sum, Value::Node(1), None, &[2, 1, 1], "pool"),
    ]
}

pub fn build(steps: Vec<Step>) -> Result<Network, NetworkError> {
    let last = Value::Node(steps.len() - 1);
    Network::new(per_image(&[2, 3, 3]), vec![], steps, last)
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Vec<Step>), layer: &str) {
    let mut steps = steps();
    change(&mut steps);
    match build(steps) {
        Err(NetworkError::Step { layer: at, .. } | NetworkError::Activation { layer: at, .. }) => {
            assert_eq!(at, layer);
        }
        other => panic!("{other:?}"),
    }
}

fn convolution(steps: &mut [Step]) -> (&mut Window, &mut Weights, &mut Rescale) {
    match &mut steps[1].op {
        StepOp::Product {
            op: Op::Convolution { window, .. },
            weights: Some(weights),
            rescale,
        } => (window, weights, rescale),
        _ => unreachable!(),
    }
}

#[test]
fn inputs_are_checked() {
    let model = build(steps()).unwrap();
    let mut input = vec![0.5; 36];
    assert!(model.run(&input, 2).is_ok());
    for (length, batch) in [(36, 1), (35, 2), (36, usize::MAX)] {
        let result = model.run(&input[..length], batch);
        assert!(matches!(result, Err(NetworkError::Input { .. })));
    }
    for length in [0, 36] {
        let result = model.run(&input[..length], 0);
        assert!(matches!(result, Err(NetworkError::EmptyBatch)));
    }
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        input[19] = value;
        let errors = [
            model.run(&input, 2).unwrap_err(),
            model.trace(&input, 2).unwrap_err(),
        ];
        for error in errors {
            match error {
                NetworkError::NotFinite {
                    sample, element, ..
                } => assert_eq!((sample, element), (1, 1)),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn operands_must_come_before() {
    for input in [
        Value::Node(1),
        Value::Node(9),
        Value::Parameter(0),
        Value::Constant(0),
        Value::Input, // floats
    ] {
        refused(|steps| steps[1].inputs[0] = input, "conv");
    }
    refused(|steps| steps[1].inputs.clear(), "conv");
    refused(|steps| steps[1].inputs.push(Value::Node(0)), "conv");
    refused(|steps| steps[0].grid = None, "input");
    let result = Network::new(per_image(&[2, 3, 3]), vec![], steps(), Value::Node(3));
    assert!(matches!(result, Err(NetworkError::Step { .. })));
}

#[test]
fn dimensions_must_fit() {
    for length in [0, 1, 3, usize::MAX] {
        refused(|steps| steps[1].dims[3] = Dim::Fixed(length), "conv");
    }
    refused(|steps| steps[1].dims[1] = Dim::Batch(2), "conv");
    refused(|steps| steps[1].dims.truncate(3), "conv");
    for bad in [0, 9, usize::MAX] {
        refused(|steps| convolution(steps).0.kernel[1] = bad, "conv");
        refused(
            |steps| convolution(steps).0.padding[1].1 = bad.max(1),
            "conv",
        );
        refused(|steps| convolution(steps).0.dilation[0] = bad, "conv");
    }
    refused(|steps| convolution(steps).0.stride[0] = 0, "conv");
    refused(
        |steps| {
            steps[2].op = StepOp::Sum {
                op: Op::Sum { axes: vec![0] },
                divide: Divide::None,
                multiplier: 1.0,
                activation: None,
            };
            steps[2].dims = [1, 2, 2, 2].map(Dim::Fixed).to_vec();
        },
        "pool",
    );
    // A pool that would see nothing but padding, before its input or behind it.
    for (padding, rows) in [((1, 1), 4), ((1, 0), 3), ((0, 1), 3), ((0, 2), 4)] {
        let window = Window {
            padding: [padding, (0, 0)],
            ..Window::default()
        };
        refused(
            |steps| {
                steps[2].op = StepOp::Move(Op::MaxPool {
                    rank: 2,
                    window,
                    ceil: false,
                });
                (steps[2].dims, steps[2].grid) = (per_image(&[2, rows, 2]), steps[1].grid);
            },
            "pool",
        );
    }
    // One to six axes, of an input too.
    for axes in 0..=9 {
        let dims = vec![Dim::Batch(1); axes.min(1)];
        let dims = [dims, vec![Dim::Fixed(1); axes.saturating_sub(1)]].concat();
        let mut steps = steps();
        steps.truncate(1);
        steps[0].dims = dims.clone();
        let model = Network::new(dims, vec![], steps, Value::Node(0));
        assert_eq!(model.is_ok(), (1..=6).contains(&axes), "{axes} axes");
    }
}

#[test]
fn numbers_must_fit() {
    let codes = |codes: Vec<i32>| {
        refused(
            |steps| convolution(steps).1.codes = codes.clone().into(),
            "conv",
        )
    };
    codes(vec![1; 15]);
    codes(vec![300; 17]);
    codes([&[65_536][..], &[0; 15]].concat()); // beyond 16 bits
    refused(|steps| convolution(steps).1.dims[0] = 4, "conv");
    refused(|steps| convolution(steps).2.multiplier.clear(), "conv");
    refused(|steps| convolution(steps).2.multiplier.push(1.0), "conv");
    refused(
        |steps| convolution(steps).2.multiplier[0] = f32::NAN,
        "conv",
    );
    refused(|steps| convolution(steps).2.residual = Some(1.0), "conv");
    let offset = Some(vec![f32::INFINITY]);
    refused(|steps| convolution(steps).2.offset = offset, "conv");
    let (min, max) = (1.0, -1.0);
    let activation = Some(Activation::Clamp { min, max });
    refused(|steps| convolution(steps).2.activation = activation, "conv");
    let short = StepOp::Table(vec![0; 255]);
    let table = |op| Step {
        op,
        inputs: vec![Value::Node(0)],
        grid: steps()[0].grid,
        dims: per_image(&[2, 3, 3]),
        layer: "table".into(),
    };
    refused(|steps| steps.push(table(short)), "table");
    let beyond = StepOp::Table(vec![156; 256]);
    refused(|steps| steps.push(table(beyond)), "table");
    let constants = [
        Constant {
            dims: vec![2],
            values: vec![0.0],
        },
        Constant {
            dims: vec![0],
            values: vec![],
        },
        Constant {
            dims: vec![1],
            values: vec![f32::NAN],
        },
    ];
    for constant in constants {
        let model = Network::new(
            per_image(&[2, 3, 3]),
            vec![constant],
            steps(),
            Value::Node(2),
        );
        assert!(matches!(model, Err(NetworkError::Step { .. })));
    }
}

#[test]
fn sums_cannot_overflow() {
    // One channel: 155 is the greatest centred code.
    let linear = |codes: Vec<i32>| {
        let mut steps = steps();
        let inputs = codes.len();
        let dims = vec![inputs, 1];
        steps.truncate(1);
        steps[0].dims = per_image(&[inputs]);
        steps.push(Step {
            op: StepOp::Product {
                op: Op::Linear,
                weights: Some(Weights {
                    dims,
                    codes: codes.into(),
                }),
                rescale: Rescale::by(1.0),
            },
            inputs: vec![Value::Node(0)],
            grid: None,
            dims: per_image(&[1]),
            layer: "fc".into(),
        });
        Network::new(per_image(&[inputs]), vec![], steps, Value::Node(1))
    };
    // 155 * 13,854,733 is just within 31 bits.
    let most = 13_854_733;
    let mut codes = vec![32_767; (most / 32_767) as usize];
    codes.push(most % 32_767);
    let high = vec![1e9; codes.len()];
    let (output, _) = linear(codes.clone()).unwrap().run(&high, 1).unwrap();
    assert_eq!(output, [(most * 155) as f32]);
    *codes.last_mut().unwrap() += 1;
    let error = linear(codes).unwrap_err();
    assert!(matches!(error, NetworkError::Activation { .. }));
    assert!(error.to_string().contains("fc"), "{error}");
}

#[test]
fn sums_of_products_and_of_windows_cannot_overflow() {
    let step = |op, inputs: &[usize], grid, dims: &[usize]| Step {
        op,
        inputs: inputs.iter().map(|&node| Value::Node(node)).collect(),
        grid,
        dims: per_image(dims),
        layer: "sum".into(),
    };
    let quantize = |bits, zero, dims: &[usize]| {
        let scheme = Scheme::new(bits, Mapping::Affine, Granularity::Tensor).unwrap();
        let grid = Some(Grid::new(scheme, 0.5, zero).unwrap());
        let mut step = step(StepOp::Quantize, &[], grid, dims);
        step.inputs = vec![Value::Input];
        step
    };
    // A row by a column of so many codes of up to 155; the row by itself, as a column, is a large matrix.
    let matmul = |inner: usize, outer: bool| {
        let reshape = || StepOp::Move(Op::Reshape);
        let quantize = quantize(8, 100, &[inner]);
        let grid = quantize.grid;
        let mut inputs = [1, 2];
        let mut dims = [1, 1];
        if outer {
            (inputs, dims) = ([2, 1], [inner, inner]);
        }
        let product = StepOp::Product {
            op: Op::MatMul,
            weights: None,
            rescale: Rescale::by(1.0),
        };
        let steps = vec![
            quantize,
            step(reshape(), &[0], grid, &[1, inner]),
            step(reshape(), &[0], grid, &[inner, 1]),
            step(product, &inputs, None, &dims),
        ];
        Network::new(per_image(&[inner]), vec![], steps, Value::Node(3))
    };
    // 89,385 times 155 squared is just within 31 bits.
    assert!(matmul(89_385, false).is_ok());
    assert!(matmul(10_000, true).is_ok());
    // The mean of a window of codes of 16 bits: 32,760 of them, and 32,942.
    let pool = |kernel: [usize; 2]| {
        let op = StepOp::Sum {
            op: Op::AveragePool {
                rank: 2,
                window: Window {
                    kernel,
                    ..Window::default()
                },
                include_padding: true,
                ceil: false,
            },
            divide: Divide::Elements,
            multiplier: 1.0,
            activation: None,
        };
        let [height, width] = kernel;
        let steps = vec![
            quantize(16, 0, &[1, height, width]),
            step(op, &[0], None, &[1, 1, 1]),
        ];
        Network::new(
            per_image(&[1, height, width]),
            vec![],
            steps,
            Value::Node(1),
        )
    };
    assert!(pool([180, 182]).is_ok());
    for model in [matmul(89_386, false), pool([181, 182])] {
        let Err(NetworkError::Activation { layer, .. }) = model else {
            panic!("{model:?}")
        };
        assert_eq!(layer, "sum");
    }
}

#[test]
fn forms_hold_their_own_operations_alone() {
    type Product = (Op, bool);
    let product = |steps: &mut Vec<Step>, (op, weights): Product| {
        let StepOp::Product {
            op: of,
            weights: held,
            ..
        } = &mut steps[1].op
        else {
            unreachable!()
        };
        *of = op;
        *held = held.take().filter(|_| weights);
    };
    let convolution = Op::Convolution {
        rank: 2,
        window: Window {
            kernel: [2, 2],
            ..Window::default()
        },
        groups: 1,
    };
    // A product without its weights, one of two activations with some, and what is no product.
    for product_of in [
        (convolution, false),
        (Op::Linear, false),
        (Op::MatMul, true),
        (Op::Unary(Unary::Relu), false),
        (Op::Unary(Unary::Relu), true),
    ] {
        refused(|steps| product(steps, product_of), "conv");
    }
    let axes = vec![2, 3];
    for (op, divide) in [
        (Op::Unary(Unary::Abs), Divide::None),
        (Op::Softmax { axis: 1 }, Divide::None),
        (Op::Mean { axes: axes.clone() }, Divide::None),
        (Op::Sum { axes }, Divide::Elements),
    ] {
        let sum = StepOp::Sum {
            op,
            divide,
            multiplier: 0.1,
            activation: None,
        };
        refused(|steps| steps[2].op = sum, "pool");
    }
    refused(
        |steps| {
            let how = Arithmetic::Multiply {
                multiplier: f32::NAN,
            };
            let activation = None;
            steps[2].op = StepOp::Arithmetic { how, activation };
            steps[2].inputs = vec![Value::Node(1); 2];
            steps[2].dims = steps[1].dims.clone();
        },
        "pool",
    );
}

#[test]
fn floats_and_codes_are_told_apart() {
    let float = |op| Step {
        op: StepOp::Float(op),
        inputs: vec![Value::Node(0)],
        grid: None,
        dims: per_image(&[2, 3, 3]),
        layer: "float".into(),
    };
    refused(|steps| steps.push(float(Op::Reshape)), "float");
    refused(
        |steps| steps.push(float(Op::Unary(Unary::MulScalar(f32::NAN)))),
        "float",
    );
    // A movement keeps the grid.
    refused(
        |steps| {
            let mut step = float(Op::Reshape);
            step.op = StepOp::Move(Op::Reshape);
            steps.push(step);
        },
        "float",
    );
    let mut good = steps();
    good.push(float(Op::Unary(Unary::Exp)));
    assert!(build(good).is_ok());
}

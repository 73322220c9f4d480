//! Networks in floats.

use burn_compress::network::{Binary, FloatOp, Network, Op, StepOp, Unary, Value, Window};

use super::build::{Builder, three};

/// Operations that these networks have.
pub const NAMES: [&str; 18] = [
    "adaptive_average_pool",
    "add",
    "average_pool",
    "batch_norm",
    "convolution",
    "divide",
    "grouped_convolution",
    "group_norm",
    "layer_norm",
    "linear",
    "matmul",
    "mean",
    "multiply",
    "softmax",
    "subtract",
    "sum",
    "transposed_convolution",
    "upsample_bilinear",
];

const CHANNELS: usize = 6;
const SIZE: [usize; 2] = [6, 5];
const INPUT: [usize; 3] = [CHANNELS, SIZE[0], SIZE[1]];
const SMALL: [usize; 3] = [3, 2, 4];

fn convolution(window: Window, groups: usize, filters: usize) -> Network {
    let mut to = Builder::new(21 + groups as u64, &INPUT);
    let dims = [&[filters, CHANNELS / groups], &window.kernel[..]].concat();
    let weights = to.numbers(&dims, false);
    let [height, width] = window.output(SIZE).unwrap();
    let op = Op::Convolution {
        rank: 2,
        window,
        groups,
    };
    let y = to.float(op, &[Value::Input, weights], &[filters, height, width]);
    let bias = to.numbers(&[filters, 1, 1], false);
    let y = to.float(
        Op::Binary(Binary::Add),
        &[y, bias],
        &[filters, height, width],
    );
    let y = to.float(Op::Unary(Unary::Relu), &[y], &[filters, height, width]);
    to.build(y)
}

// An operation on the input, moved by so much, and constants of these dimensions.
fn with(op: Op, input: &[usize], moved: f32, constants: &[&[usize]], dims: &[usize]) -> Network {
    let mut to = Builder::new(22, input);
    let moved = match moved {
        0.0 => Value::Input,
        moved => to.float(Op::Unary(Unary::AddScalar(moved)), &[Value::Input], input),
    };
    let constants: Vec<Value> = constants
        .iter()
        .map(|dims| to.numbers(dims, true))
        .collect();
    let y = to.float(op, &[&[moved], &constants[..]].concat(), dims);
    to.build(y)
}

// A block of a transformer: attention of one head, norms, and a layer of many numbers.
fn attention() -> Network {
    let (tokens, width) = (5, 8);
    let dims = [tokens, width];
    let mut to = Builder::new(23, &dims);
    let linear = |to: &mut Builder, x: Value, outputs: usize, inputs: usize| {
        let weights = to.numbers(&[inputs, outputs], false);
        to.float(Op::Linear, &[x, weights], &[tokens, outputs])
    };
    let [gamma, beta] = [true, false].map(|positive| to.numbers(&[width], positive));
    let norm = Op::LayerNorm { epsilon: 1e-5 };
    let x = to.float(norm.clone(), &[Value::Input, gamma, beta], &dims);
    let [q, k, v] = [(); 3].map(|()| linear(&mut to, x, width, width));
    let turn = StepOp::Move(Op::Permute {
        axes: vec![0, 2, 1],
    });
    let k = to.step(turn, &[k], None, &[width, tokens]);
    let scores = to.float(Op::MatMul, &[q, k], &[tokens, tokens]);
    let scores = to.float(
        Op::Unary(Unary::MulScalar(0.35)),
        &[scores],
        &[tokens, tokens],
    );
    let weights = to.float(Op::Softmax { axis: 2 }, &[scores], &[tokens, tokens]);
    let y = to.float(Op::MatMul, &[weights, v], &dims);
    let y = to.float(Op::Binary(Binary::Add), &[y, Value::Input], &dims);
    let z = linear(&mut to, y, 16, width);
    let z = to.float(Op::Unary(Unary::Gelu), &[z], &[tokens, 16]);
    let z = linear(&mut to, z, width, 16);
    let z = to.float(Op::Binary(Binary::Add), &[z, y], &dims);
    to.build(z)
}

fn unary() -> Vec<(String, Network)> {
    let all = [
        Unary::Relu,
        Unary::Clamp {
            min: 1.25,
            max: 1.75,
        },
        Unary::LeakyRelu { slope: 0.1 },
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::Gelu,
        Unary::GeluTanh,
        Unary::Silu,
        Unary::HardSwish,
        Unary::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Unary::MulScalar(-1.5),
        Unary::Power(1.5),
        Unary::Exp,
        Unary::Log,
        Unary::Sqrt,
        Unary::Reciprocal,
        Unary::Erf,
        Unary::Abs,
        Unary::LogOnePlus,
        Unary::LogSigmoid,
        Unary::Sin,
        Unary::Cos,
        Unary::Sign,
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
    ];
    let networks = all.into_iter().enumerate().map(|(number, unary)| {
        // From 0.5 to 2.5, where all are defined.
        let op = Op::Unary(unary);
        (
            format!("float {number} {}", op.name()),
            with(op, &SMALL, 1.5, &[], &SMALL),
        )
    });
    networks.collect()
}

fn float_only() -> Vec<(String, Network)> {
    let shorter = [3, 1, 4];
    let places = vec![1, 0, 1];
    let along = [
        (FloatOp::Max { axis: 2 }, &shorter),
        (FloatOp::Min { axis: 2 }, &shorter),
        (FloatOp::Product { axis: 2 }, &shorter),
        (FloatOp::CumulativeSum { axis: 3 }, &SMALL),
        (FloatOp::CumulativeProduct { axis: 3 }, &SMALL),
        (FloatOp::CumulativeMax { axis: 3 }, &SMALL),
        (FloatOp::CumulativeMin { axis: 3 }, &SMALL),
        (FloatOp::LogSoftmax { axis: 1 }, &SMALL),
        (FloatOp::Sort { axis: 3 }, &SMALL),
        (FloatOp::SortDescending { axis: 3 }, &SMALL),
        (
            FloatOp::Select {
                axis: 2,
                indices: places,
            },
            &[3, 3, 4],
        ),
    ];
    let of_two = [
        FloatOp::Power,
        FloatOp::Greater,
        FloatOp::GreaterEqual,
        FloatOp::Less,
        FloatOp::LessEqual,
        FloatOp::Equal,
        FloatOp::NotEqual,
    ];
    let named = |op: FloatOp, constants: &[&[usize]], dims: &[usize]| {
        let name = format!("float-only {}", op.name());
        (name, with(Op::Float(op), &SMALL, 1.5, constants, dims))
    };
    let along = along.into_iter().map(|(op, dims)| named(op, &[], dims));
    let of_two = of_two
        .into_iter()
        .map(|op| named(op, &[&[3, 1, 4]], &SMALL));
    along.chain(of_two).chain([choice(), gathered()]).collect()
}

// The input, but a constant where the input is below another one.
fn choice() -> (String, Network) {
    let mut to = Builder::new(24, &SMALL);
    let [bound, chosen] = [false, true].map(|positive| to.numbers(&[1, 1, 4], positive));
    let mask = to.float(Op::Float(FloatOp::Less), &[Value::Input, bound], &SMALL);
    let y = to.float(
        Op::Float(FloatOp::Where),
        &[Value::Input, mask, chosen],
        &SMALL,
    );
    ("float-only where".to_string(), to.build(y))
}

fn gathered() -> (String, Network) {
    let mut to = Builder::new(25, &SMALL);
    let places = to.constant(&[1, 1, 1, 3], vec![3.0, 0.0, 2.0]);
    let y = to.float(
        Op::Float(FloatOp::Gather { axis: 3 }),
        &[Value::Input, places],
        &[3, 2, 3],
    );
    ("float-only gather".to_string(), to.build(y))
}

pub fn networks() -> Vec<(String, Network)> {
    let vector = &[CHANNELS][..];
    let strided = Window {
        stride: [2, 2],
        ..three()
    };
    let epsilon = 1e-3;
    let transposed = Op::TransposedConvolution {
        rank: 2,
        window: strided,
        output_padding: [1, 1],
        groups: 1,
    };
    let average = Op::AveragePool {
        rank: 2,
        window: strided,
        include_padding: true,
        ceil: false,
    };
    let binary = |binary| with(Op::Binary(binary), &SMALL, 0.0, &[&SMALL], &SMALL);
    let all = [
        ("float convolution", convolution(three(), 1, 10)),
        (
            "float convolution, one by one",
            convolution(Window::default(), 1, 9),
        ),
        ("float convolution, strided", convolution(strided, 1, 5)),
        (
            "float convolution, depthwise",
            convolution(three(), CHANNELS, CHANNELS),
        ),
        (
            "float transposed convolution",
            with(
                transposed,
                &INPUT,
                0.0,
                &[&[CHANNELS, 4, 3, 3]],
                &[4, 12, 10],
            ),
        ),
        (
            "float linear",
            with(Op::Linear, &[23], 0.0, &[&[23, 7]], &[7]),
        ),
        (
            "float batch norm",
            with(Op::BatchNorm { epsilon }, &INPUT, 0.0, &[vector; 4], &INPUT),
        ),
        (
            "float group norm",
            with(
                Op::GroupNorm { groups: 2, epsilon },
                &INPUT,
                0.0,
                &[vector; 2],
                &INPUT,
            ),
        ),
        ("float attention", attention()),
        ("float add", binary(Binary::Add)),
        ("float subtract", binary(Binary::Subtract)),
        ("float multiply", binary(Binary::Multiply)),
        ("float divide", binary(Binary::Divide)),
        (
            "float average pool",
            with(average, &INPUT, 0.0, &[], &[CHANNELS, 3, 3]),
        ),
        (
            "float adaptive pool",
            with(
                Op::AdaptiveAveragePool {
                    rank: 2,
                    output: [4, 2],
                },
                &INPUT,
                0.0,
                &[],
                &[CHANNELS, 4, 2],
            ),
        ),
        (
            "float mean",
            with(
                Op::Mean { axes: vec![2, 3] },
                &INPUT,
                0.0,
                &[],
                &[CHANNELS, 1, 1],
            ),
        ),
        (
            "float sum",
            with(Op::Sum { axes: vec![1] }, &INPUT, 0.0, &[], &[1, 6, 5]),
        ),
        (
            "float bilinear upsampling",
            with(
                Op::UpsampleBilinear {
                    align_corners: false,
                },
                &INPUT,
                0.0,
                &[],
                &[CHANNELS, 9, 10],
            ),
        ),
    ];
    let all = all.map(|(name, network)| (name.to_string(), network));
    all.into_iter().chain(unary()).chain(float_only()).collect()
}

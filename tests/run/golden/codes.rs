//! Networks in whole numbers.

use burn_compress::network::{
    Activation, Arithmetic, Divide, Network, Op, Rescale, StepOp, Value, Window,
};

use super::build::{Builder, grid, three};

/// Forms and operations that these networks have.
pub const NAMES: [&str; 24] = [
    "add",
    "add_constant",
    "adaptive_average_pool",
    "average_pool",
    "concatenate",
    "convolution",
    "dequantize",
    "expand",
    "grouped_convolution",
    "linear",
    "matmul",
    "max_pool",
    "multiply",
    "multiply_constant",
    "pad",
    "permute",
    "quantize",
    "rescale",
    "reshape",
    "slice",
    "sum",
    "table",
    "transposed_convolution",
    "upsample_nearest",
];

const CHANNELS: usize = 8;
const SIZE: [usize; 2] = [7, 6];
const INPUT: [usize; 3] = [CHANNELS, SIZE[0], SIZE[1]];

fn convolution(window: Window, groups: usize, filters: usize, low: i32) -> Network {
    let mut to = Builder::new(filters as u64 + groups as u64, &INPUT);
    let x = to.codes(&INPUT);
    let each = CHANNELS / groups;
    let weights = to.weights(&[&[filters, each], &window.kernel[..]].concat());
    let rescale = to.rescale(filters, each * window.kernel[0] * window.kernel[1]);
    let [height, width] = window.output(SIZE).unwrap();
    let op = Op::Convolution {
        rank: 2,
        window,
        groups,
    };
    let op = StepOp::Product {
        op,
        weights: Some(weights),
        rescale,
    };
    let y = to.step(op, &[x], Some(grid(8, 0.1, low)), &[filters, height, width]);
    to.build(y)
}

// Two convolutions with a residual and a ReLU, pools, and a classifier: as a whole network is.
fn residual() -> Network {
    let mut to = Builder::new(5, &INPUT);
    let x = to.codes(&INPUT);
    let product = |to: &mut Builder, x: &[Value], residual: Option<f32>| {
        let op = Op::Convolution {
            rank: 2,
            window: three(),
            groups: 1,
        };
        let weights = Some(to.weights(&[CHANNELS, CHANNELS, 3, 3]));
        let rescale = Rescale {
            residual,
            activation: Some(Activation::Relu),
            ..to.rescale(CHANNELS, CHANNELS * 9)
        };
        to.step(
            StepOp::Product {
                op,
                weights,
                rescale,
            },
            x,
            Some(grid(8, 0.05, 0)),
            &INPUT,
        )
    };
    let y = product(&mut to, &[x], None);
    let z = product(&mut to, &[y, x], Some(0.375));
    let w = product(&mut to, &[z, y], Some(1.0 / 3.0));
    let window = Window {
        kernel: [2, 2],
        stride: [2, 2],
        ..Window::default()
    };
    let op = StepOp::Move(Op::MaxPool {
        rank: 2,
        window,
        ceil: false,
    });
    let pooled = to.step(op, &[w], Some(grid(8, 0.05, 0)), &[CHANNELS, 3, 3]);
    let sum = StepOp::Sum {
        op: Op::AdaptiveAveragePool {
            rank: 2,
            output: [1, 1],
        },
        divide: Divide::Elements,
        multiplier: 1.0,
        activation: None,
    };
    let mean = to.step(sum, &[pooled], Some(grid(8, 0.05, 0)), &[CHANNELS, 1, 1]);
    let flat = to.step(
        StepOp::Move(Op::Reshape),
        &[mean],
        Some(grid(8, 0.05, 0)),
        &[CHANNELS],
    );
    let weights = Some(to.weights(&[CHANNELS, 10]));
    let rescale = to.rescale(10, CHANNELS);
    let linear = StepOp::Product {
        op: Op::Linear,
        weights,
        rescale,
    };
    let classes = to.step(linear, &[flat], None, &[10]);
    to.build(classes)
}

fn transposed() -> Network {
    let mut to = Builder::new(6, &INPUT);
    let x = to.codes(&INPUT);
    let window = Window {
        stride: [2, 2],
        ..three()
    };
    let weights = Some(to.weights(&[CHANNELS, 4, 3, 3]));
    let rescale = to.rescale(4, CHANNELS * 9);
    let op = Op::TransposedConvolution {
        rank: 2,
        window,
        output_padding: [1, 0],
        groups: 1,
    };
    let op = StepOp::Product {
        op,
        weights,
        rescale,
    };
    let y = to.step(op, &[x], Some(grid(8, 0.1, 90)), &[4, 14, 11]);
    to.build(y)
}

fn line() -> Network {
    let mut to = Builder::new(7, &[4, 9]);
    let x = to.codes(&[4, 9]);
    let window = Window {
        kernel: [1, 3],
        stride: [1, 2],
        padding: [(0, 0), (1, 1)],
        ..Window::default()
    };
    let weights = Some(to.weights(&[6, 4, 3]));
    let rescale = to.rescale(6, 12);
    let op = Op::Convolution {
        rank: 1,
        window,
        groups: 1,
    };
    let y = to.step(
        StepOp::Product {
            op,
            weights,
            rescale,
        },
        &[x],
        Some(grid(8, 0.1, 128)),
        &[6, 5],
    );
    to.build(y)
}

// `bits` of the input's codes; more than eight run by the reference's own code.
fn linear(bits: u32, dims: &[usize], outputs: usize) -> Network {
    let mut to = Builder::new(8 + u64::from(bits), dims);
    let (leading, inputs) = (&dims[..dims.len() - 1], dims[dims.len() - 1]);
    let codes = grid(bits, 2.0 / f32::from(1u16 << (bits - 1)), 1 << (bits - 1));
    let x = to.step(StepOp::Quantize, &[Value::Input], Some(codes), dims);
    let weights = Some(to.weights(&[inputs, outputs]));
    let rescale = to.rescale(outputs, inputs);
    let linear = StepOp::Product {
        op: Op::Linear,
        weights,
        rescale,
    };
    let y = to.step(linear, &[x], None, &[leading, &[outputs]].concat());
    to.build(y)
}

// Sums beyond 2^24, which a float does not hold.
fn long_sums() -> Network {
    const INPUTS: usize = 1200;
    let mut to = Builder::new(9, &[INPUTS]);
    let codes = grid(8, 1.0 / 128.0, 0);
    let x = to.step(StepOp::Quantize, &[Value::Input], Some(codes), &[INPUTS]);
    let mut weights = to.weights(&[INPUTS, 4]);
    weights.codes = (0..INPUTS * 4)
        .map(|place| 127 - (place % 5) as i32)
        .collect();
    let rescale = Rescale::by(1.0);
    let y = to.step(
        StepOp::Product {
            op: Op::Linear,
            weights: Some(weights),
            rescale,
        },
        &[x],
        None,
        &[4],
    );
    to.build(y)
}

fn products_of_activations() -> Network {
    let mut to = Builder::new(10, &[5, 6]);
    let x = to.codes(&[5, 6]);
    let turn = StepOp::Move(Op::Permute {
        axes: vec![0, 2, 1],
    });
    let turned = to.step(turn, &[x], Some(grid(8, 1.0 / 120.0, 120)), &[6, 5]);
    let op = StepOp::Product {
        op: Op::MatMul,
        weights: None,
        rescale: Rescale::by(0.003),
    };
    let y = to.step(op, &[x, turned], Some(grid(8, 0.1, 100)), &[5, 5]);
    to.build(y)
}

// One step on codes.
fn one(op: StepOp, rescaled: bool, dims: &[usize]) -> Network {
    let mut to = Builder::new(11, &INPUT);
    let x = to.codes(&INPUT);
    let to_grid = match rescaled {
        true => grid(8, 0.02, 77),
        false => grid(8, 1.0 / 120.0, 120),
    };
    let y = to.step(op, &[x], Some(to_grid), dims);
    to.build(y)
}

fn sum(op: Op, divide: Divide, multiplier: f32) -> StepOp {
    StepOp::Sum {
        op,
        divide,
        multiplier,
        activation: None,
    }
}

// Two tensors, or one and a constant.
fn arithmetic(how: Arithmetic, constant: bool) -> Network {
    let mut to = Builder::new(12, &INPUT);
    let x = to.codes(&INPUT);
    let other = match constant {
        true => to.numbers(&[CHANNELS, 1, 1], false),
        false => {
            let coarse = grid(8, 0.02, 31);
            to.step(StepOp::Quantize, &[Value::Input], Some(coarse), &INPUT)
        }
    };
    let activation = Some(Activation::Clamp {
        min: -60.0,
        max: 90.5,
    });
    let op = StepOp::Arithmetic { how, activation };
    let y = to.step(op, &[x, other], Some(grid(8, 0.02, 100)), &INPUT);
    to.build(y)
}

fn concatenated() -> Network {
    let mut to = Builder::new(13, &INPUT);
    let x = to.codes(&INPUT);
    let same = Some(grid(8, 1.0 / 120.0, 120));
    let ranges = vec![
        (0, None, 1),
        (1, Some(CHANNELS), 2),
        (0, None, 1),
        (0, None, 1),
    ];
    let odd = to.step(StepOp::Move(Op::Slice { ranges }), &[x], same, &[4, 7, 6]);
    let y = to.step(
        StepOp::Move(Op::Concatenate { axis: 1 }),
        &[odd, x],
        same,
        &[12, 7, 6],
    );
    to.build(y)
}

fn table() -> Network {
    let mut to = Builder::new(14, &INPUT);
    let x = to.codes(&INPUT);
    let entry = |code: i32| code * code / 300 - 60;
    let table = (0..256).map(|code| entry(code - 120)).collect();
    let y = to.step(StepOp::Table(table), &[x], Some(grid(8, 0.1, 60)), &INPUT);
    let y = to.step(StepOp::Dequantize, &[y], None, &INPUT);
    to.build(y)
}

fn rescaled() -> Network {
    let mut to = Builder::new(15, &INPUT);
    let x = to.codes(&INPUT);
    let rescale = Rescale {
        multiplier: (0..CHANNELS).map(|c| 0.2 + 0.1 * c as f32).collect(),
        ..to.rescale(CHANNELS, 1)
    };
    let y = to.step(
        StepOp::Rescale(rescale),
        &[x],
        Some(grid(8, 0.02, 120)),
        &INPUT,
    );
    to.build(y)
}

fn expanded() -> Network {
    let mut to = Builder::new(16, &[4, 1, 3]);
    let x = to.codes(&[4, 1, 3]);
    let same = Some(grid(8, 1.0 / 120.0, 120));
    let y = to.step(StepOp::Move(Op::Expand), &[x], same, &[4, 5, 3]);
    to.build(y)
}

pub fn networks() -> Vec<(String, Network)> {
    let dilated = Window {
        dilation: [2, 2],
        stride: [2, 1],
        ..three()
    };
    let two = Window {
        kernel: [2, 2],
        stride: [2, 2],
        ..Window::default()
    };
    let average = |include_padding| Op::AveragePool {
        rank: 2,
        window: Window {
            stride: [2, 2],
            ..three()
        },
        include_padding,
        ceil: false,
    };
    let (left, right) = (0.5, -0.25);
    let all = [
        ("convolution", convolution(three(), 1, 12, 100)),
        ("convolution, from zero", convolution(three(), 1, 20, 0)),
        ("convolution, dilated", convolution(dilated, 1, 6, 128)),
        (
            "convolution, one by one",
            convolution(Window::default(), 1, 32, 3),
        ),
        ("convolution, grouped", convolution(three(), 2, 8, 100)),
        (
            "convolution, depthwise",
            convolution(three(), CHANNELS, CHANNELS, 100),
        ),
        ("convolution, 1d", line()),
        ("transposed convolution", transposed()),
        ("residual network", residual()),
        ("linear", linear(8, &[37], 11)),
        ("linear, 3 bits", linear(3, &[37], 11)),
        ("linear, 12 bits", linear(12, &[9], 4)),
        ("linear, tokens", linear(8, &[5, 12], 7)),
        ("long sums", long_sums()),
        ("products of activations", products_of_activations()),
        (
            "average pool",
            one(sum(average(false), Divide::Elements, 0.4), true, &[8, 4, 3]),
        ),
        (
            "average pool, padding counts",
            one(sum(average(true), Divide::Padded, 0.4), true, &[8, 4, 3]),
        ),
        (
            "adaptive pool",
            one(
                sum(
                    Op::AdaptiveAveragePool {
                        rank: 2,
                        output: [3, 2],
                    },
                    Divide::Elements,
                    0.5,
                ),
                true,
                &[8, 3, 2],
            ),
        ),
        (
            "mean",
            one(
                sum(Op::Sum { axes: vec![2, 3] }, Divide::None, 0.01),
                true,
                &[8, 1, 1],
            ),
        ),
        (
            "sum",
            one(
                sum(Op::Sum { axes: vec![1] }, Divide::None, 0.1),
                true,
                &[1, 7, 6],
            ),
        ),
        ("add", arithmetic(Arithmetic::Add { left, right }, false)),
        (
            "add constant",
            arithmetic(Arithmetic::AddConstant { multiplier: left }, true),
        ),
        (
            "multiply",
            arithmetic(Arithmetic::Multiply { multiplier: 0.004 }, false),
        ),
        (
            "multiply constant",
            arithmetic(Arithmetic::MultiplyConstant, true),
        ),
        ("rescale", rescaled()),
        ("table", table()),
        ("concatenation, slice", concatenated()),
        ("expansion", expanded()),
        (
            "max pool",
            one(
                StepOp::Move(Op::MaxPool {
                    rank: 2,
                    window: two,
                    ceil: true,
                }),
                false,
                &[8, 4, 3],
            ),
        ),
        (
            "padding",
            one(
                StepOp::Move(Op::Pad {
                    padding: vec![(0, 0), (1, 2), (0, 1), (2, 0)],
                    value: 0.0,
                }),
                false,
                &[11, 8, 8],
            ),
        ),
        (
            "reshape",
            one(StepOp::Move(Op::Reshape), false, &[CHANNELS * 7, 6]),
        ),
        (
            "permutation",
            one(
                StepOp::Move(Op::Permute {
                    axes: vec![0, 2, 3, 1],
                }),
                false,
                &[7, 6, CHANNELS],
            ),
        ),
        (
            "nearest upsampling",
            one(StepOp::Move(Op::UpsampleNearest), false, &[8, 14, 12]),
        ),
    ];
    all.map(|(name, network)| (name.to_string(), network))
        .into()
}

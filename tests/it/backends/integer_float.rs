//! The integer reference's float steps, and its pools and movements, against Burn.

use burn::tensor::module::{
    adaptive_avg_pool2d, avg_pool2d, conv_transpose2d, conv2d, interpolate, layer_norm, max_pool2d,
};
use burn::tensor::ops::{
    AvgPoolOptions, ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions,
    MaxPoolOptions,
};
use burn::tensor::{Tensor, activation::softmax};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::network::{Binary, Constant, Dim, FloatOp, Op, Unary, Value, Window};
use burn_compress::network::{Divide, Elements, Grid, Network, Step, StepOp};
use proptest::prelude::*;

use super::device::device;
use super::noise::{Noise, per_image};

fn values(noise: &mut Noise, dims: &[usize]) -> Constant {
    let count = dims.iter().product();
    Constant {
        values: (0..count)
            .map(|_| noise.within(-900, 900) as f32 / 300.0)
            .collect(),
        dims: dims.to_vec(),
    }
}

fn tensor<const D: usize>(constant: &Constant) -> Tensor<D> {
    let flat = Tensor::<1>::from_data(&constant.values[..], &device());
    let mut dims = [0; D];
    dims.copy_from_slice(&constant.dims);
    flat.reshape(dims)
}

fn step(op: StepOp, inputs: Vec<Value>, grid: Option<Grid>, dims: &[usize]) -> Step {
    Step {
        op,
        inputs,
        grid,
        dims: per_image(&dims[1..]),
        layer: "layer".into(),
    }
}

/// The result of one step on the input and constants, on two threads.
fn run(op: StepOp, input: &Constant, constants: &[&Constant], dims: &[usize]) -> Vec<f32> {
    let inputs = std::iter::once(Value::Input).chain((0..constants.len()).map(Value::Constant));
    let step = step(op, inputs.collect(), None, dims);
    let constants = constants.iter().map(|&constant| constant.clone()).collect();
    let model = Network::new(
        per_image(&input.dims[1..]),
        constants,
        vec![step],
        Value::Node(0),
    );
    let (output, _) = model
        .unwrap()
        .run_with(&input.values, input.dims[0], 2)
        .unwrap();
    output
}

#[track_caller]
fn close<const D: usize>(found: &[f32], expected: Tensor<D>) {
    let expected = expected.into_data().convert::<f32>();
    let expected = expected.as_slice::<f32>().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let within = 1e-4 * (1.0 + expected.abs());
        assert!(
            (found - expected).abs() <= within,
            "{found} is not {expected}"
        );
    }
}

fn dims<const D: usize>(tensor: &Tensor<D>) -> Vec<usize> {
    tensor.dims().to_vec()
}

#[test]
fn products_are_burns() {
    let mut noise = Noise(1);
    let window = Window {
        kernel: [3, 2],
        stride: [2, 1],
        padding: [(1, 1), (1, 1)],
        dilation: [1, 2],
    };
    let groups = 2;
    let x = values(&mut noise, &[3, 4, 6, 7]);
    let weight = values(&mut noise, &[6, 2, 3, 2]);
    let options = ConvOptions::new(window.stride, [1, 1], window.dilation, groups);
    let expected = conv2d(tensor(&x), tensor(&weight), None, options);
    let op = Op::Convolution {
        rank: 2,
        window,
        groups,
    };
    close(
        &run(StepOp::Float(op), &x, &[&weight], &dims(&expected)),
        expected,
    );

    let weight = values(&mut noise, &[4, 3, 3, 2]);
    let output_padding = [1, 0];
    let options = ConvTransposeOptions::new(
        window.stride,
        [1, 1],
        output_padding,
        window.dilation,
        groups,
    );
    let expected = conv_transpose2d(tensor(&x), tensor(&weight), None, options);
    let op = Op::TransposedConvolution {
        rank: 2,
        window,
        output_padding,
        groups,
    };
    close(
        &run(StepOp::Float(op), &x, &[&weight], &dims(&expected)),
        expected,
    );

    let (x, weight) = (values(&mut noise, &[3, 2, 5]), values(&mut noise, &[5, 4]));
    let expected = tensor::<3>(&x).matmul(tensor::<2>(&weight).unsqueeze());
    let found = run(StepOp::Float(Op::Linear), &x, &[&weight], &dims(&expected));
    close(&found, expected.clone());
    close(
        &run(StepOp::Float(Op::MatMul), &x, &[&weight], &dims(&expected)),
        expected,
    );
}

#[test]
fn norms_and_softmax_are_burns() {
    let mut noise = Noise(2);
    let x = values(&mut noise, &[3, 4, 5]);
    let epsilon = 1e-3;
    let [gamma, beta] = [(); 2].map(|()| values(&mut noise, &[5]));
    let expected = layer_norm(tensor::<3>(&x), tensor(&gamma), Some(tensor(&beta)), 1e-3);
    let op = StepOp::Float(Op::LayerNorm { epsilon });
    close(&run(op, &x, &[&gamma, &beta], &x.dims), expected);

    let [gamma, beta, mean, mut variance] = [(); 4].map(|()| values(&mut noise, &[4]));
    let channels = |constant: &Constant| tensor::<1>(constant).reshape([1, 4, 1]);
    let groups = tensor::<3>(&x).reshape([3, 2, 10]);
    let centred = groups.clone() - groups.mean_dim(2);
    let deviation = (centred.clone().square().mean_dim(2) + 1e-3).sqrt();
    let normal = (centred / deviation).reshape([3, 4, 5]);
    let expected = normal * channels(&gamma) + channels(&beta);
    let op = StepOp::Float(Op::GroupNorm { groups: 2, epsilon });
    close(&run(op, &x, &[&gamma, &beta], &x.dims), expected);

    variance.values.iter_mut().for_each(|x| *x = x.abs());
    let normal = (tensor::<3>(&x) - channels(&mean)) / (channels(&variance) + 1e-3).sqrt();
    let expected = normal * channels(&gamma) + channels(&beta);
    let op = StepOp::Float(Op::BatchNorm { epsilon });
    close(
        &run(op, &x, &[&gamma, &beta, &mean, &variance], &x.dims),
        expected,
    );

    for axis in 0..3 {
        let op = StepOp::Float(Op::Softmax { axis });
        close(&run(op, &x, &[], &x.dims), softmax(tensor::<3>(&x), axis));
    }
}

// The nearest number of single precision, or one beside it.
#[track_caller]
fn rounded_once(what: &str, found: &[f32], expected: impl IntoIterator<Item = f64>) {
    let expected: Vec<f64> = expected.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let apart = (f64::from(*found) - expected).abs();
        let within = expected.abs() * f64::from(f32::EPSILON) * 0.51;
        assert!(
            apart <= within,
            "{what}: {found}, not {expected}, at {place}"
        );
    }
}

// Thousands of numbers that differ by little, by the definitions in double precision.
#[test]
fn sums_of_many_lose_nothing() {
    const MANY: usize = 4096;
    let mut noise = Noise(4);
    let mut around = |middle: f32, spread: f32, dims: &[usize]| {
        let mut x = values(&mut noise, dims);
        x.values
            .iter_mut()
            .for_each(|x| *x = middle + *x / 3.0 * spread);
        x
    };
    let wide = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let normal = |x: &[f64], epsilon: f32| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let squares = x.iter().map(|x| (x - mean).powi(2));
        let variance = squares.sum::<f64>() / x.len() as f64;
        let deviation = (variance + f64::from(epsilon)).sqrt();
        x.iter().map(|x| (x - mean) / deviation).collect::<Vec<_>>()
    };
    let epsilon = 1e-5;
    let x = around(1000.0, 0.1, &[2, MANY]);
    let [gamma, beta] = [(); 2].map(|()| around(0.5, 1.0, &[MANY]));
    let found = run(
        StepOp::Float(Op::LayerNorm { epsilon }),
        &x,
        &[&gamma, &beta],
        &x.dims,
    );
    let [factors, terms] = [wide(&gamma.values), wide(&beta.values)];
    let parts = x.values.chunks(MANY).map(wide);
    let expected = parts.flat_map(|part| {
        let normal = normal(&part, epsilon).into_iter().enumerate();
        let affine = normal.map(|(place, x)| x * factors[place] + terms[place]);
        affine.collect::<Vec<_>>()
    });
    rounded_once("layer norm", &found, expected);

    // Two groups of four channels each.
    let x = around(1000.0, 0.1, &[2, 8, MANY / 4]);
    let [gamma, beta] = [(); 2].map(|()| around(0.5, 1.0, &[8]));
    let op = StepOp::Float(Op::GroupNorm { groups: 2, epsilon });
    let found = run(op, &x, &[&gamma, &beta], &x.dims);
    let parts = x.values.chunks(MANY).map(wide);
    let expected = parts.enumerate().flat_map(|(group, part)| {
        let normal = normal(&part, epsilon).into_iter().enumerate();
        let affine = normal.map(|(place, x)| {
            let channel = group % 2 * 4 + place / (MANY / 4);
            x * f64::from(gamma.values[channel]) + f64::from(beta.values[channel])
        });
        affine.collect::<Vec<_>>()
    });
    rounded_once("group norm", &found, expected);

    let x = around(1000.0, 3.0, &[1, 1, 64, 64]);
    let all = wide(&x.values);
    let sum: f64 = all.iter().sum();
    let window = Window {
        kernel: [64, 64],
        ..Window::default()
    };
    let average = Op::AveragePool {
        rank: 2,
        window,
        include_padding: true,
        ceil: false,
    };
    let adaptive = Op::AdaptiveAveragePool {
        rank: 2,
        output: [1, 1],
    };
    let axes = || vec![2, 3];
    for (op, of) in [
        (average, MANY),
        (adaptive, MANY),
        (Op::Mean { axes: axes() }, MANY),
        (Op::Sum { axes: axes() }, 1),
    ] {
        let name = op.name();
        let found = run(StepOp::Float(op), &x, &[], &[1, 1, 1, 1]);
        rounded_once(name, &found, [sum / of as f64]);
    }

    let x = around(0.0, 1.0, &[1, MANY]);
    let all = wide(&x.values);
    let greatest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = all.iter().map(|x| (x - greatest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    let float = |op: FloatOp| StepOp::Float(Op::Float(op));
    let found = run(StepOp::Float(Op::Softmax { axis: 1 }), &x, &[], &x.dims);
    rounded_once("softmax", &found, powers.iter().map(|power| power / sum));
    let found = run(float(FloatOp::LogSoftmax { axis: 1 }), &x, &[], &x.dims);
    let expected = all.iter().map(|x| x - greatest - sum.ln());
    rounded_once("log softmax", &found, expected);

    let x = around(1.0, 0.001, &[1, MANY]);
    let all = wide(&x.values);
    let so_far = |of: fn(f64, f64) -> f64, start: f64| {
        let next = move |state: &mut f64, x: &f64| {
            *state = of(*state, *x);
            Some(*state)
        };
        all.iter().scan(start, next).collect::<Vec<_>>()
    };
    let (sums, products) = (so_far(|a, b| a + b, 0.0), so_far(|a, b| a * b, 1.0));
    let found = run(float(FloatOp::CumulativeSum { axis: 1 }), &x, &[], &x.dims);
    rounded_once("cumulative sum", &found, sums);
    let cumulative = float(FloatOp::CumulativeProduct { axis: 1 });
    let found = run(cumulative, &x, &[], &x.dims);
    rounded_once("cumulative product", &found, products.clone());
    let found = run(float(FloatOp::Product { axis: 1 }), &x, &[], &[1, 1]);
    rounded_once("product", &found, [products[MANY - 1]]);
}

#[test]
fn elementwise_steps_are_burns() {
    let mut noise = Noise(3);
    let (x, other) = (values(&mut noise, &[3, 4, 5]), values(&mut noise, &[4, 1]));
    let (a, b) = (tensor::<3>(&x), tensor::<2>(&other).unsqueeze::<3>());
    for (binary, expected) in [
        (Binary::Add, a.clone() + b.clone()),
        (Binary::Subtract, a.clone() - b.clone()),
        (Binary::Multiply, a.clone() * b.clone()),
        (Binary::Divide, a.clone() / b),
    ] {
        let op = StepOp::Float(Op::Binary(binary));
        close(&run(op, &x, &[&other], &x.dims), expected);
    }
    let op = StepOp::Float(Op::Unary(Unary::Tanh));
    close(&run(op, &x, &[], &x.dims), a.clone().tanh());
    let mean = a.clone().mean_dim(1);
    let op = |op| StepOp::Float(op);
    close(
        &run(op(Op::Mean { axes: vec![1] }), &x, &[], &[3, 1, 5]),
        mean,
    );
    close(
        &run(op(Op::Sum { axes: vec![2] }), &x, &[], &[3, 4, 1]),
        a.sum_dim(2),
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn pools_are_burns(seed: u64) {
        let mut noise = Noise(seed);
        let mut window = Window::default();
        for axis in 0..2 {
            window.kernel[axis] = 2 + noise.below(2);
            window.stride[axis] = 1 + noise.below(3);
            window.padding[axis] = (noise.below(2), noise.below(2));
        }
        let (ceil, include_padding) = (noise.pick(&[true, false]), noise.pick(&[true, false]));
        let size = [3 + noise.below(5), 3 + noise.below(5)];
        let x = values(&mut noise, &[2, 3, size[0], size[1]]);
        let options = AvgPoolOptions::new(window.kernel).with_stride(window.stride)
            .with_padding_pairs(window.padding).with_count_include_pad(include_padding).with_ceil_mode(ceil);
        let expected = avg_pool2d(tensor(&x), options.clone());
        let op = Op::AveragePool { rank: 2, window, include_padding, ceil };
        close(&run(StepOp::Float(op), &x, &[], &dims(&expected)), expected.clone());

        // The same of codes.
        let scheme = Scheme::new(10, Mapping::Affine, Granularity::Tensor).unwrap();
        let grid = Grid::new(scheme, 0.01, 500).unwrap();
        let divide = if include_padding { Divide::Padded } else { Divide::Elements };
        let op = Op::AveragePool { rank: 2, window, include_padding, ceil };
        let op = StepOp::Sum { op, divide, multiplier: 0.01, activation: None };
        let steps = vec![
            step(StepOp::Quantize, vec![Value::Input], Some(grid), &x.dims),
            step(op, vec![Value::Node(0)], None, &dims(&expected)),
        ];
        let model = Network::new(per_image(&x.dims[1..]), vec![], steps, Value::Node(1)).unwrap();
        let on_grid: Vec<f32> = x.values.iter().map(|&x| grid.dequantize(grid.quantize(x))).collect();
        let on_grid = Constant { dims: x.dims.clone(), values: on_grid };
        close(&model.run(&x.values, 2).unwrap().0, avg_pool2d(tensor(&on_grid), options));

        let options = MaxPoolOptions::new(window.kernel).with_stride(window.stride)
            .with_padding_pairs(window.padding).with_ceil_mode(ceil);
        let expected = max_pool2d(tensor(&x), options);
        let op = Op::MaxPool { rank: 2, window, ceil };
        close(&run(StepOp::Move(op), &x, &[], &dims(&expected)), expected);
    }

    #[test]
    fn resizing_is_burns(seed: u64) {
        let mut noise = Noise(seed);
        let [h, w, to_h, to_w] = [(); 4].map(|()| 1 + noise.below(8));
        let x = values(&mut noise, &[2, 3, h, w]);
        let to = [2, 3, to_h, to_w];
        let expected = adaptive_avg_pool2d(tensor(&x), [to_h, to_w]);
        let op = Op::AdaptiveAveragePool { rank: 2, output: [to_h, to_w] };
        close(&run(StepOp::Float(op), &x, &[], &to), expected);

        let options = |mode| InterpolateOptions::new(mode).with_output_size([to_h, to_w]);
        let expected = interpolate(tensor(&x), options(InterpolateMode::Nearest));
        close(&run(StepOp::Move(Op::UpsampleNearest), &x, &[], &to), expected);

        for align_corners in [true, false] {
            let options = options(InterpolateMode::Bilinear).with_align_corners(align_corners);
            let op = Op::UpsampleBilinear { align_corners };
            close(&run(StepOp::Float(op), &x, &[], &to), interpolate(tensor(&x), options));
        }
    }
}

// Codes go into a float step dequantized, and come out of one quantized.
#[test]
fn float_steps_take_and_give_codes() {
    let grid = |scale| Some(Grid::new(Scheme::symmetric(8).unwrap(), scale, 0).unwrap());
    let float = StepOp::Float(Op::Unary(Unary::MulScalar(3.0)));
    let steps = vec![
        step(StepOp::Quantize, vec![Value::Input], grid(0.5), &[1, 3]),
        step(float, vec![Value::Node(0)], grid(0.25), &[1, 3]),
    ];
    let input = vec![Dim::Batch(1), Dim::Fixed(3)];
    let model = Network::new(input, vec![], steps, Value::Node(1)).unwrap();
    let traced = model.trace(&[1.0, -0.75, 9.0], 1).unwrap();
    assert_eq!(traced[0].elements, Elements::Codes(vec![2, -2, 18]));
    assert_eq!(traced[1].elements, Elements::Codes(vec![12, -12, 108]));
}

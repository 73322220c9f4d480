use burn_compress::network::Window;
use burn_compress::network::{Op, StepOp, Weights};
use proptest::prelude::*;

use super::{Codes, finished, indices, rescaled, trial};
use crate::noise::Noise;

/// In one dimension, the first axis is trivial.
fn window(noise: &mut Noise, rank: usize) -> Window {
    let mut window = Window::default();
    for axis in 2 - rank..2 {
        window.kernel[axis] = 1 + noise.below(3);
        window.stride[axis] = 1 + noise.below(3);
        window.dilation[axis] = 1 + noise.below(2);
        window.padding[axis] = (noise.below(3), noise.below(3));
    }
    window
}

fn weights(noise: &mut Noise, dims: Vec<usize>) -> Weights {
    let most = noise.pick(&[1, 7, 127, 300]);
    let mut weight = || match noise.below(3) {
        0 => 0,
        1 => noise.pick(&[most, -most]),
        _ => noise.within(-most, most),
    };
    Weights {
        codes: (0..dims.iter().product()).map(|_| weight()).collect(),
        dims,
    }
}

/// The shape of a rank without the trivial axis.
fn shape(rank: usize, channels: usize, size: [usize; 2]) -> Vec<usize> {
    [&[channels], &size[2 - rank..]].concat()
}

/// With the trivial axis.
fn as_2d(tensor: &Codes) -> Codes {
    let mut dims = tensor.dims.clone();
    if dims.len() == 3 {
        dims.insert(2, 1);
    }
    Codes {
        dims,
        codes: tensor.codes.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn convolutions_are_sums_over_windows(seed: u64) {
        let mut noise = Noise(seed);
        let rank = 1 + noise.below(2);
        let window = window(&mut noise, rank);
        let (groups, each_in, each_out) = (1 + noise.below(3), 1 + noise.below(3), 1 + noise.below(3));
        let (channels, filters) = (groups * each_in, groups * each_out);
        let mut size = [1, 1];
        for length in &mut size[2 - rank..] {
            *length = 1 + noise.below(7);
        }
        prop_assume!(window.output(size).is_some());
        let output = window.output(size).unwrap();
        let kernel = &window.kernel[2 - rank..];
        let weights = weights(&mut noise, [&[filters, each_in], kernel].concat());
        let codes = weights.codes.widened();
        let residual = noise.pick(&[true, false]);
        let rescale = noise.rescale(filters, residual);
        let op = StepOp::Product {
            op: Op::Convolution { rank, window, groups },
            weights: Some(weights.clone()),
            rescale: rescale.clone(),
        };
        let (input, result) = (shape(rank, channels, size), shape(rank, filters, output));
        let from = noise.pick(&[2, 8, 13]);
        let mut operands = vec![(&input[..], noise.grid(from))];
        if residual {
            operands.push((&result[..], noise.grid(8)));
        }
        let grid = noise.pick(&[true, false]).then(|| noise.grid(5));
        let trial = trial(&mut noise, op, &operands, vec![], &result, grid);
        let x = as_2d(&trial.operands[0]);
        let places = indices(&[trial.batch, filters, output[0], output[1]]);
        let t = places.iter().enumerate().map(|(place, index)| {
            let &[image, filter, y, x_out] = &index[..] else { unreachable!() };
            let mut sum = 0i64;
            for i in 0..each_in {
                for ky in 0..window.kernel[0] {
                    for kx in 0..window.kernel[1] {
                        let at = |axis: usize, out: usize, k: usize| {
                            (out * window.stride[axis] + k * window.dilation[axis]) as i64
                                - window.padding[axis].0 as i64
                        };
                        let channel = filter / each_out * each_in + i;
                        let code = x.padded(image, channel, [at(0, y, ky), at(1, x_out, kx)]);
                        let weight = ((filter * each_in + i) * window.kernel[0] + ky) * window.kernel[1] + kx;
                        sum += i64::from(code.unwrap_or(0)) * i64::from(codes[weight]);
                    }
                }
            }
            let added = trial.operands.get(1).map_or(0, |added| added.codes[place]);
            rescaled(&rescale, sum, filter, added)
        });
        let expected = finished(t.collect(), rescale.activation, grid);
        trial.check(&expected, &mut noise)?;
    }

    #[test]
    fn transposed_convolutions_are_what_each_input_spreads(seed: u64) {
        let mut noise = Noise(seed);
        let rank = 1 + noise.below(2);
        let window = window(&mut noise, rank);
        let (groups, each_in, each_out) = (1 + noise.below(3), 1 + noise.below(3), 1 + noise.below(3));
        let (channels, filters) = (groups * each_in, groups * each_out);
        let (mut size, mut output, mut output_padding) = ([1i64, 1], [1i64, 1], [0, 0]);
        for axis in 2 - rank..2 {
            size[axis] = 1 + noise.below(5) as i64;
            output_padding[axis] = noise.below(2);
            let extent = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
            let full = (size[axis] - 1) * window.stride[axis] as i64 + (extent + output_padding[axis]) as i64;
            output[axis] = full - (window.padding[axis].0 + window.padding[axis].1) as i64;
        }
        prop_assume!(output[0] > 0 && output[1] > 0);
        let output = output.map(|n| n as usize);
        let kernel = &window.kernel[2 - rank..];
        let weights = weights(&mut noise, [&[channels, each_out], kernel].concat());
        let codes = weights.codes.widened();
        let rescale = noise.rescale(filters, false);
        let op = StepOp::Product {
            op: Op::TransposedConvolution { rank, window, output_padding, groups },
            weights: Some(weights.clone()),
            rescale: rescale.clone(),
        };
        let input = shape(rank, channels, size.map(|n| n as usize));
        let result = shape(rank, filters, output);
        let grid = noise.pick(&[true, false]).then(|| noise.grid(8));
        let from = noise.grid(8);
        let trial = trial(&mut noise, op, &[(&input[..], from)], vec![], &result, grid);
        let x = as_2d(&trial.operands[0]);
        let dims = vec![trial.batch, filters, output[0], output[1]];
        let mut sums = vec![0i64; dims.iter().product()];
        let places = Codes { dims: dims.clone(), codes: vec![] };
        for index in indices(&x.dims) {
            for filter in 0..each_out {
                for tap in indices(&window.kernel) {
                    let to = |axis: usize| {
                        let at = index[2 + axis] * window.stride[axis] + tap[axis] * window.dilation[axis];
                        at.checked_sub(window.padding[axis].0).filter(|&at| at < output[axis])
                    };
                    let (Some(y), Some(x_out)) = (to(0), to(1)) else { continue };
                    let filter_of_all = index[1] / each_in * each_out + filter;
                    let place = places.place(&[index[0], filter_of_all, y, x_out]);
                    let weight = ((index[1] * each_out + filter) * window.kernel[0] + tap[0]) * window.kernel[1] + tap[1];
                    sums[place] += i64::from(x.at(&index)) * i64::from(codes[weight]);
                }
            }
        }
        let t = indices(&dims).iter().zip(sums).map(|(index, sum)| rescaled(&rescale, sum, index[1], 0)).collect();
        trial.check(&finished(t, rescale.activation, grid), &mut noise)?;
    }

    #[test]
    fn linear_layers_are_sums_over_inputs(seed: u64) {
        let mut noise = Noise(seed);
        let leading: Vec<usize> = (0..noise.below(3)).map(|_| 1 + noise.below(3)).collect();
        let (inputs, outputs) = (1 + noise.below(9), 1 + noise.below(5));
        let weights = weights(&mut noise, vec![inputs, outputs]);
        let codes = weights.codes.widened();
        let rescale = noise.rescale(outputs, false);
        let op = StepOp::Product { op: Op::Linear, weights: Some(weights.clone()), rescale: rescale.clone() };
        let (input, result) = ([&leading[..], &[inputs]].concat(), [&leading[..], &[outputs]].concat());
        let grid = noise.pick(&[true, false]).then(|| noise.grid(8));
        let from = noise.grid(8);
        let trial = trial(&mut noise, op, &[(&input[..], from)], vec![], &result, grid);
        let mut t = vec![];
        for row in trial.operands[0].codes.chunks(inputs) {
            for output in 0..outputs {
                let products = (0..inputs).map(|i| i64::from(row[i]) * i64::from(codes[i * outputs + output]));
                t.push(rescaled(&rescale, products.sum(), output, 0));
            }
        }
        trial.check(&finished(t, rescale.activation, grid), &mut noise)?;
    }

    #[test]
    fn products_of_activations_broadcast(seed: u64) {
        let mut noise = Noise(seed);
        let [m, k, n, heads] = [(); 4].map(|()| 1 + noise.below(4));
        let (a, b) = (noise.pick(&[1, heads]), noise.pick(&[1, heads]));
        let rescale = noise.rescale(1, false);
        let op = StepOp::Product { op: Op::MatMul, weights: None, rescale: rescale.clone() };
        let grid = noise.pick(&[true, false]).then(|| noise.grid(8));
        let grids = [noise.grid(8), noise.grid(6)];
        let operands = [(&[a, m, k][..], grids[0]), (&[b, k, n][..], grids[1])];
        let heads = a.max(b);
        let trial = trial(&mut noise, op, &operands, vec![], &[heads, m, n], grid);
        let (left, right) = (&trial.operands[0], &trial.operands[1]);
        let t = indices(&[trial.batch, heads, m, n]).into_iter().map(|i| {
            let product = |k: usize| {
                let (a, b) = ([i[0], i[1] % a, i[2], k], [i[0], i[1] % b, k, i[3]]);
                i64::from(left.at(&a)) * i64::from(right.at(&b))
            };
            rescaled(&rescale, (0..k).map(product).sum(), 0, 0)
        });
        let t = t.collect();
        trial.check(&finished(t, rescale.activation, grid), &mut noise)?;
    }
}

// Sums beyond 2^24 are counted where they are.
#[test]
fn inexact_sums_are_counted() {
    use burn_compress::format::Scheme;
    use burn_compress::network::{Dim, Value};
    use burn_compress::network::{Grid, Network, Rescale, Step};
    let grid = Grid::new(Scheme::symmetric(16).unwrap(), 1.0, 0).unwrap();
    let step = |op, input, grid, features| Step {
        op,
        inputs: vec![input],
        grid,
        dims: vec![Dim::Batch(1), Dim::Fixed(features)],
        layer: "fc".into(),
    };
    let weights = Weights {
        dims: vec![1, 2],
        codes: vec![512, 513].into(),
    };
    let linear = StepOp::Product {
        op: Op::Linear,
        weights: Some(weights),
        rescale: Rescale::by(0.5),
    };
    let steps = vec![
        step(StepOp::Quantize, Value::Input, Some(grid), 1),
        step(linear, Value::Node(0), None, 2),
    ];
    let model = Network::new(
        vec![Dim::Batch(1), Dim::Fixed(1)],
        vec![],
        steps,
        Value::Node(1),
    )
    .unwrap();
    // 512 * 32767 is below 2^24, 513 * 32767 beyond.
    let (output, statistics) = model.run(&[32767.0, 1.0, -32767.0], 3).unwrap();
    assert_eq!(statistics.inexact_sums, [0, 2]);
    assert_eq!(statistics.inexact(), 2);
    assert_eq!(output[..4], [8388352.0, 16809471.0 / 2.0, 256.0, 256.5]);
}

use burn_compress::network::Constant;
use burn_compress::network::Window;
use burn_compress::network::{Arithmetic, Divide, Elements, Op, StepOp};
use proptest::prelude::*;

use super::{Codes, finished, indices, rescaled, trial};
use crate::noise::Noise;

/// A shape and two that broadcast to it; the first has its leading axis.
fn broadcasting(noise: &mut Noise) -> [Vec<usize>; 3] {
    let dims: Vec<usize> = (0..1 + noise.below(3))
        .map(|_| 1 + noise.below(4))
        .collect();
    let mut one = |keep: usize| -> Vec<usize> {
        let short = |&length: &usize| if noise.below(3) < keep { length } else { 1 };
        dims.iter().map(short).collect()
    };
    let (left, right) = (one(2), one(2));
    let result = left.iter().zip(&right).map(|(a, b)| *a.max(b)).collect();
    [left, right, result]
}

fn constant(noise: &mut Noise, dims: &[usize]) -> Constant {
    let values = (0..dims.iter().product()).map(|_| noise.factor());
    Constant {
        values: values.collect(),
        dims: dims.to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn pairs_broadcast(seed: u64) {
        let mut noise = Noise(seed);
        let [left, right, result] = broadcasting(&mut noise);
        let (a, b, activation) = (noise.factor(), noise.factor(), noise.activation());
        let multiply = noise.pick(&[true, false]);
        let how = match multiply {
            true => Arithmetic::Multiply { multiplier: a },
            false => Arithmetic::Add { left: a, right: b },
        };
        let op = StepOp::Arithmetic { how, activation };
        let bits = noise.pick(&[4, 8, 15]);
        let grids = [noise.grid(bits), noise.grid(8)];
        let grid = noise.pick(&[true, false]).then(|| noise.grid(8));
        let trial = trial(&mut noise, op, &[(&left, grids[0]), (&right, grids[1])], vec![], &result, grid);
        let [x, y] = &trial.operands[..] else { unreachable!() };
        let t = indices(&[&[trial.batch], &result[..]].concat()).iter().map(|index| {
            let (x, y) = (x.codes[x.broadcast(index)], y.codes[y.broadcast(index)]);
            match multiply {
                true => (x * y) as f32 * a,
                false => (x as f32 * a) + (y as f32 * b),
            }
        }).collect();
        trial.check(&finished(t, activation, grid), &mut noise)?;
    }

    #[test]
    fn constants_broadcast(seed: u64) {
        let mut noise = Noise(seed);
        let [left, right, result] = broadcasting(&mut noise);
        let (multiplier, activation) = (noise.factor(), noise.activation());
        // A constant may also have an axis for the images, of length 1, or fewer axes.
        let right = match noise.below(3) {
            0 => [&[1], &right[..]].concat(),
            1 => right,
            _ => right[right.len() - 1..].to_vec(),
        };
        let result: Vec<usize> = match right.len() < result.len() {
            true => left.iter().enumerate().map(|(i, &n)| if i + 1 == left.len() { n.max(right[0]) } else { n }).collect(),
            false => result,
        };
        let constant = constant(&mut noise, &right);
        let multiply = noise.pick(&[true, false]);
        let how = match multiply {
            true => Arithmetic::MultiplyConstant,
            false => Arithmetic::AddConstant { multiplier },
        };
        let op = StepOp::Arithmetic { how, activation };
        let (from, grid) = (noise.grid(8), noise.pick(&[true, false]).then(|| noise.grid(8)));
        let trial = trial(&mut noise, op, &[(&left, from)], vec![constant.clone()], &result, grid);
        let x = &trial.operands[0];
        let c = Codes { dims: right, codes: vec![] };
        let t = indices(&[&[trial.batch], &result[..]].concat()).iter().map(|index| {
            let (x, c) = (x.codes[x.broadcast(index)] as f32, constant.values[c.broadcast(index)]);
            if multiply { x * c } else { (x * multiplier) + c }
        }).collect();
        trial.check(&finished(t, activation, grid), &mut noise)?;
    }

    #[test]
    fn channels_have_factors_of_their_own(seed: u64) {
        let mut noise = Noise(seed);
        let dims: Vec<usize> = (0..1 + noise.below(3)).map(|_| 1 + noise.below(4)).collect();
        let residual = noise.pick(&[true, false]);
        let rescale = noise.rescale(dims[0], residual);
        let grids = [noise.grid(16), noise.grid(8)];
        let operands = [(&dims[..], grids[0]), (&dims[..], grids[1])];
        let operands = if residual { &operands[..] } else { &operands[..1] };
        let grid = noise.pick(&[true, false]).then(|| noise.grid(8));
        let trial = trial(&mut noise, StepOp::Rescale(rescale.clone()), operands, vec![], &dims, grid);
        let x = &trial.operands[0];
        let t = indices(&x.dims).iter().enumerate().map(|(place, index)| {
            let added = trial.operands.get(1).map_or(0, |added| added.codes[place]);
            rescaled(&rescale, x.codes[place].into(), index[1], added)
        }).collect();
        trial.check(&finished(t, rescale.activation, grid), &mut noise)?;
    }

    #[test]
    fn tables_are_looked_up(seed: u64) {
        let mut noise = Noise(seed);
        let (bits, to) = (2 + noise.below(8) as u32, 2 + noise.below(15) as u32);
        let (from, grid) = (noise.grid(bits), noise.grid(to));
        let table = noise.codes(&grid, (from.high() - from.low() + 1) as usize);
        let trial = trial(&mut noise, StepOp::Table(table.clone()), &[(&[5, 2], from)], vec![], &[5, 2], Some(grid));
        let entry = |&code: &i32| {
            let code = code + from.zero_point() - from.scheme().code_range().0;
            table[code as usize]
        };
        let expected = trial.operands[0].codes.iter().map(entry).collect();
        trial.check(&Elements::Codes(expected), &mut noise)?;
    }

    #[test]
    fn pools_sum_windows(seed: u64) {
        let mut noise = Noise(seed);
        let rank = 1 + noise.below(2);
        let mut window = Window::default();
        let (mut size, mut output) = ([1, 1], [1, 1]);
        let ceil = noise.pick(&[true, false]);
        for axis in 2 - rank..2 {
            window.kernel[axis] = 1 + noise.below(3);
            window.stride[axis] = 1 + noise.below(3);
            window.padding[axis] = (noise.below(window.kernel[axis]), noise.below(window.kernel[axis]));
            size[axis] = window.kernel[axis] + noise.below(5);
            let (before, after) = window.padding[axis];
            // Windows that start in the input or the padding before it, and end in the padding after it
            // or, where the last need only partly fit, just start before that.
            output[axis] = (0..20).map(|i| i * window.stride[axis]).filter(|start| {
                let end = start + window.kernel[axis];
                let fits = end <= before + size[axis] + after;
                let last = end - window.stride[axis].min(end) < before + size[axis] + after;
                fits || (ceil && last && *start < before + size[axis])
            }).count();
        }
        let divide = noise.pick(&[Divide::None, Divide::Elements, Divide::Padded]);
        let (multiplier, activation) = (noise.factor(), noise.activation());
        let op = Op::AveragePool { rank, window, include_padding: true, ceil };
        let op = StepOp::Sum { op, divide, multiplier, activation };
        let (input, result) = ([&[2], &size[2 - rank..]].concat(), [&[2], &output[2 - rank..]].concat());
        let (from, grid) = (noise.grid(8), noise.pick(&[true, false]).then(|| noise.grid(8)));
        let trial = trial(&mut noise, op, &[(&input[..], from)], vec![], &result, grid);
        let mut x = trial.operands[0].clone();
        if rank == 1 { x.dims.insert(2, 1); }
        let t = indices(&[trial.batch, 2, output[0], output[1]]).iter().map(|index| {
            let (mut sum, mut count, mut padded) = (0, 0, 0);
            for tap in indices(&window.kernel) {
                let at = [0, 1].map(|axis| {
                    (index[2 + axis] * window.stride[axis] + tap[axis]) as i64 - window.padding[axis].0 as i64
                });
                padded += usize::from((0..2).all(|axis| at[axis] < (size[axis] + window.padding[axis].1) as i64));
                if let Some(code) = x.padded(index[0], index[1], at) {
                    (sum, count) = (sum + code, count + 1);
                }
            }
            let t = sum as f32 * multiplier;
            match divide {
                Divide::None => t,
                Divide::Elements => t / count.max(1) as f32,
                Divide::Padded => t / padded.max(1) as f32,
            }
        }).collect();
        trial.check(&finished(t, activation, grid), &mut noise)?;
    }

    #[test]
    fn even_windows_share_the_input(seed: u64) {
        let mut noise = Noise(seed);
        let [h, w, to_h, to_w] = [(); 4].map(|()| 1 + noise.below(6));
        let divide = noise.pick(&[Divide::None, Divide::Elements]);
        let (multiplier, activation) = (noise.factor(), noise.activation());
        let op = Op::AdaptiveAveragePool { rank: 2, output: [to_h, to_w] };
        let op = StepOp::Sum { op, divide, multiplier, activation };
        let (from, grid) = (noise.grid(8), noise.pick(&[true, false]).then(|| noise.grid(8)));
        let trial = trial(&mut noise, op, &[(&[2, h, w], from)], vec![], &[2, to_h, to_w], grid);
        let x = &trial.operands[0];
        // Each element whose place overlaps with the window's.
        let seen = |i: usize, length: usize, out: usize, outs: usize| {
            (i + 1) * outs > out * length && i * outs < (out + 1) * length
        };
        let t = indices(&[trial.batch, 2, to_h, to_w]).iter().map(|to| {
            let (mut sum, mut count) = (0, 0);
            for from in indices(&x.dims) {
                if from[..2] == to[..2] && seen(from[2], h, to[2], to_h) && seen(from[3], w, to[3], to_w) {
                    (sum, count) = (sum + x.at(&from), count + 1);
                }
            }
            let t = sum as f32 * multiplier;
            if divide == Divide::Elements { t / count as f32 } else { t }
        }).collect();
        trial.check(&finished(t, activation, grid), &mut noise)?;
    }

    #[test]
    fn axes_are_summed(seed: u64) {
        let mut noise = Noise(seed);
        let dims: Vec<usize> = (0..3).map(|_| 1 + noise.below(4)).collect();
        let kept = 1 + noise.below(7);
        let axes: Vec<usize> = (0..3).filter(|axis| kept >> axis & 1 == 1).collect();
        let result: Vec<usize> = (0..3).map(|i| if axes.contains(&i) { 1 } else { dims[i] }).collect();
        let (multiplier, activation) = (noise.factor(), noise.activation());
        let op = Op::Sum { axes: axes.iter().map(|axis| axis + 1).collect() };
        let op = StepOp::Sum { op, divide: Divide::None, multiplier, activation };
        let (from, grid) = (noise.grid(8), noise.pick(&[true, false]).then(|| noise.grid(8)));
        let trial = trial(&mut noise, op, &[(&dims, from)], vec![], &result, grid);
        let x = &trial.operands[0];
        let to = Codes { dims: [&[trial.batch], &result[..]].concat(), codes: vec![] };
        let mut sums = vec![0i32; to.dims.iter().product()];
        for index in indices(&x.dims) {
            sums[to.broadcast(&index)] += x.at(&index);
        }
        let t = sums.into_iter().map(|sum| sum as f32 * multiplier).collect();
        trial.check(&finished(t, activation, grid), &mut noise)?;
    }

    #[test]
    fn codes_are_the_multiples_of_the_scale(seed: u64) {
        let mut noise = Noise(seed);
        let from = noise.grid(8);
        let trial = trial(&mut noise, StepOp::Dequantize, &[(&[7], from)], vec![], &[7], None);
        let values = trial.operands[0].codes.iter().map(|&code| code as f32 * from.scale());
        trial.check(&Elements::Values(values.collect()), &mut noise)?;
    }
}

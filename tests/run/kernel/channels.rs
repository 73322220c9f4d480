//! Steps over the channels of each position, held to sums of double precision.

use burn_compress::kernel::{ChannelStep, Channels, InputGrid, Planes, VectorBlock};
use proptest::prelude::*;

use super::{all, cases, marked, real};
use crate::noise::Noise;

const E: f64 = 1.0 / (1u64 << 23) as f64;

// The result in real numbers, and the bound of its error, of the channels of one position and group.
fn exact(step: ChannelStep, x: &[f64], affine: &[[f32; 2]]) -> Vec<(f64, f64)> {
    let count = x.len() as f64;
    let end = |channel: usize, y: f64, bound: f64| {
        let [factor, term] = affine
            .get(channel)
            .map_or([1.0, 0.0], |of| of.map(f64::from));
        let value = y * factor + term;
        (
            value,
            bound * factor.abs() + 2.0 * E * (value.abs() + (y * factor).abs()),
        )
    };
    let each = |of: &dyn Fn(f64) -> (f64, f64)| {
        let all = x.iter().enumerate().map(|(channel, &x)| {
            let (y, bound) = of(x);
            end(channel, y, bound)
        });
        all.collect()
    };
    match step {
        ChannelStep::LayerNorm { epsilon } => {
            let mean = x.iter().sum::<f64>() / count;
            let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
            let root = (variance + f64::from(epsilon)).sqrt();
            let most = x.iter().fold(0.0, |most: f64, x| most.max(x.abs())) / root;
            each(&|x| {
                let y = (x - mean) / root;
                (y, 16.0 * E * (1.0 + most) * (1.0 + y.abs()))
            })
        }
        ChannelStep::RmsNorm { epsilon } => {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / count;
            let root = (mean + f64::from(epsilon)).sqrt();
            each(&|x| (x / root, 16.0 * E * (x / root).abs()))
        }
        _ => {
            let greatest = x.iter().fold(f64::NEG_INFINITY, |most, x| most.max(*x));
            let sum: f64 = x.iter().map(|x| (x - greatest).exp()).sum();
            each(&|x| {
                let y = (x - greatest).exp() / sum;
                (y, (16.0 + 2.0 * (greatest - x)) * E * y)
            })
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn steps_over_channels_keep_their_bounds(
        seed in any::<u64>(), groups in 1..4usize, group in 1..70usize, rows in 1..3usize, columns in 1..7usize,
        codes in any::<[bool; 2]>(), affine in any::<bool>(), which in 0..3usize,
    ) {
        let mut noise = Noise(seed);
        let epsilon = noise.pick(&[1e-5, 1e-3]);
        let step = [
            ChannelStep::LayerNorm { epsilon },
            ChannelStep::RmsNorm { epsilon },
            ChannelStep::Softmax,
        ][which];
        let grid = |scale| InputGrid { scale, offset: 0.0, low: -100, high: 155 };
        let [source, sink] = [grid(0.07), grid(0.05)];
        let (source, sink) = (codes[0].then_some(source), codes[1].then_some(sink));
        let unit = |codes: bool| if codes { 4 } else { 1 };
        let pitch = columns + noise.below(2);
        let first = noise.below(3);
        let planes = Planes { plane: first + rows * pitch, first, pitch };
        let affine: Vec<[f32; 2]> = match affine {
            true => (0..group).map(|_| [1.0 + real(&mut noise), real(&mut noise)]).collect(),
            false => Vec::new(),
        };
        let over = Channels {
            step, groups, group, affine: affine.clone(), rows, columns, from: planes, to: planes, source, sink,
        };
        let channels = groups * group;
        let mut input = marked(channels.div_ceil(unit(codes[0])) * planes.plane);
        if source.is_none() {
            let far = noise.pick(&[0.0, 0.0, 30.0]);
            VectorBlock::floats_mut(&mut input).iter_mut().for_each(|x| *x = far + 3.0 * real(&mut noise));
        }
        let of = |blocks: &[VectorBlock], grid: Option<InputGrid>, channel: usize, at: usize| match grid {
            None => f64::from(VectorBlock::floats(blocks)[channel * planes.plane * 16 + at]),
            Some(grid) => {
                let byte = VectorBlock::bytes(blocks)[(channel / 4 * planes.plane * 16 + at) * 4 + channel % 4];
                f64::from(grid.scale * (i32::from(byte) + grid.low) as f32 + grid.offset)
            }
        };
        for kernels in all() {
            let mut output = marked(channels.div_ceil(unit(codes[1])) * planes.plane);
            let before = output.clone();
            over.run(kernels, 0..groups, &input, &mut output).unwrap();
            for g in 0..groups {
                for at in 0..planes.plane * 16 {
                    let place = (at / 16).checked_sub(first);
                    let inside = place.is_some_and(|place| place % pitch < columns);
                    if !inside {
                        if sink.is_none() {
                            let plane = g * group * planes.plane + at / 16;
                            prop_assert_eq!(output[plane], before[plane]);
                        }
                        continue;
                    }
                    let x: Vec<f64> = (0..group).map(|c| of(&input, source, g * group + c, at)).collect();
                    for (c, (expected, bound)) in exact(step, &x, &affine).into_iter().enumerate() {
                        let found = of(&output, sink, g * group + c, at);
                        let (expected, bound) = match sink {
                            None => (expected, bound),
                            Some(grid) => {
                                let scale = f64::from(grid.scale);
                                let [low, high] = [grid.low, grid.high].map(|code| scale * f64::from(code));
                                (expected.clamp(low, high), bound + 0.5001 * scale)
                            }
                        };
                        prop_assert!(
                            (found - expected).abs() <= bound,
                            "{:?} {step:?}: {found}, not {expected} within {bound}", kernels.isa()
                        );
                    }
                }
            }
            // Groups one by one are the same, where planes are of one group.
            if group % unit(codes[1]) == 0 {
                for g in 0..groups {
                    let each = group / unit(codes[1]) * planes.plane;
                    let mut part = before[g * each..][..each].to_vec();
                    over.run(kernels, g..g + 1, &input, &mut part).unwrap();
                    prop_assert!(part == output[g * each..][..each]);
                }
            }
        }
    }
}

#[test]
fn steps_over_channels_lie_in_their_blocks() {
    let planes = Planes {
        plane: 3,
        first: 0,
        pitch: 3,
    };
    let over = Channels {
        step: ChannelStep::Softmax,
        groups: 2,
        group: 2,
        affine: vec![],
        rows: 1,
        columns: 3,
        from: planes,
        to: planes,
        source: None,
        sink: None,
    };
    let kernels = all().next().unwrap();
    let run = |over: &Channels, input: usize, output: usize| {
        over.run(kernels, 0..2, &marked(input), &mut marked(output))
    };
    assert!(run(&over, 12, 12).is_ok());
    assert!(run(&over, 11, 12).is_err());
    assert!(run(&over, 12, 11).is_err());
    let wide = Channels {
        columns: 4,
        ..over.clone()
    };
    assert!(run(&wide, 20, 20).is_err());
    let uneven = Channels {
        affine: vec![[1.0, 0.0]],
        ..over
    };
    assert!(run(&uneven, 12, 12).is_err());
}

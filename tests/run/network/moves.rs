use burn_compress::network::{Elements, Grid, StepOp};
use burn_compress::network::{Op, Window};
use proptest::prelude::*;

use super::{indices, trial};
use crate::noise::Noise;

/// Holds a movement of one operand to the place in it that each place of the result comes from; none is
/// padding.
fn check(
    noise: &mut Noise,
    op: Op,
    from: &[usize],
    to: &[usize],
    source: impl Fn(&[usize]) -> Option<Vec<usize>>,
) -> Result<(), TestCaseError> {
    let grid = noise.grid(8);
    let trial = trial(
        noise,
        StepOp::Move(op),
        &[(from, grid)],
        vec![],
        to,
        Some(grid),
    );
    let x = &trial.operands[0];
    let at = |index: &Vec<usize>| source(index).map_or(0, |index| x.at(&index));
    let expected = indices(&[&[trial.batch], to].concat())
        .iter()
        .map(at)
        .collect();
    trial.check(&Elements::Codes(expected), noise)
}

fn dims(noise: &mut Noise) -> Vec<usize> {
    (0..1 + noise.below(4))
        .map(|_| 1 + noise.below(4))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn axes_change_places(seed: u64) {
        let mut noise = Noise(seed);
        let from = dims(&mut noise);
        let mut axes: Vec<usize> = (0..=from.len()).collect();
        for i in 2..axes.len() {
            let j = 1 + noise.below(i);
            axes.swap(i, j);
        }
        let to: Vec<usize> = axes[1..].iter().map(|&axis| from[axis - 1]).collect();
        check(&mut noise, Op::Permute { axes: axes.clone() }, &from, &to, |index| {
            let mut source = vec![0; index.len()];
            axes.iter().zip(index).for_each(|(&axis, &i)| source[axis] = i);
            Some(source)
        })?;
    }

    #[test]
    fn slices_step(seed: u64) {
        let mut noise = Noise(seed);
        let from = dims(&mut noise);
        let mut ranges = vec![(0, None, 1)];
        let mut to = vec![];
        for &length in &from {
            let first = noise.below(length);
            let end = first + 1 + noise.below(length - first);
            let step = 1 + noise.below(3);
            ranges.push((first, noise.pick(&[Some(end), None]), step));
            to.push((first..ranges[to.len() + 1].1.unwrap_or(length)).step_by(step).count());
        }
        check(&mut noise, Op::Slice { ranges: ranges.clone() }, &from, &to, |index| {
            Some(ranges.iter().zip(index).map(|((first, _, step), i)| first + i * step).collect())
        })?;
    }

    #[test]
    fn padding_is_zero(seed: u64) {
        let mut noise = Noise(seed);
        let from = dims(&mut noise);
        let mut padding = vec![(0, 0)];
        padding.extend(from.iter().map(|_| (noise.below(3), noise.below(3))));
        let to: Vec<usize> = from.iter().zip(&padding[1..]).map(|(n, (a, b))| n + a + b).collect();
        let op = Op::Pad { padding: padding.clone(), value: 0.0 };
        check(&mut noise, op, &from, &to, |index| {
            let inside = index[1..].iter().zip(&padding[1..]).zip(&from);
            let inside = inside.map(|((i, (before, _)), n)| i.checked_sub(*before).filter(|i| i < n));
            let inside: Option<Vec<usize>> = inside.collect();
            inside.map(|inside| [&index[..1], &inside].concat())
        })?;
    }

    #[test]
    fn single_elements_expand(seed: u64) {
        let mut noise = Noise(seed);
        let to = dims(&mut noise);
        let from: Vec<usize> = to.iter().map(|&n| noise.pick(&[1, n])).collect();
        check(&mut noise, Op::Expand, &from, &to, |index| {
            let own = index[1..].iter().zip(&from).map(|(&i, &n)| i.min(n - 1));
            Some(std::iter::once(index[0]).chain(own).collect())
        })?;
    }

    #[test]
    fn the_nearest_element_repeats(seed: u64) {
        let mut noise = Noise(seed);
        let [h, w, to_h, to_w] = [(); 4].map(|()| 1 + noise.below(9));
        check(&mut noise, Op::UpsampleNearest, &[2, h, w], &[2, to_h, to_w], |index| {
            Some(vec![index[0], index[1], index[2] * h / to_h, index[3] * w / to_w])
        })?;
    }

    #[test]
    fn reshaping_keeps_the_order(seed: u64) {
        let mut noise = Noise(seed);
        let from = dims(&mut noise);
        let grid = noise.grid(8);
        let to = [from.iter().product()];
        let trial = trial(&mut noise, StepOp::Move(Op::Reshape), &[(&from, grid)], vec![], &to, Some(grid));
        let expected = Elements::Codes(trial.operands[0].codes.clone());
        trial.check(&expected, &mut noise)?;
    }

    #[test]
    fn tensors_follow_each_other(seed: u64) {
        let mut noise = Noise(seed);
        let first = dims(&mut noise);
        let axis = noise.below(first.len());
        let shapes: Vec<Vec<usize>> = (0..1 + noise.below(3)).map(|_| {
            let mut dims = first.clone();
            dims[axis] = 1 + noise.below(3);
            dims
        }).collect();
        let mut to = first.clone();
        to[axis] = shapes.iter().map(|dims| dims[axis]).sum();
        let grid = noise.grid(8);
        let operands: Vec<(&[usize], Grid)> = shapes.iter().map(|dims| (&dims[..], grid)).collect();
        let op = StepOp::Move(Op::Concatenate { axis: axis + 1 });
        let trial = trial(&mut noise, op, &operands, vec![], &to, Some(grid));
        let at = |index: Vec<usize>| {
            let mut index = index;
            for operand in &trial.operands {
                match index[axis + 1].checked_sub(operand.dims[axis + 1]) {
                    Some(beyond) => index[axis + 1] = beyond,
                    None => return operand.at(&index),
                }
            }
            unreachable!()
        };
        let expected = indices(&[&[trial.batch], &to[..]].concat()).into_iter().map(at).collect();
        trial.check(&Elements::Codes(expected), &mut noise)?;
    }

    #[test]
    fn the_greatest_wins_and_never_the_padding(seed: u64) {
        let mut noise = Noise(seed);
        let mut window = Window::default();
        let (mut size, mut output) = ([1, 1], [1, 1]);
        let ceil = noise.pick(&[true, false]);
        for axis in 0..2 {
            window.kernel[axis] = 2 + noise.below(2);
            window.stride[axis] = 1 + noise.below(3);
            window.dilation[axis] = 1 + noise.below(2);
            window.padding[axis] = (noise.below(2), noise.below(2));
            let extent = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
            size[axis] = extent + noise.below(5);
            let (before, after) = window.padding[axis];
            let room = size[axis] + before + after - extent;
            output[axis] = room / window.stride[axis] + 1;
            let next = output[axis] * window.stride[axis];
            if ceil && !room.is_multiple_of(window.stride[axis]) && next < before + size[axis] {
                output[axis] += 1;
            }
        }
        let grid = noise.grid(8);
        let op = StepOp::Move(Op::MaxPool { rank: 2, window, ceil });
        let from = [2, size[0], size[1]];
        let trial = trial(&mut noise, op, &[(&from, grid)], vec![], &[2, output[0], output[1]], Some(grid));
        let x = &trial.operands[0];
        let greatest = |index: &Vec<usize>| {
            let taps = indices(&window.kernel).into_iter().filter_map(|tap| {
                let at = [0, 1].map(|axis| {
                    (index[2 + axis] * window.stride[axis] + tap[axis] * window.dilation[axis]) as i64
                        - window.padding[axis].0 as i64
                });
                x.padded(index[0], index[1], at)
            });
            taps.max().unwrap()
        };
        let expected = indices(&[trial.batch, 2, output[0], output[1]]).iter().map(greatest).collect();
        trial.check(&Elements::Codes(expected), &mut noise)?;
    }
}

// Steps that mix the images are run on the batch as one.
#[test]
fn images_may_be_mixed() {
    use burn_compress::network::{Dim, Value};
    use burn_compress::network::{Network, Step};
    let step = |op, inputs, dims| Step {
        op: StepOp::Move(op),
        inputs,
        grid: None,
        dims,
        layer: "mix".into(),
    };
    let (images, two) = (Dim::Batch(1), Dim::Fixed(2));
    let steps = vec![
        step(
            Op::Permute { axes: vec![1, 0] },
            vec![Value::Input],
            vec![two, images],
        ),
        step(Op::Reshape, vec![Value::Node(0)], vec![images, two]),
        step(
            Op::Concatenate { axis: 0 },
            vec![Value::Node(1), Value::Input],
            vec![Dim::Batch(2), two],
        ),
    ];
    let model = Network::new(vec![images, two], vec![], steps, Value::Node(2)).unwrap();
    for threads in 0..4 {
        let input = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0];
        let (output, _) = model.run_with(&input, 3, threads).unwrap();
        let mixed = [0.0, 10.0, 20.0, 1.0, 11.0, 21.0];
        assert_eq!(output, [&mixed[..], &input].concat());
    }
    assert_eq!(model.output_dims(), [Dim::Batch(2), two]);
}

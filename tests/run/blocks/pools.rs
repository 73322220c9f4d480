use burn_compress::network::{Binary, Divide, Op, StepOp, Value, Window};

use super::{KINDS, Kind, Making, check, fine, floats};

fn output(window: &Window, input: [usize; 2], ceil: bool) -> [usize; 2] {
    [0, 1].map(|axis| {
        let (before, after) = window.padding[axis];
        let extent = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
        let room = (input[axis] + before + after).saturating_sub(extent);
        match ceil {
            false => room / window.stride[axis] + 1,
            true => {
                let windows = room.div_ceil(window.stride[axis]) + 1;
                let beyond = (windows - 1) * window.stride[axis] >= input[axis] + before;
                windows - usize::from(beyond && windows > 1)
            }
        }
    })
}

fn windows() -> Vec<Window> {
    let window = |kernel, stride, padding| Window {
        kernel,
        stride,
        padding,
        ..Window::default()
    };
    vec![
        window([2, 2], [2, 2], [(0, 0); 2]),
        window([3, 3], [2, 2], [(1, 1); 2]),
        window([5, 5], [1, 1], [(2, 2); 2]),
        window([3, 2], [2, 3], [(1, 0), (0, 1)]),
        window([2, 3], [3, 2], [(1, 1), (1, 1)]),
    ]
}

#[test]
fn the_greatest_of_windows_that_only_partly_fit() {
    for kind in KINDS {
        for (window, size) in windows()
            .into_iter()
            .flat_map(|window| [[8, 8], [7, 9], [5, 6]].map(|size| (window, size)))
        {
            for (ceil, dilation) in [(true, 1), (false, 2), (true, 2)] {
                let window = Window {
                    dilation: [dilation; 2],
                    ..window
                };
                let [h, w] = output(&window, size, ceil);
                let mut making = Making::new(kind, 11, &[5, size[0], size[1]]);
                let input = making.input();
                let op = Op::MaxPool {
                    rank: 2,
                    window,
                    ceil,
                };
                let made = making.moved(op, vec![input], &[5, h, w]);
                let made = making.touched(made);
                check(
                    &making.end(made),
                    0.0,
                    &format!("{window:?} {ceil} {size:?} {kind:?}"),
                );
            }
        }
    }
}

#[test]
fn means_count_their_elements() {
    for (window, size) in windows()
        .into_iter()
        .flat_map(|window| [[8, 8], [7, 9]].map(|size| (window, size)))
    {
        for (ceil, padded) in [(false, false), (true, false), (true, true), (false, true)] {
            let [h, w] = output(&window, size, ceil);
            let what = format!("{window:?} {ceil} {padded} {size:?}");
            let op = Op::AveragePool {
                rank: 2,
                window,
                include_padding: padded,
                ceil,
            };
            let mut making = Making::new(Kind::Floats, 11, &[5, size[0], size[1]]);
            let input = making.input();
            let made = making.float(op.clone(), vec![input], &[5, h, w]);
            check(&making.end(made), 1e-6, &what);
            let mut making = Making::new(Kind::Codes, 11, &[5, size[0], size[1]]);
            let input = making.input();
            let divide = match padded {
                true => Divide::Padded,
                false => Divide::Elements,
            };
            let op = StepOp::Sum {
                op,
                divide,
                multiplier: 0.7,
                activation: making.noise.activation(),
            };
            let grid = fine(making.noise.grid(8));
            let made = making.step(op, vec![input], Some(grid), &[5, h, w]);
            check(&making.end(made), 0.0, &what);
        }
    }
    // Along one axis.
    let window = Window {
        kernel: [1, 3],
        stride: [1, 2],
        padding: [(0, 0), (1, 1)],
        ..Window::default()
    };
    let op = Op::AveragePool {
        rank: 1,
        window,
        include_padding: false,
        ceil: true,
    };
    let mut making = Making::new(Kind::Floats, 11, &[5, 12]);
    let input = making.input();
    let [_, w] = output(&window, [1, 12], true);
    let made = making.float(op, vec![input], &[5, w]);
    check(&making.end(made), 1e-6, "one axis");
}

#[test]
fn means_of_shares() {
    for size in [[8, 8], [7, 13], [3, 6], [16, 16]] {
        for to in [[1, 1], [2, 4], [4, 4], [3, 5], [7, 7], [5, 1]] {
            let mut making = Making::new(Kind::Floats, 11, &[5, size[0], size[1]]);
            let input = making.input();
            let op = Op::AdaptiveAveragePool {
                rank: 2,
                output: to,
            };
            let made = making.float(op, vec![input], &[5, to[0], to[1]]);
            check(&making.end(made), 1e-6, &format!("{size:?} to {to:?}"));
        }
    }
}

#[test]
fn sums_and_means_over_axes() {
    let of = [5, 6, 7];
    for axes in [
        vec![1],
        vec![2],
        vec![3],
        vec![1, 2],
        vec![1, 3],
        vec![2, 3],
        vec![1, 2, 3],
    ] {
        let mut to = of;
        axes.iter().for_each(|&axis| to[axis - 1] = 1);
        for mean in [true, false] {
            let op = match mean {
                true => Op::Mean { axes: axes.clone() },
                false => Op::Sum { axes: axes.clone() },
            };
            let mut making = Making::new(Kind::Floats, 11, &of);
            let input = making.input();
            let made = making.float(op, vec![input], &to);
            check(&making.end(made), 1e-5, &format!("{axes:?} {mean}"));
        }
        let mut making = Making::new(Kind::Codes, 11, &of);
        let input = making.input();
        let op = StepOp::Sum {
            op: Op::Sum { axes: axes.clone() },
            divide: Divide::None,
            multiplier: 0.15,
            activation: making.noise.activation(),
        };
        let grid = fine(making.noise.grid(8));
        let made = making.step(op, vec![input], Some(grid), &to);
        check(&making.end(made), 0.0, &format!("{axes:?} of codes"));
    }
    for axes in [vec![1], vec![2], vec![1, 2]] {
        let mut to = [5, 6];
        axes.iter().for_each(|&axis| to[axis - 1] = 1);
        let mut making = Making::new(Kind::Floats, 11, &[5, 6]);
        let input = making.input();
        let made = making.float(Op::Mean { axes: axes.clone() }, vec![input], &to);
        check(&making.end(made), 1e-6, &format!("{axes:?} of two"));
    }
}

// Channels that come second, as after a permutation; and constants that are made of constants.
#[test]
fn sums_where_channels_are_not_in_front() {
    let mut making = Making::new(Kind::Floats, 9, &[6, 7, 3]);
    let axes = vec![0, 2, 1, 3];
    let input = making.touched(Value::Input);
    let turned = making.moved(Op::Permute { axes }, vec![input], &[7, 6, 3]);
    let factors = floats(&mut making.noise, 7);
    let factors = making.constant(&[7], factors);
    let factors = making.steps_on_constants(factors, &[&[7, 1], &[7, 1, 1]]);
    let scaled = making.float(
        Op::Binary(Binary::Multiply),
        vec![turned, factors],
        &[7, 6, 3],
    );
    for (op, dims) in [
        (Op::Sum { axes: vec![3] }, [7, 6, 1]),
        (Op::Mean { axes: vec![1] }, [1, 6, 3]),
    ] {
        let mut making = making.clone();
        let made = making.float(op, vec![scaled], &dims);
        check(&making.end(made), 1e-6, "sums of a turned tensor");
    }
}

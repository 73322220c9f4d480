use burn_compress::network::{Binary, Dim, FloatOp, Op, StepOp, Value, Window};

use super::{KINDS, Kind, Making, check};
use crate::noise::per_image;

// A tensor of six axes at most, through steps that move its elements; `all` gives operation and dimensions.
fn through(kind: Kind, input: &[usize], all: &[(Op, &[usize])], what: &str) {
    for touched in [false, true] {
        let mut making = Making::new(kind, 3, input);
        let mut value = making.input();
        if touched {
            value = making.touched(value);
        }
        for (op, dims) in all {
            value = making.moved(op.clone(), vec![value], dims);
        }
        if touched {
            value = making.touched(value);
        }
        check(
            &making.end(value),
            0.0,
            &format!("{what}, {kind:?}, {input:?}"),
        );
    }
}

fn permute(axes: &[usize]) -> Op {
    Op::Permute {
        axes: axes.to_vec(),
    }
}

#[test]
fn pixels_are_shuffled() {
    for kind in KINDS {
        for ([c, h, w], s) in [
            ([8, 4, 4], 2),
            ([4, 3, 5], 2),
            ([9, 5, 7], 3),
            ([32, 8, 8], 2),
        ] {
            let out = c / (s * s);
            let apart: &[usize] = &[out, s, s, h, w];
            let turned: &[usize] = &[out, h, s, w, s];
            let steps = [
                (Op::Reshape, apart),
                (permute(&[0, 1, 4, 2, 5, 3]), turned),
                (Op::Reshape, &[out, h * s, w * s]),
            ];
            through(kind, &[c, h, w], &steps, "shuffle");
        }
        for ([c, h, w], s) in [([2, 8, 8], 2), ([3, 6, 10], 2), ([1, 9, 6], 3)] {
            let apart: &[usize] = &[c, h / s, s, w / s, s];
            let turned: &[usize] = &[c, s, s, h / s, w / s];
            let steps = [
                (Op::Reshape, apart),
                (permute(&[0, 1, 3, 5, 2, 4]), turned),
                (Op::Reshape, &[c * s * s, h / s, w / s]),
            ];
            through(kind, &[c, h, w], &steps, "unshuffle");
        }
    }
}

#[test]
fn channels_are_shuffled_and_axes_turned() {
    for kind in KINDS {
        for ([c, h, w], g) in [([8, 5, 6], 2), ([12, 4, 4], 3), ([6, 7, 3], 2)] {
            let steps: [(Op, &[usize]); 3] = [
                (Op::Reshape, &[g, c / g, h, w]),
                (permute(&[0, 2, 1, 3, 4]), &[c / g, g, h, w]),
                (Op::Reshape, &[c, h, w]),
            ];
            through(kind, &[c, h, w], &steps, "channels");
        }
        through(
            kind,
            &[5, 6, 7],
            &[(permute(&[0, 1, 3, 2]), &[5, 7, 6])],
            "turned",
        );
        through(
            kind,
            &[5, 6, 7],
            &[(permute(&[0, 2, 3, 1]), &[6, 7, 5])],
            "last",
        );
        through(kind, &[5, 6, 7], &[(Op::Reshape, &[5, 42])], "flat");
        through(kind, &[6, 20], &[(Op::Reshape, &[6, 4, 5])], "square");
        through(kind, &[3, 4, 5], &[(Op::Reshape, &[60])], "all");
        let tokens: [(Op, &[usize]); 2] =
            [(Op::Reshape, &[5, 42]), (permute(&[0, 2, 1]), &[42, 5])];
        through(kind, &[5, 6, 7], &tokens, "tokens");
    }
}

#[test]
fn parts_and_concatenations() {
    let slice = |ranges: &[(usize, usize, usize)]| {
        let ends = ranges
            .iter()
            .map(|&(start, end, step)| (start, Some(end), step));
        Op::Slice {
            ranges: [(0, None, 1)].into_iter().chain(ends).collect(),
        }
    };
    for kind in KINDS {
        // Groups of four are torn apart.
        let parts = slice(&[(3, 9, 1), (0, 6, 1), (0, 7, 1)]);
        through(kind, &[11, 6, 7], &[(parts, &[6, 6, 7])], "channels");
        let steps = slice(&[(0, 11, 2), (1, 6, 2), (0, 7, 3)]);
        through(kind, &[11, 6, 7], &[(steps, &[6, 3, 3])], "steps");
        for ([a, b], axis) in [([5, 6], 1), ([8, 3], 1), ([4, 4], 2), ([3, 5], 3)] {
            let mut making = Making::new(kind, 7, &[11, 11, 11]);
            let input = making.input();
            let input = making.touched(input);
            let mut ranges = [(0, 11, 1); 3];
            ranges[axis - 1] = (0, a, 1);
            let mut dims = [11, 11, 11];
            dims[axis - 1] = a;
            let first = making.moved(slice(&ranges), vec![input], &dims);
            ranges[axis - 1] = (11 - b, 11, 1);
            dims[axis - 1] = b;
            let second = making.moved(slice(&ranges), vec![input], &dims);
            let second = making.touched(second);
            dims[axis - 1] = a + b;
            let both = making.moved(Op::Concatenate { axis }, vec![second, first], &dims);
            check(
                &making.end(both),
                0.0,
                &format!("{a} and {b} on {axis}, {kind:?}"),
            );
        }
    }
}

#[test]
fn elements_around_and_backwards() {
    let pad = |value: f32| Op::Pad {
        padding: vec![(0, 0), (1, 2), (2, 0), (1, 3)],
        value,
    };
    for kind in KINDS {
        through(kind, &[5, 6, 7], &[(pad(0.0), &[8, 8, 11])], "zeros");
    }
    through(
        Kind::Floats,
        &[5, 6, 7],
        &[(pad(-0.75), &[8, 8, 11])],
        "a number",
    );
    // Reflected and repeated edges, and flips, as elements by their places.
    for (axis, indices) in [
        (3, vec![2, 1, 0, 1, 2, 3, 4, 5, 6, 5, 4]),
        (2, vec![0, 0, 0, 1, 2, 3, 4, 5, 5]),
        (1, vec![4, 3, 2, 1, 0]),
    ] {
        let mut making = Making::new(Kind::Floats, 3, &[5, 6, 7]);
        let mut dims = [5, 6, 7];
        dims[axis - 1] = indices.len();
        let op = Op::Float(FloatOp::Select { axis, indices });
        let value = making.float(op, vec![Value::Input], &dims);
        check(&making.end(value), 0.0, &format!("selected on {axis}"));
    }
}

// Shifted copies side by side in the last axis, which becomes the channels of an image.
#[test]
fn a_last_axis_becomes_channels() {
    for kind in KINDS {
        for touched in [false, true] {
            let mut making = Making::new(kind, 5, &[9, 11]);
            let input = making.input();
            let input = making.touched(input);
            let input = making.moved(Op::Reshape, vec![input], &[9, 11, 1]);
            let input = making.touched(input);
            let mut parts = vec![input];
            for shift in [1, 3, 4, 6] {
                let ranges = vec![
                    (0, None, 1),
                    (0, Some(9), 1),
                    (shift, Some(11), 1),
                    (0, Some(1), 1),
                ];
                let part = making.moved(Op::Slice { ranges }, vec![input], &[9, 11 - shift, 1]);
                let pad = Op::Pad {
                    padding: vec![(0, 0), (0, 0), (0, shift), (0, 0)],
                    value: 0.0,
                };
                let part = making.moved(pad, vec![part], &[9, 11, 1]);
                parts.push(if touched { making.touched(part) } else { part });
            }
            let all = making.moved(Op::Concatenate { axis: 3 }, parts, &[9, 11, 5]);
            let image = making.moved(permute(&[0, 3, 1, 2]), vec![all], &[5, 9, 11]);
            let window = Window {
                kernel: [3, 3],
                padding: [(1, 1); 2],
                ..Window::default()
            };
            let pool = Op::MaxPool {
                rank: 2,
                window,
                ceil: false,
            };
            let value = making.moved(pool, vec![image], &[5, 9, 11]);
            check(&making.end(value), 0.0, &format!("{kind:?}, {touched}"));
        }
    }
}

// Of one row, of one channel: what a place or a channel is multiplied with.
#[test]
fn operands_are_repeated() {
    for (kind, dims) in KINDS.into_iter().flat_map(|kind| {
        [[1, 6, 7], [5, 1, 7], [5, 6, 1], [1, 1, 7], [5, 1, 1]].map(|dims| (kind, dims))
    }) {
        let mut making = Making::new(kind, 3, &[5, 6, 7]);
        let input = making.input();
        let input = making.touched(input);
        let ends = dims.map(|end| (0, Some(end), 1));
        let op = Op::Slice {
            ranges: [(0, None, 1)].into_iter().chain(ends).collect(),
        };
        let small = making.moved(op, vec![input], &dims);
        let both = vec![small, input];
        let value = match kind {
            Kind::Floats => making.float(Op::Binary(Binary::Multiply), both, &[5, 6, 7]),
            Kind::Codes => {
                let how = burn_compress::network::Arithmetic::Add {
                    left: 0.5,
                    right: -0.25,
                };
                let op = StepOp::Arithmetic {
                    how,
                    activation: None,
                };
                let grid = making.grid(input);
                making.step(op, both, grid, &[5, 6, 7])
            }
        };
        check(&making.end(value), 0.0, &format!("{dims:?}, {kind:?}"));
    }
}

#[test]
fn what_runs_plainly_is_named() {
    use burn_compress::engine::{Options, Program};
    use burn_compress::network::{FloatOp, Network, Step, Unary};
    let step = |op, value, dims: &[usize], layer: &str| Step {
        op,
        inputs: vec![value],
        grid: None,
        dims: per_image(dims),
        layer: layer.into(),
    };
    let sorted = StepOp::Float(Op::Float(FloatOp::Sort { axis: 1 }));
    let logarithm = StepOp::Float(Op::Unary(Unary::Log));
    let steps = vec![
        step(sorted, Value::Input, &[4, 3, 3], "in order"),
        step(logarithm, Value::Node(0), &[4, 3, 3], "logarithms"),
    ];
    let input: Vec<Dim> = per_image(&[4, 3, 3]);
    let model = Network::new(input, vec![], steps, Value::Node(1)).unwrap();
    let program = Program::compile(&model, Options::default()).unwrap();
    let warnings: Vec<String> = program
        .warnings(1)
        .iter()
        .map(ToString::to_string)
        .collect();
    let names = |what: &str| warnings.iter().any(|warning| warning.contains(what));
    assert!(names("in order") && names("logarithms"), "{warnings:?}");
}

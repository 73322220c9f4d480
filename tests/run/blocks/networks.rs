//! Several operations in a row, on samples so large that they run one by one first and together later.

use burn_compress::network::{Divide, Op, StepOp, Unary, Value, Weights, Window};

use super::{KINDS, Kind, Making, check_batches, codes, fine, floats};

// A convolution, or the transpose of one, and a ReLU.
fn product(making: &mut Making, input: Value, op: Op, weights: &[usize], to: &[usize]) -> Value {
    let count = weights.iter().product();
    match making.kind {
        Kind::Floats => {
            let values = floats(&mut making.noise, count).into_iter();
            let values = values.map(|weight| weight / 4.0).collect();
            let weights = making.constant(weights, values);
            let made = making.float(op, vec![input, weights], to);
            making.float(Op::Unary(Unary::Relu), vec![made], to)
        }
        Kind::Codes => {
            let weights = Some(Weights {
                dims: weights.to_vec(),
                codes: codes(&mut making.noise, count).into(),
            });
            let mut rescale = making.noise.rescale(to[0], false);
            let factors = rescale.multiplier.iter_mut();
            factors.for_each(|factor| *factor *= 0.01);
            let op = StepOp::Product {
                op,
                weights,
                rescale,
            };
            let grid = fine(making.noise.grid(8));
            making.step(op, vec![input], Some(grid), to)
        }
    }
}

fn same(kernel: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        padding: [(kernel / 2, kernel / 2); 2],
        ..Window::default()
    }
}

fn convolution(making: &mut Making, input: Value, filters: usize, kernel: usize) -> Value {
    let from = making.dims(input);
    let op = Op::Convolution {
        rank: 2,
        window: same(kernel),
        groups: 1,
    };
    let weights = [filters, from[0], kernel, kernel];
    product(making, input, op, &weights, &[filters, from[1], from[2]])
}

// Rows and columns of twice the number.
fn up(making: &mut Making, input: Value, filters: usize) -> Value {
    let [channels, h, w] = making.dims(input)[..] else {
        panic!("not an image");
    };
    let op = Op::TransposedConvolution {
        rank: 2,
        window: Window {
            kernel: [2; 2],
            stride: [2; 2],
            ..Window::default()
        },
        output_padding: [0; 2],
        groups: 1,
    };
    let weights = [channels, filters, 2, 2];
    product(making, input, op, &weights, &[filters, 2 * h, 2 * w])
}

#[test]
fn down_and_up_again() {
    for (kind, size) in KINDS.into_iter().zip([40, 36]) {
        let mut making = Making::new(kind, 21, &[3, size, size]);
        let input = making.input();
        let wide = convolution(&mut making, input, 8, 3);
        let op = Op::MaxPool {
            rank: 2,
            window: Window {
                kernel: [2; 2],
                stride: [2; 2],
                ..Window::default()
            },
            ceil: true,
        };
        let half = size / 2;
        let low = making.moved(op, vec![wide], &[8, half, half]);
        let low = convolution(&mut making, low, 12, 3);
        let high = up(&mut making, low, 8);
        let both = match kind {
            Kind::Floats => making.moved(
                Op::Concatenate { axis: 1 },
                vec![wide, high],
                &[16, size, size],
            ),
            // Codes of one grid are concatenated.
            Kind::Codes => high,
        };
        let mixed = convolution(&mut making, both, 6, 1);
        let (op, to) = (
            StepOp::Float(Op::UpsampleBilinear {
                align_corners: false,
            }),
            [6, 2 * size, 2 * size],
        );
        let grid = making.grid(mixed).map(|_| fine(making.noise.grid(8)));
        let large = making.step(op, vec![mixed], grid, &to);
        let window = Window {
            kernel: [3; 2],
            stride: [2; 2],
            padding: [(1, 1); 2],
            ..Window::default()
        };
        let op = Op::AveragePool {
            rank: 2,
            window,
            include_padding: false,
            ceil: false,
        };
        let to = [6, size, size];
        let end = match kind {
            Kind::Floats => making.float(op, vec![large], &to),
            Kind::Codes => {
                let op = StepOp::Sum {
                    op,
                    divide: Divide::Elements,
                    multiplier: 0.9,
                    activation: None,
                };
                let grid = fine(making.noise.grid(8));
                making.step(op, vec![large], Some(grid), &to)
            }
        };
        let within = match kind {
            Kind::Floats => 1e-4,
            Kind::Codes => 0.0,
        };
        let model = making.end(end);
        check_batches(&model, &[1, 17], within, &format!("{kind:?} of {size}"));
    }
}

// A movement by chance, and the dimensions that it gives.
fn movement(making: &mut Making, [c, h, w]: [usize; 3]) -> Option<(Vec<Op>, Vec<Vec<usize>>)> {
    let noise = &mut making.noise;
    let s = noise.pick(&[2, 3]);
    let all = |axes: &[usize]| Op::Permute {
        axes: axes.to_vec(),
    };
    let ends = |ranges: [(usize, usize, usize); 3]| Op::Slice {
        ranges: std::iter::once((0, None, 1))
            .chain(ranges.map(|(start, end, step)| (start, Some(end), step)))
            .collect(),
    };
    Some(match noise.below(8) {
        0 if c % (s * s) == 0 => (
            vec![Op::Reshape, all(&[0, 1, 4, 2, 5, 3]), Op::Reshape],
            vec![
                vec![c / (s * s), s, s, h, w],
                vec![c / (s * s), h, s, w, s],
                vec![c / (s * s), h * s, w * s],
            ],
        ),
        1 if h % s == 0 && w % s == 0 => (
            vec![Op::Reshape, all(&[0, 1, 3, 5, 2, 4]), Op::Reshape],
            vec![
                vec![c, h / s, s, w / s, s],
                vec![c, s, s, h / s, w / s],
                vec![c * s * s, h / s, w / s],
            ],
        ),
        2 if c % s == 0 => (
            vec![Op::Reshape, all(&[0, 2, 1, 3, 4]), Op::Reshape],
            vec![vec![s, c / s, h, w], vec![c / s, s, h, w], vec![c, h, w]],
        ),
        3 => (vec![all(&[0, 1, 3, 2])], vec![vec![c, w, h]]),
        4 => {
            let ranges = [c, h, w].map(|length| {
                let start = noise.below(length.div_ceil(3));
                (start, length, noise.pick(&[1, 1, 2]))
            });
            let to = ranges.map(|(start, end, step)| (end - start).div_ceil(step));
            (vec![ends(ranges)], vec![to.to_vec()])
        }
        5 => {
            let padding = [(); 3].map(|()| (noise.below(3), noise.below(3)));
            let lengths = [c, h, w].into_iter().zip(padding);
            let to = lengths.map(|(length, (a, b))| length + a + b).collect();
            let padding = std::iter::once((0, 0)).chain(padding).collect();
            (
                vec![Op::Pad {
                    padding,
                    value: 0.0,
                }],
                vec![to],
            )
        }
        6 => {
            let to = [h, w].map(|length| 1 + noise.below(2 * length));
            (vec![Op::UpsampleNearest], vec![vec![c, to[0], to[1]]])
        }
        7 if h > 1 && w > 1 => {
            let window = Window {
                kernel: [2; 2],
                stride: [noise.pick(&[1, 2]); 2],
                ..Window::default()
            };
            let op = Op::MaxPool {
                rank: 2,
                window,
                ceil: true,
            };
            let step = window.stride[0];
            let to = [h, w].map(|length| (length - 2).div_ceil(step) + 1);
            (vec![op], vec![vec![c, to[0], to[1]]])
        }
        _ => return None,
    })
}

#[test]
fn random_chains() {
    for seed in 0..40 {
        let kind = KINDS[seed as usize % 2];
        let mut making = Making::new(kind, 1000 + seed, &[4, 6, 7]);
        let mut value = making.input();
        let mut earlier = value;
        for _ in 0..6 {
            let [c, h, w] = making.dims(value)[..] else {
                panic!("not an image");
            };
            let small = c * h * w < 1200 && c < 24;
            match making.noise.below(10) {
                0 => value = convolution(&mut making, value, 5, 3),
                1 if small => value = up(&mut making, value, 4),
                2 if small => {
                    let align_corners = making.noise.pick(&[true, false]);
                    let op = StepOp::Float(Op::UpsampleBilinear { align_corners });
                    let grid = making.grid(value);
                    value = making.step(op, vec![value], grid, &[c, h + 3, 2 * w]);
                }
                3 => value = making.touched(value),
                4 if making.dims(earlier)[1..] == [h, w] && small => {
                    let channels = c + making.dims(earlier)[0];
                    if making.grid(value) == making.grid(earlier) {
                        let both = vec![value, earlier];
                        let op = Op::Concatenate { axis: 1 };
                        value = making.moved(op, both, &[channels, h, w]);
                    }
                }
                5 => earlier = value,
                _ if c * h * w < 5000 => {
                    let moved = movement(&mut making, [c, h, w]);
                    for (op, to) in moved
                        .into_iter()
                        .flat_map(|(ops, to)| ops.into_iter().zip(to))
                    {
                        value = making.moved(op, vec![value], &to);
                    }
                }
                _ => {}
            }
        }
        value = making.touched(value);
        let within = match kind {
            Kind::Floats => 1e-4,
            Kind::Codes => 0.0,
        };
        let batches = [1 + seed as usize % 5, 16 + seed as usize % 2];
        check_batches(
            &making.end(value),
            &batches,
            within,
            &format!("{seed} {kind:?}"),
        );
    }
}

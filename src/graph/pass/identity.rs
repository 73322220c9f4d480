use crate::graph::{Epilogue, Graph, Node};
use crate::network::{Op, Unary, Value, Window};

// What changes nothing gives way to its operand; reshapes, permutes and paddings join what is next to
// them.
pub(super) fn identity(graph: Graph) -> Graph {
    super::replace(graph, |graph, index| {
        while let Some(joined) = joined(graph, index) {
            graph.nodes[index] = joined;
        }
        let node = &graph.nodes[index];
        does_nothing(graph, node).then(|| node.inputs[0])
    })
}

fn does_nothing(graph: &Graph, node: &Node) -> bool {
    let Some(&first) = node.inputs.first() else {
        return false;
    };
    let same_dims = || graph.dims(first) == node.dims;
    let nothing = match &node.op {
        Op::Reshape
        | Op::Expand
        | Op::UpsampleNearest
        | Op::UpsampleBilinear { .. }
        | Op::AdaptiveAveragePool { .. } => same_dims(),
        Op::Permute { axes } => axes.iter().copied().eq(0..axes.len()),
        Op::Slice { ranges } => {
            let whole = |&(first, _, step): &(usize, Option<usize>, usize)| first == 0 && step == 1;
            ranges.iter().all(whole) && same_dims()
        }
        Op::Pad { padding, .. } => padding.iter().all(|&pair| pair == (0, 0)),
        Op::Concatenate { .. } => node.inputs.len() == 1,
        Op::Unary(Unary::AddScalar(scalar)) => *scalar == 0.0,
        Op::Unary(Unary::MulScalar(scalar) | Unary::Power(scalar)) => *scalar == 1.0,
        _ => false,
    };
    nothing && node.epilogue == Epilogue::default()
}

// A step that does the work of this one and of the one before. That one stays for others that use it.
fn joined(graph: &Graph, index: usize) -> Option<Node> {
    let node = &graph.nodes[index];
    let &Value::Node(source) = node.inputs.first()? else {
        return None;
    };
    let before = &graph.nodes[source];
    let op = match (&before.op, &node.op) {
        (Op::Reshape, Op::Reshape) => Op::Reshape,
        (Op::Permute { axes: first }, Op::Permute { axes }) => Op::Permute {
            axes: (axes.iter().map(|&axis| first.get(axis).copied())).collect::<Option<_>>()?,
        },
        (Op::Pad { padding, value }, op) if *value == 0.0 => padded(op, padding)?,
        _ => return None,
    };
    if before.epilogue != Epilogue::default() {
        return None;
    }
    let mut node = node.clone();
    node.op = op;
    node.inputs[0] = *before.inputs.first()?;
    Some(node)
}

// A convolution or pooling with zeros around its spatial axes made part of its window.
fn padded(op: &Op, zeros: &[(usize, usize)]) -> Option<Op> {
    let mut op = op.clone();
    let (rank, window) = match &mut op {
        Op::Convolution { rank, window, .. } => (*rank, window),
        Op::AveragePool {
            rank,
            window,
            include_padding,
            ceil: false,
        } => {
            // Zeros that are part of the input count into the mean; so must all the padding then.
            let counts = *include_padding || window.padding == Window::default().padding;
            if !counts {
                return None;
            }
            *include_padding = true;
            (*rank, window)
        }
        _ => return None,
    };
    let [(0, 0), (0, 0), spatial @ ..] = zeros else {
        return None;
    };
    if spatial.len() != rank {
        return None;
    }
    let first = 2_usize.checked_sub(rank)?;
    for (pair, zeros) in window.padding[first..].iter_mut().zip(spatial) {
        *pair = (pair.0 + zeros.0, pair.1 + zeros.1);
    }
    // A pooling's padding is at most half its kernel: backends refuse more.
    let small = (window.padding.iter().zip(window.kernel))
        .all(|(pair, kernel)| pair.0.max(pair.1) <= kernel / 2);
    (small || matches!(op, Op::Convolution { .. })).then_some(op)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{RELU, Sample, images, names};
    use super::super::simplified_by;
    use super::identity;
    use crate::network::{Dim, Op, Unary, Value, Window};

    #[test]
    fn what_changes_nothing_is_gone() {
        let dims = || images(3, 4, 4);
        let whole = vec![(0, None, 1), (0, Some(3), 1), (0, Some(4), 1), (0, None, 1)];
        let nothing = [
            Op::Reshape,
            Op::Expand,
            Op::Permute {
                axes: vec![0, 1, 2, 3],
            },
            Op::Slice { ranges: whole },
            Op::Pad {
                padding: vec![(0, 0); 4],
                value: 1.0,
            },
            Op::Concatenate { axis: 1 },
            Op::Unary(Unary::AddScalar(0.0)),
            Op::Unary(Unary::MulScalar(1.0)),
            Op::Unary(Unary::Power(1.0)),
            Op::UpsampleNearest,
            Op::AdaptiveAveragePool {
                rank: 2,
                output: [4, 4],
            },
        ];
        for op in nothing {
            let mut sample = Sample::new(dims());
            let relu = sample.node(RELU, &[Value::Input], dims());
            let same = sample.node(op.clone(), &[relu], dims());
            let exp = sample.node(Op::Unary(Unary::Exp), &[same], dims());
            let graph = simplified_by(identity, sample.output(exp));
            assert_eq!(names(&graph), ["relu", "exp"], "{op:?}");

            let mut sample = Sample::new(dims());
            let same = sample.node(op, &[Value::Input], dims());
            let graph = simplified_by(identity, sample.output(same));
            assert_eq!(graph.output, Value::Input);
        }
    }

    #[test]
    fn what_changes_something_stays() {
        let halved = vec![(0, None, 1), (0, None, 1), (0, None, 2), (0, None, 1)];
        let cases = [
            (Op::Reshape, vec![Dim::Batch(1), Dim::Fixed(48)]),
            (
                Op::Permute {
                    axes: vec![0, 1, 3, 2],
                },
                images(3, 4, 4),
            ),
            (Op::Slice { ranges: halved }, images(3, 2, 4)),
            (
                Op::Pad {
                    padding: vec![(0, 0), (0, 0), (1, 0), (0, 0)],
                    value: 0.0,
                },
                images(3, 5, 4),
            ),
            (Op::Unary(Unary::AddScalar(1.0)), images(3, 4, 4)),
            (Op::Unary(Unary::MulScalar(f32::NAN)), images(3, 4, 4)),
        ];
        for (op, dims) in cases {
            let mut sample = Sample::new(images(3, 4, 4));
            let node = sample.node(op.clone(), &[Value::Input], dims);
            let graph = simplified_by(identity, sample.output(node));
            assert_eq!(names(&graph), [op.name()]);
        }
    }

    #[test]
    fn reshapes_in_a_row_are_one_and_there_and_back_is_none() {
        let flat = vec![Dim::Batch(1), Dim::Fixed(48)];
        let mut sample = Sample::new(images(3, 4, 4));
        let first = vec![Dim::Batch(3), Dim::Fixed(16)];
        let first = sample.node(Op::Reshape, &[Value::Input], first);
        let second = sample.node(Op::Reshape, &[first], flat.clone());
        let graph = simplified_by(identity, sample.output(second));
        assert_eq!(names(&graph), ["reshape"]);
        assert_eq!(graph.nodes[0].inputs, [Value::Input]);
        assert_eq!(graph.nodes[0].dims, flat);

        let mut sample = Sample::new(images(3, 4, 4));
        let there = sample.node(Op::Reshape, &[Value::Input], flat);
        let back = sample.node(Op::Reshape, &[there], images(3, 4, 4));
        let relu = sample.node(RELU, &[back], images(3, 4, 4));
        let graph = simplified_by(identity, sample.output(relu));
        assert_eq!(names(&graph), ["relu"]);
    }

    #[test]
    fn permutes_in_a_row_are_one() {
        // [N, C, H, W] to [N, H, W, C], then to [N, W, C, H].
        let mut sample = Sample::new(images(3, 4, 5));
        let permute = || Op::Permute {
            axes: vec![0, 2, 3, 1],
        };
        let once = sample.node(permute(), &[Value::Input], images(4, 5, 3));
        let twice = sample.node(permute(), &[once], images(5, 3, 4));
        let graph = simplified_by(identity, sample.output(twice));
        let axes = vec![0, 3, 1, 2];
        assert_eq!(graph.nodes.len(), 1);
        assert_eq!(graph.nodes[0].op, Op::Permute { axes });

        let mut sample = Sample::new(images(3, 4, 5));
        let once = sample.node(permute(), &[Value::Input], images(4, 5, 3));
        let twice = sample.node(permute(), &[once], images(5, 3, 4));
        let thrice = sample.node(permute(), &[twice], images(3, 4, 5));
        let graph = simplified_by(identity, sample.output(thrice));
        assert_eq!(graph.output, Value::Input);
    }

    fn pad(pairs: &[(usize, usize)], value: f32) -> Op {
        Op::Pad {
            padding: pairs.to_vec(),
            value,
        }
    }

    #[test]
    fn zeros_before_a_convolution_become_its_padding() {
        let spatial = [(0, 0), (0, 0), (4, 5), (1, 2)];
        let cases = [
            (pad(&spatial, 0.0), true),
            (pad(&spatial, 1.0), false),
            (pad(&[(0, 0), (1, 2), (4, 5), (1, 2)], 0.0), false),
        ];
        for (pad, folds) in cases {
            let mut sample = Sample::new(images(3, 4, 4));
            let padded = sample.node(pad, &[Value::Input], images(3, 13, 7));
            let weight = sample.parameter("weight", &[8, 3, 3, 3]);
            let op = Op::Convolution {
                rank: 2,
                window: Window {
                    kernel: [3, 3],
                    padding: [(1, 1), (0, 0)],
                    ..Window::default()
                },
                groups: 1,
            };
            let conv = sample.node(op, &[padded, weight], images(8, 13, 5));
            let graph = simplified_by(identity, sample.output(conv));
            assert_eq!(graph.nodes.len(), if folds { 1 } else { 2 });
            if let (true, Op::Convolution { window, .. }) = (folds, &graph.nodes[0].op) {
                assert_eq!(window.padding, [(5, 6), (1, 2)]);
                assert_eq!(graph.nodes[0].inputs[0], Value::Input);
                assert_eq!(window.output([4, 4]), Some([13, 5]));
            }
        }
    }

    #[test]
    fn in_one_dimension_the_second_axis_of_the_window_is_padded() {
        let dims = |channels, length| vec![Dim::Batch(1), Dim::Fixed(channels), Dim::Fixed(length)];
        let mut sample = Sample::new(dims(3, 8));
        let op = pad(&[(0, 0), (0, 0), (2, 3)], 0.0);
        let padded = sample.node(op, &[Value::Input], dims(3, 13));
        let weight = sample.parameter("weight", &[4, 3, 3]);
        let op = Op::Convolution {
            rank: 1,
            window: Window {
                kernel: [1, 3],
                ..Window::default()
            },
            groups: 1,
        };
        let conv = sample.node(op, &[padded, weight], dims(4, 11));
        let graph = simplified_by(identity, sample.output(conv));
        let [node] = &graph.nodes[..] else {
            panic!("{graph:?}");
        };
        let Op::Convolution { window, .. } = node.op else {
            panic!("{node:?}");
        };
        assert_eq!(window.padding, [(0, 0), (2, 3)]);
    }

    #[test]
    fn zeros_before_an_average_become_its_padding_only_where_they_count() {
        // Own padding, whether it counts, whether partial windows count, zeros; whether it folds.
        let none = [(0, 0), (0, 0)];
        let one = [(1, 1), (1, 1)];
        let cases = [
            (none, true, false, 1, true),
            (none, false, false, 1, true), // without padding of its own it makes no difference
            (one, false, false, 1, false),
            (none, true, true, 1, false),
            (one, true, false, 1, false), // more than half the kernel
            (none, true, false, 2, false),
        ];
        for (padding, include_padding, ceil, zeros, folds) in cases {
            let mut sample = Sample::new(images(3, 6, 6));
            let pair = (zeros, zeros);
            let side = 6 + 2 * zeros;
            let op = pad(&[(0, 0), (0, 0), pair, pair], 0.0);
            let padded = sample.node(op, &[Value::Input], images(3, side, side));
            let op = Op::AveragePool {
                rank: 2,
                window: Window {
                    kernel: [3, 3],
                    padding,
                    ..Window::default()
                },
                include_padding,
                ceil,
            };
            let side = side + 2 * padding[0].0 - 2;
            let pooled = sample.node(op, &[padded], images(3, side, side));
            let graph = simplified_by(identity, sample.output(pooled));
            let expected = if folds { 1 } else { 2 };
            assert_eq!(
                graph.nodes.len(),
                expected,
                "{padding:?} {include_padding} {ceil} {zeros}"
            );
            if let (
                true,
                Op::AveragePool {
                    include_padding,
                    window,
                    ..
                },
            ) = (folds, &graph.nodes[0].op)
            {
                assert!(include_padding);
                assert_eq!(window.padding, one);
            }
        }
    }

    #[test]
    fn zeros_stay_for_others_that_use_them() {
        let mut sample = Sample::new(images(3, 4, 4));
        let op = pad(&[(0, 0), (0, 0), (1, 1), (1, 1)], 0.0);
        let padded = sample.node(op, &[Value::Input], images(3, 6, 6));
        let conv = sample.pointwise(padded);
        let sum = Op::Binary(crate::network::Binary::Add);
        let sum = sample.node(sum, &[conv, padded], images(3, 6, 6));
        let graph = simplified_by(identity, sample.output(sum));
        assert_eq!(names(&graph), ["pad", "convolution", "add"]);
        assert_eq!(graph.nodes[1].inputs[0], Value::Input);
        assert_eq!(graph.nodes[2].inputs, [Value::Node(1), Value::Node(0)]);
    }
}

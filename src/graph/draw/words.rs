//! The attributes of operations, in words.

use std::fmt::Display;

use crate::graph::Node;
use crate::network::{FloatOp, Op, Unary, Window};

/// What the name of the operation leaves open.
pub fn attributes(node: &Node) -> String {
    match &node.op {
        Op::Convolution {
            rank,
            window,
            groups,
        } => listed([placed(*rank, window), in_groups(*groups)]),
        Op::TransposedConvolution {
            rank,
            window,
            output_padding,
            groups,
        } => {
            let more = spatial(*rank, output_padding);
            let more = match more.iter().all(|&length| length == 0) {
                true => String::new(),
                false => format!("output padding {}", times(more)),
            };
            listed([placed(*rank, window), more, in_groups(*groups)])
        }
        Op::MaxPool { rank, window, ceil } => listed([placed(*rank, window), flag(*ceil, "ceil")]),
        Op::AveragePool {
            rank,
            window,
            include_padding,
            ceil,
        } => listed([
            placed(*rank, window),
            flag(*include_padding, "include padding"),
            flag(*ceil, "ceil"),
        ]),
        Op::AdaptiveAveragePool { rank, output } => times(spatial(*rank, output)),
        Op::BatchNorm { epsilon } | Op::LayerNorm { epsilon } => format!("epsilon {epsilon:e}"),
        Op::GroupNorm { groups, epsilon } => format!("groups {groups}, epsilon {epsilon:e}"),
        Op::Unary(unary) => numbers(*unary),
        Op::Softmax { axis } | Op::Concatenate { axis } => format!("axis {axis}"),
        Op::Mean { axes } | Op::Sum { axes } | Op::Permute { axes } => format!("axes {axes:?}"),
        Op::Slice { ranges } => {
            let ranges = ranges.iter().map(|&(first, end, step)| {
                let first = if first == 0 {
                    String::new()
                } else {
                    first.to_string()
                };
                let end = end.map_or(String::new(), |end| end.to_string());
                let step = if step == 1 {
                    String::new()
                } else {
                    format!(";{step}")
                };
                format!("{first}..{end}{step}")
            });
            ranges.collect::<Vec<_>>().join(", ")
        }
        Op::Pad { padding, value } => {
            let pairs = padding
                .iter()
                .map(|(before, after)| format!("{before}+{after}"));
            format!("{}, value {value}", pairs.collect::<Vec<_>>().join(" "))
        }
        Op::UpsampleBilinear { align_corners } => flag(*align_corners, "align corners"),
        Op::Float(op) => match (op, op.axis()) {
            (FloatOp::Select { axis, indices }, _) => {
                format!("axis {axis}, {} places", indices.len())
            }
            (_, Some(axis)) => format!("axis {axis}"),
            _ => String::new(),
        },
        Op::Linear
        | Op::MatMul
        | Op::Binary(_)
        | Op::Reshape
        | Op::Expand
        | Op::UpsampleNearest => String::new(),
    }
}

/// The numbers of a function.
pub fn numbers(unary: Unary) -> String {
    match unary {
        Unary::Clamp { min, max } => format!("{min} to {max}"),
        Unary::LeakyRelu { slope } => format!("slope {slope}"),
        Unary::HardSigmoid { alpha, beta } => format!("alpha {alpha}, beta {beta}"),
        Unary::AddScalar(c) | Unary::MulScalar(c) | Unary::Power(c) => c.to_string(),
        Unary::GeluTanh => "tanh".into(),
        _ => String::new(),
    }
}

// What is not as usual, in the axes that the rank has.
fn placed(rank: usize, window: &Window) -> String {
    let usual = Window::default();
    let mut text = times(spatial(rank, &window.kernel));
    if window.stride != usual.stride {
        text += &format!(", stride {}", times(spatial(rank, &window.stride)));
    }
    if window.padding != usual.padding {
        let pairs = spatial(rank, &window.padding).iter();
        let pairs = pairs.map(|(before, after)| match before == after {
            true => before.to_string(),
            false => format!("{before}+{after}"),
        });
        text += &format!(", padding {}", times(pairs));
    }
    if window.dilation != usual.dilation {
        text += &format!(", dilation {}", times(spatial(rank, &window.dilation)));
    }
    text
}

// The axes that the rank has: the last ones.
fn spatial<T>(rank: usize, axes: &[T; 2]) -> &[T] {
    &axes[2usize.saturating_sub(rank)..]
}

fn in_groups(groups: usize) -> String {
    match groups {
        1 => String::new(),
        _ => format!("groups {groups}"),
    }
}

fn flag(set: bool, name: &str) -> String {
    if set { name.to_string() } else { String::new() }
}

fn listed<const N: usize>(parts: [String; N]) -> String {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}

fn times(lengths: impl IntoIterator<Item = impl Display>) -> String {
    let lengths = lengths.into_iter().map(|length| length.to_string());
    lengths.collect::<Vec<_>>().join("x")
}

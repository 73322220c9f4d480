//! The axes of all tensors of a network, chosen by what reads and makes them.

use super::axes::Axes;
use crate::network::{Dim, Network, Op, StepOp, Value};

/// A network, and what the axes of its tensors are on vector blocks.
#[derive(Debug)]
pub(in crate::engine) struct Viewed<'m> {
    network: &'m Network,
    input: Option<Axes>,
    steps: Vec<Option<Axes>>,
}

impl std::ops::Deref for Viewed<'_> {
    type Target = Network;

    fn deref(&self) -> &Network {
        self.network
    }
}

impl<'m> Viewed<'m> {
    /// Axes are what the operations that read and make a tensor need; where they need nothing, channels are in
    /// front.
    pub fn new(network: &'m Network) -> Self {
        let mut viewed = Self {
            network,
            input: None,
            steps: vec![None; network.steps().len()],
        };
        let wanted = viewed.wanted();
        let images = || Axes::images(network.input());
        let of_input = wanted.last().copied().flatten();
        viewed.input = of_input.map(|wanted| wanted.axes).or_else(images);
        for (index, wanted) in wanted[..network.steps().len()].iter().enumerate() {
            let step = &network.steps()[index];
            let moves = matches!(step.op.op(), Op::Permute { .. } | Op::Reshape);
            viewed.steps[index] = match (viewed.made(index), wanted) {
                // Better one movement that runs plainly than all that follows.
                (Some(made), Some(wanted))
                    if moves && wanted.is_needed && !made.is_like(&wanted.axes) =>
                {
                    Some(wanted.axes)
                }
                (Some(made), _) => Some(made),
                (None, Some(wanted)) => Some(wanted.axes),
                (None, None) => Axes::images(&step.dims),
            };
        }
        viewed
    }

    pub fn network(&self) -> &'m Network {
        self.network
    }

    pub fn axes(&self, value: Value) -> Option<Axes> {
        match value {
            Value::Input => self.input,
            Value::Node(index) => self.steps.get(index).copied().flatten(),
            _ => None,
        }
    }

    // What the readers of each step's result need, those of the first one before others'; last, of the input.
    fn wanted(&self) -> Vec<Option<Wanted>> {
        let steps = self.network.steps();
        let mut wanted: Vec<Option<Wanted>> = vec![None; steps.len() + 1];
        for (index, step) in steps.iter().enumerate().rev() {
            let own = wanted[index];
            for (place, &value) in step.inputs.iter().enumerate() {
                let at = match value {
                    Value::Input => steps.len(),
                    Value::Node(node) => node,
                    _ => continue,
                };
                let dims = self.network.dims(value);
                let axes = needed(&step.op, place, &dims, &step.dims, own);
                wanted[at] = axes.or(wanted[at]);
            }
        }
        wanted
    }

    // What follows from the operands of a step.
    fn made(&self, index: usize) -> Option<Axes> {
        let step = &self.network.steps()[index];
        let dims = &step.dims;
        // Of the operand that has the result's dimensions, or else as many.
        let same = || {
            let values = step.inputs.iter().copied();
            let alike = |value: &Value| self.network.dims(*value) == *dims;
            let all = values.clone().filter(alike).chain(values);
            let mut all = all.filter_map(|value| self.axes(value));
            let roles = all.find(|axes| axes.rank() == dims.len())?;
            Axes::new(dims, roles.roles())
        };
        match step.op.op() {
            Op::Convolution { .. }
            | Op::TransposedConvolution { .. }
            | Op::BatchNorm { .. }
            | Op::GroupNorm { .. }
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::AdaptiveAveragePool { .. }
            | Op::UpsampleNearest
            | Op::UpsampleBilinear { .. } => Axes::images(dims),
            Op::Linear => Axes::tokens(dims),
            Op::MatMul => Axes::heads(dims),
            Op::Permute { axes } => self.axes(step.inputs[0])?.permuted(axes, dims),
            Op::Reshape => self.axes(step.inputs[0])?.reshaped(dims),
            _ => same(),
        }
    }
}

/// The axes that readers want.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    axes: Axes,
    // Whether one of them runs plainly else.
    is_needed: bool,
}

// The axes that an operation wants of an operand, where its own result's are wanted so.
fn needed(
    op: &StepOp,
    place: usize,
    dims: &[Dim],
    made: &[Dim],
    own: Option<Wanted>,
) -> Option<Wanted> {
    let with = |axes: Option<Axes>, is_needed: bool| axes.map(|axes| Wanted { axes, is_needed });
    let as_own = |of: &dyn Fn(Axes) -> Option<Axes>| with(of(own?.axes), own?.is_needed);
    let same = || as_own(&|axes| Axes::new(dims, axes.roles()));
    let channels_last = || {
        let same = same().filter(|wanted| wanted.axes.groups_of_last().is_some());
        same.or_else(|| with(Axes::tokens(dims), false))
    };
    match op.op() {
        Op::Convolution { .. }
        | Op::TransposedConvolution { .. }
        | Op::BatchNorm { .. }
        | Op::GroupNorm { .. }
        | Op::MaxPool { .. }
        | Op::AveragePool { .. }
        | Op::AdaptiveAveragePool { .. }
        | Op::UpsampleNearest
        | Op::UpsampleBilinear { .. } => with(Axes::images(dims), true),
        Op::Linear if place == 0 && dims.len() > 2 => with(Axes::tokens(dims), true),
        // The right operand may be transposed.
        Op::MatMul => with(Axes::heads(dims), place == 0),
        Op::Permute { axes } => as_own(&|own| own.unpermuted(axes, dims)),
        Op::Reshape => as_own(&|own| own.reshaped(dims)),
        Op::LayerNorm { .. } => channels_last(),
        Op::Softmax { axis } if axis + 1 == dims.len() => channels_last(),
        // Of tokens over all positions, or over channels.
        Op::Mean { axes } | Op::Sum { axes } if dims.len() == 3 && matches!(axes[..], [_]) => {
            same().or_else(|| match axes[..] {
                [2] if made.len() == 3 => None,
                _ => with(Axes::tokens(dims), false),
            })
        }
        _ => same(),
    }
}

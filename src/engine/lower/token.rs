//! Steps of transformers: norms and softmax over channels, products of two activations.

use super::integer::bounds;
use super::lowering::Lowering;
use super::node::{FusedNode, Matrix, NodeWork, OverChannels};
use super::shape::Shape;
use crate::kernel::{ChannelStep, InputGrid};
use crate::network::{Binary, Grid, Op, Rescale, Step, StepOp, Unary, Value, expand};

const UNBOUNDED: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

/// Sums of whole numbers below it are exact in floats.
const EXACT: u64 = 1 << 24;

/// The node of such a step; none of another one, and where it runs plainly.
pub(in crate::engine) fn node<'m>(
    lowering: &mut Lowering<'m>,
    index: usize,
    step: &'m Step,
) -> Option<FusedNode<'m>> {
    let first = *step.inputs.first()?;
    let node = |work: NodeWork<'m>| FusedNode {
        work,
        inputs: vec![first],
        output: index,
        layer: step.layer.clone(),
    };
    match &step.op {
        StepOp::Float(Op::LayerNorm { epsilon }) => {
            let groups = lowering.groups(first, step.dims.len() - 1)?;
            let step_over = ChannelStep::LayerNorm { epsilon: *epsilon };
            let mut over = lowering.over_channels(step_over, (first, index), groups)?;
            let gamma = lowering.constant(step.inputs.get(1))?;
            let beta = lowering.constant(step.inputs.get(2))?;
            let pairs = gamma.values.iter().zip(&beta.values);
            over.affine = pairs.map(|(&gamma, &beta)| [gamma, beta]).collect();
            Some(node(NodeWork::Channels(over)))
        }
        StepOp::Float(Op::Softmax { axis }) => {
            let groups = lowering.groups(first, *axis)?;
            let over = lowering.over_channels(ChannelStep::Softmax, (first, index), groups)?;
            Some(node(NodeWork::Channels(over)))
        }
        StepOp::Float(Op::Unary(Unary::Power(2.0))) => lowering.rms_norm(index, step),
        StepOp::Float(Op::MatMul) => {
            let of = |value: &Value| lowering.model.grid(*value).map(input_grid);
            let [left, right] = [of(step.inputs.first()?), of(step.inputs.get(1)?)];
            let matrix = lowering.matrix(step, index, [left, right])?;
            Some(lowering.scaled(matrix, index, step))
        }
        StepOp::Product {
            op: Op::MatMul,
            weights: None,
            rescale,
        } => lowering.whole_numbers(step, index, rescale),
        _ => None,
    }
}

/// The codes of a grid, as kernels have them.
pub(in crate::engine) fn input_grid(grid: Grid) -> InputGrid {
    InputGrid {
        scale: grid.scale(),
        offset: grid.offset(),
        low: grid.low(),
        high: grid.high(),
    }
}

// Its codes as they are.
fn centred(grid: Grid) -> InputGrid {
    InputGrid {
        scale: 1.0,
        offset: 0.0,
        ..input_grid(grid)
    }
}

impl<'m> Lowering<'m> {
    /// A constant that is the same for each sample: a class token.
    pub fn repeated(&self, index: usize, step: &Step) -> Option<FusedNode<'m>> {
        let constant = self.constant(step.inputs.first())?;
        Shape::of(self.model, Value::Node(index))?;
        let dims: Vec<usize> = step.dims.iter().map(|dim| dim.at(1)).collect();
        let values = expand(&constant.values, &constant.dims, &dims).ok()?;
        Some(FusedNode {
            work: NodeWork::Constant(values.into_owned()),
            inputs: Vec::new(),
            output: index,
            layer: step.layer.clone(),
        })
    }

    // Groups of channels that are an axis each, and their channels.
    fn groups(&self, value: Value, axis: usize) -> Option<[usize; 2]> {
        self.model.axes(value)?.groups_of(axis)
    }

    fn over_channels(
        &self,
        step: ChannelStep,
        (from, to): (Value, usize),
        [groups, group]: [usize; 2],
    ) -> Option<OverChannels> {
        let [source, made] = [from, Value::Node(to)].map(|value| Shape::of(self.model, value));
        let alike = source?.axes.is_like(&made?.axes);
        alike.then(|| OverChannels {
            step,
            groups,
            group,
            affine: Vec::new(),
            source: self.model.grid(from).map(input_grid),
            sink: self.model.grid(Value::Node(to)).map(input_grid),
        })
    }

    // `x / sqrt(mean(x^2) + epsilon)`, and a factor of each channel, of which this is the square.
    fn rms_norm(&mut self, index: usize, square: &'m Step) -> Option<FusedNode<'m>> {
        let x = *square.inputs.first()?;
        let last = square.dims.len() - 1;
        let groups = self.groups(x, last)?;
        let float = |step: &'m Step| match &step.op {
            StepOp::Float(op) if step.grid.is_none() => Some(op),
            _ => None,
        };
        float(square)?;
        let mut joined = Vec::new();
        let (mean, step) = self.only_reader(index)?;
        match float(step)? {
            Op::Mean { axes } if axes[..] == [last] => joined.push(mean),
            _ => return None,
        }
        let (sum, step) = self.only_reader(mean)?;
        let Op::Unary(Unary::AddScalar(epsilon)) = float(step)? else {
            return None;
        };
        joined.push(sum);
        let (mut root, step) = self.only_reader(sum)?;
        joined.push(root);
        let mut divides = match float(step)? {
            Op::Unary(Unary::Sqrt) => true,
            Op::Unary(Unary::Power(-0.5)) => false,
            _ => return None,
        };
        let (mut end, mut step) = self.only_reader(root)?;
        if let (true, Op::Unary(Unary::Reciprocal)) = (divides, float(step)?) {
            (divides, root) = (false, end);
            joined.push(end);
            (end, step) = self.only_reader(root)?;
        }
        let root = Value::Node(root);
        let StepOp::Float(Op::Binary(how)) = &step.op else {
            return None;
        };
        let fits = match (how, divides) {
            (Binary::Divide, true) => step.inputs == [x, root],
            (Binary::Multiply, false) => step.inputs == [x, root] || step.inputs == [root, x],
            _ => false,
        };
        if !fits {
            return None;
        }
        let layer = step.layer.clone();
        let mut affine = Vec::new();
        if let (None, Some((next, step))) = (step.grid, self.only_reader(end))
            && let StepOp::Float(Op::Binary(Binary::Multiply)) = &step.op
            && let [a, b] = step.inputs[..]
        {
            let other = if a == Value::Node(end) { b } else { a };
            let values = self.constant(Some(&other)).and_then(|constant| {
                let axes = self.model.axes(Value::Node(next))?;
                axes.by_channel(&constant.dims, &constant.values)
            });
            // The same in each group.
            let own = values.filter(|values| {
                let (first, rest) = values.split_at(groups[1]);
                rest.chunks(groups[1]).all(|of| of == first)
            });
            if let Some(values) = own {
                affine = values[..groups[1]].iter().map(|&by| [by, 0.0]).collect();
                joined.push(end);
                end = next;
            }
        }
        let step = ChannelStep::RmsNorm { epsilon: *epsilon };
        let over = self.over_channels(step, (x, end), groups)?;
        joined.push(end);
        for step in joined {
            self.joined[step] = true;
        }
        Some(FusedNode {
            work: NodeWork::Channels(OverChannels { affine, ..over }),
            inputs: vec![x],
            output: end,
            layer,
        })
    }

    // `[N, h, m, k]` times `[N, h, k, n]`, of which the first lies with positions m in the lanes.
    fn matrix(
        &self,
        step: &Step,
        index: usize,
        [left, right]: [Option<InputGrid>; 2],
    ) -> Option<Matrix> {
        let [a, b] = step.inputs[..] else {
            return None;
        };
        let made = Shape::of(self.model, Value::Node(index))?;
        let [of_left, of_right] = [a, b].map(|value| Shape::of(self.model, value));
        let (of_left, of_right) = (of_left?.axes, of_right?.axes);
        let rank = made.axes.rank();
        if of_left.rank() != rank || of_right.rank() != rank || rank < 3 {
            return None;
        }
        let heads = of_left.is_heads() && made.axes.is_heads();
        let same = (1..rank - 2).all(|axis| of_left.length(axis) == of_right.length(axis));
        let inner_is_channel = match of_right {
            axes if axes.is_turned_heads() => true,
            axes if axes.is_heads() => false,
            _ => return None,
        };
        let groups = (1..rank - 2).map(|axis| of_left.length(axis)).product();
        (heads && same).then(|| Matrix {
            groups,
            inner: of_left.length(rank - 1),
            filters: made.axes.length(rank - 1),
            inner_is_channel,
            multiplier: 1.0,
            bounds: UNBOUNDED,
            left,
            right,
            sink: self.model.grid(Value::Node(index)).map(input_grid),
        })
    }

    // The product, and the factor behind it.
    fn scaled(&mut self, mut matrix: Matrix, index: usize, step: &'m Step) -> FusedNode<'m> {
        let mut output = index;
        if let (None, Some((next, reader))) = (step.grid, self.only_reader(index))
            && let StepOp::Float(Op::Unary(Unary::MulScalar(factor))) = reader.op
            && Shape::of(self.model, Value::Node(next)).is_some()
        {
            matrix.multiplier = factor;
            matrix.sink = reader.grid.map(input_grid);
            self.joined[next] = true;
            output = next;
        }
        FusedNode {
            work: NodeWork::Matrix(matrix),
            inputs: step.inputs.clone(),
            output,
            layer: step.layer.clone(),
        }
    }

    // Sums of products of codes, where floats hold each.
    fn whole_numbers(
        &self,
        step: &'m Step,
        index: usize,
        rescale: &Rescale,
    ) -> Option<FusedNode<'m>> {
        let [a, b] = step.inputs[..] else {
            return None;
        };
        let [left, right] = [self.model.grid(a)?, self.model.grid(b)?];
        let mut matrix = self.matrix(step, index, [Some(centred(left)), Some(centred(right))])?;
        let reach =
            |grid: Grid| u64::from(grid.low().unsigned_abs().max(grid.high().unsigned_abs()));
        let most = reach(left) * reach(right) * matrix.inner as u64;
        let [multiplier] = rescale.multiplier[..] else {
            return None;
        };
        if most > EXACT || rescale.offset.is_some() || rescale.residual.is_some() {
            return None;
        }
        matrix.multiplier = super::lowering::small(multiplier)?;
        matrix.bounds = bounds(step, rescale.activation);
        matrix.sink = step.grid.map(centred);
        Some(FusedNode {
            work: NodeWork::Matrix(matrix),
            inputs: step.inputs.clone(),
            output: index,
            layer: step.layer.clone(),
        })
    }
}

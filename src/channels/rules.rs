//! What each operation does to the axes of its operands.

use super::Reason;
use super::flow::{Flow, only, operation_at};
use super::reshape::reshape;
use super::slots::{Axis, Outcome};
use crate::graph::Node;
use crate::network::{Binary, Dim, FloatOp, Op, Value};

impl Flow<'_> {
    pub(super) fn operation(&mut self, node: &Node) -> Outcome {
        let reason = operation_at(node);
        let input = node.inputs.first().copied().unwrap_or(Value::Input);
        let (mut axes, mut zeros) = (self.axes(input), self.zeros(input));
        match &node.op {
            Op::Convolution { groups, .. } => self.convolution(node, *groups),
            Op::TransposedConvolution { groups, .. } => self.transposed(node, *groups),
            Op::Linear => self.linear(node),
            Op::MatMul => self.matmul(node),
            Op::BatchNorm { .. } => {
                let places = self.axis(input, 1);
                for &vector in &node.inputs[1..] {
                    self.tie_vector(&places, vector, &reason);
                }
                self.scale(node.inputs[1]);
                (axes, only(zeros.len(), 1))
            }
            Op::LayerNorm { .. } => {
                let last = axes.len().saturating_sub(1);
                let places = self.axis(input, last);
                for &vector in &node.inputs[1..] {
                    self.tie_vector(&places, vector, &reason);
                }
                self.scale(node.inputs[1]);
                if !self.settings.renormalize {
                    let layer = node.layer.clone();
                    self.slots.fix(&places, &Reason::Norm { layer });
                }
                (axes, only(zeros.len(), last))
            }
            Op::GroupNorm { groups, .. } => {
                self.group_norm(node, *groups);
                (axes, only(zeros.len(), 1))
            }
            Op::Unary(unary) => {
                if unary.value(0.0) != 0.0 {
                    zeros.fill(false);
                }
                (axes, zeros)
            }
            Op::Binary(binary) => self.binary(node, *binary),
            Op::Softmax { axis } => self.whole_axis(axes, zeros, *axis, false, &reason),
            Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::AdaptiveAveragePool { .. }
            | Op::UpsampleNearest
            | Op::UpsampleBilinear { .. } => {
                self.fix_positions(input, 2, &reason);
                axes.truncate(2);
                (axes, zeros)
            }
            Op::Mean { axes: over } => {
                for &axis in over {
                    let places = std::mem::take(&mut axes[axis]);
                    self.slots.fix(&places, &reason);
                }
                (axes, zeros)
            }
            Op::Sum { axes: over } => {
                for &axis in over {
                    let places = std::mem::take(&mut axes[axis]);
                    if !zeros[axis] {
                        let layer = node.layer.clone();
                        self.slots.fix(&places, &Reason::NotZero { layer });
                    }
                }
                (axes, zeros)
            }
            Op::Concatenate { axis } => self.concatenate(node, *axis),
            Op::Slice { ranges } => self.slice(node, ranges),
            Op::Pad { padding, value } => {
                for (axis, &(before, after)) in padding.iter().enumerate() {
                    if (before, after) != (0, 0) {
                        axes[axis] = self.padded(&axes[axis], before, after, &node.dims[axis]);
                        zeros[axis] &= *value == 0.0;
                    }
                }
                (axes, zeros)
            }
            Op::Reshape => {
                let from = self.dims(input);
                let (result, sources) = reshape(
                    &mut self.slots,
                    &mut self.sites,
                    &self.modes,
                    (&from, &axes),
                    &node.dims,
                    &reason,
                );
                let zero =
                    |from: &Vec<usize>| !from.is_empty() && from.iter().all(|&axis| zeros[axis]);
                (result, sources.iter().map(zero).collect())
            }
            Op::Permute { axes: order } => {
                let moved = order.iter().map(|&axis| axes[axis].clone()).collect();
                (moved, order.iter().map(|&axis| zeros[axis]).collect())
            }
            Op::Expand => {
                let skip = node.dims.len().saturating_sub(axes.len());
                let mut result = vec![Axis::new(); skip];
                result.append(&mut axes);
                for (places, dim) in result.iter_mut().zip(&node.dims) {
                    if let (true, Dim::Fixed(length)) = (places.is_empty(), dim)
                        && *length > 1
                    {
                        // The pass may have taken the length from another tensor.
                        *places = self.slots.fresh(*length);
                    }
                }
                (result, self.spread_zeros(input, &node.dims))
            }
            Op::Float(op) => self.float(node, op),
        }
    }

    fn group_norm(&mut self, node: &Node, groups: usize) {
        let reason = operation_at(node);
        let places = self.axis(node.inputs[0], 1);
        self.fix_positions(node.inputs[0], 2, &reason);
        for &vector in &node.inputs[1..] {
            self.tie_vector(&places, vector, &reason);
        }
        let gamma = node.inputs[1];
        self.scale(gamma);
        if !self.resizable(gamma) {
            let field = self.field(node, gamma, "num_channels");
            self.slots.fix(&places, &field);
        } else if groups > 1 {
            self.slots.tie_within(&places, groups);
        } else if !self.settings.renormalize {
            let layer = node.layer.clone();
            self.slots.fix(&places, &Reason::Norm { layer });
        }
    }

    fn binary(&mut self, node: &Node, binary: Binary) -> Outcome {
        let axes = self.broadcast(&node.inputs, &node.dims, &operation_at(node));
        let zeros = node
            .inputs
            .iter()
            .map(|value| self.spread_zeros(*value, &node.dims));
        let zeros: Vec<_> = zeros.collect();
        let zero = |axis: usize| {
            let mut each = zeros.iter().map(|zeros| zeros[axis]);
            match binary {
                Binary::Add | Binary::Subtract => each.all(|zero| zero),
                Binary::Multiply => each.any(|zero| zero),
                Binary::Divide => each.next().unwrap_or(false),
            }
        };
        let zeros = (0..node.dims.len()).map(zero).collect();
        (axes, zeros)
    }

    fn concatenate(&mut self, node: &Node, axis: usize) -> Outcome {
        let reason = operation_at(node);
        let mut others: Vec<Axis> = vec![Axis::new(); node.dims.len()];
        let mut zeros = vec![true; node.dims.len()];
        let mut along = Axis::new();
        let mut fillers = Vec::new();
        for &operand in &node.inputs {
            let axes = self.axes(operand);
            for (place, (all, own)) in others.iter_mut().zip(&axes).enumerate() {
                match (place == axis, all.is_empty()) {
                    (true, _) => {}
                    (false, true) => all.clone_from(own),
                    (false, false) => self.slots.tie(all, own, &reason),
                }
            }
            for (all, own) in zeros.iter_mut().zip(self.zeros(operand)) {
                *all &= own;
            }
            let length = match self.dims(operand).get(axis) {
                Some(Dim::Fixed(length)) => *length,
                _ => 0,
            };
            let own = match axes[axis].len() == length {
                true => axes[axis].clone(),
                false => self.slots.fresh_fixed(length, &reason),
            };
            if matches!(operand, Value::Constant(_)) {
                fillers.push(own.clone());
            }
            along.extend(own);
        }
        // As where a pass fills up both sides: they stay as long as each other.
        if let [before, after] = &fillers[..]
            && before.len() == after.len()
        {
            self.slots.tie(before, after, &reason);
        }
        others[axis] = along;
        (others, zeros)
    }

    fn slice(&mut self, node: &Node, ranges: &[(usize, Option<usize>, usize)]) -> Outcome {
        let reason = operation_at(node);
        let input = node.inputs[0];
        let mut axes = self.axes(input);
        for (places, &(start, end, step)) in axes.iter_mut().zip(ranges) {
            let end = end.unwrap_or(places.len()).min(places.len());
            if places.is_empty() || (start, end, step) == (0, places.len(), 1) {
                continue;
            }
            let part: Axis = (start..end)
                .step_by(step.max(1))
                .map(|i| places[i])
                .collect();
            *places = match part.len() {
                1 => {
                    // The one that is read stays.
                    self.slots.fix(&part, &reason);
                    Axis::new()
                }
                _ => part,
            };
        }
        (axes, self.zeros(input))
    }

    fn padded(&mut self, places: &[usize], before: usize, after: usize, dim: &Dim) -> Axis {
        let Dim::Fixed(length) = *dim else {
            return Axis::new();
        };
        let reason = Reason::Operation {
            layer: "padding".into(),
            op: "pad".into(),
        };
        let middle = match places.is_empty() {
            true => self.slots.fresh_fixed(length - before - after, &reason),
            false => places.to_vec(),
        };
        let (front, back) = (self.slots.fresh(before), self.slots.fresh(after));
        if before == after {
            self.slots.tie(&front, &back, &reason);
        }
        [front, middle, back].concat()
    }

    fn float(&mut self, node: &Node, op: &FloatOp) -> Outcome {
        let reason = operation_at(node);
        let input = node.inputs[0];
        let (axes, zeros) = (self.axes(input), self.zeros(input));
        match op {
            FloatOp::Max { axis } | FloatOp::Min { axis } | FloatOp::Product { axis } => {
                let (mut axes, zeros) = self.whole_axis(axes, zeros, *axis, true, &reason);
                axes[*axis] = Axis::new();
                (axes, zeros)
            }
            FloatOp::CumulativeSum { axis }
            | FloatOp::CumulativeProduct { axis }
            | FloatOp::CumulativeMax { axis }
            | FloatOp::CumulativeMin { axis }
            | FloatOp::Sort { axis }
            | FloatOp::SortDescending { axis } => {
                self.whole_axis(axes, zeros, *axis, true, &reason)
            }
            FloatOp::LogSoftmax { axis } => self.whole_axis(axes, zeros, *axis, false, &reason),
            FloatOp::Select { axis, .. } => {
                let (mut axes, zeros) = self.whole_axis(axes, zeros, *axis, true, &reason);
                axes[*axis] = Axis::new();
                (axes, zeros)
            }
            FloatOp::Gather { .. } => {
                for &operand in &node.inputs {
                    self.fix_positions(operand, 0, &reason);
                }
                (Vec::new(), Vec::new())
            }
            _ => {
                let axes = self.broadcast(&node.inputs, &node.dims, &reason);
                (axes, vec![false; node.dims.len()])
            }
        }
    }

    // All places of an axis stay.
    fn whole_axis(
        &mut self,
        axes: Vec<Axis>,
        mut zeros: Vec<bool>,
        axis: usize,
        keeps_zeros: bool,
        reason: &Reason,
    ) -> Outcome {
        if let Some(places) = axes.get(axis) {
            self.slots.fix(places, reason);
        }
        if !keeps_zeros {
            zeros.fill(false);
        }
        (axes, zeros)
    }
}

//! What products do to the axes of their operands.

use super::Reason;
use super::flow::{Flow, only, operation_at};
use super::slots::Outcome;
use crate::graph::Node;

impl Flow<'_> {
    pub(super) fn convolution(&mut self, node: &Node, groups: usize) -> Outcome {
        let reason = operation_at(node);
        let (input, weight) = (node.inputs[0], node.inputs[1]);
        self.fix_positions(input, 2, &reason);
        self.fix_positions(weight, 2, &reason);
        let (ins, outs) = (self.axis(input, 1), self.axis(weight, 0));
        let each = self.axis(weight, 1);
        self.output_axis(weight, 0);
        let depthwise = groups > 1 && groups == ins.len();
        match depthwise {
            _ if groups == 1 => self.slots.tie(&ins, &each, &reason),
            true if self.resizable(weight) => {
                let multiple = outs.len() / groups;
                for (place, &slot) in outs.iter().enumerate() {
                    self.slots.union(ins[place / multiple], slot);
                }
            }
            true => {
                let field = self.field(node, weight, "groups");
                self.slots.fix(&ins, &field);
                match outs.len() == groups {
                    true => self.slots.fix(&outs, &field),
                    false => self.slots.tie_parts(&outs, groups),
                }
            }
            false => {
                self.slots.tie_parts(&ins, groups);
                self.slots.tie_parts(&outs, groups);
                let first = &ins[..ins.len() / groups];
                self.slots.tie(first, &each, &reason);
            }
        }
        (vec![self.axis(input, 0), outs], only(node.dims.len(), 1))
    }

    pub(super) fn transposed(&mut self, node: &Node, groups: usize) -> Outcome {
        let reason = operation_at(node);
        let (input, weight) = (node.inputs[0], node.inputs[1]);
        self.fix_positions(input, 2, &reason);
        self.fix_positions(weight, 2, &reason);
        let (ins, each) = (self.axis(input, 1), self.axis(weight, 1));
        let rows = self.axis(weight, 0);
        self.output_axis(weight, 1);
        self.slots.tie(&ins, &rows, &reason);
        let depthwise = groups > 1 && groups == ins.len();
        let outs = match depthwise {
            true if self.resizable(weight) => {
                self.slots.fix(&each, &reason);
                let multiple = each.len().max(1);
                let outs = ins.iter().flat_map(|&slot| vec![slot; multiple]);
                outs.collect()
            }
            true => {
                let field = self.field(node, weight, "groups");
                self.slots.fix(&ins, &field);
                match each.is_empty() {
                    true => self.slots.fresh_fixed(groups, &field),
                    false => each.repeat(groups),
                }
            }
            false => {
                self.slots.tie_parts(&ins, groups);
                match each.is_empty() {
                    // One output channel of each group.
                    true if groups > 1 => self.slots.fresh_fixed(groups, &reason),
                    _ => each.repeat(groups),
                }
            }
        };
        (vec![self.axis(input, 0), outs], only(node.dims.len(), 1))
    }

    pub(super) fn linear(&mut self, node: &Node) -> Outcome {
        let reason = operation_at(node);
        let (input, weight) = (node.inputs[0], node.inputs[1]);
        let mut axes = self.axes(input);
        let mut zeros = self.zeros(input);
        let ins = axes.pop().unwrap_or_default();
        zeros.pop();
        let rows = self.axis(weight, 0);
        self.slots.tie(&ins, &rows, &reason);
        self.output_axis(weight, 1);
        axes.push(self.axis(weight, 1));
        zeros.push(true);
        (axes, zeros)
    }

    pub(super) fn matmul(&mut self, node: &Node) -> Outcome {
        let reason = operation_at(node);
        let [left, right] = [node.inputs[0], node.inputs[1]];
        let rank = node.dims.len();
        let (mut one, mut other) = (self.axes(left), self.axes(right));
        let (mut zero, other_zero) = (self.zeros(left), self.zeros(right));
        if one.len() != rank || other.len() != rank || rank < 2 {
            one.iter()
                .chain(&other)
                .for_each(|axis| self.slots.fix(axis, &reason));
            return (Vec::new(), Vec::new());
        }
        let (inner, outer) = (one.pop().unwrap_or_default(), other.remove(rank - 2));
        self.slots.tie(&inner, &outer, &reason);
        if !zero[rank - 1] && !other_zero[rank - 2] {
            let layer = node.layer.clone();
            self.slots.fix(&inner, &Reason::NotZero { layer });
        }
        let columns = other.pop().unwrap_or_default();
        let rows = one.pop().unwrap_or_default();
        let mut axes = Vec::with_capacity(rank);
        for (one, other) in one.into_iter().zip(other) {
            match (one.is_empty(), other.is_empty()) {
                (false, false) => {
                    self.slots.tie(&one, &other, &reason);
                    axes.push(one);
                }
                (true, _) => axes.push(other),
                (_, true) => axes.push(one),
            }
        }
        axes.extend([rows, columns]);
        for axis in 0..rank - 2 {
            zero[axis] |= other_zero[axis];
        }
        zero[rank - 1] = other_zero[rank - 1];
        (axes, zero)
    }
}

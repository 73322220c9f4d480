//! Steps in whole numbers: to nodes on vector blocks.

use std::borrow::Cow;
use std::sync::Arc;

use super::lowering::{Lowering, small, turned};
use super::node::{FusedNode, NodeWork, PerElement, Pool, WeightValues, Weighted};
use super::shape::Shape;
use super::{assemble, convert, float, rearrange, token};
use crate::network::{Activation, Arithmetic, Codes, FloatOp, Rescale, Step};
use crate::network::{Op, StepOp, Value, Weights, Window};

/// The epilogue of each filter, and the factor of a residual.
type Epilogues = (Vec<(f32, f32)>, Option<f32>);

impl<'m> Lowering<'m> {
    /// The node of a step in whole numbers, or of floats; none where it runs plainly.
    pub fn hot(&mut self, index: usize, step: &'m Step) -> Option<FusedNode<'m>> {
        Shape::of(self.model, Value::Node(index))?;
        let node = |work: NodeWork<'m>, inputs: Vec<Value>, output: usize| FusedNode {
            work,
            inputs,
            output,
            layer: step.layer.clone(),
        };
        let first = *step.inputs.first()?;
        let work = match &step.op {
            StepOp::Quantize if first == Value::Input => {
                let [input, made] = [first, Value::Node(index)].map(|of| self.model.axes(of));
                if !input?.is_like(&made?) {
                    return None;
                }
                NodeWork::Quantize
            }
            StepOp::Product {
                op: Op::Convolution { window, groups, .. },
                weights: Some(weights),
                rescale,
            } => {
                self.codes(first)?;
                self.images(first)?;
                let codes = narrow(weights)?;
                let shape = [weights.dims[0], weights.dims[1]];
                NodeWork::Product(self.integers(
                    (index, step),
                    *window,
                    *groups,
                    (shape, codes),
                    rescale,
                )?)
            }
            StepOp::Product {
                op: Op::Linear,
                weights: Some(weights),
                rescale,
            } => {
                let source = self.linear_source(first)?;
                self.codes(source.value)?;
                let [inputs, outputs] = weights.dims[..] else {
                    return None;
                };
                let codes = source.ordered(turned(&narrow(weights)?, outputs));
                let turned = ([outputs, inputs], Cow::Owned(codes));
                let mut product =
                    self.integers((index, step), source.window, 1, turned, rescale)?;
                product.channels = source.shape.channels;
                let mut inputs = step.inputs.clone();
                inputs[0] = source.value;
                return Some(node(NodeWork::Product(product), inputs, index));
            }
            StepOp::Rescale(rescale) => NodeWork::Product(self.rescale(index, step, rescale)?),
            StepOp::Arithmetic {
                how: Arithmetic::Add { left, right },
                activation,
            } => {
                let inputs = self.pair(index, step)?;
                let factors = (small(*left)?, small(*right)?);
                // Sums do not depend on the order of their two terms.
                let factors = match inputs == step.inputs[..] {
                    true => factors,
                    false => (factors.1, factors.0),
                };
                let bounds = self.bounds(index, *activation);
                let work = NodeWork::Elementwise(PerElement::Add { factors, bounds });
                return Some(node(work, inputs.to_vec(), index));
            }
            StepOp::Arithmetic {
                how: Arithmetic::Multiply { multiplier },
                activation,
            } => {
                // Results in floats lie otherwise than codes.
                step.grid?;
                let inputs = self.pair(index, step)?;
                let factor = small(*multiplier)?;
                let bounds = self.bounds(index, *activation);
                let work = NodeWork::Elementwise(PerElement::Multiply { factor, bounds });
                return Some(node(work, inputs.to_vec(), index));
            }
            StepOp::Arithmetic {
                how: how @ (Arithmetic::AddConstant { .. } | Arithmetic::MultiplyConstant),
                activation,
            } => NodeWork::Product(self.by_constant(index, step, *how, *activation)?),
            StepOp::Table(table) => {
                self.same(index, step)?;
                let (table, last) = self.composed(index, step, table.clone());
                let work = NodeWork::Elementwise(PerElement::Table(table));
                return Some(node(work, step.inputs.clone(), last));
            }
            StepOp::Sum {
                op,
                divide,
                multiplier,
                activation,
            } => {
                self.codes(first)?;
                // Results in floats lie otherwise than codes.
                step.grid?;
                let (factor, bounds) = (small(*multiplier)?, self.bounds(index, *activation));
                let pool = self.pool(index, step, op.sums()?.0, *divide, factor)?;
                NodeWork::Pool(Pool { bounds, ..pool })
            }
            StepOp::Move(Op::Expand) if !first.is_activation() => {
                return self.repeated(index, step);
            }
            StepOp::Move(op) => {
                let (work, inputs) = self.moved(index, step, op)?;
                return Some(node(work, inputs, index));
            }
            StepOp::Quantize | StepOp::Dequantize => {
                let (work, inputs) = convert::of(self, index, step)?;
                return Some(node(work, inputs, index));
            }
            StepOp::Float(Op::Float(FloatOp::Select { .. })) if step.grid.is_none() => {
                let (work, inputs) = assemble::of(self, index, false)?;
                return Some(node(work, inputs, index));
            }
            StepOp::Float(_) => {
                if let Some(node) = token::node(self, index, step) {
                    return Some(node);
                }
                return match convert::of(self, index, step) {
                    Some((work, inputs)) => Some(node(work, inputs, index)),
                    None => float::node(self, index, step),
                };
            }
            _ => return token::node(self, index, step),
        };
        Some(node(work, step.inputs.clone(), index))
    }

    // A table, and those that follow it while nothing else needs what lies between, as one; and the last step.
    fn composed(&mut self, index: usize, step: &Step, mut table: Vec<i32>) -> (Vec<i32>, usize) {
        let (mut last, mut grid) = (index, step.grid);
        while let (Some((next, step)), Some(of)) = (self.only_reader(last), grid)
            && let StepOp::Table(further) = &step.op
            && self.same(next, step).is_some()
        {
            let low = of.low();
            // The check of a network has seen that each code has its entry.
            let entry = |code: &i32| further.get((code - low) as usize).copied().unwrap_or(0);
            table = table.iter().map(entry).collect();
            self.joined[next] = true;
            (last, grid) = (next, step.grid);
        }
        (table, last)
    }

    fn integers(
        &self,
        step: (usize, &Step),
        window: Window,
        groups: usize,
        ([filters, channels], codes): ([usize; 2], Cow<'m, [i8]>),
        rescale: &Rescale,
    ) -> Option<Weighted<'m>> {
        let (filters, residual) = self.epilogues(step, filters, rescale)?;
        Some(Weighted {
            window,
            groups,
            channels,
            weights: WeightValues::Codes(codes),
            filters,
            filter_order: Vec::new(),
            channel_order: Vec::new(),
            residual,
            bounds: bounds(step.1, rescale.activation),
            found: Arc::default(),
        })
    }

    fn epilogues(
        &self,
        (index, step): (usize, &Step),
        filters: usize,
        rescale: &Rescale,
    ) -> Option<Epilogues> {
        let of = |factors: &[f32], filter: usize| match factors {
            [one] => Some(*one),
            factors => factors.get(filter).copied(),
        };
        let epilogues = (0..filters).map(|filter| {
            let multiplier = small(of(&rescale.multiplier, filter)?)?;
            // Adding -0 changes nothing, not even the sign of a zero.
            let offset = match &rescale.offset {
                Some(offset) => small(of(offset, filter)?)?,
                None => -0.0,
            };
            Some((multiplier, offset))
        });
        let epilogues = epilogues.collect::<Option<_>>()?;
        if let Some(factor) = rescale.residual {
            small(factor)?;
            let last = *step.inputs.last()?;
            self.codes(last)?;
            if !self.lies_like(last, index) {
                return None;
            }
        }
        Some((epilogues, rescale.residual))
    }

    // Each channel by its own factor: a product of one weight of 1.
    fn rescale(&self, index: usize, step: &Step, rescale: &Rescale) -> Option<Weighted<'m>> {
        let first = *step.inputs.first()?;
        // Factors are of the second axis.
        let counts = [
            rescale.multiplier.len(),
            rescale.offset.as_ref().map_or(1, Vec::len),
        ];
        if counts != [1, 1] {
            self.images(first)?;
        }
        self.channel_wise(index, step, rescale)
    }

    fn channel_wise(&self, index: usize, step: &Step, rescale: &Rescale) -> Option<Weighted<'m>> {
        let first = *step.inputs.first()?;
        self.codes(first)?;
        let shape = Shape::of(self.model, first)?;
        if !self.lies_like(first, index) {
            return None;
        }
        let (filters, residual) = self.epilogues((index, step), shape.channels, rescale)?;
        Some(Weighted {
            window: Window::default(),
            groups: shape.channels,
            channels: 1,
            weights: WeightValues::Codes(vec![1; shape.channels].into()),
            filters,
            filter_order: Vec::new(),
            channel_order: Vec::new(),
            residual,
            bounds: bounds(step, rescale.activation),
            found: Arc::default(),
        })
    }

    // Each channel times or plus a constant: as `rescale`.
    fn by_constant(
        &self,
        index: usize,
        step: &Step,
        how: Arithmetic,
        activation: Option<Activation>,
    ) -> Option<Weighted<'m>> {
        let [first, Value::Constant(constant)] = step.inputs[..] else {
            return None;
        };
        let axes = Shape::of(self.model, first)?.axes;
        let constant = &self.model.constants()[constant];
        let values = axes.by_channel(&constant.dims, &constant.values)?;
        let rescale = match how {
            Arithmetic::AddConstant { multiplier } => Rescale {
                multiplier: vec![multiplier],
                offset: Some(values),
                residual: None,
                activation,
            },
            _ => Rescale {
                multiplier: values,
                offset: None,
                residual: None,
                activation,
            },
        };
        self.channel_wise(index, step, &rescale)
    }

    fn bounds(&self, index: usize, activation: Option<Activation>) -> (f32, f32) {
        bounds(&self.model.steps()[index], activation)
    }

    // What an operation moves where, and from which tensors.
    fn moved(&self, index: usize, step: &Step, op: &Op) -> Option<(NodeWork<'m>, Vec<Value>)> {
        let to = Shape::of(self.model, Value::Node(index))?;
        let inputs = || step.inputs.clone();
        if let Op::MaxPool { window, .. } = op {
            self.images(step.inputs[0])?;
            let from = Shape::of(self.model, step.inputs[0])?;
            let pool = Pool::greatest(*window, from.size(), to.size());
            return Some((NodeWork::Pool(pool), inputs()));
        }
        let through = assemble::looks_through(self, step);
        if let Some(assembled) = through.then(|| assemble::of(self, index, true)).flatten() {
            return Some(assembled);
        }
        let from = step.inputs.iter();
        let from = from.map(|&value| Shape::of(self.model, value));
        let from: Option<Vec<Shape>> = from.collect();
        let moved = from.and_then(|from| rearrange::of(op, &step.dims, &to, &from));
        match moved {
            Some(rearrange) => Some((NodeWork::Rearrange(rearrange), inputs())),
            None => assemble::of(self, index, false),
        }
    }
}

/// Codes of a byte each; none where they take more, which kernels do not hold.
fn narrow(weights: &Weights) -> Option<Cow<'_, [i8]>> {
    match &weights.codes {
        Codes::I8(codes) => Some(codes.as_slice().into()),
        codes => {
            let each = codes.widened();
            each.iter().map(|&code| i8::try_from(code).ok()).collect()
        }
    }
}

// Rounding and the two clamps never lower a greater number below a less: together they are one clamp,
// to what they make of the ends.
pub(super) fn bounds(step: &Step, activation: Option<Activation>) -> (f32, f32) {
    let end = |t: f32| {
        let t = activation.map_or(t, |activation| activation.apply(t));
        match step.grid {
            Some(grid) => grid.centred(t) as f32,
            None => t,
        }
    };
    (end(f32::NEG_INFINITY), end(f32::INFINITY))
}

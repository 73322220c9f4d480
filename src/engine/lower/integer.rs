//! Steps in whole numbers: to nodes on vector blocks.

use std::borrow::Cow;
use std::sync::Arc;

use super::lowering::{Lowering, small, turned, whole};
use super::node::{FusedNode, NodeWork, PerElement, Pool, WeightValues, Weighted};
use super::shape::{Kind, Shape, spatial};
use super::{assemble, convert, float, rearrange};
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
                spatial(self.model.input())?;
                NodeWork::Quantize
            }
            StepOp::Product {
                op: Op::Convolution { window, groups, .. },
                weights: Some(weights),
                rescale,
            } => {
                self.codes(first)?;
                let codes = narrow(weights)?;
                let shape = [weights.dims[0], weights.dims[1]];
                NodeWork::Product(self.integers(step, *window, *groups, (shape, codes), rescale)?)
            }
            StepOp::Product {
                op: Op::Linear,
                weights: Some(weights),
                rescale,
            } => {
                let source = self.linear_source(first)?;
                self.codes(source)?;
                let shape = Shape::of(self.model, source)?;
                let [inputs, outputs] = weights.dims[..] else {
                    return None;
                };
                let codes = Cow::Owned(turned(&narrow(weights)?, outputs));
                let turned = ([outputs, inputs], codes);
                let window = whole(&shape);
                let mut product = self.integers(step, window, 1, turned, rescale)?;
                product.channels = shape.channels;
                let mut inputs = step.inputs.clone();
                inputs[0] = source;
                return Some(node(NodeWork::Product(product), inputs, index));
            }
            StepOp::Rescale(rescale) => NodeWork::Product(self.rescale(step, rescale)?),
            StepOp::Arithmetic {
                how: Arithmetic::Add { left, right },
                activation,
            } => {
                let inputs = self.pair(step)?;
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
                let inputs = self.pair(step)?;
                let factor = small(*multiplier)?;
                let bounds = self.bounds(index, *activation);
                let work = NodeWork::Elementwise(PerElement::Multiply { factor, bounds });
                return Some(node(work, inputs.to_vec(), index));
            }
            StepOp::Arithmetic {
                how: how @ (Arithmetic::AddConstant { .. } | Arithmetic::MultiplyConstant),
                activation,
            } => NodeWork::Product(self.by_constant(step, *how, *activation)?),
            StepOp::Table(table) => {
                self.same(step)?;
                NodeWork::Elementwise(PerElement::Table(table.clone()))
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
                let pool = self.pool(step, op.sums()?.0, *divide, factor)?;
                NodeWork::Pool(Pool { bounds, ..pool })
            }
            StepOp::Move(op) => {
                let (work, inputs) = self.moved(index, step, op)?;
                return Some(node(work, inputs, index));
            }
            StepOp::Quantize | StepOp::Dequantize => {
                let (work, inputs) = convert::of(self, step)?;
                return Some(node(work, inputs, index));
            }
            StepOp::Float(Op::Float(FloatOp::Select { .. })) if step.grid.is_none() => {
                let (work, inputs) = assemble::of(self, index)?;
                return Some(node(work, inputs, index));
            }
            StepOp::Float(_) => {
                return match convert::of(self, step) {
                    Some((work, inputs)) => Some(node(work, inputs, index)),
                    None => float::node(self, index, step),
                };
            }
            _ => return None,
        };
        Some(node(work, step.inputs.clone(), index))
    }

    fn integers(
        &self,
        step: &Step,
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
            bounds: bounds(step, rescale.activation),
            found: Arc::default(),
        })
    }

    fn epilogues(&self, step: &Step, filters: usize, rescale: &Rescale) -> Option<Epilogues> {
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
            if self.model.dims(last) != step.dims {
                return None;
            }
            Kind::of(step.grid)?;
            // Results in floats lie otherwise than codes.
            step.grid?;
        }
        Some((epilogues, rescale.residual))
    }

    // Each channel by its own factor: a product of one weight of 1.
    fn rescale(&self, step: &Step, rescale: &Rescale) -> Option<Weighted<'m>> {
        let first = *step.inputs.first()?;
        self.codes(first)?;
        let shape = Shape::of(self.model, first)?;
        if self.model.dims(first) != step.dims {
            return None;
        }
        let (filters, residual) = self.epilogues(step, shape.channels, rescale)?;
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
        step: &Step,
        how: Arithmetic,
        activation: Option<Activation>,
    ) -> Option<Weighted<'m>> {
        let [first, Value::Constant(constant)] = step.inputs[..] else {
            return None;
        };
        let channels = Shape::of(self.model, first)?.channels;
        let constant = &self.model.constants()[constant];
        let rank = step.dims.len();
        let values = float::by_channel(&constant.dims, &constant.values, rank, channels)?;
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
        self.rescale(step, &rescale)
    }

    fn bounds(&self, index: usize, activation: Option<Activation>) -> (f32, f32) {
        bounds(&self.model.steps()[index], activation)
    }

    // What an operation moves where, and from which tensors.
    fn moved(&self, index: usize, step: &Step, op: &Op) -> Option<(NodeWork<'m>, Vec<Value>)> {
        let to = Shape::of(self.model, Value::Node(index))?;
        let inputs = || step.inputs.clone();
        if let Op::MaxPool { window, .. } = op {
            let from = Shape::of(self.model, step.inputs[0])?;
            let sizes = [from, to].map(|shape| [shape.rows, shape.columns]);
            let pool = Pool::greatest(*window, sizes[0], sizes[1]);
            return Some((NodeWork::Pool(pool), inputs()));
        }
        if !assemble::looks_through(self, step) {
            let shapes = step.inputs.iter();
            let from = shapes.map(|&value| Shape::of(self.model, value));
            let from: Option<Vec<Shape>> = from.collect();
            let moved = from.and_then(|from| rearrange::of(op, &step.dims, to, &from));
            if let Some(rearrange) = moved {
                return Some((NodeWork::Rearrange(rearrange), inputs()));
            }
        }
        assemble::of(self, index)
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
fn bounds(step: &Step, activation: Option<Activation>) -> (f32, f32) {
    let end = |t: f32| {
        let t = activation.map_or(t, |activation| activation.apply(t));
        match step.grid {
            Some(grid) => grid.centred(t) as f32,
            None => t,
        }
    };
    (end(f32::NEG_INFINITY), end(f32::INFINITY))
}

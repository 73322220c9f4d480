//! How a pass reads the parameters of its graph.

use super::super::activations::{Form, QuantizerPlacement};
use crate::format::{Granularity, Mapping, Scheme, WeightView};
use crate::network::{Op, Value};

/// How each parameter is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reads(Vec<Read>);

/// How a parameter is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Read {
    /// As the weight of an integer product (and nowhere else: placement sees to that).
    pub integers: bool,
    /// The axis of the output channels whose sums are read, too.
    pub sums: Option<usize>,
    /// Factors that it is multiplied by before it becomes integers.
    pub fold: Option<Fold>,
}

const AS_VALUES: Read = Read {
    integers: false,
    sums: None,
    fold: None,
};

/// What makes up, in a weight, for the scales of its input's channels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fold {
    /// The factors of the input's channels, in dimensions that broadcast over the weight as it is read.
    pub inputs: Vec<f32>,
    pub dims: Vec<usize>,
    /// What that does to the range of each scale's weights.
    pub scales: Vec<f32>,
    /// The zero point of each scale.
    pub zero_points: Vec<f32>,
}

impl Fold {
    // Of the weight of a product, as the graph reads it, where each output channel has a scale, or all
    // have one.
    pub fn new(op: &Op, dims: &[usize], weights: &[f32], each: &[f32], scheme: &Scheme) -> Self {
        let apart = scheme.granularity() != Granularity::Tensor;
        let layout = op.weight_layout(dims);
        let row = |place: usize| {
            let of = |layout: &WeightView| layout.channels(place / layout.taps().max(1)).1;
            layout.as_ref().map_or(0, of)
        };
        let rows = layout.as_ref().map_or(1, WeightView::rows);
        let (broadcast, inputs) = match op {
            Op::Convolution { groups, .. } if *groups > 1 => {
                // The channels of the group that an output belongs to.
                let (outputs, inputs) = (dims[0] / groups, dims[1]);
                let of = |output: usize| each[output / outputs * inputs..][..inputs].iter();
                let inputs = (0..dims[0]).flat_map(of).copied().collect();
                (vec![0, 1], inputs)
            }
            Op::Convolution { .. } => (vec![1], each.to_vec()),
            _ => (vec![0], each.to_vec()),
        };
        let broadcast: Vec<usize> = (dims.iter().enumerate())
            .map(|(axis, length)| {
                if broadcast.contains(&axis) {
                    *length
                } else {
                    1
                }
            })
            .collect();
        let mut strides = vec![0; dims.len()];
        let mut stride = 1;
        for axis in (0..dims.len()).rev() {
            if broadcast[axis] > 1 {
                strides[axis] = stride;
                stride *= broadcast[axis];
            }
        }
        // The least and the greatest weight of each scale, before and after.
        let count = if apart { rows } else { 1 };
        let mut ends = vec![[(0.0f32, 0.0f32); 2]; count];
        for (place, weight) in weights.iter().enumerate() {
            let (mut rest, mut factor) = (place, 0);
            for of in (0..dims.len()).rev() {
                factor += rest % dims[of] * strides[of];
                rest /= dims[of];
            }
            let ends = &mut ends[if apart { row(place) } else { 0 }];
            for (end, weight) in ends.iter_mut().zip([*weight, weight * inputs[factor]]) {
                *end = (end.0.min(weight), end.1.max(weight));
            }
        }
        let span = |(low, high): (f32, f32)| match scheme.mapping() {
            Mapping::Symmetric => high.max(-low),
            Mapping::Affine => high - low,
        };
        let scale = |[before, after]: &[(f32, f32); 2]| {
            let ratio = span(*after) / span(*before);
            if ratio.is_normal() { ratio } else { 1.0 }
        };
        let (first, last) = scheme.code_range();
        let zero_point = |[_, after]: &[(f32, f32); 2]| match scheme.mapping() {
            Mapping::Affine if span(*after) > 0.0 => {
                let below = -after.0 / span(*after) * (last - first) as f32;
                first as f32 + below.round_ties_even()
            }
            _ => 0.0,
        };
        Self {
            inputs,
            dims: broadcast,
            scales: ends.iter().map(scale).collect(),
            zero_points: ends.iter().map(zero_point).collect(),
        }
    }
}

impl Reads {
    /// Lets a weight make up for the scales of its input's channels.
    pub(super) fn fold(&mut self, weight: usize, fold: Fold) {
        self.0[weight].fold = Some(fold);
    }

    /// Those of a quantized graph.
    pub fn new(placement: &QuantizerPlacement) -> Self {
        let mut reads = Self::of_products(placement, |value| placement.offset(value) != 0.0);
        for (node, form) in placement.graph.nodes.iter().zip(&placement.forms) {
            if let (Form::Product, Some(Value::Parameter(index))) = (form, node.inputs.get(1)) {
                reads.0[*index].integers = true;
            }
        }
        reads
    }

    /// As values, and the sums of those that may meet an input around an offset.
    pub fn of_sums(placement: &QuantizerPlacement) -> Self {
        Self::of_products(placement, |value| {
            let quantizer = placement.quantizer(value);
            quantizer.is_some_and(|quantizer| placement.offset_groups[quantizer].is_some())
        })
    }

    // As values, and the sums of the weights of products whose inputs are such.
    fn of_products(placement: &QuantizerPlacement, has_offset: impl Fn(Value) -> bool) -> Self {
        let graph = &placement.graph;
        let mut reads = vec![Read::default(); graph.parameters.len()];
        for (node, form) in graph.nodes.iter().zip(&placement.forms) {
            if let (Form::Product, Some(Value::Parameter(index))) = (form, node.inputs.get(1))
                && node.op.sums_all_weights()
                && has_offset(node.inputs[0])
            {
                // Not in groups, whose outputs have sums of their own, unless it lies on the first axis.
                reads[*index].sums = Some(usize::from(!matches!(node.op, Op::Convolution { .. })));
            }
        }
        Self(reads)
    }

    /// The same, all read as integers that have codes.
    pub fn all_as_integers(&self, count: usize) -> Self {
        let read = |index: usize| Read {
            integers: true,
            ..self.of(index).clone()
        };
        Self((0..count).map(read).collect())
    }

    /// That of a parameter.
    pub fn of(&self, index: usize) -> &Read {
        self.0.get(index).unwrap_or(&AS_VALUES)
    }
}

//! The numbers of a node's requantization: computed here alone, for the simulation and for the integer
//! form, so that they are equal in every bit.

use burn::tensor::Tensor;

use super::super::Norm;
use super::super::activations::QuantizerPlacement;
use super::super::tensor::AnyTensor;
use super::channels::plus;
use super::weights::Weight;
use crate::network::{Op, Value};

/// `sum * multiplier + offset + residual code * residual`, in units of the result's scale, or in real
/// units where the result is a float.
pub(crate) struct Requantization {
    /// For each channel, or one.
    pub multiplier: Tensor<1>,
    /// For each channel.
    pub offset: Option<Tensor<1>>,
    pub residual: Option<Tensor<1>>,
}

/// What the requantization parameters are computed from.
pub(crate) struct RequantizationSource<'a> {
    pub placement: &'a QuantizerPlacement,
    pub weights: &'a [Weight],
    /// Of each quantizer.
    pub scales: &'a [Tensor<1>],
    /// Added to the offset of each product, in real units.
    pub correction: Option<&'a Tensor<1>>,
}

impl RequantizationSource<'_> {
    /// A parameter or a constant of one axis.
    pub fn vector(&self, value: Value) -> Tensor<1> {
        match value {
            Value::Parameter(index) => {
                let values = self.weights[index].values();
                let length = values.dims().iter().product();
                values.reshape(&[length]).rank()
            }
            _ => unreachable!("epilogues hold parameters"),
        }
    }

    /// The scale of a tensor's codes; where its channels have their own, the one that these are next to.
    pub fn scale(&self, value: Value) -> Option<Tensor<1>> {
        let scale = self.scales[self.placement.quantizer(value)?].clone();
        Some(match self.placement.factor(value) {
            1.0 => scale,
            factor => scale * factor,
        })
    }

    /// Factor and shift of a batch norm, for each channel.
    pub fn norm(&self, norm: &Norm) -> (Tensor<1>, Tensor<1>, Tensor<1>) {
        let variance = self.vector(norm.variance) + norm.epsilon;
        let factor = self.vector(norm.gamma) / variance.sqrt();
        (factor, self.vector(norm.mean), self.vector(norm.beta))
    }

    /// The real value of one in the sum of an integer product, for each channel.
    pub fn unit(&self, index: usize) -> Tensor<1> {
        let node = &self.placement.graph.nodes[index];
        let scale = self.operand_scale(node.inputs[0]);
        match node.inputs[1] {
            Value::Parameter(weight) => {
                let of_weight = self.weights[weight].scale().cloned();
                scale * of_weight.unwrap_or_else(|| unreachable!("an integer product"))
            }
            other => scale * self.operand_scale(other),
        }
    }

    fn operand_scale(&self, value: Value) -> Tensor<1> {
        let scale = self.scale(value);
        scale.unwrap_or_else(|| unreachable!("operands of integer nodes are quantized"))
    }

    /// What a product's result has more than the sum of its codes, before any batch norm: the bias, and
    /// what the offset of the input adds, by the weights before they were quantized.
    pub fn bias(&self, index: usize) -> Option<Tensor<1>> {
        let node = &self.placement.graph.nodes[index];
        let bias = node.epilogue.bias.map(|bias| self.vector(bias));
        let sums = match (self.placement.offset(node.inputs[0]), node.inputs[1]) {
            (0.0, _) => None,
            (offset, Value::Parameter(weight)) => {
                let sums = self.weights[weight].sums().cloned();
                sums.map(|sums| sums * offset)
            }
            _ => None,
        };
        match (bias, sums) {
            (Some(bias), Some(sums)) => Some(bias + sums),
            (bias, sums) => bias.or(sums),
        }
    }

    /// What the offsets of a residual and of the result itself add to it, in its units; none of nothing.
    pub fn shift(&self, index: usize) -> Option<Tensor<1>> {
        let node = &self.placement.graph.nodes[index];
        let added = node
            .epilogue
            .add
            .map_or(0.0, |add| self.placement.offset(add));
        let shift = added - self.placement.offset(Value::Node(index));
        if shift == 0.0 {
            return None;
        }
        let scale = self.operand_scale(node.epilogue.add.unwrap_or(Value::Node(index)));
        let shift = Tensor::<1>::from_data([shift], &scale.device());
        Some(match self.scale(Value::Node(index)) {
            Some(scale) => shift / scale,
            None => shift,
        })
    }

    /// The requantization parameters of an integer product.
    pub fn product(&self, index: usize) -> Requantization {
        let node = &self.placement.graph.nodes[index];
        let epilogue = &node.epilogue;
        let mut multiplier = self.unit(index);
        let mut offset = self.bias(index);
        if let Some(norm) = &epilogue.norm {
            let (factor, mean, beta) = self.norm(norm);
            multiplier = multiplier * factor.clone();
            let centre = match offset {
                Some(bias) => bias - mean,
                None => -mean,
            };
            offset = Some(beta + centre * factor);
        }
        let (start, length) = self.placement.correction_of(index);
        // A product of two activations has none.
        if let Some(correction) = self.correction.filter(|_| length > 0) {
            let correction = correction.clone().narrow(0, start, length);
            offset = Some(match offset {
                Some(offset) => offset + correction,
                None => correction,
            });
        }
        let residual = self.residual(index);
        match self.scale(Value::Node(index)) {
            None => Requantization {
                multiplier,
                offset: self.shifted(index, offset),
                residual,
            },
            Some(scale) => Requantization {
                multiplier: shortened(multiplier / scale.clone(), MULTIPLIER_BITS),
                offset: self.shifted(index, offset.map(|offset| offset / scale)),
                residual,
            },
        }
    }

    // What is added to a result, and its shift.
    fn shifted(&self, index: usize, offset: Option<Tensor<1>>) -> Option<Tensor<1>> {
        match (offset, self.shift(index)) {
            (Some(offset), Some(shift)) => Some(offset + shift),
            (offset, shift) => offset.or(shift),
        }
    }

    /// The factor of the activation that a product's epilogue adds.
    pub fn residual(&self, index: usize) -> Option<Tensor<1>> {
        let add = self.placement.graph.nodes[index].epilogue.add?;
        let residual = self.operand_scale(add);
        Some(match self.scale(Value::Node(index)) {
            None => residual,
            Some(scale) => shortened(residual / scale, RESIDUAL_BITS),
        })
    }

    /// The requantization parameters of a batch norm of its own.
    pub fn affine(&self, index: usize) -> Requantization {
        let node = &self.placement.graph.nodes[index];
        let norm = node.batch_norm();
        let norm = norm.unwrap_or_else(|| unreachable!("placement gives this form to norms alone"));
        let (factor, mean, beta) = self.norm(&norm);
        let operand = self.operand_scale(node.inputs[0]);
        let operand = match self.placement.channel_factors(node.inputs[0]) {
            Some((_, each)) => operand * Tensor::<1>::from_data(each, &factor.device()),
            None => operand,
        };
        let multiplier = operand * factor.clone();
        let mean = match self.placement.offset(node.inputs[0]) {
            0.0 => mean,
            offset => mean - offset,
        };
        let offset = beta - mean * factor;
        let scale = self.operand_scale(Value::Node(index));
        Requantization {
            multiplier: multiplier / scale.clone(),
            offset: self.shifted(index, Some(offset / scale)),
            residual: None,
        }
    }

    /// The multiplier of each operand of a sum, or of the product of both: in units of the result.
    pub fn arithmetic(&self, index: usize) -> Vec<Tensor<1>> {
        let node = &self.placement.graph.nodes[index];
        let scale = self.operand_scale(Value::Node(index));
        let operands = node.inputs.iter().filter(|value| value.is_activation());
        let operands: Vec<Tensor<1>> = operands.map(|value| self.operand_scale(*value)).collect();
        match (&node.op, operands.as_slice()) {
            (Op::Binary(crate::network::Binary::Multiply), [a, b]) => {
                vec![a.clone() * b.clone() / scale]
            }
            _ => operands.into_iter().map(|s| s / scale.clone()).collect(),
        }
    }

    /// The float operand of a sum (in units of the result), or of a product (times the other's scale).
    pub fn constant(&self, index: usize) -> Option<AnyTensor> {
        let node = &self.placement.graph.nodes[index];
        let constant = node.inputs.iter().find(|value| !value.is_activation())?;
        let values = match constant {
            Value::Parameter(index) => self.weights[*index].values(),
            Value::Constant(index) => {
                let constant = &self.placement.graph.constants[*index];
                let device = self.scales[0].device();
                AnyTensor::from_values(&constant.values, &constant.dims, &device)
            }
            _ => return None,
        };
        let other = node.inputs.iter().find(|value| value.is_activation())?;
        let scale = self.operand_scale(Value::Node(index));
        let rank = vec![1; values.dims().len()];
        let times = |factor: Tensor<1>| AnyTensor::from(factor).reshape(&rank);
        use crate::network::Binary::{Divide, Multiply};
        Some(match node.op {
            Op::Binary(Multiply) => values
                .binary(times(self.operand_scale(*other)), Multiply)
                .binary(times(scale), Divide),
            _ => {
                let moved =
                    self.placement.offset(*other) - self.placement.offset(Value::Node(index));
                plus(values, moved).binary(times(scale), Divide)
            }
        })
    }

    /// What a sum over windows is multiplied by: the scales' ratio, divided by the number of summed
    /// elements where that is the same everywhere.
    pub fn sum(&self, index: usize, count: Option<usize>) -> Tensor<1> {
        let node = &self.placement.graph.nodes[index];
        let scale = self.operand_scale(Value::Node(index));
        let ratio = self.operand_scale(node.inputs[0]) / scale;
        match count {
            Some(count) => ratio / count as f32,
            None => ratio,
        }
    }
}

/// Bits of a product's multiplier: a kernel takes the shift of 1.5 * 2^23, by which it makes floats of
/// sums, from a product exactly.
const MULTIPLIER_BITS: u32 = 22;
/// Bits of a residual's factor: with a code of 8 bits its product is exact.
const RESIDUAL_BITS: u32 = 16;

// Rounded to so many significant bits (Dekker's splitting), which single operations on f32 do on any
// device; the gradient is that of a number itself.
fn shortened(factor: Tensor<1>, bits: u32) -> Tensor<1> {
    let apart = factor.clone() * ((1u32 << (24 - bits)) + 1) as f32;
    apart.clone() - (apart - factor)
}

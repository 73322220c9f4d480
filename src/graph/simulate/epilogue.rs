//! What nodes do to their results at the end.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::super::Node;
use super::super::apply::apply;
use super::super::tensor::{AnyTensor, map_rank};
use super::channels::{plus_channels, times_channels};
use super::pass::{Pass, SimulatedValue};
use crate::network::{Binary, Op, Unary, Value};

impl Pass<'_> {
    // The function in an epilogue, in units of the result.
    pub(super) fn activate(&self, index: usize, units: AnyTensor, of_codes: bool) -> AnyTensor {
        let Some(activation) = self.graph.nodes[index].epilogue.activation else {
            return units;
        };
        let result = Value::Node(index);
        let scale = self.source().scale(result).filter(|_| of_codes);
        let offset = self.config.placement.offset(result);
        let quantizer = scale.as_ref().map(|scale| (scale, offset));
        match (activation, quantizer) {
            (Unary::Relu, Some((_, offset))) if offset != 0.0 => {
                clamp(units, 0.0, f32::INFINITY, quantizer)
            }
            (Unary::Relu, _) => map_rank!(units, units => relu(units)),
            (Unary::Clamp { min, max }, quantizer) => clamp(units, min, max, quantizer),
            (other, _) => {
                let dims = units.dims();
                apply(&Op::Unary(other), vec![units], &dims)
            }
        }
    }

    // All of an epilogue but its activation.
    pub(super) fn float_epilogue(
        &self,
        node: &Node,
        mut result: AnyTensor,
        simulated: &[Option<SimulatedValue>],
    ) -> AnyTensor {
        let axis = node.op.channel_axis(result.dims().len());
        if let Some(bias) = node.epilogue.bias {
            result = plus_channels(result, self.source().vector(bias), axis);
        }
        if let Some(norm) = &node.epilogue.norm {
            let (factor, mean, beta) = self.source().norm(norm);
            result = times_channels(result, factor.clone(), axis);
            result = plus_channels(result, beta - mean * factor, axis);
        }
        match node.epilogue.add {
            Some(add) => result.binary(self.float(add, simulated), Binary::Add),
            None => result,
        }
    }
}

// Between bounds in real values, which a scale and an offset turn into units.
fn clamp(units: AnyTensor, min: f32, max: f32, quantizer: Option<(&Tensor<1>, f32)>) -> AnyTensor {
    let Some((scale, offset)) = quantizer else {
        return map_rank!(units, units => units.clamp_min(min).clamp_max(max));
    };
    let device = scale.device();
    let bound = |bound: f32, like: &AnyTensor| {
        let bound = Tensor::<1>::from_data([bound - offset], &device) / scale.clone();
        let ones = vec![1; like.dims().len()];
        AnyTensor::from(bound).reshape(&ones).expand(&like.dims())
    };
    let mut units = units;
    if min.is_finite() {
        let bound = bound(min, &units);
        units = units.extreme(bound, true);
    }
    if max.is_finite() {
        let bound = bound(max, &units);
        units = units.extreme(bound, false);
    }
    units
}

//! Products and sums with a scale, or with a number for each channel.

use burn::tensor::Tensor;

use super::super::tensor::{AnyTensor, along, map_rank};
use crate::format::WeightView;
use crate::network::Binary;

pub(super) fn times(tensor: AnyTensor, factor: &Tensor<1>, how: Binary) -> AnyTensor {
    let rank = vec![1; tensor.dims().len()];
    tensor.binary(AnyTensor::from(factor.clone()).reshape(&rank), how)
}

pub(super) fn plus(tensor: AnyTensor, term: f32) -> AnyTensor {
    match term == 0.0 {
        true => tensor,
        false => map_rank!(tensor, tensor => tensor.add_scalar(term)),
    }
}

pub(super) fn times_channels(tensor: AnyTensor, factor: Tensor<1>, axis: usize) -> AnyTensor {
    let factor = along(factor.into(), axis, tensor.dims().len());
    tensor.binary(factor, Binary::Multiply)
}

/// Weights times a number for each output channel, or for all.
pub(super) fn times_rows(weight: AnyTensor, factor: Tensor<1>, layout: &WeightView) -> AnyTensor {
    let dims = weight.dims();
    let groups = match layout.output_axis() {
        0 => 1,
        _ => layout.groups(),
    };
    let [inputs, outputs] = [layout.inputs() / layout.groups(), layout.rows() / groups];
    let factors = match (factor.dims(), layout.output_axis()) {
        ([1], _) => [1, 1, 1, 1],
        (_, 0) => [1, outputs, 1, 1],
        _ => [groups, 1, outputs, 1],
    };
    let shape = match layout.output_axis() {
        0 => [groups, outputs, inputs, layout.taps()],
        _ => [groups, inputs, outputs, layout.taps()],
    };
    let factor = AnyTensor::from(factor).reshape(&factors);
    let times = weight.reshape(&shape).binary(factor, Binary::Multiply);
    times.reshape(&dims)
}

pub(super) fn plus_channels(tensor: AnyTensor, offset: Tensor<1>, axis: usize) -> AnyTensor {
    let offset = along(offset.into(), axis, tensor.dims().len());
    tensor.binary(offset, Binary::Add)
}

/// As the forward pass reads it; or back.
pub(super) fn as_read(tensor: AnyTensor, transposed: bool) -> AnyTensor {
    match transposed {
        true => tensor.permute(&[1, 0]),
        false => tensor,
    }
}

//! Products and sums with a scale, or with a number for each channel.

use burn::tensor::Tensor;

use super::super::Binary;
use super::super::tensor::{AnyTensor, along, map_rank};
use super::terms::Terms;

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

pub(super) fn plus_channels(tensor: AnyTensor, offset: Tensor<1>, axis: usize) -> AnyTensor {
    let offset = along(offset.into(), axis, tensor.dims().len());
    tensor.binary(offset, Binary::Add)
}

pub(super) fn affine(sum: AnyTensor, terms: &Terms, axis: usize) -> AnyTensor {
    let units = times_channels(sum, terms.multiplier.clone(), axis);
    match &terms.offset {
        Some(offset) => plus_channels(units, offset.clone(), axis),
        None => units,
    }
}

//! Element types of a file, and numbers as its bytes.

use num_traits::{FromBytes, ToBytes};
use safetensors::tensor::Dtype;

use super::ElementType;

pub(super) fn to_le_bytes<T: ToBytes>(values: impl Iterator<Item = T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.for_each(|value| bytes.extend_from_slice(value.to_le_bytes().as_ref()));
    bytes
}

/// Numbers of `SIZE` bytes; bytes that make no whole number are left out.
pub(super) fn from_le_bytes<T: FromBytes<Bytes = [u8; SIZE]>, const SIZE: usize>(
    bytes: &[u8],
) -> Vec<T> {
    let (numbers, _) = bytes.as_chunks::<SIZE>();
    numbers.iter().map(T::from_le_bytes).collect()
}

const ELEMENTS: [(ElementType, Dtype); 13] = [
    (ElementType::F64, Dtype::F64),
    (ElementType::F32, Dtype::F32),
    (ElementType::F16, Dtype::F16),
    (ElementType::Bf16, Dtype::BF16),
    (ElementType::I64, Dtype::I64),
    (ElementType::I32, Dtype::I32),
    (ElementType::I16, Dtype::I16),
    (ElementType::I8, Dtype::I8),
    (ElementType::U64, Dtype::U64),
    (ElementType::U32, Dtype::U32),
    (ElementType::U16, Dtype::U16),
    (ElementType::U8, Dtype::U8),
    (ElementType::Bool, Dtype::BOOL),
];

pub(super) fn dtype(element: ElementType) -> Dtype {
    let found = ELEMENTS.iter().find(|(e, _)| *e == element);
    found.map_or(Dtype::U8, |(_, dtype)| *dtype)
}

pub(super) fn element(dtype: Dtype) -> Option<ElementType> {
    let found = ELEMENTS.iter().find(|(_, d)| *d == dtype);
    found.map(|(element, _)| *element)
}

/// Whether floats are equal in every bit: a zero has a sign.
pub(crate) fn same_bits(one: &[f32], other: &[f32]) -> bool {
    let bits = |value: &f32| value.to_bits();
    one.len() == other.len() && one.iter().map(bits).eq(other.iter().map(bits))
}

//! Burn's element types and those of a file.

use burn::tensor::{BoolStore, DType, TensorData};

use crate::format::ElementType;

pub(super) const DTYPES: [(ElementType, DType); 13] = [
    (ElementType::F64, DType::F64),
    (ElementType::F32, DType::F32),
    (ElementType::F16, DType::F16),
    (ElementType::Bf16, DType::BF16),
    (ElementType::I64, DType::I64),
    (ElementType::I32, DType::I32),
    (ElementType::I16, DType::I16),
    (ElementType::I8, DType::I8),
    (ElementType::U64, DType::U64),
    (ElementType::U32, DType::U32),
    (ElementType::U16, DType::U16),
    (ElementType::U8, DType::U8),
    (ElementType::Bool, DType::Bool(BoolStore::Native)),
];

// Devices store booleans in several ways; the file in one.
pub(super) fn native(data: TensorData) -> TensorData {
    match data.dtype() {
        DType::Bool(_) => data.convert::<bool>(),
        _ => data,
    }
}

pub(super) fn element(dtype: DType) -> Option<ElementType> {
    let found = DTYPES.iter().find(|(_, known)| *known == dtype);
    found.map(|(element, _)| *element)
}

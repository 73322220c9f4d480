use burn_ir::ScalarIr;

/// A scalar as the float that elements are.
pub(super) fn float(scalar: &ScalarIr) -> f32 {
    match *scalar {
        ScalarIr::Float(value) => value as f32,
        ScalarIr::Int(value) => value as f32,
        ScalarIr::UInt(value) => value as f32,
        ScalarIr::Bool(value) => f32::from(u8::from(value)),
    }
}

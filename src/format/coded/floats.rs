//! Floats exactly: signs and mantissas as they are, for they are noise, and exponents coded.

use super::{decode, encode};
use crate::format::FormatError;

const BIAS: i32 = 127;

/// Three bytes each, then the exponents.
pub(crate) fn encode_floats(floats: &[f32]) -> Result<Vec<u8>, FormatError> {
    let bits = || floats.iter().map(|float| float.to_bits());
    let exponents: Vec<i32> = bits()
        .map(|bits| (bits >> 23 & 0xff) as i32 - BIAS)
        .collect();
    let rest = bits().map(|bits| bits & 0x7f_ffff | bits >> 31 << 23);
    let mut bytes: Vec<u8> = rest
        .flat_map(|rest| rest.to_le_bytes().into_iter().take(3))
        .collect();
    bytes.extend(encode(&exponents)?);
    Ok(bytes)
}

/// Reads `count` floats. Fails with [`FormatError::Corrupt`] where the bytes are not those.
pub(crate) fn decode_floats(bytes: &[u8], count: usize) -> Result<Vec<f32>, FormatError> {
    let wrong = || FormatError::corrupt(format!("{} bytes are not {count} floats", bytes.len()));
    let length = count.checked_mul(3).ok_or_else(wrong)?;
    let (rest, exponents) = bytes.split_at_checked(length).ok_or_else(wrong)?;
    let exponents: Vec<i16> = decode(exponents, count)?;
    let (rest, _) = rest.as_chunks::<3>();
    let float = |(&[low, middle, high], exponent): (&[u8; 3], i16)| {
        let rest = u32::from_le_bytes([low, middle, high, 0]);
        let exponent = u8::try_from(i32::from(exponent) + BIAS).ok()?;
        let bits = rest >> 23 << 31 | u32::from(exponent) << 23 | rest & 0x7f_ffff;
        Some(f32::from_bits(bits))
    };
    let floats = rest.iter().zip(exponents).map(float);
    floats.collect::<Option<_>>().ok_or_else(wrong)
}

//! Weights as files of version 1 hold them.

use safetensors::tensor::Dtype;

use super::encoding::Parameters;
use super::opened::Pieces;
use super::{FormatError, packed_len, unpack};

/// A bitmap of the weights that are not zero, and those.
pub(super) fn sparse(
    path: &str,
    weights: usize,
    pieces: &mut Pieces,
) -> Result<Vec<f32>, FormatError> {
    let map = pieces.take(path, ".bitmap", Some(Dtype::U8))?.bytes;
    let kept = read_bitmap(map, weights, path)?;
    let values = pieces.floats(path, ".values")?;
    if values.contains(&0.0) {
        return Err(FormatError::tensor(path, "zero where it says not zero"));
    }
    spread(&kept, values, |_| 0.0, path)
}

/// Codes packed at their bits: of all weights, or of those that the bitmap says are not zero.
pub(super) fn codes(
    path: &str,
    parameters: &Parameters,
    bitmap: bool,
    pieces: &mut Pieces,
) -> Result<Vec<i32>, FormatError> {
    let (scheme, weights) = (parameters.scheme, parameters.view.len());
    let packed = pieces.take(path, ".codes", Some(Dtype::U8))?.bytes;
    let low = scheme.code_range().0;
    let read = |count| -> Result<Vec<i32>, FormatError> {
        let codes = unpack(packed, scheme.bits(), count)
            .map_err(|error| FormatError::tensor(path, error.to_string()))?;
        Ok(codes.into_iter().map(|code| code as i32 + low).collect())
    };
    if !bitmap {
        return read(weights);
    }
    let map = pieces.take(path, ".bitmap", Some(Dtype::U8))?.bytes;
    let kept = read_bitmap(map, weights, path)?;
    let count = kept.iter().filter(|kept| **kept).count();
    let zero = |i: usize| parameters.points[i / parameters.length];
    let codes = spread(&kept, read(count)?, zero, path)?;
    let mut codes_kept = codes.iter().enumerate().filter(|(i, _)| kept[*i]);
    match codes_kept.any(|(i, code)| *code == zero(i)) {
        true => Err(FormatError::tensor(path, "zero where it says not zero")),
        false => Ok(codes),
    }
}

// Puts the kept values where the bitmap says, and `zero` elsewhere.
fn spread<T>(
    kept: &[bool],
    values: Vec<T>,
    zero: impl Fn(usize) -> T,
    path: &str,
) -> Result<Vec<T>, FormatError> {
    if kept.iter().filter(|kept| **kept).count() != values.len() {
        return Err(FormatError::tensor(
            path,
            "bitmap and values differ in number",
        ));
    }
    let mut values = values.into_iter();
    let at = |(i, kept): (usize, &bool)| match kept {
        true => values.next().unwrap_or_else(|| zero(i)),
        false => zero(i),
    };
    Ok(kept.iter().enumerate().map(at).collect())
}

fn read_bitmap(bytes: &[u8], count: usize, path: &str) -> Result<Vec<bool>, FormatError> {
    let beyond = match (bytes.last(), count % 8) {
        (Some(last), used @ 1..) => last >> used,
        _ => 0,
    };
    if bytes.len() != packed_len(count, 1) || beyond != 0 {
        let what = format!("{} bytes are no bitmap of {count} weights", bytes.len());
        return Err(FormatError::tensor(path, what));
    }
    let bit = |i: usize| bytes[i / 8] >> (i % 8) & 1 == 1;
    Ok((0..count).map(bit).collect())
}

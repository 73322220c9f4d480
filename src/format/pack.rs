use super::FormatError;

/// Bytes that `count` codes of `bits` bits take: `ceil(count * bits / 8)`.
///
/// ```
/// assert_eq!(burn_compress::format::packed_len(1000, 3), 375);
/// ```
pub fn packed_len(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Packs codes of 1 to 16 bits one after the other, least significant bit first, with no padding
/// but that of the last byte. Bits of a code above `bits` are dropped.
///
/// ```
/// use burn_compress::format::{pack, unpack};
/// let bytes = pack(&[1, 2, 3], 3);
/// assert_eq!(bytes, [0b11_010_001, 0b0]);
/// assert_eq!(unpack(&bytes, 3, 3)?, [1, 2, 3]);
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
pub fn pack(codes: &[u32], bits: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packed_len(codes.len(), bits));
    let mask = (1u64 << bits) - 1;
    let (mut window, mut filled) = (0u64, 0);
    for &code in codes {
        window |= (u64::from(code) & mask) << filled;
        filled += bits;
        while filled >= 8 {
            bytes.push(window as u8);
            window >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        bytes.push(window as u8);
    }
    bytes
}

/// Reads `count` codes of 1 to 16 bits back. Fails if the bytes are not exactly as many as
/// [`packed_len`] says.
///
/// ```
/// assert!(burn_compress::format::unpack(&[0], 3, 3).is_err());
/// ```
pub fn unpack(bytes: &[u8], bits: u32, count: usize) -> Result<Vec<u32>, FormatError> {
    let expected = count.checked_mul(bits as usize).map(|n| n.div_ceil(8));
    if expected != Some(bytes.len()) {
        return Err(FormatError::corrupt(format!(
            "{} bytes cannot be {count} codes of {bits} bits",
            bytes.len()
        )));
    }
    let mask = (1u64 << bits) - 1;
    let (mut window, mut filled) = (0u64, 0);
    let mut bytes = bytes.iter();
    let mut codes = Vec::with_capacity(count);
    for _ in 0..count {
        while filled < bits {
            // The length was checked: a byte is left as long as codes are.
            window |= u64::from(*bytes.next().unwrap_or(&0)) << filled;
            filled += 8;
        }
        codes.push((window & mask) as u32);
        window >>= bits;
        filled -= bits;
    }
    Ok(codes)
}

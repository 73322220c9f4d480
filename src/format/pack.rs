use super::FormatError;

const MAX_BITS: u32 = 16;

/// Bytes that `count` codes of `bits` bits take: `ceil(count * bits / 8)`, or `usize::MAX` where
/// that is more than fits.
///
/// ```
/// assert_eq!(burn_compress::format::packed_bytes(1000, 3), 375);
/// ```
pub fn packed_bytes(count: usize, bits: u32) -> usize {
    let bytes = (count as u128 * u128::from(bits)).div_ceil(8);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Packs codes of 1 to 16 bits one after the other, least significant bit first, with no padding
/// but that of the last byte, which is zero.
///
/// Fails with [`FormatError::Packing`] at another number of bits, and with [`FormatError::Code`] for
/// a code that does not fit in them.
///
/// ```
/// use burn_compress::format::{pack_bits, unpack_bits};
/// let bytes = pack_bits(&[1, 2, 3], 3)?;
/// assert_eq!(bytes, [0b11_010_001, 0b0]);
/// assert_eq!(unpack_bits(&bytes, 3, 3)?, [1, 2, 3]);
/// assert!(pack_bits(&[8], 3).is_err());
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
pub fn pack_bits(codes: &[u32], bits: u32) -> Result<Vec<u8>, FormatError> {
    check(bits)?;
    let mut bytes = Vec::with_capacity(packed_bytes(codes.len(), bits));
    let (mut window, mut filled) = (0u32, 0);
    for &code in codes {
        if code >> bits != 0 {
            return Err(FormatError::Code { code, bits });
        }
        window |= code << filled;
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
    Ok(bytes)
}

/// Reads `count` codes of 1 to 16 bits back: the bytes that [`pack_bits`] gives, and no others.
///
/// Fails with [`FormatError::Packing`] at another number of bits, and with [`FormatError::Corrupt`]
/// where the bytes are not exactly as many as [`packed_bytes`] says, or the padding of the last is not
/// zero. Memory is taken after these checks: four bytes a code.
///
/// ```
/// use burn_compress::format::unpack_bits;
/// assert_eq!(unpack_bits(&[0b1010_0001], 4, 2)?, [1, 10]);
/// assert!(unpack_bits(&[0], 3, 3).is_err()); // nine bits are two bytes
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
pub fn unpack_bits(bytes: &[u8], bits: u32, count: usize) -> Result<Vec<u32>, FormatError> {
    check(bits)?;
    if packed_bytes(count, bits) != bytes.len() {
        return Err(FormatError::corrupt(format!(
            "{} bytes cannot be {count} codes of {bits} bits",
            bytes.len()
        )));
    }
    let mask = (1u32 << bits) - 1;
    let (mut window, mut filled) = (0u32, 0);
    let mut bytes = bytes.iter();
    let mut codes = Vec::with_capacity(count);
    for _ in 0..count {
        while filled < bits {
            // The length was checked: a byte is left as long as codes are.
            window |= u32::from(*bytes.next().unwrap_or(&0)) << filled;
            filled += 8;
        }
        codes.push(window & mask);
        window >>= bits;
        filled -= bits;
    }
    match window {
        0 => Ok(codes),
        _ => Err(FormatError::corrupt("bits beyond the last code")),
    }
}

fn check(bits: u32) -> Result<(), FormatError> {
    match bits {
        1..=MAX_BITS => Ok(()),
        _ => Err(FormatError::Packing { bits }),
    }
}

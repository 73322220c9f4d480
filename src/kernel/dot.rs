//! Products of bytes without an instruction set of their own: what the portable kernel makes sums of.
//!
//! Compilers make poor vectors of products of bytes with signs. They are given words of 16 bits instead,
//! two of which every processor multiplies and adds at once: on x86-64 by the instructions that all have,
//! elsewhere by loops over lanes of 32 bits.

#[cfg(any(test, not(target_arch = "x86_64")))]
#[cfg_attr(
    target_arch = "x86_64",
    allow(dead_code, reason = "tested on any machine")
)]
mod arrays;
#[cfg(target_arch = "x86_64")]
mod sse2;

#[cfg(not(target_arch = "x86_64"))]
pub(super) use arrays::*;
#[cfg(target_arch = "x86_64")]
pub(super) use sse2::*;

#[cfg(test)]
mod tests {
    use super::super::Cell;

    // Of every byte and every weight, also the greatest together, and sums that wrap.
    macro_rules! sums_of {
        ($kind:ident) => {
            (0..=255u8).flat_map(|first| {
                let bytes: [u8; 64] = std::array::from_fn(|at| {
                    first.wrapping_add(37u8.wrapping_mul(at as u8) * u8::from(first > 9))
                });
                let weights = [first as i8, -128, 127, (first ^ 0x5a) as i8];
                let start = (i32::MAX - 70_000).wrapping_add(300 * i32::from(first));
                let mut cell = [Cell::default()];
                Cell::bytes_mut(&mut cell).copy_from_slice(&bytes);
                let expected: [i32; 16] = std::array::from_fn(|site| {
                    let products =
                        (0..4).map(|of| i32::from(bytes[site * 4 + of]) * i32::from(weights[of]));
                    start.wrapping_add(products.sum())
                });
                let four = u32::from_le_bytes(weights.map(|weight| weight as u8));
                // SAFETY: the cell is whole and aligned.
                let found = unsafe {
                    use super::$kind::*;
                    let bytes = bytes_of(cell.as_ptr().cast());
                    total(dot(sums(start), bytes, weights_of(four)))
                };
                found.into_iter().zip(expected)
            })
        };
    }

    #[test]
    fn in_arrays() {
        assert!(sums_of!(arrays).all(|(found, expected)| found == expected));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn in_vectors() {
        assert!(sums_of!(sse2).all(|(found, expected)| found == expected));
    }
}

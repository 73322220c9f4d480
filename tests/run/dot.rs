//! Products of bytes in both forms that the portable kernel has, of which it is built with one.

#[allow(dead_code, reason = "how many sums a kernel holds is not asked here")]
#[path = "../../src/kernel/dot/arrays.rs"]
mod arrays;
#[allow(dead_code, reason = "how many sums a kernel holds is not asked here")]
#[cfg(target_arch = "x86_64")]
#[path = "../../src/kernel/dot/sse2.rs"]
mod sse2;

// Of every byte and every weight, also the greatest together, and sums that wrap.
macro_rules! sums_of {
    ($kind:ident) => {
        (0..=255u8).flat_map(|first| {
            #[repr(align(64))]
            struct Cell([u8; 64]);
            let cell = Cell(std::array::from_fn(|at| {
                first.wrapping_add(37u8.wrapping_mul(at as u8) * u8::from(first > 9))
            }));
            let weights = [first as i8, -128, 127, (first ^ 0x5a) as i8];
            let start = (i32::MAX - 70_000).wrapping_add(300 * i32::from(first));
            let expected: [i32; 16] = std::array::from_fn(|site| {
                let products =
                    (0..4).map(|of| i32::from(cell.0[site * 4 + of]) * i32::from(weights[of]));
                start.wrapping_add(products.sum())
            });
            let four = u32::from_le_bytes(weights.map(|weight| weight as u8));
            // SAFETY: the cell is whole and aligned.
            let found = unsafe {
                use $kind::*;
                total(dot(
                    sums(start),
                    bytes_of(cell.0.as_ptr()),
                    weights_of(four),
                ))
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

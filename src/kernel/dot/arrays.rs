//! In lanes of 32 bits, of which compilers make vectors: factors that fit words are multiplied as words.

pub(in super::super) const POSITIONS: usize = 2;
pub(in super::super) const FILTERS: usize = 1;
pub(in super::super) const SHARED_POSITIONS: usize = 2;

/// By lane.
pub(in super::super) type Sums = [i32; 16];
/// By lane, its four bytes.
pub(in super::super) type Bytes = [u32; 16];
pub(in super::super) type Weights = [i32; 4];

#[inline(always)]
pub(in super::super) fn sums(start: i32) -> Sums {
    [start; 16]
}

// SAFETY contract: a whole aligned vector block lies there.
#[inline(always)]
pub(in super::super) unsafe fn bytes_of(block: *const u8) -> Bytes {
    // SAFETY: by the contract.
    let mut bytes = unsafe { block.cast::<Bytes>().read() };
    for four in &mut bytes {
        *four = u32::from_le(*four);
    }
    bytes
}

#[inline(always)]
pub(in super::super) fn weights_of(four: u32) -> Weights {
    four.to_le_bytes().map(|byte| i32::from(byte as i8))
}

// Loops, no closures: a compiler may leave those calls, for each lane or each product.
#[inline(always)]
pub(in super::super) fn dot(mut sums: Sums, bytes: Bytes, weights: Weights) -> Sums {
    for (sum, four) in sums.iter_mut().zip(bytes) {
        // Within i32 and so within any order.
        let product = (four & 255) as i32 * weights[0]
            + (four >> 8 & 255) as i32 * weights[1]
            + (four >> 16 & 255) as i32 * weights[2]
            + (four >> 24) as i32 * weights[3];
        *sum = sum.wrapping_add(product);
    }
    sums
}

#[inline(always)]
pub(in super::super) fn total(sums: Sums) -> [i32; 16] {
    sums
}

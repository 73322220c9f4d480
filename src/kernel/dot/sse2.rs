//! In the vectors of 128 bits that every x86-64 has.

use std::arch::x86_64::*;

pub(in super::super) const POSITIONS: usize = 2;
pub(in super::super) const FILTERS: usize = 2;
pub(in super::super) const SHARED_POSITIONS: usize = 1;

/// By four lanes.
pub(in super::super) type Sums = [__m128i; 4];
/// By four lanes, the bytes at even and at odd places, as words.
pub(in super::super) type Bytes = [[__m128i; 2]; 4];
/// The weights at even and at odd places, as words.
pub(in super::super) type Weights = [__m128i; 2];

#[inline(always)]
pub(in super::super) fn sums(start: i32) -> Sums {
    // SAFETY: all processors of the kind have the instructions.
    unsafe { [_mm_set1_epi32(start); 4] }
}

// SAFETY contract: a whole aligned vector block lies there.
#[inline(always)]
pub(in super::super) unsafe fn bytes_of(block: *const u8) -> Bytes {
    // SAFETY: by the contract; all processors of the kind have the instructions.
    unsafe {
        let low = _mm_set1_epi16(255);
        let mut bytes = [[low; 2]; 4];
        for (lanes, words) in bytes.iter_mut().enumerate() {
            let four = _mm_load_si128(block.cast::<__m128i>().add(lanes));
            *words = [_mm_and_si128(four, low), _mm_srli_epi16::<8>(four)];
        }
        bytes
    }
}

#[inline(always)]
pub(in super::super) fn weights_of(four: u32) -> Weights {
    // SAFETY: all processors of the kind have the instructions.
    unsafe {
        let all = _mm_set1_epi32(four as i32);
        let even = _mm_srai_epi16::<8>(_mm_slli_epi16::<8>(all));
        [even, _mm_srai_epi16::<8>(all)]
    }
}

#[inline(always)]
pub(in super::super) fn dot(mut sums: Sums, bytes: Bytes, weights: Weights) -> Sums {
    // SAFETY: all processors of the kind have the instructions.
    unsafe {
        for (sum, [even, odd]) in sums.iter_mut().zip(bytes) {
            let even = _mm_madd_epi16(even, weights[0]);
            let odd = _mm_madd_epi16(odd, weights[1]);
            *sum = _mm_add_epi32(*sum, _mm_add_epi32(even, odd));
        }
        sums
    }
}

#[inline(always)]
pub(in super::super) fn total(sums: Sums) -> [i32; 16] {
    // SAFETY: of the same size, and any bits are integers.
    unsafe { std::mem::transmute(sums) }
}

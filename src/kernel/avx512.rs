//! AVX-512 (F, BW, DQ, VL), with and without its dot products of bytes.

use std::arch::asm;
use std::arch::x86_64::*;

use super::lanes::Lanes;

#[derive(Clone, Copy)]
pub(super) struct Avx512Vnni;

#[derive(Clone, Copy)]
pub(super) struct Avx512;

#[inline]
#[target_feature(enable = "avx512f")]
fn barrier(mut a: __m512i) -> __m512i {
    // SAFETY: it does nothing.
    unsafe { asm!("/* {0} */", inout(zmm_reg) a, options(nomem, nostack, preserves_flags)) };
    a
}

// What both share.
macro_rules! common {
    () => {
        type Floats = __m512;
        type Integers = __m512i;
        type Pairs = __m512i;

        const HOLDS_RESIDUAL: bool = true;
        const FLOAT_POSITIONS: usize = 8;
        const FLOAT_FILTERS: usize = 4;
        const FLOAT_SHARED_POSITIONS: usize = 6;

        #[inline(always)]
        fn prefetch(values: *const f32) {
            // SAFETY: a prefetch reads nothing that a program could see, wherever it points.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(values.cast()) }
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(block: *const f32) -> __m512 {
            unsafe { _mm512_load_ps(block) }
        }

        #[inline(always)]
        unsafe fn load_unaligned(values: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(values) }
        }

        #[inline(always)]
        unsafe fn load_first(values: &[f32]) -> __m512 {
            let named = match values.len() {
                length @ 0..16 => (1 << length) - 1,
                _ => u16::MAX,
            };
            // SAFETY: what the mask does not name is not read.
            unsafe { _mm512_maskz_loadu_ps(named, values.as_ptr()) }
        }

        #[inline(always)]
        unsafe fn store(block: *mut f32, values: __m512) {
            unsafe { _mm512_store_ps(block, values) }
        }

        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn subtract(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn multiply(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn divide(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_div_ps(a, b) }
        }

        // A product, within 5e-5 of the quotient there; next to a tie, the quotient itself.
        #[inline(always)]
        unsafe fn divide_to_round(a: __m512, b: __m512, inverse: __m512) -> __m512 {
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            unsafe {
                let product = _mm512_mul_ps(a, inverse);
                let apart = _mm512_sub_ps(product, _mm512_roundscale_ps::<NEAREST>(product));
                let apart = _mm512_abs_ps(apart);
                let tie = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(apart, _mm512_set1_ps(0.4998));
                match tie {
                    0 => product,
                    _ => _mm512_div_ps(a, b),
                }
            }
        }

        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn splat_integer(value: i32) -> __m512i {
            unsafe { _mm512_set1_epi32(value) }
        }

        #[inline(always)]
        unsafe fn load_integers(block: *const i32) -> __m512i {
            unsafe { _mm512_load_si512(block.cast()) }
        }

        #[inline(always)]
        unsafe fn store_integers(block: *mut i32, values: __m512i) {
            unsafe { _mm512_store_si512(block.cast(), values) }
        }

        #[inline(always)]
        unsafe fn add_integers(a: __m512i, b: __m512i) -> __m512i {
            unsafe { _mm512_add_epi32(a, b) }
        }

        #[inline(always)]
        unsafe fn pair(first: __m512i, second: __m512i) -> __m512i {
            unsafe { _mm512_packs_epi32(first, second) }
        }

        #[inline(always)]
        unsafe fn optimization_barrier(a: __m512i) -> __m512i {
            unsafe { barrier(a) }
        }

        #[inline(always)]
        unsafe fn optimization_barrier_pair(a: __m512i) -> __m512i {
            unsafe { barrier(a) }
        }

        #[inline(always)]
        unsafe fn pack(first: __m512i, second: __m512i, term: i16) -> __m512i {
            unsafe {
                let term = _mm512_set1_epi16(term);
                let first = _mm512_adds_epi16(first, term);
                let second = _mm512_adds_epi16(second, term);
                // In each 128 bits: four lanes of one filter after another, to be turned.
                let turn = _mm512_set4_epi32(0x0f0b_0703, 0x0e0a_0602, 0x0d09_0501, 0x0c08_0400);
                _mm512_shuffle_epi8(_mm512_packus_epi16(first, second), turn)
            }
        }

        const DOT_TAPS: bool = true;

        #[inline(always)]
        unsafe fn tap_totals(sums: [__m512i; 4]) -> [__m512i; 4] {
            // Each has the four channels of a lane in each 128 bits: turned, four lanes of a channel.
            unsafe {
                let [a, b, c, d] = sums;
                let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
                let (ef, gh) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
                [
                    _mm512_unpacklo_epi64(ab, cd),
                    _mm512_unpackhi_epi64(ab, cd),
                    _mm512_unpacklo_epi64(ef, gh),
                    _mm512_unpackhi_epi64(ef, gh),
                ]
            }
        }

        #[inline(always)]
        unsafe fn lookup(table: &[u8; 256], a: __m512i) -> __m512i {
            // As with AVX2: half of the rows of sixteen remain after each of the upper four bits.
            unsafe {
                let places = _mm512_and_si512(a, _mm512_set1_epi8(15));
                let bit = _mm512_movepi8_mask(_mm512_slli_epi16::<3>(a));
                let mut found = [_mm512_setzero_si512(); 8];
                for pair in 0..8 {
                    let row = table.as_ptr().add(pair * 32);
                    let even = _mm512_broadcast_i32x4(_mm_loadu_si128(row.cast()));
                    let odd = _mm512_broadcast_i32x4(_mm_loadu_si128(row.add(16).cast()));
                    let even = _mm512_shuffle_epi8(even, places);
                    let odd = _mm512_shuffle_epi8(odd, places);
                    found[pair] = _mm512_mask_blend_epi8(bit, even, odd);
                }
                let bit = _mm512_movepi8_mask(_mm512_slli_epi16::<2>(a));
                for pair in 0..4 {
                    found[pair] = _mm512_mask_blend_epi8(bit, found[2 * pair], found[2 * pair + 1]);
                }
                let bit = _mm512_movepi8_mask(_mm512_slli_epi16::<1>(a));
                for pair in 0..2 {
                    found[pair] = _mm512_mask_blend_epi8(bit, found[2 * pair], found[2 * pair + 1]);
                }
                _mm512_mask_blend_epi8(_mm512_movepi8_mask(a), found[0], found[1])
            }
        }

        #[inline(always)]
        unsafe fn permute(a: __m512i, map: &[i32; 16], fill: __m512i) -> __m512i {
            unsafe {
                let map = _mm512_loadu_si512(map.as_ptr().cast());
                let named = _mm512_cmpge_epi32_mask(map, _mm512_setzero_si512());
                _mm512_mask_permutexvar_epi32(fill, named, map, a)
            }
        }

        #[inline(always)]
        unsafe fn gather(from: *const i32, places: &[i32; 16], fill: __m512i) -> __m512i {
            unsafe {
                let places = _mm512_loadu_si512(places.as_ptr().cast());
                let named = _mm512_cmpge_epi32_mask(places, _mm512_setzero_si512());
                _mm512_mask_i32gather_epi32::<4>(fill, named, places, from)
            }
        }

        #[inline(always)]
        unsafe fn to_floats(a: __m512i) -> __m512 {
            unsafe { _mm512_cvtepi32_ps(a) }
        }

        #[inline(always)]
        unsafe fn as_floats(a: __m512i) -> __m512 {
            unsafe { _mm512_castsi512_ps(a) }
        }

        #[inline(always)]
        unsafe fn round(a: __m512) -> __m512i {
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            unsafe { _mm512_cvt_roundps_epi32::<NEAREST>(a) }
        }
    };
}

// SAFETY: intrinsics need what `dispatch` has detected; pointers are to a whole aligned vector block.
impl Lanes for Avx512Vnni {
    common!();

    type Sums = __m512i;
    type Bytes = __m512i;
    type Weights = __m512i;

    const POSITIONS: usize = 8;
    const FILTERS: usize = 4;
    const SHARED_POSITIONS: usize = 6;

    #[inline(always)]
    unsafe fn sums(start: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(start) }
    }

    #[inline(always)]
    unsafe fn bytes(block: *const u8) -> __m512i {
        unsafe { _mm512_load_si512(block.cast()) }
    }

    #[inline(always)]
    unsafe fn weights(four: u32) -> __m512i {
        unsafe { _mm512_set1_epi32(four as i32) }
    }

    #[inline(always)]
    unsafe fn dot_taps(
        mut sums: [__m512i; 4],
        taps: &[*const u8; 4],
        weights: &[u32; 4],
        count: usize,
    ) -> [__m512i; 4] {
        unsafe {
            let weights = _mm512_broadcast_i32x4(_mm_loadu_si128(weights.as_ptr().cast()));
            let (a, b) = (
                _mm512_load_si512(taps[0].cast()),
                _mm512_load_si512(taps[1].cast()),
            );
            let (mut c, mut d) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            if count > 2 {
                (c, d) = (
                    _mm512_load_si512(taps[2].cast()),
                    _mm512_load_si512(taps[3].cast()),
                );
            }
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (ef, gh) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            let quads = [
                _mm512_unpacklo_epi16(ab, cd),
                _mm512_unpackhi_epi16(ab, cd),
                _mm512_unpacklo_epi16(ef, gh),
                _mm512_unpackhi_epi16(ef, gh),
            ];
            for place in 0..4 {
                sums[place] = _mm512_dpbusd_epi32(sums[place], quads[place], weights);
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512i, bytes: __m512i, weights: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sums, bytes, weights) }
    }

    #[inline(always)]
    unsafe fn total(sums: __m512i) -> __m512i {
        sums
    }

    #[inline(always)]
    unsafe fn byte<const PLACE: i32>(a: __m512i, term: __m512i) -> __m512i {
        // Once this byte, and nothing of the others.
        unsafe { Self::dot(term, a, Self::weights(1 << (8 * PLACE))) }
    }
}

// SAFETY: as above.
impl Lanes for Avx512 {
    common!();

    // The sums of channels 0 and 1, and of 2 and 3, of eight lanes each.
    type Sums = [__m512i; 2];
    // As 16 bits: a product of bytes, and the sum of two, fits 32 bits and not always 16.
    type Bytes = [__m512i; 2];
    type Weights = __m512i;

    const POSITIONS: usize = 6;
    const FILTERS: usize = 2;
    const SHARED_POSITIONS: usize = 4;

    #[inline(always)]
    unsafe fn sums(start: i32) -> [__m512i; 2] {
        // In the first lane of each lane's two.
        unsafe { [_mm512_set1_epi64(i64::from(start as u32)); 2] }
    }

    #[inline(always)]
    unsafe fn bytes(block: *const u8) -> [__m512i; 2] {
        unsafe {
            let half = |place: usize| {
                _mm512_cvtepu8_epi16(_mm256_load_si256(block.add(place * 32).cast()))
            };
            [half(0), half(1)]
        }
    }

    #[inline(always)]
    unsafe fn weights(four: u32) -> __m512i {
        unsafe { _mm512_cvtepi8_epi16(_mm256_set1_epi32(four as i32)) }
    }

    #[inline(always)]
    unsafe fn dot_taps(
        mut sums: [__m512i; 4],
        taps: &[*const u8; 4],
        weights: &[u32; 4],
        count: usize,
    ) -> [__m512i; 4] {
        unsafe {
            // Of each channel the weights of two taps, as 16 bits.
            let weights = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.as_ptr().cast()));
            let even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
            let odd = _mm256_setr_epi32(1, 3, 5, 7, 1, 3, 5, 7);
            let even = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(weights, even));
            let odd = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(weights, odd));
            let two = [_mm512_broadcast_i32x4(even), _mm512_broadcast_i32x4(odd)];
            let zero = _mm512_setzero_si512();
            for pair in 0..count.div_ceil(2) {
                let a = _mm512_load_si512(taps[2 * pair].cast());
                let b = _mm512_load_si512(taps[2 * pair + 1].cast());
                let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
                let pairs = [
                    _mm512_unpacklo_epi8(low, zero),
                    _mm512_unpackhi_epi8(low, zero),
                    _mm512_unpacklo_epi8(high, zero),
                    _mm512_unpackhi_epi8(high, zero),
                ];
                for place in 0..4 {
                    let products = _mm512_madd_epi16(pairs[place], two[pair]);
                    sums[place] = _mm512_add_epi32(sums[place], products);
                }
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn dot(sums: [__m512i; 2], bytes: [__m512i; 2], weights: __m512i) -> [__m512i; 2] {
        unsafe {
            let add = |place: usize| {
                _mm512_add_epi32(sums[place], _mm512_madd_epi16(bytes[place], weights))
            };
            [add(0), add(1)]
        }
    }

    #[inline(always)]
    unsafe fn total(sums: [__m512i; 2]) -> __m512i {
        unsafe {
            let even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
            let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
            _mm512_add_epi32(
                _mm512_permutex2var_epi32(sums[0], even, sums[1]),
                _mm512_permutex2var_epi32(sums[0], odd, sums[1]),
            )
        }
    }

    #[inline(always)]
    unsafe fn byte<const PLACE: i32>(a: __m512i, term: __m512i) -> __m512i {
        unsafe {
            let count = _mm_cvtsi32_si128(8 * PLACE);
            let byte = _mm512_and_si512(_mm512_srl_epi32(a, count), _mm512_set1_epi32(255));
            _mm512_add_epi32(byte, term)
        }
    }
}

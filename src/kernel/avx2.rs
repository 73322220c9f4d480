//! AVX2 with FMA, with and without the dot products of bytes of AVX-VNNI.

#![expect(
    clippy::needless_range_loop,
    reason = "no instruction of a set is inlined into an adapter's closures"
)]

use std::arch::x86_64::*;

use super::lanes::Lanes;

#[derive(Clone, Copy)]
pub(super) struct AvxVnni;

#[derive(Clone, Copy)]
pub(super) struct Avx2;

// What both share: a vector block is two vectors.
macro_rules! common {
    () => {
        type Floats = [__m256; 2];
        type Integers = [__m256i; 2];
        type Pairs = [__m256i; 2];

        const FLOAT_POSITIONS: usize = 6;
        const FLOAT_FILTERS: usize = 2;
        const FLOAT_SHARED_POSITIONS: usize = 3;

        #[inline(always)]
        fn prefetch(values: *const f32) {
            // SAFETY: a prefetch reads nothing that a program could see, wherever it points.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(values.cast()) }
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> [__m256; 2] {
            unsafe { [_mm256_set1_ps(value); 2] }
        }

        #[inline(always)]
        unsafe fn load(block: *const f32) -> [__m256; 2] {
            unsafe { [_mm256_load_ps(block), _mm256_load_ps(block.add(8))] }
        }

        #[inline(always)]
        unsafe fn load_unaligned(values: *const f32) -> [__m256; 2] {
            unsafe { [_mm256_loadu_ps(values), _mm256_loadu_ps(values.add(8))] }
        }

        #[inline(always)]
        unsafe fn load_first(values: &[f32]) -> [__m256; 2] {
            // From a place on, as many are named as the place lies before eight.
            const NAMED: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
            let half = |first: usize| {
                let count = values.len().saturating_sub(first).min(8);
                // SAFETY: what the mask does not name is not read; eight follow each place up to the eighth.
                unsafe {
                    let named = _mm256_loadu_si256(NAMED.as_ptr().add(8 - count).cast());
                    _mm256_maskload_ps(values.as_ptr().wrapping_add(first), named)
                }
            };
            [half(0), half(8)]
        }

        #[inline(always)]
        unsafe fn store(block: *mut f32, values: [__m256; 2]) {
            unsafe {
                _mm256_store_ps(block, values[0]);
                _mm256_store_ps(block.add(8), values[1]);
            }
        }

        #[inline(always)]
        unsafe fn add(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }

        #[inline(always)]
        unsafe fn subtract(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        }

        #[inline(always)]
        unsafe fn multiply(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
            unsafe {
                [
                    _mm256_fmadd_ps(a[0], b[0], c[0]),
                    _mm256_fmadd_ps(a[1], b[1], c[1]),
                ]
            }
        }

        #[inline(always)]
        unsafe fn divide(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
        }

        #[inline(always)]
        unsafe fn max(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
        }

        #[inline(always)]
        unsafe fn min(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
        }

        #[inline(always)]
        unsafe fn splat_integer(value: i32) -> [__m256i; 2] {
            unsafe { [_mm256_set1_epi32(value); 2] }
        }

        #[inline(always)]
        unsafe fn load_integers(block: *const i32) -> [__m256i; 2] {
            let block = block.cast::<__m256i>();
            unsafe { [_mm256_load_si256(block), _mm256_load_si256(block.add(1))] }
        }

        #[inline(always)]
        unsafe fn store_integers(block: *mut i32, values: [__m256i; 2]) {
            let block = block.cast::<__m256i>();
            unsafe {
                _mm256_store_si256(block, values[0]);
                _mm256_store_si256(block.add(1), values[1]);
            }
        }

        #[inline(always)]
        unsafe fn add_integers(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
        }

        #[inline(always)]
        unsafe fn pair(first: [__m256i; 2], second: [__m256i; 2]) -> [__m256i; 2] {
            unsafe {
                [
                    _mm256_packs_epi32(first[0], second[0]),
                    _mm256_packs_epi32(first[1], second[1]),
                ]
            }
        }

        #[inline(always)]
        unsafe fn pack(first: [__m256i; 2], second: [__m256i; 2], term: i16) -> [__m256i; 2] {
            unsafe {
                let term = _mm256_set1_epi16(term);
                // In each 128 bits: four lanes of one filter after another, to be turned.
                let turn = _mm256_setr_epi8(
                    0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13,
                    2, 6, 10, 14, 3, 7, 11, 15,
                );
                let half = |place: usize| {
                    let first = _mm256_adds_epi16(first[place], term);
                    let second = _mm256_adds_epi16(second[place], term);
                    _mm256_shuffle_epi8(_mm256_packus_epi16(first, second), turn)
                };
                [half(0), half(1)]
            }
        }

        const DOT_TAPS: bool = true;

        #[inline(always)]
        unsafe fn tap_totals(sums: [[__m256i; 2]; 4]) -> [[__m256i; 2]; 4] {
            // Each has the four channels of a lane in each 128 bits: turned, four lanes of a channel.
            unsafe {
                let mut totals = sums;
                for half in 0..2 {
                    let (a, b) = (sums[0][half], sums[1][half]);
                    let (c, d) = (sums[2][half], sums[3][half]);
                    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
                    let (ef, gh) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
                    totals[0][half] = _mm256_unpacklo_epi64(ab, cd);
                    totals[1][half] = _mm256_unpackhi_epi64(ab, cd);
                    totals[2][half] = _mm256_unpacklo_epi64(ef, gh);
                    totals[3][half] = _mm256_unpackhi_epi64(ef, gh);
                }
                totals
            }
        }

        #[inline(always)]
        unsafe fn lookup(table: &[u8; 256], a: [__m256i; 2]) -> [__m256i; 2] {
            // By its upper four bits a byte belongs to one of sixteen rows of the table, in which its lower
            // four name a place. Bit by bit, from the lowest of the upper ones on, half of the rows remain.
            // Loops without closures: into those no instructions of the set are inlined.
            unsafe {
                let mut result = [_mm256_setzero_si256(); 2];
                for half in 0..2 {
                    let a = a[half];
                    let places = _mm256_and_si256(a, _mm256_set1_epi8(15));
                    // A blend looks at the highest bit of each byte. What is shifted in from beside is below it.
                    let bit = _mm256_slli_epi16::<3>(a);
                    let mut found = [_mm256_setzero_si256(); 8];
                    for pair in 0..8 {
                        let row = table.as_ptr().add(pair * 32);
                        let even = _mm256_broadcastsi128_si256(_mm_loadu_si128(row.cast()));
                        let odd = _mm256_broadcastsi128_si256(_mm_loadu_si128(row.add(16).cast()));
                        let even = _mm256_shuffle_epi8(even, places);
                        let odd = _mm256_shuffle_epi8(odd, places);
                        found[pair] = _mm256_blendv_epi8(even, odd, bit);
                    }
                    let bit = _mm256_slli_epi16::<2>(a);
                    for pair in 0..4 {
                        found[pair] = _mm256_blendv_epi8(found[2 * pair], found[2 * pair + 1], bit);
                    }
                    let bit = _mm256_slli_epi16::<1>(a);
                    for pair in 0..2 {
                        found[pair] = _mm256_blendv_epi8(found[2 * pair], found[2 * pair + 1], bit);
                    }
                    result[half] = _mm256_blendv_epi8(found[0], found[1], a);
                }
                result
            }
        }

        #[inline(always)]
        unsafe fn permute(a: [__m256i; 2], map: &[i32; 16], fill: [__m256i; 2]) -> [__m256i; 2] {
            unsafe {
                let half = |place: usize| {
                    let map = _mm256_loadu_si256(map.as_ptr().add(place * 8).cast());
                    let low = _mm256_permutevar8x32_epi32(a[0], map);
                    let high = _mm256_permutevar8x32_epi32(a[1], map);
                    let is_high = _mm256_cmpgt_epi32(map, _mm256_set1_epi32(7));
                    let named = _mm256_blendv_epi8(low, high, is_high);
                    let is_fill = _mm256_srai_epi32::<31>(map);
                    _mm256_blendv_epi8(named, fill[place], is_fill)
                };
                [half(0), half(1)]
            }
        }

        #[inline(always)]
        unsafe fn to_floats(a: [__m256i; 2]) -> [__m256; 2] {
            unsafe { [_mm256_cvtepi32_ps(a[0]), _mm256_cvtepi32_ps(a[1])] }
        }

        #[inline(always)]
        unsafe fn as_floats(a: [__m256i; 2]) -> [__m256; 2] {
            unsafe { [_mm256_castsi256_ps(a[0]), _mm256_castsi256_ps(a[1])] }
        }

        #[inline(always)]
        unsafe fn round(a: [__m256; 2]) -> [__m256i; 2] {
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            unsafe {
                [
                    _mm256_cvtps_epi32(_mm256_round_ps::<NEAREST>(a[0])),
                    _mm256_cvtps_epi32(_mm256_round_ps::<NEAREST>(a[1])),
                ]
            }
        }
    };
}

// SAFETY: intrinsics need what `dispatch` has detected; pointers are to a whole aligned vector block.
impl Lanes for AvxVnni {
    common!();

    type Sums = [__m256i; 2];
    type Bytes = [__m256i; 2];
    type Weights = __m256i;

    const POSITIONS: usize = 3;
    const FILTERS: usize = 2;
    const SHARED_POSITIONS: usize = 2;

    #[inline(always)]
    unsafe fn sums(start: i32) -> [__m256i; 2] {
        unsafe { [_mm256_set1_epi32(start); 2] }
    }

    #[inline(always)]
    unsafe fn bytes(block: *const u8) -> [__m256i; 2] {
        let block = block.cast::<__m256i>();
        unsafe { [_mm256_load_si256(block), _mm256_load_si256(block.add(1))] }
    }

    #[inline(always)]
    unsafe fn weights(four: u32) -> __m256i {
        unsafe { _mm256_set1_epi32(four as i32) }
    }

    #[inline(always)]
    unsafe fn dot(sums: [__m256i; 2], bytes: [__m256i; 2], weights: __m256i) -> [__m256i; 2] {
        unsafe {
            [
                _mm256_dpbusd_avx_epi32(sums[0], bytes[0], weights),
                _mm256_dpbusd_avx_epi32(sums[1], bytes[1], weights),
            ]
        }
    }

    #[inline(always)]
    unsafe fn total(sums: [__m256i; 2]) -> [__m256i; 2] {
        sums
    }

    #[inline(always)]
    unsafe fn dot_taps(
        mut sums: [[__m256i; 2]; 4],
        taps: &[*const u8; 4],
        weights: &[u32; 4],
        count: usize,
    ) -> [[__m256i; 2]; 4] {
        unsafe {
            let weights = _mm256_broadcastsi128_si256(_mm_loadu_si128(weights.as_ptr().cast()));
            for half in 0..2 {
                let a = _mm256_load_si256(taps[0].add(32 * half).cast());
                let b = _mm256_load_si256(taps[1].add(32 * half).cast());
                let (mut c, mut d) = (_mm256_setzero_si256(), _mm256_setzero_si256());
                if count > 2 {
                    c = _mm256_load_si256(taps[2].add(32 * half).cast());
                    d = _mm256_load_si256(taps[3].add(32 * half).cast());
                }
                let (ab, cd) = (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d));
                let (ef, gh) = (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d));
                let quads = [
                    _mm256_unpacklo_epi16(ab, cd),
                    _mm256_unpackhi_epi16(ab, cd),
                    _mm256_unpacklo_epi16(ef, gh),
                    _mm256_unpackhi_epi16(ef, gh),
                ];
                for place in 0..4 {
                    sums[place][half] =
                        _mm256_dpbusd_avx_epi32(sums[place][half], quads[place], weights);
                }
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn byte<const PLACE: i32>(a: [__m256i; 2], term: [__m256i; 2]) -> [__m256i; 2] {
        // Once this byte, and nothing of the others.
        unsafe { Self::dot(term, a, Self::weights(1 << (8 * PLACE))) }
    }
}

// SAFETY: as above.
impl Lanes for Avx2 {
    common!();

    // The sums of channels 0 and 1, and of 2 and 3, of four lanes each.
    type Sums = [__m256i; 4];
    // As 16 bits: a product of bytes, and the sum of two, fits 32 bits and not always 16.
    type Bytes = [__m256i; 4];
    type Weights = __m256i;

    const POSITIONS: usize = 2;
    const FILTERS: usize = 2;
    const SHARED_POSITIONS: usize = 1;

    #[inline(always)]
    unsafe fn sums(start: i32) -> [__m256i; 4] {
        // In the first lane of each lane's two.
        unsafe { [_mm256_set1_epi64x(i64::from(start as u32)); 4] }
    }

    #[inline(always)]
    unsafe fn bytes(block: *const u8) -> [__m256i; 4] {
        unsafe {
            let quarter =
                |place: usize| _mm256_cvtepu8_epi16(_mm_load_si128(block.add(place * 16).cast()));
            [quarter(0), quarter(1), quarter(2), quarter(3)]
        }
    }

    #[inline(always)]
    unsafe fn weights(four: u32) -> __m256i {
        unsafe { _mm256_cvtepi8_epi16(_mm_set1_epi32(four as i32)) }
    }

    #[inline(always)]
    unsafe fn dot(sums: [__m256i; 4], bytes: [__m256i; 4], weights: __m256i) -> [__m256i; 4] {
        unsafe {
            let add = |place: usize| {
                _mm256_add_epi32(sums[place], _mm256_madd_epi16(bytes[place], weights))
            };
            [add(0), add(1), add(2), add(3)]
        }
    }

    #[inline(always)]
    unsafe fn total(sums: [__m256i; 4]) -> [__m256i; 2] {
        unsafe {
            // Pairs of lanes of each half, in the order 0 1 4 5 2 3 6 7; then in order.
            let pair = |a: __m256i, b: __m256i| {
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(a, b))
            };
            [pair(sums[0], sums[1]), pair(sums[2], sums[3])]
        }
    }

    #[inline(always)]
    unsafe fn dot_taps(
        mut sums: [[__m256i; 2]; 4],
        taps: &[*const u8; 4],
        weights: &[u32; 4],
        count: usize,
    ) -> [[__m256i; 2]; 4] {
        unsafe {
            // Of each channel the weights of two taps, as 16 bits.
            let weights = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.as_ptr().cast()));
            let two = [
                _mm256_permutevar8x32_epi32(weights, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6)),
                _mm256_permutevar8x32_epi32(weights, _mm256_setr_epi32(1, 3, 5, 7, 1, 3, 5, 7)),
            ];
            let zero = _mm256_setzero_si256();
            for pair in 0..count.div_ceil(2) {
                let weights = two[pair];
                for half in 0..2 {
                    let a = _mm256_load_si256(taps[2 * pair].add(32 * half).cast());
                    let b = _mm256_load_si256(taps[2 * pair + 1].add(32 * half).cast());
                    let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
                    let pairs = [
                        _mm256_unpacklo_epi8(low, zero),
                        _mm256_unpackhi_epi8(low, zero),
                        _mm256_unpacklo_epi8(high, zero),
                        _mm256_unpackhi_epi8(high, zero),
                    ];
                    for place in 0..4 {
                        let products = _mm256_madd_epi16(pairs[place], weights);
                        sums[place][half] = _mm256_add_epi32(sums[place][half], products);
                    }
                }
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn byte<const PLACE: i32>(a: [__m256i; 2], term: [__m256i; 2]) -> [__m256i; 2] {
        unsafe {
            let (count, mask) = (_mm_cvtsi32_si128(8 * PLACE), _mm256_set1_epi32(255));
            let byte = |half: usize| {
                let byte = _mm256_and_si256(_mm256_srl_epi32(a[half], count), mask);
                _mm256_add_epi32(byte, term[half])
            };
            [byte(0), byte(1)]
        }
    }
}

//! The vectors of 128 bits of WebAssembly. Its relaxed instructions, whose results differ between machines,
//! are not used.

use std::arch::wasm32::*;

use super::lanes::Lanes;

#[derive(Clone, Copy)]
pub(super) struct Simd128;

type Four = [v128; 4];

// These closures are compiled with the vectors, as all of the module is.
#[inline(always)]
fn each<A: Copy, B>(a: [A; 4], f: impl Fn(A) -> B) -> [B; 4] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn both<A: Copy, B: Copy, C>(a: [A; 4], b: [B; 4], f: impl Fn(A, B) -> C) -> [C; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

// SAFETY: a module with these instructions is only loaded where the machine has them; pointers are to a
// whole vector block.
impl Lanes for Simd128 {
    type Floats = Four;
    type Integers = Four;
    // By four lanes.
    type Sums = Four;
    // By four lanes, the bytes at even and at odd places, as words.
    type Bytes = [[v128; 2]; 4];
    // The weights at even and at odd places, as words.
    type Weights = [v128; 2];
    type Pairs = [[v128; 2]; 2];

    const POSITIONS: usize = 2;
    const FILTERS: usize = 2;
    const SHARED_POSITIONS: usize = 1;
    const FLOAT_POSITIONS: usize = 2;
    const FLOAT_FILTERS: usize = 2;
    const FLOAT_SHARED_POSITIONS: usize = 1;

    #[inline(always)]
    unsafe fn sums(start: i32) -> Four {
        [i32x4_splat(start); 4]
    }

    #[inline(always)]
    unsafe fn bytes(block: *const u8) -> [[v128; 2]; 4] {
        each([0, 16, 32, 48], |place| {
            // SAFETY: sixteen bytes lie at each of these places.
            let four = unsafe { v128_load(block.add(place).cast()) };
            [v128_and(four, i16x8_splat(255)), u16x8_shr(four, 8)]
        })
    }

    #[inline(always)]
    unsafe fn weights(four: u32) -> [v128; 2] {
        let all = u32x4_splat(four);
        [i16x8_shr(i16x8_shl(all, 8), 8), i16x8_shr(all, 8)]
    }

    #[inline(always)]
    unsafe fn dot(sums: Four, bytes: [[v128; 2]; 4], weights: [v128; 2]) -> Four {
        both(sums, bytes, |sum, [even, odd]| {
            let even = i32x4_dot_i16x8(even, weights[0]);
            let odd = i32x4_dot_i16x8(odd, weights[1]);
            i32x4_add(sum, i32x4_add(even, odd))
        })
    }

    #[inline(always)]
    unsafe fn total(sums: Four) -> Four {
        sums
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Four {
        [f32x4_splat(value); 4]
    }

    #[inline(always)]
    unsafe fn load(block: *const f32) -> Four {
        unsafe { Self::load_unaligned(block) }
    }

    #[inline(always)]
    unsafe fn load_unaligned(values: *const f32) -> Four {
        each([0, 4, 8, 12], |place| unsafe {
            v128_load(values.add(place).cast())
        })
    }

    #[inline(always)]
    unsafe fn store(block: *mut f32, values: Four) {
        for (place, part) in values.into_iter().enumerate() {
            unsafe { v128_store(block.add(place * 4).cast(), part) }
        }
    }

    #[inline(always)]
    unsafe fn add(a: Four, b: Four) -> Four {
        both(a, b, |a, b| f32x4_add(a, b))
    }

    #[inline(always)]
    unsafe fn subtract(a: Four, b: Four) -> Four {
        both(a, b, |a, b| f32x4_sub(a, b))
    }

    #[inline(always)]
    unsafe fn multiply(a: Four, b: Four) -> Four {
        both(a, b, |a, b| f32x4_mul(a, b))
    }

    // The relaxed one rounds once or twice, by the machine.
    const FUSED: bool = false;

    #[inline(always)]
    unsafe fn multiply_add(a: Four, b: Four, c: Four) -> Four {
        both(both(a, b, |a, b| f32x4_mul(a, b)), c, |p, c| {
            f32x4_add(p, c)
        })
    }

    #[inline(always)]
    unsafe fn divide(a: Four, b: Four) -> Four {
        both(a, b, |a, b| f32x4_div(a, b))
    }

    // As the other sets have it: the second where one is NaN or both are equal.
    #[inline(always)]
    unsafe fn max(a: Four, b: Four) -> Four {
        both(a, b, |a, b| f32x4_pmax(b, a))
    }

    #[inline(always)]
    unsafe fn min(a: Four, b: Four) -> Four {
        both(a, b, |a, b| f32x4_pmin(b, a))
    }

    #[inline(always)]
    unsafe fn splat_integer(value: i32) -> Four {
        [i32x4_splat(value); 4]
    }

    #[inline(always)]
    unsafe fn load_integers(block: *const i32) -> Four {
        unsafe { Self::load_unaligned(block.cast()) }
    }

    #[inline(always)]
    unsafe fn store_integers(block: *mut i32, values: Four) {
        unsafe { Self::store(block.cast(), values) }
    }

    #[inline(always)]
    unsafe fn add_integers(a: Four, b: Four) -> Four {
        both(a, b, |a, b| i32x4_add(a, b))
    }

    #[inline(always)]
    unsafe fn byte<const PLACE: i32>(a: Four, term: Four) -> Four {
        let byte = |a| v128_and(u32x4_shr(a, 8 * PLACE as u32), i32x4_splat(255));
        both(a, term, |a, term| i32x4_add(byte(a), term))
    }

    #[inline(always)]
    unsafe fn pair(first: Four, second: Four) -> [[v128; 2]; 2] {
        let short = |a: Four| {
            [
                i16x8_narrow_i32x4(a[0], a[1]),
                i16x8_narrow_i32x4(a[2], a[3]),
            ]
        };
        [short(first), short(second)]
    }

    #[inline(always)]
    unsafe fn pack(first: [[v128; 2]; 2], second: [[v128; 2]; 2], term: i16) -> Four {
        let term = i16x8_splat(term);
        let bytes =
            |a: [v128; 2]| u8x16_narrow_i16x8(i16x8_add_sat(a[0], term), i16x8_add_sat(a[1], term));
        let (a, b) = (bytes(first[0]), bytes(first[1]));
        let (c, d) = (bytes(second[0]), bytes(second[1]));
        // The bytes of two filters side by side; then of all four.
        let low =
            |a, b| i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b);
        let high = |a, b| {
            i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b)
        };
        let (ab, cd) = ([low(a, b), high(a, b)], [low(c, d), high(c, d)]);
        [
            i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(ab[0], cd[0]),
            i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(ab[0], cd[0]),
            i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(ab[1], cd[1]),
            i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(ab[1], cd[1]),
        ]
    }

    #[inline(always)]
    unsafe fn lookup(table: &[u8; 256], a: Four) -> Four {
        each(a, |a| {
            (0..16).fold(i8x16_splat(0), |found, row| {
                // SAFETY: sixteen bytes lie at each of these places.
                let values = unsafe { v128_load(table.as_ptr().add(16 * row).cast()) };
                // A swizzle gives zeros where a byte is none of its sixteen.
                let here = i8x16_sub(a, i8x16_splat((16 * row) as i8));
                v128_or(found, i8x16_swizzle(values, here))
            })
        })
    }

    #[inline(always)]
    unsafe fn permute(a: Four, map: &[i32; 16], fill: Four) -> Four {
        // SAFETY: four numbers lie at each of these places.
        let maps = unsafe { Self::load_integers(map.as_ptr()) };
        both(maps, fill, |lanes, fill| {
            // The four bytes of the lane; a swizzle gives zeros where they are none of its sixteen.
            let named = i32x4_mul(lanes, i32x4_splat(0x0404_0404));
            let named = i32x4_add(named, i32x4_splat(0x0302_0100));
            let part = |of: usize| {
                let here = i8x16_sub(named, i8x16_splat(16 * of as i8));
                i8x16_swizzle(a[of], here)
            };
            let found = v128_or(v128_or(part(0), part(1)), v128_or(part(2), part(3)));
            v128_bitselect(fill, found, i32x4_shr(lanes, 31))
        })
    }

    #[inline(always)]
    unsafe fn to_floats(a: Four) -> Four {
        each(a, |a| f32x4_convert_i32x4(a))
    }

    #[inline(always)]
    unsafe fn as_floats(a: Four) -> Four {
        a
    }

    #[inline(always)]
    unsafe fn round(a: Four) -> Four {
        each(a, |a| i32x4_trunc_sat_f32x4(f32x4_nearest(a)))
    }
}

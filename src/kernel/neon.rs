//! NEON of aarch64: alone, with the dot products of bytes of `dotprod`, and with those of `i8mm`, which
//! take bytes without signs.
//!
//! The intrinsics of these products are not stable, so that they are written in assembly.

use std::arch::aarch64::*;
use std::arch::asm;

use super::lanes::Lanes;

#[derive(Clone, Copy)]
pub(super) struct Neon;

#[derive(Clone, Copy)]
pub(super) struct NeonDotprod;

#[derive(Clone, Copy)]
pub(super) struct NeonI8mm;

type Floats = [float32x4_t; 4];
type Integers = [int32x4_t; 4];
type Pairs = [[int16x8_t; 2]; 2];

// These closures need no more than NEON, which every function here is compiled with.
#[inline(always)]
fn each<A: Copy, B: Copy>(a: [A; 4], f: impl Fn(A) -> B) -> [B; 4] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn both<A: Copy, B: Copy, C>(a: [A; 4], b: [B; 4], f: impl Fn(A, B) -> C) -> [C; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

// SAFETY contract: a whole vector block lies there.
#[inline(always)]
unsafe fn bytes_of(block: *const u8) -> [uint8x16_t; 4] {
    // SAFETY: by the contract.
    unsafe { each([0, 16, 32, 48], |place| vld1q_u8(block.add(place))) }
}

// The bytes less 128, which have signs.
#[inline(always)]
unsafe fn signed_bytes_of(block: *const u8) -> [int8x16_t; 4] {
    // SAFETY: by the same contract.
    unsafe {
        let signed = |bytes| vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128)));
        each(bytes_of(block), signed)
    }
}

// What all share: a vector block is four vectors.
macro_rules! common {
    () => {
        type Floats = Floats;
        type Integers = Integers;
        type Pairs = Pairs;

        const FLOAT_POSITIONS: usize = 6;
        const FLOAT_FILTERS: usize = 4;
        const FLOAT_SHARED_POSITIONS: usize = 1;

        #[inline(always)]
        fn prefetch(values: *const f32) {
            // SAFETY: a prefetch reads nothing that a program could see, wherever it points.
            unsafe {
                asm!(
                    "prfm pldl1keep, [{}]",
                    in(reg) values,
                    options(nostack, preserves_flags, readonly)
                );
            }
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> Floats {
            unsafe { [vdupq_n_f32(value); 4] }
        }

        #[inline(always)]
        unsafe fn load(block: *const f32) -> Floats {
            unsafe { Self::load_unaligned(block) }
        }

        #[inline(always)]
        unsafe fn load_unaligned(values: *const f32) -> Floats {
            unsafe { each([0, 4, 8, 12], |place| vld1q_f32(values.add(place))) }
        }

        #[inline(always)]
        unsafe fn store(block: *mut f32, values: Floats) {
            unsafe {
                for (place, part) in values.into_iter().enumerate() {
                    vst1q_f32(block.add(place * 4), part)
                }
            }
        }

        #[inline(always)]
        unsafe fn add(a: Floats, b: Floats) -> Floats {
            unsafe { both(a, b, |a, b| vaddq_f32(a, b)) }
        }

        #[inline(always)]
        unsafe fn subtract(a: Floats, b: Floats) -> Floats {
            unsafe { both(a, b, |a, b| vsubq_f32(a, b)) }
        }

        #[inline(always)]
        unsafe fn multiply(a: Floats, b: Floats) -> Floats {
            unsafe { both(a, b, |a, b| vmulq_f32(a, b)) }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: Floats, b: Floats, c: Floats) -> Floats {
            unsafe {
                let part = |place: usize| vfmaq_f32(c[place], a[place], b[place]);
                each([0, 1, 2, 3], part)
            }
        }

        #[inline(always)]
        unsafe fn divide(a: Floats, b: Floats) -> Floats {
            unsafe { both(a, b, |a, b| vdivq_f32(a, b)) }
        }

        // As the other sets have it: the second where one is NaN or both are equal.
        #[inline(always)]
        unsafe fn max(a: Floats, b: Floats) -> Floats {
            unsafe { both(a, b, |a, b| vbslq_f32(vcgtq_f32(a, b), a, b)) }
        }

        #[inline(always)]
        unsafe fn min(a: Floats, b: Floats) -> Floats {
            unsafe { both(a, b, |a, b| vbslq_f32(vcltq_f32(a, b), a, b)) }
        }

        #[inline(always)]
        unsafe fn splat_integer(value: i32) -> Integers {
            unsafe { [vdupq_n_s32(value); 4] }
        }

        #[inline(always)]
        unsafe fn load_integers(block: *const i32) -> Integers {
            unsafe { each([0, 4, 8, 12], |place| vld1q_s32(block.add(place))) }
        }

        #[inline(always)]
        unsafe fn store_integers(block: *mut i32, values: Integers) {
            unsafe {
                for (place, part) in values.into_iter().enumerate() {
                    vst1q_s32(block.add(place * 4), part)
                }
            }
        }

        #[inline(always)]
        unsafe fn add_integers(a: Integers, b: Integers) -> Integers {
            unsafe { both(a, b, |a, b| vaddq_s32(a, b)) }
        }

        #[inline(always)]
        unsafe fn byte<const PLACE: i32>(a: Integers, term: Integers) -> Integers {
            unsafe {
                let (down, low) = (vdupq_n_s32(-8 * PLACE), vdupq_n_u32(255));
                both(a, term, |a, term| {
                    let moved = vshlq_u32(vreinterpretq_u32_s32(a), down);
                    vaddq_s32(vreinterpretq_s32_u32(vandq_u32(moved, low)), term)
                })
            }
        }

        #[inline(always)]
        unsafe fn pair(first: Integers, second: Integers) -> Pairs {
            unsafe {
                let half = |a, b| vcombine_s16(vqmovn_s32(a), vqmovn_s32(b));
                let short = |a: Integers| [half(a[0], a[1]), half(a[2], a[3])];
                [short(first), short(second)]
            }
        }

        #[inline(always)]
        unsafe fn optimization_barrier([mut a, mut b, mut c, mut d]: Integers) -> Integers {
            unsafe {
                asm!(
                    "/* {a:v} {b:v} {c:v} {d:v} */",
                    a = inout(vreg) a,
                    b = inout(vreg) b,
                    c = inout(vreg) c,
                    d = inout(vreg) d,
                    options(pure, nomem, nostack, preserves_flags)
                );
                [a, b, c, d]
            }
        }

        #[inline(always)]
        unsafe fn optimization_barrier_pair([[mut a, mut b], [mut c, mut d]]: Pairs) -> Pairs {
            unsafe {
                asm!(
                    "/* {a:v} {b:v} {c:v} {d:v} */",
                    a = inout(vreg) a,
                    b = inout(vreg) b,
                    c = inout(vreg) c,
                    d = inout(vreg) d,
                    options(pure, nomem, nostack, preserves_flags)
                );
                [[a, b], [c, d]]
            }
        }

        #[inline(always)]
        unsafe fn pack(first: Pairs, second: Pairs, term: i16) -> Integers {
            unsafe {
                let term = vdupq_n_s16(term);
                let half = |a| vqmovun_s16(vqaddq_s16(a, term));
                let bytes = |a: [int16x8_t; 2]| vcombine_u8(half(a[0]), half(a[1]));
                let (a, b) = (bytes(first[0]), bytes(first[1]));
                let (c, d) = (bytes(second[0]), bytes(second[1]));
                // The bytes of two filters side by side; then of all four.
                let wide = |x| vreinterpretq_u16_u8(x);
                let low = (wide(vzip1q_u8(a, b)), wide(vzip1q_u8(c, d)));
                let high = (wide(vzip2q_u8(a, b)), wide(vzip2q_u8(c, d)));
                let four = [
                    vzip1q_u16(low.0, low.1),
                    vzip2q_u16(low.0, low.1),
                    vzip1q_u16(high.0, high.1),
                    vzip2q_u16(high.0, high.1),
                ];
                each(four, |x| vreinterpretq_s32_u16(x))
            }
        }

        #[inline(always)]
        unsafe fn lookup(table: &[u8; 256], a: Integers) -> Integers {
            // A byte beyond a quarter of the table keeps what was found.
            unsafe {
                let quarter = |of: usize| {
                    let at = |row: usize| vld1q_u8(table.as_ptr().add(64 * of + 16 * row));
                    uint8x16x4_t(at(0), at(1), at(2), at(3))
                };
                let quarters = [quarter(0), quarter(1), quarter(2), quarter(3)];
                each(a, |a| {
                    let a = vreinterpretq_u8_s32(a);
                    let mut found = vqtbl4q_u8(quarters[0], a);
                    for (of, &quarter) in quarters.iter().enumerate().skip(1) {
                        let here = vsubq_u8(a, vdupq_n_u8(64 * of as u8));
                        found = vqtbx4q_u8(found, quarter, here);
                    }
                    vreinterpretq_s32_u8(found)
                })
            }
        }

        #[inline(always)]
        unsafe fn permute(a: Integers, map: &[i32; 16], fill: Integers) -> Integers {
            unsafe {
                let bytes = |x| vreinterpretq_u8_s32(x);
                let table = uint8x16x4_t(bytes(a[0]), bytes(a[1]), bytes(a[2]), bytes(a[3]));
                let maps = each([0, 4, 8, 12], |place| vld1q_s32(map.as_ptr().add(place)));
                both(maps, fill, |lanes, fill| {
                    // The four bytes of the lane; where it is negative, bytes that no table has.
                    let first = vdupq_n_s32(0x0302_0100);
                    let named = vmlaq_s32(first, lanes, vdupq_n_s32(0x0404_0404));
                    let named = vorrq_s32(named, vshrq_n_s32::<31>(lanes));
                    vreinterpretq_s32_u8(vqtbx4q_u8(bytes(fill), table, bytes(named)))
                })
            }
        }

        #[inline(always)]
        unsafe fn to_floats(a: Integers) -> Floats {
            unsafe { each(a, |a| vcvtq_f32_s32(a)) }
        }

        #[inline(always)]
        unsafe fn as_floats(a: Integers) -> Floats {
            unsafe { each(a, |a| vreinterpretq_f32_s32(a)) }
        }

        #[inline(always)]
        unsafe fn round(a: Floats) -> Integers {
            unsafe { each(a, |a| vcvtnq_s32_f32(a)) }
        }
    };
}

// SAFETY: every aarch64 processor that this is built for has NEON; pointers are to a whole vector block.
impl Lanes for Neon {
    common!();

    // Of channels 0 and 1, and of 2 and 3, of two lanes each.
    type Sums = [int32x4_t; 8];
    type Bytes = [int8x16_t; 4];
    type Weights = int8x8_t;

    const SIGNED: bool = true;
    const POSITIONS: usize = 2;
    const FILTERS: usize = 2;
    const SHARED_POSITIONS: usize = 1;

    #[inline(always)]
    unsafe fn sums(start: i32) -> [int32x4_t; 8] {
        unsafe {
            // In the first lane of each lane's two.
            [vreinterpretq_s32_u64(vdupq_n_u64(u64::from(start as u32))); 8]
        }
    }

    #[inline(always)]
    unsafe fn bytes(block: *const u8) -> [int8x16_t; 4] {
        unsafe { signed_bytes_of(block) }
    }

    #[inline(always)]
    unsafe fn weights(four: u32) -> int8x8_t {
        unsafe { vreinterpret_s8_u32(vdup_n_u32(four)) }
    }

    #[inline(always)]
    unsafe fn dot(sums: [int32x4_t; 8], bytes: [int8x16_t; 4], weights: int8x8_t) -> Self::Sums {
        unsafe {
            let mut sums = sums;
            for (sums, bytes) in sums.chunks_exact_mut(2).zip(bytes) {
                // A product of two bytes fits 16 bits, a sum of two not always.
                sums[0] = vpadalq_s16(sums[0], vmull_s8(vget_low_s8(bytes), weights));
                sums[1] = vpadalq_s16(sums[1], vmull_s8(vget_high_s8(bytes), weights));
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn total(sums: [int32x4_t; 8]) -> Integers {
        unsafe {
            each([0, 2, 4, 6], |place| {
                vpaddq_s32(sums[place], sums[place + 1])
            })
        }
    }
}

// What those share whose instruction sums four products: a lane has one sum.
macro_rules! quads {
    () => {
        type Sums = Integers;
        type Weights = int8x16_t;

        const POSITIONS: usize = 4;
        const FILTERS: usize = 4;
        const SHARED_POSITIONS: usize = 1;

        #[inline(always)]
        unsafe fn sums(start: i32) -> Integers {
            unsafe { [vdupq_n_s32(start); 4] }
        }

        #[inline(always)]
        unsafe fn weights(four: u32) -> int8x16_t {
            unsafe { vreinterpretq_s8_u32(vdupq_n_u32(four)) }
        }

        #[inline(always)]
        unsafe fn total(sums: Integers) -> Integers {
            sums
        }
    };
}

// SAFETY: `dispatch` has detected `dotprod`; pointers are to a whole vector block.
impl Lanes for NeonDotprod {
    common!();

    quads!();

    type Bytes = [int8x16_t; 4];

    const SIGNED: bool = true;
    #[inline(always)]
    unsafe fn bytes(block: *const u8) -> [int8x16_t; 4] {
        unsafe { signed_bytes_of(block) }
    }

    #[inline(always)]
    unsafe fn dot(sums: Integers, bytes: [int8x16_t; 4], weights: int8x16_t) -> Integers {
        unsafe {
            both(sums, bytes, |mut sum, bytes| {
                // SAFETY: an instruction of the set, on registers alone.
                asm!(
                    ".arch_extension dotprod",
                    "sdot {sum:v}.4s, {bytes:v}.16b, {weights:v}.16b",
                    sum = inout(vreg) sum,
                    bytes = in(vreg) bytes,
                    weights = in(vreg) weights,
                    options(pure, nomem, nostack, preserves_flags)
                );
                sum
            })
        }
    }
}

// SAFETY: `dispatch` has detected `i8mm`; pointers are to a whole vector block.
impl Lanes for NeonI8mm {
    common!();

    quads!();

    type Bytes = [uint8x16_t; 4];

    #[inline(always)]
    unsafe fn bytes(block: *const u8) -> [uint8x16_t; 4] {
        unsafe { bytes_of(block) }
    }

    #[inline(always)]
    unsafe fn dot(sums: Integers, bytes: [uint8x16_t; 4], weights: int8x16_t) -> Integers {
        unsafe {
            both(sums, bytes, |mut sum, bytes| {
                // SAFETY: an instruction of the set, on registers alone.
                asm!(
                    ".arch_extension i8mm",
                    "usdot {sum:v}.4s, {bytes:v}.16b, {weights:v}.16b",
                    sum = inout(vreg) sum,
                    bytes = in(vreg) bytes,
                    weights = in(vreg) weights,
                    options(pure, nomem, nostack, preserves_flags)
                );
                sum
            })
        }
    }
}

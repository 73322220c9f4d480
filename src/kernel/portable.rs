//! Fixed arrays, which compilers make vectors of, for any target; products of bytes are in `dot`.

use super::dot;
use super::lanes::Lanes;
use super::specialize::{SHIFT, SHIFTED};

#[derive(Clone, Copy)]
pub(super) struct Portable;

// A loop: a compiler may leave `std::array::from_fn` a call, for all that is small.
#[inline(always)]
fn lanes<T: Copy>(of: impl Fn(usize) -> T) -> [T; 16] {
    let mut to = [of(0); 16];
    for (lane, to) in to.iter_mut().enumerate() {
        *to = of(lane);
    }
    to
}

#[inline(always)]
fn each<A: Copy, B: Copy, C: Copy>(a: [A; 16], b: [B; 16], f: impl Fn(A, B) -> C) -> [C; 16] {
    lanes(|lane| f(a[lane], b[lane]))
}

// SAFETY: no instruction set is needed; pointers are to a whole aligned vector block by the trait's contract.
impl Lanes for Portable {
    type Floats = [f32; 16];
    type Integers = [i32; 16];
    type Sums = dot::Sums;
    type Bytes = dot::Bytes;
    type Weights = dot::Weights;
    type Pairs = [[i16; 16]; 2];

    const POSITIONS: usize = dot::POSITIONS;
    const FILTERS: usize = dot::FILTERS;
    const SHARED_POSITIONS: usize = dot::SHARED_POSITIONS;
    const FLOAT_POSITIONS: usize = 2;
    const FLOAT_FILTERS: usize = 2;
    const FLOAT_SHARED_POSITIONS: usize = 1;

    #[inline(always)]
    unsafe fn sums(start: i32) -> dot::Sums {
        dot::sums(start)
    }

    #[inline(always)]
    unsafe fn bytes(block: *const u8) -> dot::Bytes {
        unsafe { dot::bytes_of(block) }
    }

    #[inline(always)]
    unsafe fn weights(four: u32) -> dot::Weights {
        dot::weights_of(four)
    }

    #[inline(always)]
    unsafe fn dot(sums: dot::Sums, bytes: dot::Bytes, weights: dot::Weights) -> dot::Sums {
        dot::dot(sums, bytes, weights)
    }

    #[inline(always)]
    unsafe fn total(sums: dot::Sums) -> [i32; 16] {
        dot::total(sums)
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 16] {
        [value; 16]
    }

    #[inline(always)]
    unsafe fn load(block: *const f32) -> [f32; 16] {
        unsafe { block.cast::<[f32; 16]>().read() }
    }

    #[inline(always)]
    unsafe fn load_unaligned(values: *const f32) -> [f32; 16] {
        unsafe { values.cast::<[f32; 16]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(block: *mut f32, values: [f32; 16]) {
        unsafe { block.cast::<[f32; 16]>().write(values) }
    }

    #[inline(always)]
    unsafe fn add(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn subtract(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn multiply(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| a * b)
    }

    const FUSED: bool = false;

    #[inline(always)]
    unsafe fn multiply_add(a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        each(each(a, b, |a, b| a * b), c, |product, c| product + c)
    }

    #[inline(always)]
    unsafe fn divide(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| a / b)
    }

    #[inline(always)]
    unsafe fn max(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn min(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    unsafe fn splat_integer(value: i32) -> [i32; 16] {
        [value; 16]
    }

    #[inline(always)]
    unsafe fn load_integers(block: *const i32) -> [i32; 16] {
        unsafe { block.cast::<[i32; 16]>().read() }
    }

    #[inline(always)]
    unsafe fn store_integers(block: *mut i32, values: [i32; 16]) {
        unsafe { block.cast::<[i32; 16]>().write(values) }
    }

    #[inline(always)]
    unsafe fn add_integers(a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
        each(a, b, i32::wrapping_add)
    }

    #[inline(always)]
    unsafe fn byte<const PLACE: i32>(a: [i32; 16], term: [i32; 16]) -> [i32; 16] {
        lanes(|lane| ((a[lane] >> (8 * PLACE)) & 255).wrapping_add(term[lane]))
    }

    #[inline(always)]
    unsafe fn pair(first: [i32; 16], second: [i32; 16]) -> [[i16; 16]; 2] {
        let short = |x: i32| x.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        [
            lanes(|lane| short(first[lane])),
            lanes(|lane| short(second[lane])),
        ]
    }

    #[inline(always)]
    unsafe fn pack(first: [[i16; 16]; 2], second: [[i16; 16]; 2], term: i16) -> [i32; 16] {
        let byte = |x: i16| x.saturating_add(term).clamp(0, 255) as u8;
        lanes(|lane| {
            let four = [
                first[0][lane],
                first[1][lane],
                second[0][lane],
                second[1][lane],
            ];
            let [a, b, c, d] = four;
            i32::from_le_bytes([byte(a), byte(b), byte(c), byte(d)])
        })
    }

    #[inline(always)]
    unsafe fn permute(a: [i32; 16], map: &[i32; 16], fill: [i32; 16]) -> [i32; 16] {
        lanes(|lane| match usize::try_from(map[lane]) {
            Ok(from) => a[from % 16],
            Err(_) => fill[lane],
        })
    }

    #[inline(always)]
    unsafe fn to_floats(a: [i32; 16]) -> [f32; 16] {
        lanes(|lane| a[lane] as f32)
    }

    #[inline(always)]
    unsafe fn as_floats(a: [i32; 16]) -> [f32; 16] {
        lanes(|lane| f32::from_bits(a[lane] as u32))
    }

    #[inline(always)]
    unsafe fn round(a: [f32; 16]) -> [i32; 16] {
        // What lies beyond is no code, and stays beyond.
        lanes(|lane| {
            let near = if a[lane] > -SHIFTED {
                a[lane]
            } else {
                -SHIFTED
            };
            let near = if near < SHIFTED { near } else { SHIFTED };
            ((near + SHIFT) - SHIFT) as i32
        })
    }
}

//! What a kernel needs of an instruction set, over the sixteen lanes of a vector block.

use super::VectorBlock;

/// Sixteen lanes. Kernels are written once over this trait and compiled for each set.
///
/// # Safety
///
/// All methods require that the machine has the instruction set: [`dispatch`](super::Kernels) is the
/// only caller, and runs what was detected. Methods that take pointers require a whole vector block there,
/// aligned to 64 bytes.
pub(super) trait Lanes: Copy {
    /// Sixteen floats.
    type Floats: Copy;
    /// Sixteen whole numbers.
    type Integers: Copy;
    /// Sixteen sums of products of bytes, maybe in parts.
    type Sums: Copy;
    /// The bytes of a vector block, ready to multiply.
    type Bytes: Copy;
    /// Four weights, ready to multiply.
    type Weights: Copy;
    /// Sixteen pairs of numbers of 16 bits.
    type Pairs: Copy;

    /// Positions of which the registers hold the sums of one filter.
    const POSITIONS: usize;
    /// Filters whose sums are made together where they share their inputs.
    const FILTERS: usize;
    /// Positions of which the registers then hold the sums.
    const SHARED_POSITIONS: usize;
    /// Positions of which the registers hold the sums of `FLOAT_FILTERS` in floats.
    const FLOAT_POSITIONS: usize;
    /// Filters in floats whose sums are made together where they share their inputs.
    const FLOAT_FILTERS: usize;
    /// Positions of which the registers then hold the sums.
    const FLOAT_SHARED_POSITIONS: usize;

    /// Whether [`dot`](Self::dot) takes bytes less 128: then sums start with what they lack.
    const SIGNED: bool = false;

    /// Whether registers hold the vector blocks of a residual, too, while a block's sums are made.
    const HOLDS_RESIDUAL: bool = false;

    /// Asks for what lies there, which need not be memory of the caller's.
    fn prefetch(_: *const f32) {}

    unsafe fn sums(start: i32) -> Self::Sums;
    unsafe fn bytes(block: *const u8) -> Self::Bytes;
    unsafe fn weights(four: u32) -> Self::Weights;
    /// Adds to each lane's sum its four bytes, unsigned, times the four weights, signed; where that is
    /// [`SIGNED`](Self::SIGNED), its four bytes less 128.
    unsafe fn dot(sums: Self::Sums, bytes: Self::Bytes, weights: Self::Weights) -> Self::Sums;
    unsafe fn total(sums: Self::Sums) -> Self::Integers;

    /// Whether [`dot_taps`](Self::dot_taps) is faster than four sums by [`dot`](Self::dot).
    const DOT_TAPS: bool = false;

    /// Adds to each of a block's four channels, by lane, its bytes in up to four blocks, the taps, times a weight
    /// for each: `weights[channel]` has those of all taps. The sums are in an order of the set's own until
    /// [`tap_totals`](Self::tap_totals). Of a set that is [`SIGNED`](Self::SIGNED), bytes less 128.
    #[inline(always)]
    unsafe fn dot_taps(
        mut sums: [Self::Integers; 4],
        taps: &[*const u8; 4],
        weights: &[u32; 4],
        count: usize,
    ) -> [Self::Integers; 4] {
        // SAFETY: by the caller.
        unsafe {
            for (tap, &block) in taps.iter().enumerate().take(count) {
                let bytes = Self::bytes(block);
                for (channel, sum) in sums.iter_mut().enumerate() {
                    let weight = weights[channel].to_le_bytes()[tap];
                    let weights = Self::weights(u32::from(weight) << (8 * channel));
                    let products = Self::dot(Self::sums(0), bytes, weights);
                    *sum = Self::add_integers(*sum, Self::total(products));
                }
            }
        }
        sums
    }
    /// Each channel's sums, by lane.
    #[inline(always)]
    unsafe fn tap_totals(sums: [Self::Integers; 4]) -> [Self::Integers; 4] {
        sums
    }

    unsafe fn splat(value: f32) -> Self::Floats;
    unsafe fn load(block: *const f32) -> Self::Floats;
    /// Sixteen floats from anywhere.
    unsafe fn load_unaligned(values: *const f32) -> Self::Floats;
    /// The first floats of sixteen, as many as there are; zeros behind.
    #[inline(always)]
    unsafe fn load_first(values: &[f32]) -> Self::Floats {
        let mut block = [VectorBlock::default()];
        let first = values.iter().take(VectorBlock::LANES);
        for (to, value) in VectorBlock::floats_mut(&mut block).iter_mut().zip(first) {
            *to = *value;
        }
        // SAFETY: a vector block is aligned; the machine has the set, by the caller.
        unsafe { Self::load(VectorBlock::floats(&block).as_ptr()) }
    }
    unsafe fn store(block: *mut f32, values: Self::Floats);
    unsafe fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    unsafe fn subtract(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    unsafe fn multiply(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Whether [`multiply_add`](Self::multiply_add) rounds once.
    const FUSED: bool = true;
    /// `a b + c`, rounded once or twice.
    unsafe fn multiply_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    unsafe fn divide(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// What rounds, within 255 of zero, to the whole number that `a / b` does; `inverse` is `1 / b`,
    /// normal and finite.
    #[inline(always)]
    unsafe fn divide_to_round(a: Self::Floats, b: Self::Floats, _: Self::Floats) -> Self::Floats {
        // SAFETY: the machine has the set, by the caller.
        unsafe { Self::divide(a, b) }
    }
    unsafe fn max(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    unsafe fn min(a: Self::Floats, b: Self::Floats) -> Self::Floats;

    unsafe fn splat_integer(value: i32) -> Self::Integers;
    unsafe fn load_integers(block: *const i32) -> Self::Integers;
    unsafe fn store_integers(block: *mut i32, values: Self::Integers);
    unsafe fn add_integers(a: Self::Integers, b: Self::Integers) -> Self::Integers;
    /// The byte of each lane at a place from 0 to 3, unsigned, and a term.
    unsafe fn byte<const PLACE: i32>(a: Self::Integers, term: Self::Integers) -> Self::Integers;
    unsafe fn pair(first: Self::Integers, second: Self::Integers) -> Self::Pairs;
    /// An optimization barrier: the value is computed here. Else a compiler may move behind loops what is used
    /// only there, and run out of registers.
    #[inline(always)]
    unsafe fn optimization_barrier(a: Self::Integers) -> Self::Integers {
        a
    }
    /// An optimization barrier for pairs.
    #[inline(always)]
    unsafe fn optimization_barrier_pair(a: Self::Pairs) -> Self::Pairs {
        a
    }
    /// Four bytes for each lane, of two pairs and a term; what does not fit becomes what is nearest.
    unsafe fn pack(first: Self::Pairs, second: Self::Pairs, term: i16) -> Self::Integers;
    /// The byte that stands for each of the four bytes of a lane.
    #[inline(always)]
    unsafe fn lookup(table: &[u8; 256], a: Self::Integers) -> Self::Integers {
        let mut block = [VectorBlock::default()];
        // SAFETY: a vector block is aligned; the machine has the set, by the caller.
        unsafe {
            Self::store_integers(VectorBlock::integers_mut(&mut block).as_mut_ptr(), a);
            for byte in VectorBlock::bytes_mut(&mut block) {
                *byte = table[usize::from(*byte)];
            }
            Self::load_integers(VectorBlock::integers(&block).as_ptr())
        }
    }
    /// Each lane that `map` names; where it names none (a negative number), the fill.
    unsafe fn permute(a: Self::Integers, map: &[i32; 16], fill: Self::Integers) -> Self::Integers;
    /// Each lane from the number of that place, which must be there; where it is negative, the fill.
    #[inline(always)]
    unsafe fn gather(from: *const i32, places: &[i32; 16], fill: Self::Integers) -> Self::Integers {
        let mut block = [VectorBlock::default()];
        // SAFETY: a vector block is aligned; what places name is there, by the caller.
        unsafe {
            let to = VectorBlock::integers_mut(&mut block);
            Self::store_integers(to.as_mut_ptr(), fill);
            for (to, &place) in to.iter_mut().zip(places) {
                if place >= 0 {
                    *to = from.add(place as usize).read();
                }
            }
            Self::load_integers(to.as_ptr())
        }
    }
    unsafe fn to_floats(a: Self::Integers) -> Self::Floats;
    /// The floats of these bits.
    unsafe fn as_floats(a: Self::Integers) -> Self::Floats;
    /// Half to even; within the range of i32, or below it.
    unsafe fn round(a: Self::Floats) -> Self::Integers;
}

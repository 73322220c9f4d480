//! The unit of memory: 64 bytes, one cache line and one vector.

/// Sixteen lanes of one position: sixteen floats of one channel, or, for each lane, the codes of four
/// channels as bytes.
///
/// ```
/// use burn_compress_kernel::VectorBlock;
/// let mut blocks = [VectorBlock::default(); 2];
/// VectorBlock::floats_mut(&mut blocks)[17] = 1.5;
/// assert_eq!(VectorBlock::floats(&blocks[1..])[1], 1.5);
/// assert_eq!(VectorBlock::bytes(&blocks).len(), 128);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct VectorBlock([u8; VectorBlock::BYTES]);

impl Default for VectorBlock {
    fn default() -> Self {
        Self([0; Self::BYTES])
    }
}

impl VectorBlock {
    /// Bytes of a vector block.
    pub const BYTES: usize = 64;
    /// Lanes of a vector block.
    pub const LANES: usize = 16;

    /// A vector block of one byte over and over.
    pub fn of_bytes(byte: u8) -> Self {
        Self([byte; Self::BYTES])
    }

    /// A vector block of one float over and over.
    pub fn of_floats(value: f32) -> Self {
        let mut block = [Self::default()];
        Self::floats_mut(&mut block).fill(value);
        block[0]
    }

    /// The bytes of vector blocks.
    pub fn bytes(blocks: &[Self]) -> &[u8] {
        // SAFETY: a vector block is 64 bytes without padding; any byte may be read as u8.
        unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), blocks.len() * Self::BYTES) }
    }

    /// The bytes of vector blocks, to write.
    pub fn bytes_mut(blocks: &mut [Self]) -> &mut [u8] {
        let length = blocks.len() * Self::BYTES;
        // SAFETY: as above, and any byte is a valid part of a vector block.
        unsafe { std::slice::from_raw_parts_mut(blocks.as_mut_ptr().cast(), length) }
    }

    /// The vector blocks as floats.
    pub fn floats(blocks: &[Self]) -> &[f32] {
        // SAFETY: vector blocks are aligned to 64 bytes, and any four bytes are an f32.
        unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), blocks.len() * Self::LANES) }
    }

    /// The vector blocks as floats, to write.
    pub fn floats_mut(blocks: &mut [Self]) -> &mut [f32] {
        let length = blocks.len() * Self::LANES;
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(blocks.as_mut_ptr().cast(), length) }
    }

    /// The vector blocks as whole numbers.
    pub fn integers(blocks: &[Self]) -> &[i32] {
        // SAFETY: vector blocks are aligned to 64 bytes, and any four bytes are an i32.
        unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), blocks.len() * Self::LANES) }
    }

    /// The vector blocks as whole numbers, to write.
    pub fn integers_mut(blocks: &mut [Self]) -> &mut [i32] {
        let length = blocks.len() * Self::LANES;
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(blocks.as_mut_ptr().cast(), length) }
    }
}

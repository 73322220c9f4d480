//! The unit of memory: 64 bytes, one cache line and one vector.

/// Sixteen sites of one position: sixteen floats of one channel, or, for each site, the codes of four
/// channels as bytes.
///
/// ```
/// use burn_compress_kernel::Cell;
/// let mut cells = [Cell::default(); 2];
/// Cell::floats_mut(&mut cells)[17] = 1.5;
/// assert_eq!(Cell::floats(&cells[1..])[1], 1.5);
/// assert_eq!(Cell::bytes(&cells).len(), 128);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Cell([u8; Cell::BYTES]);

impl Default for Cell {
    fn default() -> Self {
        Self([0; Self::BYTES])
    }
}

impl Cell {
    /// Bytes of a cell.
    pub const BYTES: usize = 64;
    /// Sites of a cell.
    pub const SITES: usize = 16;

    /// A cell of one byte over and over.
    pub fn of_bytes(byte: u8) -> Self {
        Self([byte; Self::BYTES])
    }

    /// A cell of one float over and over.
    pub fn of_floats(value: f32) -> Self {
        let mut cell = [Self::default()];
        Self::floats_mut(&mut cell).fill(value);
        cell[0]
    }

    /// The bytes of cells.
    pub fn bytes(cells: &[Self]) -> &[u8] {
        // SAFETY: a cell is 64 bytes without padding; any byte may be read as u8.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), cells.len() * Self::BYTES) }
    }

    /// The bytes of cells, to write.
    pub fn bytes_mut(cells: &mut [Self]) -> &mut [u8] {
        let length = cells.len() * Self::BYTES;
        // SAFETY: as above, and any byte is a valid part of a cell.
        unsafe { std::slice::from_raw_parts_mut(cells.as_mut_ptr().cast(), length) }
    }

    /// The cells as floats.
    pub fn floats(cells: &[Self]) -> &[f32] {
        // SAFETY: cells are aligned to 64 bytes, and any four bytes are an f32.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), cells.len() * Self::SITES) }
    }

    /// The cells as floats, to write.
    pub fn floats_mut(cells: &mut [Self]) -> &mut [f32] {
        let length = cells.len() * Self::SITES;
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(cells.as_mut_ptr().cast(), length) }
    }

    /// The cells as whole numbers.
    pub fn integers(cells: &[Self]) -> &[i32] {
        // SAFETY: cells are aligned to 64 bytes, and any four bytes are an i32.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), cells.len() * Self::SITES) }
    }

    /// The cells as whole numbers, to write.
    pub fn integers_mut(cells: &mut [Self]) -> &mut [i32] {
        let length = cells.len() * Self::SITES;
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(cells.as_mut_ptr().cast(), length) }
    }
}

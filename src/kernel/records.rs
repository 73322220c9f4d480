use std::sync::Arc;

use super::{Cell, KernelError, winograd};

/// Filters that are made together: their codes share a cell.
pub const QUAD: usize = 4;
/// Filters, and at most cells, of a tile.
pub const TILE: usize = 16;

// A cell's place in bytes; beyond 32 bits what is no cell's place, which `Records::reach` refuses.
fn offset(cell: u32) -> u32 {
    cell.saturating_mul(Cell::BYTES as u32)
}

/// One weight (in floats) or four (as bytes), and the place of its operand: a cell below 2^26, or no
/// [`Product`](super::Product) takes it.
///
/// ```
/// use burn_compress_kernel::Record;
/// let integer = Record::of_bytes(3, [1, 0, -2, 0]);
/// let float = Record::of_float(3, 0.5);
/// assert_eq!(integer.cell(), float.cell());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Record {
    // In bytes.
    pub(super) offset: u32,
    pub(super) bits: u32,
}

impl Record {
    /// Weights of four channels, `cell` cells after the start of a window.
    pub fn of_bytes(cell: u32, weights: [i8; 4]) -> Self {
        Self {
            offset: offset(cell),
            bits: u32::from_le_bytes(weights.map(|weight| weight as u8)),
        }
    }

    /// The weight of one channel, `cell` cells after the start of a window.
    pub fn of_float(cell: u32, weight: f32) -> Self {
        Self {
            offset: offset(cell),
            bits: weight.to_bits(),
        }
    }

    /// The cell it reads, from the start of a window.
    pub fn cell(self) -> u32 {
        self.offset / Cell::BYTES as u32
    }
}

/// The weights of four filters at one place: a cell below 2^26, as a [`Record`]'s.
///
/// ```
/// use burn_compress_kernel::SharedRecord;
/// let record = SharedRecord::of_floats(3, [0.5, 0.0, 1.0, 0.0]);
/// assert_eq!(record.cell(), 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct SharedRecord {
    pub(super) offset: u32,
    pub(super) bits: [u32; QUAD],
}

impl SharedRecord {
    /// By filter, the weights of four channels.
    pub fn of_bytes(cell: u32, weights: [[i8; 4]; QUAD]) -> Self {
        Self {
            offset: offset(cell),
            bits: weights.map(|weights| u32::from_le_bytes(weights.map(|weight| weight as u8))),
        }
    }

    /// By filter, the weight of one channel.
    pub fn of_floats(cell: u32, weights: [f32; QUAD]) -> Self {
        Self {
            offset: offset(cell),
            bits: weights.map(f32::to_bits),
        }
    }

    /// The cell it reads, from the start of a window.
    pub fn cell(self) -> u32 {
        self.offset / Cell::BYTES as u32
    }
}

/// The weights of a layer.
///
/// ```
/// use burn_compress_kernel::{Records, SharedRecord};
/// let one_quad = Records::Shared {
///     records: vec![SharedRecord::of_floats(0, [1.0, 2.0, 3.0, 4.0])],
///     starts: vec![0, 1],
/// };
/// assert_eq!(one_quad.quads(), 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Records {
    /// Each filter has records of its own.
    Filter {
        /// Of all filters, one after the other.
        records: Vec<Record>,
        /// Where each filter's begin, and the end: four for each quad and one.
        starts: Vec<u32>,
    },
    /// The filters of a quad share their places.
    Shared {
        /// Of all quads, one after the other.
        records: Vec<SharedRecord>,
        /// Where each quad's begin, and the end: one for each quad and one.
        starts: Vec<u32>,
    },
    /// Sixteen filters at a time share their places, which lie evenly, and all have weights there, zero
    /// or not: what a matrix unit multiplies. Of bytes alone.
    Tiles {
        /// Quads of filters.
        quads: usize,
        /// Cells that a tile reads, 1 to 16.
        depth: usize,
        /// How far they are apart, in cells.
        apart: u32,
        /// The first cell of each tile, from the start of a window: as a record's, below 2^26.
        cells: Vec<u32>,
        /// By sixteen filters (zeros beyond the last), tile, filter and cell, the weights of its four
        /// channels as bytes: of each tile as many cells as it reads, on lines of a cache as all cells.
        /// Layers in several layouts share them.
        weights: Arc<Vec<Cell>>,
    },
    /// Filters of three by three taps, transformed, so that two by two results take 16 products of each
    /// channel instead of 36, or four by four 36 instead of 144 (Winograd; made by [`Records::winograd`]). Of
    /// floats alone. So many positions of a product after the other are the results of one window, line by
    /// line: as far apart in the input as the taps are.
    Winograd {
        /// Quads of filters.
        quads: usize,
        /// Results in a line of a window, two or four.
        side: usize,
        /// Channels of a filter, at most [`Records::winograd_channels`].
        channels: usize,
        /// Cells from a channel to the next.
        apart: u32,
        /// Cells from a tap to the one below it: of a dilated filter, some lines.
        below: u32,
        /// Cells from a tap to the one beside it.
        beside: u32,
        /// By quad, transformed tap, channel and filter.
        weights: Arc<Vec<f32>>,
    },
}

impl Records {
    /// Number of quads of filters.
    pub fn quads(&self) -> usize {
        match self {
            Self::Filter { starts, .. } => starts.len().saturating_sub(1) / QUAD,
            Self::Shared { starts, .. } => starts.len().saturating_sub(1),
            Self::Tiles { quads, .. } | Self::Winograd { quads, .. } => *quads,
        }
    }

    /// Bytes that the records take.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Filter { records, .. } => size_of_val(&records[..]),
            Self::Shared { records, .. } => size_of_val(&records[..]),
            Self::Tiles { weights, .. } => size_of_val(&weights[..]),
            Self::Winograd { weights, .. } => size_of_val(&weights[..]),
        }
    }

    /// Records of each quad: what its time is in proportion to; of a quad that is not there, 0.
    pub fn cost(&self, quad: usize) -> usize {
        let (starts, filters, factor) = match self {
            Self::Filter { starts, .. } => (starts, QUAD, 1),
            Self::Shared { starts, .. } => (starts, 1, 2),
            // Sixteen cycles for sixteen filters, of two records each.
            Self::Tiles { quads, cells, .. } => {
                return if quad < *quads { 8 * cells.len() } else { 0 };
            }
            // Of each result its products, two at a time; to transform the windows, shared by all quads,
            // and the results.
            Self::Winograd {
                quads,
                side,
                channels,
                ..
            } => {
                let channels = (*channels).min(Self::winograd_channels(*side));
                if quad >= *quads || channels == 0 {
                    return 0;
                }
                let products = 2 * channels * winograd::places(*side) / (side * side);
                return products + 8 * channels / quads + 20;
            }
        };
        let mut starts = starts.iter().skip(quad.saturating_mul(filters));
        match (starts.next(), starts.nth(filters - 1)) {
            (Some(first), Some(end)) => end.saturating_sub(*first) as usize * factor,
            _ => 0,
        }
    }

    /// Quads that are made at a time: fewer cost a thread as much.
    pub fn together(&self) -> usize {
        match self {
            Self::Filter { .. } | Self::Shared { .. } | Self::Winograd { .. } => 1,
            Self::Tiles { .. } => TILE / QUAD,
        }
    }

    // Positions that are made together.
    pub(super) fn positions(&self) -> usize {
        match self {
            Self::Winograd { side, .. } => side.saturating_mul(*side).max(1),
            _ => 1,
        }
    }

    // The least and the most that a filter's sum of products of bytes can be.
    pub(super) fn span(&self, filter: usize) -> (f64, f64) {
        let none = (0, 0);
        let (least, most) = match self {
            Self::Filter { records, starts } => {
                let of = &records[starts[filter] as usize..starts[filter + 1] as usize];
                add_span(none, of, |record| record.bits)
            }
            Self::Shared { records, starts } => {
                let quad = filter / QUAD;
                let of = &records[starts[quad] as usize..starts[quad + 1] as usize];
                add_span(none, of, |record| record.bits[filter % QUAD])
            }
            Self::Tiles { depth, weights, .. } => {
                let tiles = weights.chunks_exact(*depth);
                let each = self.of_filter(filter) / depth;
                let tiles = tiles.skip(filter / TILE * each).take(each);
                let of = |tile| &Cell::integers(tile)[filter % TILE * depth..][..*depth];
                tiles.fold(none, |sums, tile| {
                    add_span(sums, of(tile), |&four| four as u32)
                })
            }
            // Of floats.
            Self::Winograd { .. } => none,
        };
        ((least * 255) as f64, (most * 255) as f64)
    }

    // Records of a filter.
    pub(super) fn of_filter(&self, filter: usize) -> usize {
        let (starts, list) = match self {
            Self::Filter { starts, .. } => (starts, filter),
            Self::Shared { starts, .. } => (starts, filter / QUAD),
            Self::Tiles { depth, cells, .. } => return cells.len() * depth,
            Self::Winograd { side, channels, .. } => return channels * winograd::places(*side),
        };
        (starts[list + 1] - starts[list]) as usize
    }

    // The last cell that any record reads, or an error where the starts do not fit the records or a
    // cell does not fit its bits.
    pub(super) fn reach(&self) -> Result<usize, KernelError> {
        let rising = |starts: &[u32], end: usize| {
            starts.first() == Some(&0)
                && starts.windows(2).all(|pair| pair[0] <= pair[1])
                && starts.last().map(|&last| last as usize) == Some(end)
        };
        let (fits, last) = match self {
            Self::Filter { records, starts } => (
                rising(starts, records.len()) && starts.len() % QUAD == 1,
                records.iter().map(|record| record.offset).max(),
            ),
            Self::Shared { records, starts } => (
                rising(starts, records.len()),
                records.iter().map(|record| record.offset).max(),
            ),
            Self::Tiles {
                quads,
                depth,
                apart,
                cells,
                weights,
            } => {
                let tiles = quads
                    .checked_mul(QUAD)
                    .map(|filters| filters.div_ceil(TILE));
                let tiles = tiles.and_then(|tiles| tiles.checked_mul(cells.len()));
                let fits = tiles.and_then(|tiles| tiles.checked_mul(*depth));
                let behind = (*depth as u32).saturating_sub(1).saturating_mul(*apart);
                let last = cells.iter().map(|cell| cell.saturating_add(behind)).max();
                (
                    (1..=TILE).contains(depth) && fits == Some(weights.len()),
                    last.map(offset),
                )
            }
            Self::Winograd {
                quads,
                side: side @ (2 | 4),
                channels,
                apart,
                below,
                beside,
                weights,
            } => {
                let all = quads.checked_mul(QUAD * winograd::places(*side));
                let all = all.and_then(|all| all.checked_mul(*channels));
                let behind = (*channels as u32).saturating_sub(1).saturating_mul(*apart);
                let further = *side as u32 + 1;
                let last = behind.saturating_add(below.saturating_mul(further));
                let last = last.saturating_add(beside.saturating_mul(further));
                (
                    (1..=Self::winograd_channels(*side)).contains(channels)
                        && all == Some(weights.len()),
                    Some(offset(last)),
                )
            }
            Self::Winograd { .. } => (false, None),
        };
        let last = last.unwrap_or(0) as usize;
        match fits && last.is_multiple_of(Cell::BYTES) {
            true => Ok(last / Cell::BYTES),
            false => Err(KernelError::Records),
        }
    }
}

// Adds the weights below zero, and those above.
fn add_span<T>(sums: (i64, i64), of: &[T], bits: impl Fn(&T) -> u32) -> (i64, i64) {
    // So many bytes stay within 32 bits, of which processors add more at once.
    of.chunks(1 << 16).fold(sums, |(least, most), of| {
        let (mut below, mut all) = (0, 0);
        for item in of {
            for byte in bits(item).to_le_bytes() {
                let weight = i32::from(byte as i8);
                below += weight.min(0);
                all += weight;
            }
        }
        (least + i64::from(below), most + i64::from(all - below))
    })
}

use std::sync::Arc;

use super::{KernelError, VectorBlock, winograd};

/// Filters that are made together: their codes share a vector block.
pub const FILTER_BLOCK: usize = 4;
/// Filters, and at most vector blocks, of a tile.
pub const TILE: usize = 16;

// A vector block's place in bytes; beyond 32 bits what is no vector block's place, which
// `PackedWeights::reach` refuses.
fn offset(block: u32) -> u32 {
    block.saturating_mul(VectorBlock::BYTES as u32)
}

/// One weight (in floats) or four (as bytes), and the place of its operand: a vector block below 2^26, or no
/// [`Product`](super::Product) takes it.
///
/// ```
/// use burn_compress_kernel::SparseEntry;
/// let integer = SparseEntry::of_bytes(3, [1, 0, -2, 0]);
/// let float = SparseEntry::of_float(3, 0.5);
/// assert_eq!(integer.block(), float.block());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct SparseEntry {
    // In bytes.
    pub(super) offset: u32,
    pub(super) bits: u32,
}

impl SparseEntry {
    /// Weights of four channels, `block` vector blocks after the start of a window.
    pub fn of_bytes(block: u32, weights: [i8; 4]) -> Self {
        Self {
            offset: offset(block),
            bits: u32::from_le_bytes(weights.map(|weight| weight as u8)),
        }
    }

    /// The weight of one channel, `block` vector blocks after the start of a window.
    pub fn of_float(block: u32, weight: f32) -> Self {
        Self {
            offset: offset(block),
            bits: weight.to_bits(),
        }
    }

    /// The vector block it reads, from the start of a window.
    pub fn block(self) -> u32 {
        self.offset / VectorBlock::BYTES as u32
    }
}

/// The weights of four filters at one place: a vector block below 2^26, as a [`SparseEntry`]'s.
///
/// ```
/// use burn_compress_kernel::SharedEntry;
/// let entry = SharedEntry::of_floats(3, [0.5, 0.0, 1.0, 0.0]);
/// assert_eq!(entry.block(), 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct SharedEntry {
    pub(super) offset: u32,
    pub(super) bits: [u32; FILTER_BLOCK],
}

impl SharedEntry {
    /// By filter, the weights of four channels.
    pub fn of_bytes(block: u32, weights: [[i8; 4]; FILTER_BLOCK]) -> Self {
        Self {
            offset: offset(block),
            bits: weights.map(|weights| u32::from_le_bytes(weights.map(|weight| weight as u8))),
        }
    }

    /// By filter, the weight of one channel.
    pub fn of_floats(block: u32, weights: [f32; FILTER_BLOCK]) -> Self {
        Self {
            offset: offset(block),
            bits: weights.map(f32::to_bits),
        }
    }

    /// The vector block it reads, from the start of a window.
    pub fn block(self) -> u32 {
        self.offset / VectorBlock::BYTES as u32
    }
}

/// Weights of up to four taps of a depthwise convolution, and their places: vector blocks below 2^26, as a
/// [`SparseEntry`]'s.
///
/// ```
/// use burn_compress_kernel::TapEntry;
/// let one = TapEntry::of_bytes([3, 4, 0, 0], [[1, -1, 0, 0]; 4]);
/// assert_eq!(one.blocks(), [3, 4, 0, 0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct TapEntry {
    // In bytes.
    pub(super) offsets: [u32; 4],
    pub(super) weights: [u32; FILTER_BLOCK],
}

impl TapEntry {
    /// By filter, the weights of four taps, which lie `blocks` vector blocks after the start of a window. Where
    /// there are fewer, zeros, at places that a window has.
    pub fn of_bytes(blocks: [u32; 4], weights: [[i8; 4]; FILTER_BLOCK]) -> Self {
        Self {
            offsets: blocks.map(offset),
            weights: weights.map(|taps| u32::from_le_bytes(taps.map(|weight| weight as u8))),
        }
    }

    /// The vector blocks it reads, from the start of a window.
    pub fn blocks(self) -> [u32; 4] {
        self.offsets
            .map(|offset| offset / VectorBlock::BYTES as u32)
    }
}

/// The weights of a layer.
///
/// ```
/// use burn_compress_kernel::{PackedWeights, SharedEntry};
/// let one_filter_block = PackedWeights::Shared {
///     entries: vec![SharedEntry::of_floats(0, [1.0, 2.0, 3.0, 4.0])],
///     starts: vec![0, 1],
/// };
/// assert_eq!(one_filter_block.filter_blocks(), 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum PackedWeights {
    /// Each filter has sparse entries of its own.
    Filter {
        /// Of all filters, one after the other.
        entries: Vec<SparseEntry>,
        /// Where each filter's begin, and the end: four for each block of filters and one.
        starts: Vec<u32>,
    },
    /// The filters of a block share their places.
    Shared {
        /// Of all blocks of filters, one after the other.
        entries: Vec<SharedEntry>,
        /// Where each block's begin, and the end: one for each block of filters and one.
        starts: Vec<u32>,
    },
    /// Each of a block's four filters reads one of the four channels of a plane: its own. Of bytes alone.
    Depthwise {
        /// Taps of a filter.
        taps: usize,
        /// By block of filters, four taps each.
        entries: Vec<TapEntry>,
    },
    /// Sixteen filters at a time share their places, which lie evenly, and all have weights there, zero
    /// or not: what a matrix unit multiplies. Of bytes alone.
    Tiles {
        /// Blocks of filters of filters.
        filter_blocks: usize,
        /// Vector blocks that a tile reads, 1 to 16.
        depth: usize,
        /// How far they are apart, in vector blocks.
        apart: u32,
        /// The first vector block of each tile, from the start of a window: as a sparse entry's, below 2^26.
        blocks: Vec<u32>,
        /// By sixteen filters (zeros beyond the last), tile, filter and vector block, the weights of its four
        /// channels as bytes: of each tile as many vector blocks as it reads, on lines of a cache as all
        /// vector blocks. Layers in several layouts share them.
        weights: Arc<Vec<VectorBlock>>,
    },
    /// Filters of three by three taps, transformed, so that two by two results take 16 products of each
    /// channel instead of 36, or four by four 36 instead of 144 (Winograd; made by
    /// [`PackedWeights::winograd`]). Of floats alone. So many positions of a product after the other are the
    /// results of one window, line by line: as far apart in the input as the taps are.
    Winograd {
        /// Blocks of filters of filters.
        filter_blocks: usize,
        /// Results in a line of a window, two or four.
        side: usize,
        /// Channels of a filter, at most [`PackedWeights::winograd_channels`].
        channels: usize,
        /// Vector blocks from a channel to the next.
        apart: u32,
        /// Vector blocks from a tap to the one below it: of a dilated filter, some lines.
        below: u32,
        /// Vector blocks from a tap to the one beside it.
        beside: u32,
        /// By block of filters, transformed tap, channel and filter.
        weights: Arc<Vec<f32>>,
    },
}

impl PackedWeights {
    /// Number of blocks of filters.
    pub fn filter_blocks(&self) -> usize {
        match self {
            Self::Filter { starts, .. } => starts.len().saturating_sub(1) / FILTER_BLOCK,
            Self::Shared { starts, .. } => starts.len().saturating_sub(1),
            Self::Depthwise { taps, entries } => entries.len() / taps.div_ceil(4).max(1),
            Self::Tiles { filter_blocks, .. } | Self::Winograd { filter_blocks, .. } => {
                *filter_blocks
            }
        }
    }

    /// Bytes that the sparse entries take.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Filter { entries, .. } => size_of_val(&entries[..]),
            Self::Shared { entries, .. } => size_of_val(&entries[..]),
            Self::Depthwise { entries, .. } => size_of_val(&entries[..]),
            Self::Tiles { weights, .. } => size_of_val(&weights[..]),
            Self::Winograd { weights, .. } => size_of_val(&weights[..]),
        }
    }

    /// Sparse entries of each block of filters: what its time is in proportion to; of a block of filters that
    /// is not there, 0.
    pub fn cost(&self, filter_block: usize) -> usize {
        let (starts, filters, factor) = match self {
            Self::Filter { starts, .. } => (starts, FILTER_BLOCK, 1),
            Self::Shared { starts, .. } => (starts, 1, 2),
            // Of four filters each, two at a time.
            Self::Depthwise { taps, .. } => {
                return if filter_block < self.filter_blocks() {
                    2 * taps
                } else {
                    0
                };
            }
            // Sixteen cycles for sixteen filters, of two sparse entries each.
            Self::Tiles {
                filter_blocks,
                blocks,
                ..
            } => {
                return if filter_block < *filter_blocks {
                    8 * blocks.len()
                } else {
                    0
                };
            }
            // Of each result its products, two at a time; to transform the windows, shared by all blocks of
            // filters, and the results.
            Self::Winograd {
                filter_blocks,
                side,
                channels,
                ..
            } => {
                let channels = (*channels).min(Self::winograd_channels(*side));
                if filter_block >= *filter_blocks || channels == 0 {
                    return 0;
                }
                let products = 2 * channels * winograd::places(*side) / (side * side);
                return products + 8 * channels / filter_blocks + 20;
            }
        };
        let mut starts = starts.iter().skip(filter_block.saturating_mul(filters));
        match (starts.next(), starts.nth(filters - 1)) {
            (Some(first), Some(end)) => end.saturating_sub(*first) as usize * factor,
            _ => 0,
        }
    }

    /// Blocks of filters that are made at a time: fewer cost a thread as much.
    pub fn together(&self) -> usize {
        match self {
            Self::Filter { .. }
            | Self::Shared { .. }
            | Self::Depthwise { .. }
            | Self::Winograd { .. } => 1,
            Self::Tiles { .. } => TILE / FILTER_BLOCK,
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
        let (least, most) = self.weights_of_signs(filter);
        ((least * 255) as f64, (most * 255) as f64)
    }

    // Of a filter's weights, of bytes, the sums of those below zero and of those above.
    pub(super) fn weights_of_signs(&self, filter: usize) -> (i64, i64) {
        let none = (0, 0);
        match self {
            Self::Filter { entries, starts } => {
                let of = &entries[starts[filter] as usize..starts[filter + 1] as usize];
                add_span(none, of, |entry| entry.bits)
            }
            Self::Shared { entries, starts } => {
                let filter_block = filter / FILTER_BLOCK;
                let of = &entries[starts[filter_block] as usize..starts[filter_block + 1] as usize];
                add_span(none, of, |entry| entry.bits[filter % FILTER_BLOCK])
            }
            Self::Depthwise { taps, entries } => {
                let each = taps.div_ceil(4);
                let of = &entries[filter / FILTER_BLOCK * each..][..each];
                add_span(none, of, |entry| entry.weights[filter % FILTER_BLOCK])
            }
            Self::Tiles { depth, weights, .. } => {
                let tiles = weights.chunks_exact(*depth);
                let each = self.of_filter(filter) / depth;
                let tiles = tiles.skip(filter / TILE * each).take(each);
                let of = |tile| &VectorBlock::integers(tile)[filter % TILE * depth..][..*depth];
                tiles.fold(none, |sums, tile| {
                    add_span(sums, of(tile), |&four| four as u32)
                })
            }
            // Of floats.
            Self::Winograd { .. } => none,
        }
    }

    // Sparse entries of a filter.
    pub(super) fn of_filter(&self, filter: usize) -> usize {
        let (starts, list) = match self {
            Self::Filter { starts, .. } => (starts, filter),
            Self::Shared { starts, .. } => (starts, filter / FILTER_BLOCK),
            Self::Depthwise { taps, .. } => return taps.div_ceil(4),
            Self::Tiles { depth, blocks, .. } => return blocks.len() * depth,
            Self::Winograd { side, channels, .. } => return channels * winograd::places(*side),
        };
        (starts[list + 1] - starts[list]) as usize
    }

    // The last vector block that any sparse entry reads, or an error where the starts do not fit the sparse
    // entries or a vector block does not fit its bits.
    pub(super) fn reach(&self) -> Result<usize, KernelError> {
        let rising = |starts: &[u32], end: usize| {
            starts.first() == Some(&0)
                && starts.windows(2).all(|pair| pair[0] <= pair[1])
                && starts.last().map(|&last| last as usize) == Some(end)
        };
        let (fits, last) = match self {
            Self::Filter { entries, starts } => (
                rising(starts, entries.len()) && starts.len() % FILTER_BLOCK == 1,
                entries.iter().map(|entry| entry.offset).max(),
            ),
            Self::Shared { entries, starts } => (
                rising(starts, entries.len()),
                entries.iter().map(|entry| entry.offset).max(),
            ),
            Self::Depthwise { taps, entries } => (
                *taps > 0 && entries.len().is_multiple_of(taps.div_ceil(4)),
                entries.iter().flat_map(|entry| entry.offsets).max(),
            ),
            Self::Tiles {
                filter_blocks,
                depth,
                apart,
                blocks,
                weights,
            } => {
                let tiles = filter_blocks
                    .checked_mul(FILTER_BLOCK)
                    .map(|filters| filters.div_ceil(TILE));
                let tiles = tiles.and_then(|tiles| tiles.checked_mul(blocks.len()));
                let fits = tiles.and_then(|tiles| tiles.checked_mul(*depth));
                let behind = (*depth as u32).saturating_sub(1).saturating_mul(*apart);
                let last = blocks
                    .iter()
                    .map(|block| block.saturating_add(behind))
                    .max();
                (
                    (1..=TILE).contains(depth) && fits == Some(weights.len()),
                    last.map(offset),
                )
            }
            Self::Winograd {
                filter_blocks,
                side: side @ (2 | 4),
                channels,
                apart,
                below,
                beside,
                weights,
            } => {
                let all = filter_blocks.checked_mul(FILTER_BLOCK * winograd::places(*side));
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
        match fits && last.is_multiple_of(VectorBlock::BYTES) {
            true => Ok(last / VectorBlock::BYTES),
            false => Err(KernelError::Weights),
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

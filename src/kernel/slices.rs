//! Sparse entries in parts, by what they read.

use super::PackedWeights;

/// The sparse entries of each filter (or block of filters, where filters share them) in parts, by the vector
/// blocks they read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slices {
    pub count: usize,
    // Where each part begins, and the end.
    splits: Vec<u32>,
}

impl Slices {
    // None where there is one part, or more than any list has sparse entries, or vector blocks do not rise.
    pub fn of(entries: &PackedWeights, blocks: usize) -> Option<Self> {
        match entries {
            PackedWeights::Filter { entries, starts } => {
                Self::split(entries, starts, blocks, |r| r.block())
            }
            PackedWeights::Shared { entries, starts } => {
                Self::split(entries, starts, blocks, |r| r.block())
            }
            PackedWeights::Depthwise { .. }
            | PackedWeights::Tiles { .. }
            | PackedWeights::Winograd { .. } => None,
        }
    }

    fn split<T>(
        entries: &[T],
        starts: &[u32],
        blocks: usize,
        block: impl Fn(&T) -> u32,
    ) -> Option<Self> {
        let count = entries.iter().map(&block).max()? as usize / blocks + 1;
        let lengths = starts.windows(2).map(|pair| pair[1] - pair[0]);
        if count > lengths.max()? as usize {
            return None;
        }
        let mut splits = Vec::with_capacity((starts.len() - 1) * count + 1);
        for pair in starts.windows(2) {
            let of = &entries[pair[0] as usize..pair[1] as usize];
            if !of.is_sorted_by_key(&block) {
                return None;
            }
            for slice in 0..count {
                let before = of.partition_point(|entry| (block(entry) as usize) < slice * blocks);
                splits.push(pair[0] + before as u32);
            }
        }
        splits.push(entries.len() as u32);
        (count > 1).then_some(Self { count, splits })
    }

    #[inline(always)]
    pub fn range(&self, list: usize, slice: usize) -> std::ops::Range<usize> {
        let place = list * self.count + slice;
        self.splits[place] as usize..self.splits[place + 1] as usize
    }
}

//! Records in parts, by what they read.

use super::Records;

/// The records of each filter (or quad, where filters share them) in parts, by the cells they read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slices {
    pub count: usize,
    // Where each part begins, and the end.
    splits: Vec<u32>,
}

impl Slices {
    // None where there is one part, or more than any list has records, or cells do not rise.
    pub fn of(records: &Records, cells: usize) -> Option<Self> {
        match records {
            Records::Filter { records, starts } => {
                Self::split(records, starts, cells, |r| r.cell())
            }
            Records::Shared { records, starts } => {
                Self::split(records, starts, cells, |r| r.cell())
            }
            Records::Tiles { .. } | Records::Winograd { .. } => None,
        }
    }

    fn split<T>(
        records: &[T],
        starts: &[u32],
        cells: usize,
        cell: impl Fn(&T) -> u32,
    ) -> Option<Self> {
        let count = records.iter().map(&cell).max()? as usize / cells + 1;
        let lengths = starts.windows(2).map(|pair| pair[1] - pair[0]);
        if count > lengths.max()? as usize {
            return None;
        }
        let mut splits = Vec::with_capacity((starts.len() - 1) * count + 1);
        for pair in starts.windows(2) {
            let of = &records[pair[0] as usize..pair[1] as usize];
            if !of.is_sorted_by_key(&cell) {
                return None;
            }
            for slice in 0..count {
                let before = of.partition_point(|record| (cell(record) as usize) < slice * cells);
                splits.push(pair[0] + before as u32);
            }
        }
        splits.push(records.len() as u32);
        (count > 1).then_some(Self { count, splits })
    }

    #[inline(always)]
    pub fn range(&self, list: usize, slice: usize) -> std::ops::Range<usize> {
        let place = list * self.count + slice;
        self.splits[place] as usize..self.splits[place + 1] as usize
    }
}

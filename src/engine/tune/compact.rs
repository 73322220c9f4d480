//! Branch-free compaction: items of which some are kept.

const LENGTH: usize = 256;

/// Keeps items in order. What is offered is written whether it is kept or not, and then overwritten: a
/// branch on each would be foreseen by no processor.
pub(in crate::engine) struct Compactor<T> {
    kept: Vec<T>,
    last: [T; LENGTH],
    count: usize,
}

impl<T: Copy + Default> Compactor<T> {
    /// With room for so many.
    pub fn new(most: usize) -> Self {
        Self {
            kept: Vec::with_capacity(most),
            last: [T::default(); LENGTH],
            count: 0,
        }
    }

    #[inline(always)]
    pub fn offer(&mut self, item: T, keep: bool) {
        self.last[self.count % LENGTH] = item;
        self.count += usize::from(keep);
        if self.count == LENGTH {
            self.kept.extend_from_slice(&self.last);
            self.count = 0;
        }
    }

    /// Items kept so far.
    pub fn len(&self) -> usize {
        self.kept.len() + self.count
    }

    pub fn into_vec(mut self) -> Vec<T> {
        self.kept.extend_from_slice(&self.last[..self.count]);
        self.kept.shrink_to_fit();
        self.kept
    }
}

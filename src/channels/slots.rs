//! Which places of axes go together: a union-find, each class with the reason why it stays, if any.

use super::Reason;

/// The places of an axis, one for each element; empty where the axis has length 1 or is the batch, and
/// can lose nothing.
pub(super) type Axis = Vec<usize>;

/// The axes of a result, and along which of them removed places would be zero.
pub(super) type Outcome = (Vec<Axis>, Vec<bool>);

#[derive(Default)]
pub(super) struct Slots {
    parent: Vec<usize>,
    /// Of roots.
    fixed: Vec<Option<Reason>>,
}

impl Slots {
    /// Places that belong to nothing yet.
    pub fn fresh(&mut self, length: usize) -> Axis {
        let first = self.parent.len();
        self.parent.extend(first..first + length);
        self.fixed.resize(first + length, None);
        (first..first + length).collect()
    }

    /// Places that stay.
    pub fn fresh_fixed(&mut self, length: usize, reason: &Reason) -> Axis {
        let axis = self.fresh(length);
        self.fix(&axis, reason);
        axis
    }

    pub fn root(&self, mut slot: usize) -> usize {
        while self.parent[slot] != slot {
            slot = self.parent[slot];
        }
        slot
    }

    // Halves the way to the root.
    fn find(&mut self, mut slot: usize) -> usize {
        while self.parent[slot] != slot {
            self.parent[slot] = self.parent[self.parent[slot]];
            slot = self.parent[slot];
        }
        slot
    }

    pub fn union(&mut self, one: usize, other: usize) {
        let (one, other) = (self.find(one), self.find(other));
        // The first one's root stays: reasons and order depend on nothing else.
        let (root, child) = (one.min(other), one.max(other));
        if root != child {
            self.parent[child] = root;
            let reason = self.fixed[child].take();
            if self.fixed[root].is_none() {
                self.fixed[root] = reason;
            }
        }
    }

    /// The places of two axes of one length, pair by pair. Where one of them cannot lose a place, the
    /// other cannot.
    pub fn tie(&mut self, one: &[usize], other: &[usize], reason: &Reason) {
        match one.len() == other.len() {
            true => {
                for (&one, &other) in one.iter().zip(other) {
                    self.union(one, other);
                }
            }
            false => {
                self.fix(one, reason);
                self.fix(other, reason);
            }
        }
    }

    /// Places of the same rank in each part of an axis.
    pub fn tie_parts(&mut self, axis: &[usize], parts: usize) {
        let length = (axis.len() / parts.max(1)).max(1);
        for (place, &slot) in axis.iter().enumerate().skip(length) {
            self.union(axis[place % length], slot);
        }
    }

    /// All places of each part of an axis.
    pub fn tie_within(&mut self, axis: &[usize], parts: usize) {
        let length = (axis.len() / parts.max(1)).max(1);
        for part in axis.chunks(length) {
            part.iter().for_each(|&slot| self.union(part[0], slot));
        }
    }

    pub fn fix(&mut self, axis: &[usize], reason: &Reason) {
        for &slot in axis {
            let root = self.find(slot);
            self.fixed[root].get_or_insert_with(|| reason.clone());
        }
    }

    /// Why a place stays.
    pub fn fixed(&self, slot: usize) -> Option<&Reason> {
        self.fixed[self.root(slot)].as_ref()
    }

    pub fn any_free(&self, axis: &[usize]) -> bool {
        axis.iter().any(|&slot| self.fixed(slot).is_none())
    }
}

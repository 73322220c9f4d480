//! Weights as sparse entries for a layout: the candidates among which a layer's kernel is chosen.

use std::sync::Arc;

use super::compact::Compactor;
use crate::engine::layout::Layout;
use crate::engine::lower::node::{Form, Packing, WeightValues, Weighted};
use crate::kernel::{FILTER_BLOCK, PackedWeights, SharedEntry, SparseEntry, TapEntry};

/// A vector block that a filter reads, from the start of its window, and where the weights of its four
/// channels (of floats, of its one) lie among the filter's; the place behind the last is zero.
pub(in crate::engine) struct Place {
    pub block: u32,
    pub weights: [u32; 4],
}

impl Weighted<'_> {
    // The places of a filter in the order of their vector blocks.
    fn rising_places(&self, filter: usize, layout: &Layout) -> Vec<Place> {
        let mut places = self.places(filter, layout);
        if layout.interleaved.is_some() {
            places.sort_by_key(|place| place.block);
        }
        places
    }

    // The places of a filter, zeros included, in the order of channel groups, rows and columns.
    pub fn places(&self, filter: usize, layout: &Layout) -> Vec<Place> {
        let unit = layout.shape.kind.unit();
        let first = filter / (self.filters() / self.groups).max(1) * self.channels;
        let taps = self.taps();
        let [rows, columns] = self.window.kernel;
        let [row_step, column_step] = self.window.dilation;
        let mut places = Vec::new();
        for group in first / unit..(first + self.channels).div_ceil(unit) {
            // Of the group's channels those that the filter reads.
            let of = |place: usize| {
                let channel = (group * unit + place).checked_sub(first)?;
                (place < unit && channel < self.channels).then(|| self.inner(channel))
            };
            let channels = [of(0), of(1), of(2), of(3)];
            for row in 0..rows {
                for column in 0..columns {
                    let inner = row * row_step * layout.pitch() + column * column_step;
                    let tap = row * columns + column;
                    let weight = |first: Option<usize>| match first {
                        Some(first) => first + tap,
                        None => self.channels * taps,
                    };
                    places.push(Place {
                        block: (group * layout.plane() + inner) as u32,
                        weights: channels.map(|first| weight(first) as u32),
                    });
                }
            }
        }
        places
    }

    /// Each filter with its own places, those of zeros left out.
    pub fn by_filter(&self, layout: &Layout) -> Arc<PackedWeights> {
        let packing = packing(layout, Form::Filter);
        self.found.entries(packing, || match &self.weights {
            WeightValues::Codes(codes) => {
                self.entries_by_filter(codes, layout, SparseEntry::of_bytes)
            }
            WeightValues::Floats(values) => {
                self.entries_by_filter(values, layout, |block, [value, ..]| {
                    SparseEntry::of_float(block, value)
                })
            }
        })
    }

    fn entries_by_filter<T: Copy + Default + PartialEq>(
        &self,
        values: &[T],
        layout: &Layout,
        entry: impl Fn(u32, [T; 4]) -> SparseEntry,
    ) -> PackedWeights {
        let each = self.filters() / self.groups;
        let length = self.channels * self.taps();
        let mut row = [Vec::new()];
        let mut places = Vec::new();
        let mut entries =
            Compactor::new(self.filters() * length.div_ceil(layout.shape.kind.unit()));
        let mut starts = vec![0];
        for filter in 0..self.filters() {
            if filter % each.max(1) == 0 {
                places = self.rising_places(filter, layout);
            }
            self.rows(values, filter, &mut row);
            let [row] = &row;
            for place in &places {
                let weights = place.weights.map(|weight| row[weight as usize]);
                let keep = weights != [T::default(); 4];
                entries.offer(entry(place.block, weights), keep);
            }
            starts.push(entries.len() as u32);
        }
        starts.resize(
            self.filters().next_multiple_of(FILTER_BLOCK) + 1,
            entries.len() as u32,
        );
        PackedWeights::Filter {
            entries: entries.into_vec(),
            starts,
        }
    }

    /// Four filters with the places that any of them has; none where filters of a block read other
    /// groups of channels.
    pub fn shared(&self, layout: &Layout) -> Option<Arc<PackedWeights>> {
        let each = self.filters() / self.groups;
        if self.groups > 1 && !each.is_multiple_of(FILTER_BLOCK) {
            return None;
        }
        let packing = packing(layout, Form::Shared);
        Some(self.found.entries(packing, || match &self.weights {
            WeightValues::Codes(codes) => {
                self.entries_by_filter_block(codes, layout, SharedEntry::of_bytes)
            }
            WeightValues::Floats(values) => {
                self.entries_by_filter_block(values, layout, |block, all| {
                    SharedEntry::of_floats(block, all.map(|[value, ..]| value))
                })
            }
        }))
    }

    fn entries_by_filter_block<T: Copy + Default + PartialEq>(
        &self,
        values: &[T],
        layout: &Layout,
        entry: impl Fn(u32, [[T; 4]; FILTER_BLOCK]) -> SharedEntry,
    ) -> PackedWeights {
        let each = self.filters() / self.groups;
        let length = self.channels * self.taps();
        let mut rows = [const { Vec::new() }; FILTER_BLOCK];
        let mut places = Vec::new();
        let filter_blocks = self.filters().div_ceil(FILTER_BLOCK);
        let mut entries = Compactor::new(filter_blocks * length.div_ceil(layout.shape.kind.unit()));
        let mut starts = vec![0];
        for first in (0..self.filters()).step_by(FILTER_BLOCK) {
            if first % each.max(1) == 0 {
                places = self.rising_places(first, layout);
            }
            self.rows(values, first, &mut rows);
            for place in &places {
                let of = |row: &Vec<T>| place.weights.map(|weight| row[weight as usize]);
                let [a, b, c, d] = &rows;
                let all = [of(a), of(b), of(c), of(d)];
                let keep = all != [[T::default(); 4]; FILTER_BLOCK];
                entries.offer(entry(place.block, all), keep);
            }
            starts.push(entries.len() as u32);
        }
        PackedWeights::Shared {
            entries: entries.into_vec(),
            starts,
        }
    }
}

impl Weighted<'_> {
    /// The taps of filters that each read one channel, the one of the same place; none where they read others,
    /// or floats.
    pub fn depthwise(&self, layout: &Layout) -> Option<Arc<PackedWeights>> {
        let WeightValues::Codes(codes) = &self.weights else {
            return None;
        };
        let each_its_own = self.channels == 1 && self.groups == self.filters();
        if !each_its_own || layout.shape.kind.unit() != FILTER_BLOCK {
            return None;
        }
        Some(self.found.entries(packing(layout, Form::Depthwise), || {
            let mut rows = [const { Vec::new() }; FILTER_BLOCK];
            let mut entries = Vec::new();
            for first in (0..self.filters()).step_by(FILTER_BLOCK) {
                self.rows(codes, first, &mut rows);
                // The first of four filters reads the first of four channels; the others' taps lie alike.
                for taps in self.places(first, layout).chunks(4) {
                    let blocks = std::array::from_fn(|tap| taps.get(tap).unwrap_or(&taps[0]).block);
                    let weights = rows.each_ref().map(|row| {
                        std::array::from_fn(|tap| {
                            taps.get(tap)
                                .map_or(0, |place| row[place.weights[0] as usize])
                        })
                    });
                    entries.push(TapEntry::of_bytes(blocks, weights));
                }
            }
            PackedWeights::Depthwise {
                taps: self.taps(),
                entries,
            }
        }))
    }
}

fn packing(layout: &Layout, form: Form) -> Packing {
    Packing {
        form,
        unit: layout.shape.kind.unit(),
        apart: [layout.plane(), layout.pitch()],
        interleaved: layout.interleaved.is_some(),
    }
}

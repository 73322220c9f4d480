//! Weights as records for a layout: the candidates among which a layer's kernel is chosen.

use std::sync::Arc;

use super::compact::Sieve;
use crate::engine::layout::Layout;
use crate::engine::lower::node::{Packing, WeightValues, Weighted};
use crate::kernel::{QUAD, Record, Records, SharedRecord};

/// A cell that a filter reads, from the start of its window, and where the weights of the cell's four
/// channels (of floats, of its one) lie among the filter's; the place behind the last is zero.
pub(in crate::engine) struct Place {
    pub cell: u32,
    pub weights: [u32; 4],
}

impl Weighted<'_> {
    // The places of a filter in the order of their cells.
    fn rising_places(&self, filter: usize, layout: &Layout) -> Vec<Place> {
        let mut places = self.places(filter, layout);
        if layout.by_line.is_some() {
            places.sort_by_key(|place| place.cell);
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
                        cell: (group * layout.plane() + inner) as u32,
                        weights: channels.map(|first| weight(first) as u32),
                    });
                }
            }
        }
        places
    }

    /// Each filter with its own places, those of zeros left out.
    pub fn by_filter(&self, layout: &Layout) -> Arc<Records> {
        let packing = packing(layout, false);
        self.found.records(packing, || match &self.weights {
            WeightValues::Codes(codes) => self.records_by_filter(codes, layout, Record::of_bytes),
            WeightValues::Floats(values) => {
                self.records_by_filter(values, layout, |cell, [value, ..]| {
                    Record::of_float(cell, value)
                })
            }
        })
    }

    fn records_by_filter<T: Copy + Default + PartialEq>(
        &self,
        values: &[T],
        layout: &Layout,
        record: impl Fn(u32, [T; 4]) -> Record,
    ) -> Records {
        let each = self.filters() / self.groups;
        let length = self.channels * self.taps();
        let mut row = [Vec::new()];
        let mut places = Vec::new();
        let mut records = Sieve::new(self.filters() * length.div_ceil(layout.shape.kind.unit()));
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
                records.offer(record(place.cell, weights), keep);
            }
            starts.push(records.len() as u32);
        }
        starts.resize(
            self.filters().next_multiple_of(QUAD) + 1,
            records.len() as u32,
        );
        Records::Filter {
            records: records.into_vec(),
            starts,
        }
    }

    /// Four filters with the places that any of them has; none where filters of a quad read other
    /// groups of channels.
    pub fn shared(&self, layout: &Layout) -> Option<Arc<Records>> {
        let each = self.filters() / self.groups;
        if self.groups > 1 && !each.is_multiple_of(QUAD) {
            return None;
        }
        let packing = packing(layout, true);
        Some(self.found.records(packing, || match &self.weights {
            WeightValues::Codes(codes) => {
                self.records_by_quad(codes, layout, SharedRecord::of_bytes)
            }
            WeightValues::Floats(values) => self.records_by_quad(values, layout, |cell, all| {
                SharedRecord::of_floats(cell, all.map(|[value, ..]| value))
            }),
        }))
    }

    fn records_by_quad<T: Copy + Default + PartialEq>(
        &self,
        values: &[T],
        layout: &Layout,
        record: impl Fn(u32, [[T; 4]; QUAD]) -> SharedRecord,
    ) -> Records {
        let each = self.filters() / self.groups;
        let length = self.channels * self.taps();
        let mut rows = [const { Vec::new() }; QUAD];
        let mut places = Vec::new();
        let quads = self.filters().div_ceil(QUAD);
        let mut records = Sieve::new(quads * length.div_ceil(layout.shape.kind.unit()));
        let mut starts = vec![0];
        for first in (0..self.filters()).step_by(QUAD) {
            if first % each.max(1) == 0 {
                places = self.rising_places(first, layout);
            }
            self.rows(values, first, &mut rows);
            for place in &places {
                let of = |row: &Vec<T>| place.weights.map(|weight| row[weight as usize]);
                let [a, b, c, d] = &rows;
                let all = [of(a), of(b), of(c), of(d)];
                let keep = all != [[T::default(); 4]; QUAD];
                records.offer(record(place.cell, all), keep);
            }
            starts.push(records.len() as u32);
        }
        Records::Shared {
            records: records.into_vec(),
            starts,
        }
    }
}

fn packing(layout: &Layout, shared: bool) -> Packing {
    Packing {
        shared,
        unit: layout.shape.kind.unit(),
        apart: [layout.plane(), layout.pitch()],
        by_line: layout.by_line.is_some(),
    }
}

//! Weights as records for a layout: the candidates among which a layer's kernel is chosen.

use super::layout::Layout;
use super::sieve::Sieve;
use super::stage::{WeightValues, Weighted};
use crate::kernel::{QUAD, Record, Records, SharedRecord, TILE};

/// A cell that a filter reads, from the start of its window, and where the weights of the cell's four
/// channels (of floats, of its one) lie among the filter's; the place behind the last is zero.
struct Place {
    cell: u32,
    weights: [u32; 4],
}

impl Weighted<'_> {
    pub fn filters(&self) -> usize {
        self.filters.len()
    }

    /// Taps of a filter.
    pub fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Weights that are not zero.
    pub fn kept(&self) -> usize {
        match &self.weights {
            WeightValues::Codes(codes) => {
                // As bytes, of which processors add many at once.
                let few = |codes: &[i8]| codes.iter().map(|&code| u8::from(code != 0)).sum::<u8>();
                codes.chunks(255).map(|codes| usize::from(few(codes))).sum()
            }
            WeightValues::Floats(values) => values.iter().filter(|value| **value != 0.0).count(),
        }
    }

    pub fn weights(&self) -> usize {
        self.filters() * self.channels * self.taps()
    }

    // Where the weights of a filter begin.
    fn first(&self, filter: usize) -> usize {
        let stored = self.filter_order.get(filter).copied().unwrap_or(filter);
        stored * self.channels * self.taps()
    }

    // Where those of a channel begin in its filter.
    fn inner(&self, channel: usize) -> usize {
        let stored = self.channel_order.get(channel).copied().unwrap_or(channel);
        stored * self.taps()
    }

    /// The sum of a filter's weights, of codes.
    pub fn sum(&self, filter: usize) -> i32 {
        let length = self.channels * self.taps();
        match &self.weights {
            WeightValues::Codes(codes) => {
                let codes = &codes[self.first(filter)..][..length];
                codes.iter().map(|&code| i32::from(code)).sum()
            }
            WeightValues::Floats(_) => 0,
        }
    }

    // The places of a filter, zeros included, in the order of channel groups, rows and columns.
    fn places(&self, filter: usize, layout: &Layout) -> Vec<Place> {
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
    pub fn by_filter(&self, layout: &Layout) -> Records {
        match &self.weights {
            WeightValues::Codes(codes) => self.records_by_filter(codes, layout, Record::of_bytes),
            WeightValues::Floats(values) => {
                self.records_by_filter(values, layout, |cell, [value, ..]| {
                    Record::of_float(cell, value)
                })
            }
        }
    }

    fn records_by_filter<T: Copy + Default + PartialEq>(
        &self,
        values: &[T],
        layout: &Layout,
        record: impl Fn(u32, [T; 4]) -> Record,
    ) -> Records {
        let each = self.filters() / self.groups;
        let length = self.channels * self.taps();
        let mut row = vec![T::default(); length + 1];
        let mut places = Vec::new();
        let mut records = Sieve::new(self.filters() * length.div_ceil(layout.shape.kind.unit()));
        let mut starts = vec![0];
        for filter in 0..self.filters() {
            if filter % each.max(1) == 0 {
                places = self.places(filter, layout);
            }
            row[..length].copy_from_slice(&values[self.first(filter)..][..length]);
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
    pub fn shared(&self, layout: &Layout) -> Option<Records> {
        let each = self.filters() / self.groups;
        if self.groups > 1 && !each.is_multiple_of(QUAD) {
            return None;
        }
        Some(match &self.weights {
            WeightValues::Codes(codes) => {
                self.records_by_quad(codes, layout, SharedRecord::of_bytes)
            }
            WeightValues::Floats(values) => self.records_by_quad(values, layout, |cell, all| {
                SharedRecord::of_floats(cell, all.map(|[value, ..]| value))
            }),
        })
    }

    fn records_by_quad<T: Copy + Default + PartialEq>(
        &self,
        values: &[T],
        layout: &Layout,
        record: impl Fn(u32, [[T; 4]; QUAD]) -> SharedRecord,
    ) -> Records {
        let each = self.filters() / self.groups;
        let length = self.channels * self.taps();
        // Beyond the last filter there is none: all zero.
        let mut rows = [0; QUAD].map(|_| vec![T::default(); length + 1]);
        let mut places = Vec::new();
        let quads = self.filters().div_ceil(QUAD);
        let mut records = Sieve::new(quads * length.div_ceil(layout.shape.kind.unit()));
        let mut starts = vec![0];
        for first in (0..self.filters()).step_by(QUAD) {
            if first % each.max(1) == 0 {
                places = self.places(first, layout);
            }
            for (of, row) in rows.iter_mut().enumerate() {
                match first + of < self.filters() {
                    true => {
                        row[..length].copy_from_slice(&values[self.first(first + of)..][..length])
                    }
                    false => row.fill(T::default()),
                }
            }
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

    /// Sixteen filters with all places, in tiles; none for floats and for filters in groups.
    pub fn tiled(&self, layout: &Layout) -> Option<Records> {
        let WeightValues::Codes(codes) = &self.weights else {
            return None;
        };
        if self.groups > 1 {
            return None;
        }
        let [rows, columns] = self.window.kernel;
        let [row_step, column_step] = self.window.dilation;
        let axes = [
            (self.channels.div_ceil(QUAD), layout.plane()),
            (rows, row_step * layout.pitch()),
            (columns, column_step),
        ];
        // A tile costs as much however few cells it reads: along the axis that leaves the fewest.
        let all: usize = axes.iter().map(|axis| axis.0).product();
        let tiles = |axis: usize| {
            let parts = axes[axis].0.div_ceil(TILE);
            (parts, all / axes[axis].0.max(1) * parts)
        };
        let along = (0..3).min_by_key(|&axis| tiles(axis).1)?;
        let (length, apart) = axes[along];
        let parts = tiles(along).0.max(1);
        let depth = length.div_ceil(parts).max(1);
        let mut cells = Vec::new();
        // Where the weights of a tile's cells lie among a filter's; the place behind the last is zero.
        let mut places: Vec<[u32; 4]> = Vec::new();
        let row_length = self.channels * self.taps();
        let mut sizes = axes.map(|axis| axis.0);
        sizes[along] = parts;
        for part in (0..sizes[0]).flat_map(|a| (0..sizes[1]).map(move |b| [a, b])) {
            for column in 0..sizes[2] {
                let mut first = [part[0], part[1], column];
                // The last one starts early enough to end in time, its first cells with zeros.
                let fresh = first[along] * depth;
                first[along] = fresh.min(length - depth);
                let cell: usize = (0..3).map(|axis| first[axis] * axes[axis].1).sum();
                cells.push(cell as u32);
                for place in first[along]..first[along] + depth {
                    let mut at = first;
                    at[along] = place;
                    places.push(std::array::from_fn(|channel| {
                        let channel = at[0] * QUAD + channel;
                        let weight = self.inner(channel) + at[1] * columns + at[2];
                        match place >= fresh && channel < self.channels {
                            true => weight as u32,
                            false => row_length as u32,
                        }
                    }));
                }
            }
        }
        let mut row = vec![0; row_length + 1];
        let each = TILE * places.len();
        let mut weights = vec![[0; 4]; self.filters().div_ceil(TILE) * each];
        for filter in 0..self.filters() {
            row[..row_length].copy_from_slice(&codes[self.first(filter)..][..row_length]);
            let to = &mut weights[filter / TILE * each..][..each];
            let to = to.chunks_exact_mut(TILE * depth);
            for (to, places) in to.zip(places.chunks_exact(depth)) {
                let to = &mut to[filter % TILE * depth..][..depth];
                for (to, place) in to.iter_mut().zip(places) {
                    *to = place.map(|weight| row[weight as usize]);
                }
            }
        }
        Some(Records::Tiles {
            quads: self.filters().div_ceil(QUAD),
            depth,
            apart: apart as u32,
            cells,
            weights,
        })
    }
}

//! Weights as records for a layout: the candidates among which a layer's kernel is chosen.

use super::layout::Layout;
use super::stage::{WeightValues, Weighted};
use crate::kernel::{QUAD, Record, Records, SharedRecord};

impl Weighted {
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
            WeightValues::Codes(codes) => codes.iter().filter(|code| **code != 0).count(),
            WeightValues::Floats(values) => values.iter().filter(|value| **value != 0.0).count(),
        }
    }

    pub fn weights(&self) -> usize {
        self.filters() * self.channels * self.taps()
    }

    /// The sum of a filter's weights, of codes.
    pub fn sum(&self, filter: usize) -> i32 {
        let length = self.channels * self.taps();
        match &self.weights {
            WeightValues::Codes(codes) => {
                let codes = &codes[filter * length..(filter + 1) * length];
                codes.iter().map(|&code| i32::from(code)).sum()
            }
            WeightValues::Floats(_) => 0,
        }
    }

    // Calls `each` for every place of a filter, zeros included: with its cell and the weights of up to
    // four channels, by number. In the order of channel groups, rows and columns.
    fn places(
        &self,
        filter: usize,
        layout: &Layout,
        mut each: impl FnMut(u32, [Option<usize>; 4]),
    ) {
        let unit = layout.shape.kind.unit();
        let first = filter / (self.filters() / self.groups).max(1) * self.channels;
        let taps = self.taps();
        let [rows, columns] = self.window.kernel;
        let [row_step, column_step] = self.window.dilation;
        let start = filter * self.channels * taps;
        for group in first / unit..(first + self.channels).div_ceil(unit) {
            // Of the group's channels those that the filter reads.
            let of = |place: usize| {
                let channel = (group * unit + place).checked_sub(first)?;
                (place < unit && channel < self.channels).then(|| start + channel * taps)
            };
            let channels = [of(0), of(1), of(2), of(3)];
            for row in 0..rows {
                for column in 0..columns {
                    let inner = row * row_step * layout.pitch() + column * column_step;
                    let tap = row * columns + column;
                    let weights = channels.map(|first| first.map(|first| first + tap));
                    each((group * layout.plane() + inner) as u32, weights);
                }
            }
        }
    }

    /// Each filter with its own places, those of zeros left out.
    pub fn by_filter(&self, layout: &Layout) -> Records {
        let (mut records, mut starts) = (Vec::new(), vec![0]);
        for filter in 0..self.filters().next_multiple_of(QUAD) {
            if filter < self.filters() {
                match &self.weights {
                    WeightValues::Codes(codes) => self.places(filter, layout, |cell, weights| {
                        let four = four(codes, weights);
                        if four != [0; 4] {
                            records.push(Record::of_bytes(cell, four));
                        }
                    }),
                    WeightValues::Floats(values) => {
                        self.places(filter, layout, |cell, [weight, ..]| {
                            let value = weight.map_or(0.0, |weight| values[weight]);
                            if value != 0.0 {
                                records.push(Record::of_float(cell, value));
                            }
                        });
                    }
                }
            }
            starts.push(records.len() as u32);
        }
        Records::Filter { records, starts }
    }

    /// Four filters with the places that any of them has; none where filters of a quad read other
    /// groups of channels.
    pub fn shared(&self, layout: &Layout) -> Option<Records> {
        let each = self.filters() / self.groups;
        if self.groups > 1 && !each.is_multiple_of(QUAD) {
            return None;
        }
        let (mut records, mut starts) = (Vec::new(), vec![0]);
        // From a filter to the next of its quad; beyond the last there are none.
        let length = self.channels * self.taps();
        for first in (0..self.filters()).step_by(QUAD) {
            let next = |weight: Option<usize>, filter: usize| {
                let inside = first + filter < self.filters();
                weight
                    .filter(|_| inside)
                    .map(|weight| weight + filter * length)
            };
            match &self.weights {
                WeightValues::Codes(codes) => self.places(first, layout, |cell, weights| {
                    let of = |filter: usize| four(codes, weights.map(|w| next(w, filter)));
                    let all = [of(0), of(1), of(2), of(3)];
                    if all != [[0; 4]; QUAD] {
                        records.push(SharedRecord::of_bytes(cell, all));
                    }
                }),
                WeightValues::Floats(values) => self.places(first, layout, |cell, weights| {
                    let of = |filter: usize| next(weights[0], filter).map_or(0.0, |w| values[w]);
                    let all = [of(0), of(1), of(2), of(3)];
                    if all != [0.0; QUAD] {
                        records.push(SharedRecord::of_floats(cell, all));
                    }
                }),
            }
            starts.push(records.len() as u32);
        }
        Some(Records::Shared { records, starts })
    }
}

fn four(codes: &[i8], weights: [Option<usize>; 4]) -> [i8; 4] {
    weights.map(|weight| weight.map_or(0, |weight| codes[weight]))
}

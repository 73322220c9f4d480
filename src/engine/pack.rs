//! Weights as records for a layout: the candidates among which a layer's kernel is chosen.

use super::layout::Layout;
use super::stage::{WeightValues, Weighted};
use crate::kernel::{QUAD, Record, Records, SharedRecord};

// What one place of a group of channels multiplies with, in one filter.
struct Place {
    cell: u32,
    weights: Four,
}

#[derive(Clone, Copy)]
enum Four {
    Codes([i8; 4]),
    Float(f32),
}

impl Four {
    fn is_zero(self) -> bool {
        match self {
            Self::Codes(codes) => codes == [0; 4],
            Self::Float(value) => value == 0.0,
        }
    }
}

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

    // The places of a filter, zeros included, in the order of channel groups, rows and columns.
    fn places(&self, filter: usize, layout: &Layout) -> Vec<Place> {
        let unit = layout.shape.kind.unit();
        let first = filter / (self.filters() / self.groups).max(1) * self.channels;
        let groups = first / unit..(first + self.channels).div_ceil(unit);
        let [rows, columns] = self.window.kernel;
        let [row_step, column_step] = self.window.dilation;
        let mut places = Vec::with_capacity(groups.len() * rows * columns);
        for group in groups {
            for row in 0..rows {
                for column in 0..columns {
                    let inner = row * row_step * layout.pitch() + column * column_step;
                    let weight = |channel: usize| {
                        let channel = (group * unit + channel).checked_sub(first)?;
                        let inside = channel < self.channels;
                        let place = (filter * self.channels + channel) * self.taps();
                        inside.then_some(place + row * columns + column)
                    };
                    let weights = match &self.weights {
                        WeightValues::Codes(codes) => {
                            let code = |channel| weight(channel).map_or(0, |place| codes[place]);
                            Four::Codes([code(0), code(1), code(2), code(3)])
                        }
                        WeightValues::Floats(values) => {
                            Four::Float(weight(0).map_or(0.0, |place| values[place]))
                        }
                    };
                    places.push(Place {
                        cell: (group * layout.plane() + inner) as u32,
                        weights,
                    });
                }
            }
        }
        places
    }

    /// Each filter with its own places, those of zeros left out.
    pub fn by_filter(&self, layout: &Layout) -> Records {
        let (mut records, mut starts) = (Vec::new(), vec![0]);
        for filter in 0..self.filters().next_multiple_of(QUAD) {
            if filter < self.filters() {
                for place in self.places(filter, layout) {
                    match place.weights {
                        weights if weights.is_zero() => {}
                        Four::Codes(codes) => records.push(Record::of_bytes(place.cell, codes)),
                        Four::Float(value) => records.push(Record::of_float(place.cell, value)),
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
        for first in (0..self.filters()).step_by(QUAD) {
            let last = (first + QUAD).min(self.filters());
            let places: Vec<Vec<Place>> = (first..last)
                .map(|filter| self.places(filter, layout))
                .collect();
            for index in 0..places[0].len() {
                let four = places.iter().map(|places| places[index].weights);
                let mut codes = [[0; 4]; QUAD];
                let mut values = [0.0; QUAD];
                let mut is_codes = false;
                let mut alive = false;
                for (filter, weights) in four.enumerate() {
                    alive |= !weights.is_zero();
                    match weights {
                        Four::Codes(four) => (codes[filter], is_codes) = (four, true),
                        Four::Float(value) => values[filter] = value,
                    }
                }
                let cell = places[0][index].cell;
                if alive {
                    records.push(match is_codes {
                        true => SharedRecord::of_bytes(cell, codes),
                        false => SharedRecord::of_floats(cell, values),
                    });
                }
            }
            starts.push(records.len() as u32);
        }
        Some(Records::Shared { records, starts })
    }
}

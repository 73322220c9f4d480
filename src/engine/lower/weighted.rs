//! What can be counted and read of weights, whatever their layout.

use super::node::{WeightValues, Weighted};
use crate::engine::table::WINOGRAD;
use crate::kernel::PackedWeights;

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
        *self.found.kept.get_or_init(|| match &self.weights {
            WeightValues::Codes(codes) => {
                // As bytes, of which processors add many at once.
                let few = |codes: &[i8]| codes.iter().map(|&code| u8::from(code != 0)).sum::<u8>();
                codes.chunks(255).map(|codes| usize::from(few(codes))).sum()
            }
            WeightValues::Floats(values) => values.iter().filter(|value| **value != 0.0).count(),
        })
    }

    pub fn weights(&self) -> usize {
        self.filters() * self.channels * self.taps()
    }

    /// Bytes of all weights, zero or not.
    pub fn bytes(&self) -> usize {
        match self.weights {
            WeightValues::Codes(_) => self.weights(),
            WeightValues::Floats(_) => self.weights() * size_of::<f32>(),
        }
    }

    /// Weights of so many filters from one on, each with a zero behind it; beyond the last filter zeros.
    pub fn rows<T: Copy + Default>(&self, values: &[T], first: usize, rows: &mut [Vec<T>]) {
        let length = self.channels * self.taps();
        for (filter, row) in (first..).zip(rows) {
            row.clear();
            if filter < self.filters() {
                row.extend_from_slice(&values[self.first(filter)..][..length]);
            }
            row.resize(length + 1, T::default());
        }
    }

    // Where the weights of a filter begin.
    pub fn first(&self, filter: usize) -> usize {
        let stored = self.filter_order.get(filter).copied().unwrap_or(filter);
        stored * self.channels * self.taps()
    }

    // Where those of a channel begin in its filter.
    pub fn inner(&self, channel: usize) -> usize {
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

    /// Whether all windows of a tile that could be transformed can be where threads have so many lines each.
    pub fn keeps_windows(&self, tile: [usize; 2], each: usize) -> bool {
        let mut sides = WINOGRAD.iter().map(|(_, side)| *side);
        sides
            .all(|side| self.has_whole_windows(side, tile, each) || !self.fills_windows(side, tile))
    }

    /// Lines of windows of so many results in a line that lie in each other.
    pub fn window_lines(&self, side: usize) -> usize {
        side * self.window.dilation[0]
    }

    // Whether no result is made twice, and windows are those of one thread.
    pub fn has_whole_windows(&self, side: usize, tile: [usize; 2], each: usize) -> bool {
        let [down, right] = self.window.dilation.map(|step| side * step);
        each.is_multiple_of(down) && tile[0].is_multiple_of(down) && tile[1].is_multiple_of(right)
    }

    pub fn fills_windows(&self, side: usize, tile: [usize; 2]) -> bool {
        let window = &self.window;
        // Of the fewest lines, or columns, that lie as far apart as taps.
        let fills = |axis: usize| tile[axis] / window.dilation[axis].max(1) >= side;
        matches!(self.weights, WeightValues::Floats(_))
            && window.kernel == [3, 3]
            && window.stride == [1, 1]
            && self.groups == 1
            && (1..=PackedWeights::winograd_channels(side)).contains(&self.channels)
            && fills(0)
            && fills(1)
    }
}

//! Weights of three by three taps, transformed, and positions two by two.

use std::sync::Arc;

use super::layout::Layout;
use super::stage::{WeightValues, Weighted};
use crate::kernel::{Position, QUAD, Records};

impl Weighted<'_> {
    /// Transformed filters; none of codes, of other kernels or in groups, of many channels, and where results
    /// are not whole twos of lines and columns, or lie line by line.
    pub fn winograd(&self, from: &Layout, to: &Layout) -> Option<Records> {
        let WeightValues::Floats(values) = &self.weights else {
            return None;
        };
        let window = &self.window;
        let (kernel, steps) = (window.kernel, [window.stride, window.dilation]);
        let fits = kernel == [3, 3]
            && steps == [[1, 1]; 2]
            && self.groups == 1
            && (1..=Records::WINOGRAD_CHANNELS).contains(&self.channels)
            && to.tile.iter().all(|size| size.is_multiple_of(2))
            && !to.by_line;
        if !fits {
            return None;
        }
        let taps = |filter: usize, channel: usize| {
            let first = self.first(filter) + self.inner(channel);
            std::array::from_fn(|tap| values[first + tap])
        };
        let transformed = || Records::winograd(self.filters(), self.channels, 1, 1, taps);
        let weights = self.found.taps.get_or_init(|| match transformed() {
            Records::Winograd { weights, .. } => weights,
            _ => Arc::default(),
        });
        Some(Records::Winograd {
            quads: self.filters().div_ceil(QUAD),
            channels: self.channels,
            apart: from.plane() as u32,
            pitch: from.pitch() as u32,
            weights: weights.clone(),
        })
    }
}

/// The positions of a tile, line by line, in twos of lines and columns.
pub(super) fn by_twos(positions: &[Position], to: &Layout) -> Vec<Position> {
    let [lines, columns] = to.tile;
    let firsts = (0..lines).step_by(2);
    let firsts = firsts.flat_map(|line| (0..columns).step_by(2).map(move |c| line * columns + c));
    let windows = firsts.map(|first| [first, first + 1, first + columns, first + columns + 1]);
    windows.flatten().map(|at| positions[at]).collect()
}

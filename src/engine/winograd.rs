//! Weights of three by three taps, transformed, and positions by window.

use std::sync::Arc;

use super::layout::Layout;
use super::stage::{WeightValues, Weighted};
use super::table::WINOGRAD;
use crate::kernel::{Position, QUAD, Records};

impl Weighted<'_> {
    /// Filters transformed for two or four results in a line; none of codes, of other kernels or in groups,
    /// of many channels, and where results, or each thread's lines of them, do not fill windows.
    pub fn winograd(&self, side: usize, from: &Layout, to: &Layout) -> Option<Records> {
        let WeightValues::Floats(values) = &self.weights else {
            return None;
        };
        let whole = to.by_line.is_none_or(|each| each.is_multiple_of(side));
        if !whole || !self.fills_windows(side, to.tile) {
            return None;
        }
        let taps = |filter: usize, channel: usize| {
            let first = self.first(filter) + self.inner(channel);
            std::array::from_fn(|tap| values[first + tap])
        };
        let sizes = [self.filters(), self.channels];
        let transformed = || Arc::new(Records::transformed(side, sizes, taps));
        let weights = self.found.taps[side / 4].get_or_init(transformed);
        Some(Records::Winograd {
            quads: self.filters().div_ceil(QUAD),
            side,
            channels: self.channels,
            apart: from.plane() as u32,
            pitch: from.pitch() as u32,
            weights: weights.clone(),
        })
    }

    /// Whether all windows of a tile that could be transformed can be where threads have so many lines each.
    pub fn keeps_windows(&self, tile: [usize; 2], each: usize) -> bool {
        let mut sides = WINOGRAD.iter().map(|(_, side)| *side);
        sides.all(|side| each.is_multiple_of(side) || !self.fills_windows(side, tile))
    }

    fn fills_windows(&self, side: usize, tile: [usize; 2]) -> bool {
        let window = &self.window;
        let (kernel, steps) = (window.kernel, [window.stride, window.dilation]);
        matches!(self.weights, WeightValues::Floats(_))
            && kernel == [3, 3]
            && steps == [[1, 1]; 2]
            && self.groups == 1
            && (1..=Records::winograd_channels(side)).contains(&self.channels)
            && tile.iter().all(|size| size.is_multiple_of(side))
    }
}

/// The positions of a tile, line by line, window by window.
pub(super) fn by_window(side: usize, positions: &[Position], to: &Layout) -> Vec<Position> {
    let [lines, columns] = to.tile;
    let firsts = (0..lines).step_by(side);
    let firsts = firsts.flat_map(|line| {
        let columns = (0..columns).step_by(side);
        columns.map(move |column| [line, column])
    });
    let places = firsts.flat_map(|[line, column]| {
        let lines = line..line + side;
        lines.flat_map(move |line| (column..column + side).map(move |c| line * columns + c))
    });
    places.map(|at| positions[at]).collect()
}

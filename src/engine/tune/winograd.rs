//! Weights of three by three taps, transformed, and positions by window.

use std::sync::Arc;

use crate::engine::layout::Layout;
use crate::engine::lower::node::{WeightValues, Weighted};
use crate::kernel::{FILTER_BLOCK, PackedWeights, Position};

impl Weighted<'_> {
    /// Filters transformed for two or four results in a line; none of codes, of other kernels or in groups,
    /// of many channels, and where results do not fill a window, or each thread's lines of them no whole
    /// ones.
    ///
    /// A dilated filter is one that is not, on every second line and column, and on those between (of more
    /// dilation on more of them): its windows lie in each other.
    pub fn winograd(&self, side: usize, from: &Layout, to: &Layout) -> Option<PackedWeights> {
        let WeightValues::Floats(values) = &self.weights else {
            return None;
        };
        let whole = |each| self.has_whole_windows(side, to.tile, each);
        if !to.interleaved.is_none_or(whole) || !self.fills_windows(side, to.tile) {
            return None;
        }
        let taps = |filter: usize, channel: usize| {
            let first = self.first(filter) + self.inner(channel);
            std::array::from_fn(|tap| values[first + tap])
        };
        let sizes = [self.filters(), self.channels];
        let transformed = || Arc::new(PackedWeights::transformed(side, sizes, taps));
        let weights = self.found.taps[side / 4].get_or_init(transformed);
        let [down, right] = self.window.dilation;
        Some(PackedWeights::Winograd {
            filter_blocks: self.filters().div_ceil(FILTER_BLOCK),
            side,
            channels: self.channels,
            apart: from.plane() as u32,
            below: (down * from.pitch()) as u32,
            beside: right as u32,
            weights: weights.clone(),
        })
    }
}

/// How many times as many results windows make as a tile has.
pub(in crate::engine) fn made_again(side: usize, dilation: [usize; 2], tile: [usize; 2]) -> f64 {
    let axis = |axis: usize| {
        let made = side * starts(side, dilation[axis], tile[axis]).len();
        made as f64 / tile[axis].max(1) as f64
    };
    axis(0) * axis(1)
}

/// The positions of a tile, window by window. Where they do not fill whole windows, some are made again.
pub(in crate::engine) fn by_window(
    side: usize,
    dilation: [usize; 2],
    positions: &[Position],
    to: &Layout,
) -> Vec<Position> {
    let columns = to.tile[1];
    let [downs, rights] = [0, 1].map(|axis| starts(side, dilation[axis], to.tile[axis]));
    let firsts = downs
        .iter()
        .flat_map(|&line| rights.iter().map(move |&column| [line, column]));
    let places = firsts.flat_map(|[line, column]| {
        let [lines, beside] = [(line, dilation[0]), (column, dilation[1])]
            .map(|(first, step)| (first..).step_by(step).take(side));
        lines.flat_map(move |line| beside.clone().map(move |column| line * columns + column))
    });
    places.map(|at| positions[at]).collect()
}

// Where windows of so many results start that lie so far apart, the first lines first.
fn starts(side: usize, step: usize, length: usize) -> Vec<usize> {
    let phases = (0..step).flat_map(|phase| {
        let results = (length - phase).div_ceil(step);
        let windows = (0..results).step_by(side);
        windows.map(move |first| phase + first.min(results - side) * step)
    });
    let mut starts: Vec<usize> = phases.collect();
    starts.sort_unstable();
    starts
}

#[cfg(test)]
mod tests {
    use super::starts;

    #[test]
    fn windows_cover_all() {
        for (side, step) in [2, 4]
            .into_iter()
            .flat_map(|side| (1..5).map(move |step| (side, step)))
        {
            for length in side * step..6 * side * step {
                let starts = starts(side, step, length);
                let mut made = vec![0; length];
                for start in &starts {
                    (0..side).for_each(|of| made[start + of * step] += 1);
                }
                assert!(made.iter().all(|&count| (1..=2).contains(&count)));
                let whole = length.is_multiple_of(side * step);
                assert!(!whole || made.iter().all(|&count| count == 1));
                // Windows that lie in each other come before those behind them.
                assert!(!whole || starts.iter().all(|start| start % (side * step) < step));
                assert!(starts.is_sorted());
            }
        }
        assert_eq!(starts(2, 2, 7), [0, 1, 3, 4]);
    }
}

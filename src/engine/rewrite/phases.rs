//! The phases of a transposed convolution's result: which taps each reads, and where.

use crate::network::Window;

/// A transposed convolution: sizes and weights `[in, out / groups, kernel…]`.
pub(super) struct Transposed<'a> {
    pub rank: usize,
    pub window: &'a Window,
    pub groups: usize,
    pub channels: usize,
    /// Filters of a group.
    pub filters: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
}

/// How the taps of a phase, or of several, lie on an axis of the input: their number, and the place of the first
/// one before the first element.
#[derive(Clone, Copy)]
pub(super) struct Span {
    first: isize,
    taps: usize,
}

impl Transposed<'_> {
    /// Rows and columns that take turns.
    pub fn phases(&self) -> [usize; 2] {
        self.window.stride
    }

    // How far from a phase's element a tap's lies in the input; none where the phase lacks the tap.
    fn distance(&self, axis: usize, phase: usize, tap: usize) -> Option<isize> {
        let stride = self.window.stride[axis] as isize;
        let from = phase + self.window.padding[axis].0;
        let apart = from as isize - (tap * self.window.dilation[axis]) as isize;
        (apart.rem_euclid(stride) == 0).then(|| apart.div_euclid(stride))
    }

    // The tap at a distance.
    fn tap(&self, axis: usize, phase: usize, distance: isize) -> Option<usize> {
        let taps = 0..self.window.kernel[axis];
        let mut taps = taps.filter(|&tap| self.distance(axis, phase, tap) == Some(distance));
        taps.next()
    }

    /// The taps of some phases.
    pub fn span(&self, axis: usize, phases: std::ops::Range<usize>) -> Span {
        let kernel = self.window.kernel[axis];
        let all = phases.flat_map(|phase| (0..kernel).map(move |tap| (phase, tap)));
        let distances: Vec<isize> = all
            .filter_map(|(phase, tap)| self.distance(axis, phase, tap))
            .collect();
        // No more than the padding before.
        let first = distances.iter().min().copied().unwrap_or(0).min(0);
        let last = distances.iter().max().copied().unwrap_or(0).max(first);
        Span {
            first,
            taps: (last - first) as usize + 1,
        }
    }

    /// The window of a convolution with these taps, whose results are at least those of a phase.
    pub fn window(&self, spans: [Span; 2], results: [usize; 2]) -> Window {
        let mut window = Window::default();
        for (axis, span) in spans.into_iter().enumerate() {
            let before = span.first.unsigned_abs();
            let needed = results[axis] + span.taps - 1;
            window.kernel[axis] = span.taps;
            window.padding[axis] = (before, needed.saturating_sub(self.input[axis] + before));
        }
        window
    }

    /// Elements of a phase.
    pub fn results(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.output[axis].div_ceil(self.phases()[axis]))
    }

    /// The weights of a phase's filters, for taps from the first of each span on.
    pub fn weights<T: Copy + Default>(
        &self,
        weights: &[T],
        phase: [usize; 2],
        spans: [Span; 2],
    ) -> Vec<T> {
        let each = self.channels / self.groups;
        let [rows, columns] = self.window.kernel;
        let taps = [0, 1].map(|axis| -> Vec<Option<usize>> {
            let at = |tap: usize| self.tap(axis, phase[axis], spans[axis].first + tap as isize);
            (0..spans[axis].taps).map(at).collect()
        });
        let mut made = Vec::new();
        for filter in 0..self.groups * self.filters {
            let (group, filter) = (filter / self.filters, filter % self.filters);
            for channel in group * each..(group + 1) * each {
                let first = (channel * self.filters + filter) * rows * columns;
                for row in &taps[0] {
                    made.extend(taps[1].iter().map(|column| match (row, column) {
                        (Some(row), Some(column)) => weights[first + row * columns + column],
                        _ => T::default(),
                    }));
                }
            }
        }
        made
    }
}

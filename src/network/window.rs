//! The elements that a pooling's windows see.

use super::{Divide, Over, Window};

/// Height and width of a tensor, 1 where it has no such axis.
pub(super) fn size(dims: &[usize]) -> [usize; 2] {
    match *dims {
        [_, _, width] => [1, width],
        [_, _, height, width, ..] => [height, width],
        _ => [1, 1],
    }
}

/// How windows lie on an axis.
#[derive(Clone, Copy)]
pub(super) enum Windows {
    /// By kernel, stride, padding and dilation.
    Spaced(Window),
    /// Sharing the input evenly.
    Even,
}

impl Windows {
    /// Those of a sum, unless it is over axes.
    pub fn of(over: Over) -> Option<Self> {
        match over {
            Over::Windows { window, .. } => Some(Self::Spaced(window)),
            Over::Shares { .. } => Some(Self::Even),
            Over::Axes(_) => None,
        }
    }
}

/// What one window sees of one channel.
pub(super) struct Seen<'a, T> {
    plane: &'a [T],
    width: usize,
    rows: &'a [usize],
    columns: &'a [usize],
    /// Elements, padding included, but not what lies beyond the padding.
    padded: usize,
}

impl<'a, T: Copy> Seen<'a, T> {
    /// Elements that are no padding.
    fn count(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// The number to divide their sum by. As Burn has it, a window that sees nothing is 0.
    pub fn divisor(&self, divide: Divide) -> usize {
        match divide {
            Divide::None => 1,
            Divide::Elements => self.count().max(1),
            Divide::Padded => self.padded.max(1),
        }
    }

    /// Those elements.
    pub fn values(&self) -> impl Iterator<Item = T> + 'a {
        let (plane, width, columns) = (self.plane, self.width, self.columns);
        let row = move |&row: &usize| {
            let start = row * width;
            let columns = columns.iter();
            columns.map(move |column| plane[start + column])
        };
        self.rows.iter().flat_map(row)
    }
}

/// Shows each window of each channel, in the output's order.
pub(super) fn pool<T: Copy>(
    windows: Windows,
    input: &[T],
    size: [usize; 2],
    output: [usize; 2],
    mut each: impl FnMut(Seen<'_, T>),
) {
    let (mut rows, mut columns) = (Vec::new(), Vec::new());
    let axis = |axis: usize, place: usize, seen: &mut Vec<usize>| {
        seen.clear();
        match windows {
            Windows::Spaced(window) => spaced(&window, axis, place, size[axis], seen),
            Windows::Even => {
                seen.extend(even(place, size[axis], output[axis]));
                seen.len()
            }
        }
    };
    for plane in input.chunks_exact(size[0] * size[1]) {
        for y in 0..output[0] {
            let high = axis(0, y, &mut rows);
            for x in 0..output[1] {
                let wide = axis(1, x, &mut columns);
                each(Seen {
                    plane,
                    width: size[1],
                    rows: &rows,
                    columns: &columns,
                    padded: high * wide,
                });
            }
        }
    }
}

// Returns how many are within the padding.
fn spaced(
    window: &Window,
    axis: usize,
    place: usize,
    length: usize,
    seen: &mut Vec<usize>,
) -> usize {
    let (before, after) = window.padding[axis];
    let taps = (0..window.kernel[axis])
        .map(|tap| place * window.stride[axis] + tap * window.dilation[axis])
        .take_while(|&at| at < before + length + after);
    let mut padded = 0;
    for at in taps {
        padded += 1;
        if let Some(index) = at.checked_sub(before).filter(|&index| index < length) {
            seen.push(index);
        }
    }
    padded
}

fn even(place: usize, length: usize, windows: usize) -> std::ops::Range<usize> {
    place * length / windows..((place + 1) * length).div_ceil(windows)
}

/// A bound of the elements in a window of [`Windows::Even`].
pub(super) fn largest(length: usize, windows: usize) -> usize {
    length.min(length.div_ceil(windows) + 1)
}

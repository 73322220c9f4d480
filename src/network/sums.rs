//! Operations that add up elements: over what, and what they divide by.

use super::window::largest;
use super::{Dim, Divide, Op, Window, shape};

/// The elements that each sum adds up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Over<'a> {
    /// Those of a window.
    Windows {
        rank: usize,
        window: Window,
        ceil: bool,
    },
    /// Those of one of a number of windows that share the input evenly.
    Shares { rank: usize, output: [usize; 2] },
    /// Those along axes.
    Axes(&'a [usize]),
}

impl Op {
    /// The sums of an operation that adds up elements, and the divisor of each; none of another.
    pub(crate) fn sums(&self) -> Option<(Over<'_>, Divide)> {
        Some(match self {
            Self::AveragePool {
                rank,
                window,
                include_padding,
                ceil,
            } => {
                let (rank, window, ceil) = (*rank, *window, *ceil);
                let divide = match include_padding {
                    true => Divide::Padded,
                    false => Divide::Elements,
                };
                (Over::Windows { rank, window, ceil }, divide)
            }
            Self::AdaptiveAveragePool { rank, output } => {
                let (rank, output) = (*rank, *output);
                (Over::Shares { rank, output }, Divide::Elements)
            }
            Self::Mean { axes } => (Over::Axes(axes), Divide::Elements),
            Self::Sum { axes } => (Over::Axes(axes), Divide::None),
            _ => return None,
        })
    }
}

impl Over<'_> {
    /// A bound of the elements in a sum, from the dimensions of the operand and the result.
    pub(super) fn most(&self, from: &[Dim], to: &[Dim]) -> Result<u64, String> {
        match self {
            Self::Windows { rank, window, .. } => {
                let (_, _, size) = shape::spatial(from, *rank)?;
                let of = |axis: usize| window.kernel[axis].min(size[axis]) as u64;
                Ok(of(0) * of(1))
            }
            Self::Shares { rank, .. } => {
                let (_, _, from) = shape::spatial(from, *rank)?;
                let (_, _, to) = shape::spatial(to, *rank)?;
                Ok((largest(from[0], to[0]) * largest(from[1], to[1])) as u64)
            }
            Self::Axes(axes) => {
                let summed: Vec<Dim> = axes.iter().map(|&axis| from[axis]).collect();
                if summed.iter().any(|dim| matches!(dim, Dim::Batch(_))) {
                    return Err("it sums over an axis that grows with the batch".to_string());
                }
                Ok(shape::elements(&summed, 1).unwrap_or(shape::MAX_ELEMENTS) as u64)
            }
        }
    }
}

// What quantization and its simulation ask.
#[cfg(feature = "compress")]
impl Op {
    /// The sums alone, in the form that codes are summed in. None of an operation without one: where
    /// windows differ in size otherwise than by padding, or where it sums nothing.
    pub(crate) fn sum_of_codes(&self, from: &[Dim]) -> Option<Self> {
        let window = |rank: usize, window: Window| Self::AveragePool {
            rank,
            window,
            include_padding: true,
            ceil: false,
        };
        match self.sums()?.0 {
            Over::Windows {
                rank,
                window: of,
                ceil: false,
            } => Some(window(rank, of)),
            Over::Windows { .. } => None,
            Over::Shares { rank, output } => {
                let mut kernel = [1, 1];
                let spatial = from.get(from.len().checked_sub(rank)?..)?;
                for (axis, dim) in (2 - rank..2).zip(spatial) {
                    match dim {
                        Dim::Fixed(length) if length % output[axis] == 0 => {
                            kernel[axis] = length / output[axis];
                        }
                        _ => return None,
                    }
                }
                let even = Window {
                    kernel,
                    stride: kernel,
                    ..Window::default()
                };
                Some(window(rank, even))
            }
            Over::Axes(axes) => Some(Self::Sum {
                axes: axes.to_vec(),
            }),
        }
    }

    /// The divisor of each sum of codes, where that is one number. The other is what remains to divide
    /// by.
    pub(crate) fn divisor(&self, from: &[Dim]) -> (Option<usize>, Divide) {
        let sums = self.sum_of_codes(from);
        match (self.sums(), sums.as_ref().and_then(Op::sums)) {
            (Some((_, Divide::None)), _) => (None, Divide::None),
            (Some((_, divide)), Some((Over::Windows { window, .. }, _))) => {
                match divide == Divide::Padded || window.padding == [(0, 0); 2] {
                    true => (Some(window.kernel[0] * window.kernel[1]), Divide::None),
                    false => (None, Divide::Elements),
                }
            }
            (Some(_), Some((Over::Axes(axes), _))) => {
                let count = axes.iter().map(|axis| from[*axis].at(1)).product();
                (Some(count), Divide::None)
            }
            _ => (None, Divide::None),
        }
    }

    /// Whether it gives a constant back where all elements are that constant: no zeros of the padding
    /// count.
    pub(crate) fn is_mean(&self) -> bool {
        match self.sums() {
            Some((Over::Windows { window, .. }, divide)) => {
                divide == Divide::Elements || window.padding == [(0, 0); 2]
            }
            Some((_, divide)) => divide == Divide::Elements,
            None => false,
        }
    }
}

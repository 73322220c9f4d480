//! Poolings: their windows, what the sums are divided by.

use super::lowering::Lowering;
use super::node::Pool;
use super::shape::{Kind, Shape};
use crate::network::{Divide, Over, Step, Value, Window};

const UNBOUNDED: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

impl Lowering<'_> {
    /// Sums of a step's operand, times a factor, then divided; none of sums that are no windows.
    pub fn pool(
        &self,
        index: usize,
        step: &Step,
        over: Over,
        divide: Divide,
        factor: f32,
    ) -> Option<Pool> {
        let first = *step.inputs.first()?;
        let from = Shape::of(self.model, first)?;
        let input = from.size();
        let window = match over {
            Over::Windows { window, .. } => self.images(first).map(|()| Some(window))?,
            over => self.window(first, over)?,
        };
        // Of other axes than an image's, those of the result are the operand's.
        if self.images(first).is_none() {
            let (of, made) = (
                self.model.axes(first)?,
                self.model.axes(Value::Node(index))?,
            );
            if of.roles() != made.roles() {
                return None;
            }
        }
        // A window of all rows and columns is none: its sum goes over all tiles at once.
        let part = |window: &Window| window.kernel != input || window.padding != [(0, 0); 2];
        // Codes are divided as the reference does, which sums over all tiles are not.
        let divides = from.kind != Kind::Floats && divide != Divide::None;
        let window = window.filter(|window| step.dims.len() > 2 && (part(window) || divides));
        let Some(window) = window else {
            if divides {
                return None;
            }
            let count = match divide {
                Divide::None => 1,
                _ => input[0] * input[1],
            };
            return Some(Pool {
                window: None,
                sum: Some(factor),
                divisors: (count > 1).then(|| [vec![count], vec![1]]),
                bounds: UNBOUNDED,
            });
        };
        let output = Shape::of(self.model, Value::Node(index))?.size();
        Some(Pool::divided(window, divide, factor, input, output))
    }
}

impl Pool {
    /// The greatest of each window.
    pub fn greatest(window: Window, input: [usize; 2], output: [usize; 2]) -> Self {
        Self {
            window: Some(reaching(window, input, output)),
            sum: None,
            divisors: None,
            bounds: UNBOUNDED,
        }
    }

    /// Sums of windows, times a factor, then divided.
    pub fn divided(
        window: Window,
        divide: Divide,
        factor: f32,
        input: [usize; 2],
        output: [usize; 2],
    ) -> Self {
        let counts = [0, 1].map(|axis| {
            let count = |place: usize| count(&window, divide, axis, place, input[axis]);
            (0..output[axis]).map(count).collect::<Vec<_>>()
        });
        let divides = counts.iter().flatten().any(|&count| count != 1);
        Self {
            window: Some(reaching(window, input, output)),
            sum: Some(factor),
            divisors: divides.then_some(counts),
            bounds: UNBOUNDED,
        }
    }

    /// The number that divides all sums alike.
    pub fn common_divisor(&self) -> Option<usize> {
        let Some([rows, columns]) = &self.divisors else {
            return Some(1);
        };
        let same = |counts: &[usize]| {
            let first = counts.first().copied()?;
            counts.iter().all(|&count| count == first).then_some(first)
        };
        Some(same(rows)? * same(columns)?)
    }
}

// The last windows may lie beyond the padding: then it reaches as far.
fn reaching(mut window: Window, input: [usize; 2], output: [usize; 2]) -> Window {
    for axis in 0..2 {
        let extent = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
        let end = output[axis].saturating_sub(1) * window.stride[axis] + extent;
        let (before, after) = &mut window.padding[axis];
        *after = end.saturating_sub(input[axis] + *before).max(*after);
    }
    window
}

// Elements that a window has on an axis, as the reference counts them; of windows that see nothing the product
// is 1 there, of zero.
fn count(window: &Window, divide: Divide, axis: usize, place: usize, length: usize) -> usize {
    let (before, after) = window.padding[axis];
    let taps = (0..window.kernel[axis])
        .map(|tap| place * window.stride[axis] + tap * window.dilation[axis]);
    let seen = |at: &usize| match divide {
        Divide::None => false,
        Divide::Elements => (before..before + length).contains(at),
        Divide::Padded => *at < before + length + after,
    };
    taps.filter(seen).count().max(1)
}

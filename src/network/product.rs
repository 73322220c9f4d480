//! Sums of products, of whole numbers or floats alike.
//!
//! In plain loops, with the row of an output innermost: compilers make vectors of it. Weights of zero
//! are skipped.

use std::ops::{AddAssign, Mul};

use crate::network::{Op, Window};

use super::shape;
use super::sink::filled;
use super::window::size;

pub(super) trait Number:
    Copy + Default + PartialEq + AddAssign + Mul<Output = Self>
{
}

impl Number for i32 {}
impl Number for f32 {}

/// Gives `row` the sums of each row of a product's result, in its order, and the channel of all of them;
/// none where each has its own.
pub(super) fn product<T: Number>(
    op: &Op,
    (left, left_dims): (&[T], &[usize]),
    (right, right_dims): (&[T], &[usize]),
    dims: &[usize],
    mut row: impl FnMut(Option<usize>, &[T]),
) -> Result<(), String> {
    let layout = |window, groups, output_padding| {
        let channels = |dims: &[usize]| dims.get(1).copied().ok_or("no channels");
        Ok::<_, String>(Layout {
            window,
            groups,
            channels: channels(left_dims)?,
            filters: channels(dims)?,
            input: size(left_dims),
            output: size(dims),
            output_padding,
        })
    };
    let of_channel = |channel: usize, sums: &[T]| row(Some(channel), sums);
    match *op {
        Op::Convolution { window, groups, .. } => {
            let layout = layout(window, groups, [0, 0])?;
            convolution(&layout, left, right, of_channel)
        }
        Op::TransposedConvolution {
            window,
            groups,
            output_padding,
            ..
        } => {
            let layout = layout(window, groups, output_padding)?;
            transposed_convolution(&layout, left, right, of_channel)
        }
        Op::Linear => {
            let shape = [right_dims[0], right_dims[1]];
            matrix_product(left, right, shape, |sums| row(None, sums))
        }
        Op::MatMul => {
            let (left, right) = ((left, left_dims), (right, right_dims));
            matrix_products(left, right, dims, |sums| row(None, sums))
        }
        _ => Err(format!("{} is no product", op.name())),
    }
}

/// A convolution, or the transpose of one.
struct Layout {
    window: Window,
    groups: usize,
    /// Channels of the input.
    channels: usize,
    /// Channels of the output.
    filters: usize,
    /// Height and width of the input.
    input: [usize; 2],
    /// Height and width of the output.
    output: [usize; 2],
    output_padding: [usize; 2],
}

impl Layout {
    fn kernel(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Rows and columns from a window's start to a tap.
    fn tap(&self, tap: usize) -> (usize, usize) {
        let Window {
            kernel, dilation, ..
        } = self.window;
        (tap / kernel[1] * dilation[0], tap % kernel[1] * dilation[1])
    }
}

/// Gives `row` the channel and the sums of each row of the output, in its order. Weights `[out, in /
/// groups, kernel…]`.
fn convolution<T: Number>(
    layout: &Layout,
    input: &[T],
    weights: &[T],
    mut row: impl FnMut(usize, &[T]),
) -> Result<(), String> {
    let [height, width] = shape::padded(&layout.window, layout.channels, layout.input)?;
    let [stride_y, stride_x] = layout.window.stride;
    let [rows, columns] = layout.output;
    let in_group = layout.channels / layout.groups;
    let plane = height * width;
    // The sums have the pitch of the padded input, so that with stride 1 a tap is one long row.
    let length = (rows - 1) * width + columns;
    let mut sums = filled(length, T::default())?;
    let mut padded = filled(layout.channels * plane, T::default())?;
    for image in input.chunks_exact(layout.channels * layout.input[0] * layout.input[1]) {
        pad(layout, image, &mut padded, [height, width]);
        for (filter, taps) in weights.chunks_exact(in_group * layout.kernel()).enumerate() {
            let first = filter / (layout.filters / layout.groups) * in_group;
            sums.fill(T::default());
            for (tap, &weight) in taps.iter().enumerate() {
                if weight == T::default() {
                    continue;
                }
                let channel = first + tap / layout.kernel();
                let (y, x) = layout.tap(tap % layout.kernel());
                let source = &padded[channel * plane + y * width + x..];
                if [stride_y, stride_x] == [1, 1] {
                    add_scaled(&mut sums, &source[..length], weight);
                } else {
                    for (sums, source) in
                        sums.chunks_mut(width).zip(source.chunks(width * stride_y))
                    {
                        let source = source.iter().step_by(stride_x);
                        for (sum, &x) in sums.iter_mut().take(columns).zip(source) {
                            *sum += x * weight;
                        }
                    }
                }
            }
            for sums in sums.chunks(width) {
                row(filter, &sums[..columns]);
            }
        }
    }
    Ok(())
}

fn pad<T: Number>(layout: &Layout, image: &[T], padded: &mut [T], [height, width]: [usize; 2]) {
    let [rows, columns] = layout.input;
    let [(top, _), (left, _)] = layout.window.padding;
    let planes = padded.chunks_exact_mut(height * width);
    for (to, from) in planes.zip(image.chunks_exact(rows * columns)) {
        let to = to.chunks_exact_mut(width).skip(top);
        for (to, from) in to.zip(from.chunks_exact(columns)) {
            to[left..left + columns].copy_from_slice(from);
        }
    }
}

#[inline]
fn add_scaled<T: Number>(sums: &mut [T], row: &[T], weight: T) {
    for (sum, &x) in sums.iter_mut().zip(row) {
        *sum += x * weight;
    }
}

/// The same for the transpose, whose weights are `[in, out / groups, kernel…]`.
fn transposed_convolution<T: Number>(
    layout: &Layout,
    input: &[T],
    weights: &[T],
    mut row: impl FnMut(usize, &[T]),
) -> Result<(), String> {
    let [height, width] = shape::transposed(&layout.window, layout.input, layout.output_padding)?;
    let [stride_y, stride_x] = layout.window.stride;
    let [(top, _), (left, _)] = layout.window.padding;
    let [rows, columns] = layout.output;
    let (in_group, out_group) = (
        layout.channels / layout.groups,
        layout.filters / layout.groups,
    );
    let plane = layout.input[0] * layout.input[1];
    let mut sums = filled(height * width, T::default())?;
    for image in input.chunks_exact(layout.channels * plane) {
        for filter in 0..layout.filters {
            sums.fill(T::default());
            for channel in filter / out_group * in_group..(filter / out_group + 1) * in_group {
                let source = &image[channel * plane..(channel + 1) * plane];
                let place = (channel * out_group + filter % out_group) * layout.kernel();
                for tap in 0..layout.kernel() {
                    let weight = weights[place + tap];
                    if weight == T::default() {
                        continue;
                    }
                    let (y, x) = layout.tap(tap);
                    for (i, source) in source.chunks_exact(layout.input[1]).enumerate() {
                        let sums = &mut sums[(i * stride_y + y) * width + x..];
                        for (sum, &x) in sums.iter_mut().step_by(stride_x).zip(source) {
                            *sum += x * weight;
                        }
                    }
                }
            }
            for sums in sums.chunks_exact(width).skip(top).take(rows) {
                row(filter, &sums[left..left + columns]);
            }
        }
    }
    Ok(())
}

/// Gives `row` the sums of each row of `[m, k]` times `[k, n]`.
fn matrix_product<T: Number>(
    left: &[T],
    right: &[T],
    [inner, columns]: [usize; 2],
    mut row: impl FnMut(&[T]),
) -> Result<(), String> {
    let mut sums = filled(columns, T::default())?;
    for left in left.chunks_exact(inner) {
        sums.fill(T::default());
        for (&weight, right) in left.iter().zip(right.chunks_exact(columns)) {
            if weight != T::default() {
                add_scaled(&mut sums, right, weight);
            }
        }
        row(&sums);
    }
    Ok(())
}

/// The same for stacks of matrices, whose leading axes broadcast.
fn matrix_products<T: Number>(
    (left, left_dims): (&[T], &[usize]),
    (right, right_dims): (&[T], &[usize]),
    dims: &[usize],
    mut row: impl FnMut(&[T]),
) -> Result<(), String> {
    let (Some((leading, [_, columns])), Some((a, [rows, inner])), Some((b, _))) = (
        dims.split_last_chunk::<2>(),
        left_dims.split_last_chunk::<2>(),
        right_dims.split_last_chunk::<2>(),
    ) else {
        return Err("a matrix has two axes".to_string());
    };
    // The matrices' numbers, broadcast as the matrices are.
    let numbers = |dims: &[usize]| {
        let numbers: Vec<usize> = (0..dims.iter().product()).collect();
        super::movement::expand(&numbers, dims, leading).map(|numbers| numbers.into_owned())
    };
    for (i, j) in numbers(a)?.into_iter().zip(numbers(b)?) {
        let left = &left[i * rows * inner..(i + 1) * rows * inner];
        let right = &right[j * inner * columns..(j + 1) * inner * columns];
        matrix_product(left, right, [*inner, *columns], &mut row)?;
    }
    Ok(())
}

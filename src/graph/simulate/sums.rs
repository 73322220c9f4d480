use burn::tensor::Device;

use super::super::apply::apply;
use super::super::tensor::{AnyTensor, map_rank};
use crate::network::{Op, Window};

/// The integer sums of a pooling or a mean.
pub(super) struct Sum {
    pub sums: AnyTensor,
    /// How many are summed, where that is the same everywhere and divides.
    pub count: Option<usize>,
    /// How many are summed at each place, where that differs.
    pub counts: Option<AnyTensor>,
}

pub(super) fn summed(op: &Op, codes: AnyTensor) -> Sum {
    let dims = codes.dims();
    match op {
        Op::Mean { axes } | Op::Sum { axes } => {
            let count = axes.iter().map(|axis| dims[*axis]).product();
            let mut to = dims.clone();
            for axis in axes {
                to[*axis] = 1;
            }
            let op_sum = Op::Sum { axes: axes.clone() };
            Sum {
                sums: apply(&op_sum, vec![codes], &to),
                count: matches!(op, Op::Mean { .. }).then_some(count),
                counts: None,
            }
        }
        Op::AdaptiveAveragePool { rank, output } => {
            let window = even_window(*rank, *output, &dims);
            windows(*rank, window, true, codes)
        }
        Op::AveragePool {
            rank,
            window,
            include_padding,
            ..
        } => windows(*rank, *window, *include_padding, codes),
        _ => unreachable!("placement gives this form to sums alone"),
    }
}

/// The window of an adaptive pooling whose output divides its input.
pub(crate) fn even_window(rank: usize, output: [usize; 2], dims: &[usize]) -> Window {
    let mut kernel = [1, 1];
    for axis in 2 - rank..2 {
        kernel[axis] = dims[dims.len() + axis - 2] / output[axis].max(1);
    }
    Window {
        kernel,
        stride: kernel,
        ..Window::default()
    }
}

fn windows(rank: usize, window: Window, include_padding: bool, codes: AnyTensor) -> Sum {
    let dims = codes.dims();
    let axes = [if rank == 2 { dims[2] } else { 1 }, dims[dims.len() - 1]];
    // The input fits: it did when the graph was captured.
    let output = window.output(axes).unwrap_or([1, 1]);
    let mut to = dims.clone();
    to.truncate(2);
    to.extend(&output[2 - rank..]);
    let count = window.kernel[0] * window.kernel[1];
    let pool = Op::AveragePool {
        rank,
        window,
        include_padding: true,
        ceil: false,
    };
    // The mean times the count is the sum but for a rounding, which rounding takes away.
    let means = apply(&pool, vec![codes], &to);
    let device = means.device();
    let sums = map_rank!(means, means => {
        let sums = means * count as f32;
        let value = sums.clone().detach();
        sums + (value.clone().round() - value)
    });
    match include_padding || window.padding == [(0, 0), (0, 0)] {
        true => Sum {
            sums,
            count: Some(count),
            counts: None,
        },
        false => Sum {
            sums,
            count: None,
            counts: Some(counts(rank, &window, axes, output, &device)),
        },
    }
}

// The elements of each window that are no padding.
fn counts(
    rank: usize,
    window: &Window,
    input: [usize; 2],
    output: [usize; 2],
    device: &Device,
) -> AnyTensor {
    let covered = |axis: usize, place: usize| {
        let start = (place * window.stride[axis]) as isize - window.padding[axis].0 as isize;
        let taps =
            (0..window.kernel[axis]).map(|tap| start + (tap * window.dilation[axis]) as isize);
        taps.filter(|at| (0..input[axis] as isize).contains(at))
            .count()
    };
    let rows = (0..output[0]).flat_map(|y| (0..output[1]).map(move |x| (y, x)));
    let values: Vec<f32> = rows
        // As Burn has it, a window that sees nothing is 0.
        .map(|(y, x)| (covered(0, y) * covered(1, x)).max(1) as f32)
        .collect();
    let mut dims = vec![1, 1];
    dims.extend(&output[2 - rank..]);
    AnyTensor::from_values(&values, &dims, device)
}

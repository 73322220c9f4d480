use burn::tensor::Device;

use super::super::apply::apply;
use super::super::tensor::{AnyTensor, map_rank};
use crate::network::{Dim, Divide, Op, Over, Window};

/// The integer sums of a pooling or a mean.
pub(super) struct Sum {
    pub sums: AnyTensor,
    /// How many are summed, where that is the same everywhere and divides.
    pub count: Option<usize>,
    /// How many are summed at each place, where that differs.
    pub counts: Option<AnyTensor>,
}

pub(super) fn summed(op: &Op, codes: AnyTensor) -> Sum {
    let mut to = codes.dims();
    let from: Vec<Dim> = to.iter().copied().map(Dim::Fixed).collect();
    let alone = op.sum_of_codes(&from);
    let sums = alone
        .as_ref()
        .and_then(|alone| Some((alone, alone.sums()?.0)));
    let (count, left) = op.divisor(&from);
    match sums {
        Some((alone, Over::Axes(axes))) => {
            axes.iter().for_each(|axis| to[*axis] = 1);
            Sum {
                sums: apply(alone, vec![codes], &to),
                count,
                counts: None,
            }
        }
        Some((alone, Over::Windows { rank, window, .. })) => {
            let axes = [if rank == 2 { to[2] } else { 1 }, to[to.len() - 1]];
            // The input fits: it did when the graph was captured.
            let output = window.output(axes).unwrap_or([1, 1]);
            to.truncate(2);
            to.extend(&output[2 - rank..]);
            // The mean times the count is the sum but for a rounding, which rounding takes away.
            let means = apply(alone, vec![codes], &to);
            let device = means.device();
            let of_one = window.kernel[0] * window.kernel[1];
            let sums = map_rank!(means, means => {
                let sums = means * of_one as f32;
                let value = sums.clone().detach();
                sums + (value.clone().round() - value)
            });
            let differ = left != Divide::None;
            Sum {
                sums,
                count,
                counts: differ.then(|| counts(rank, &window, axes, output, &device)),
            }
        }
        _ => unreachable!("placement gives this form to sums alone"),
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

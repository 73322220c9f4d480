//! The dimensions of a result, from those of the operands.

use super::float_op::broadcast;
use super::{Dim, Op, Over, Window};

/// The greatest rank of a tensor.
pub(crate) const MAX_RANK: usize = 6;
/// Elements that a tensor may have for each image: a file that claims more is refused.
pub(super) const MAX_ELEMENTS: usize = 1 << 28;
/// The greatest kernel, stride, dilation and padding.
const MAX_WINDOW: usize = (1 << 15) - 1;

type Result<T> = std::result::Result<T, String>;

/// Elements for a batch, none where that is more than a tensor may have or an axis is empty.
pub(super) fn elements(dims: &[Dim], batch: usize) -> Option<usize> {
    let axis = |dim: &Dim| match *dim {
        Dim::Fixed(length) => Some(length),
        Dim::Batch(each) => each.checked_mul(batch),
    };
    dims.iter().try_fold(1usize, |product, dim| {
        product.checked_mul(axis(dim).filter(|&length| length > 0)?)
    })
}

/// Whether a tensor can have these dimensions.
pub(super) fn check(dims: &[Dim]) -> Result<()> {
    let fits = elements(dims, 1).is_some_and(|elements| elements <= MAX_ELEMENTS);
    match (1..=MAX_RANK).contains(&dims.len()) && fits {
        true => Ok(()),
        false => Err(format!(
            "dimensions {dims:?}: give 1 to {MAX_RANK} axes, none empty, of at most {MAX_ELEMENTS} elements an image"
        )),
    }
}

/// The dimensions of a result. `declared` are those of the step, which some operations follow.
pub(super) fn result(op: &Op, operands: &[Vec<Dim>], declared: &[Dim]) -> Result<Vec<Dim>> {
    match (op, operands) {
        (Op::Concatenate { axis }, [_, ..]) => concatenate(operands, *axis),
        (
            Op::Convolution {
                rank,
                window,
                groups,
            },
            [input, weight],
        ) => {
            let kernel = kernel(window, *rank, weight)?;
            let (images, channels, size) = spatial(input, *rank)?;
            let [filters, taps] = kernel;
            groups_fit(*groups, filters)?;
            if taps.checked_mul(*groups) != Some(channels) {
                return Err(format!(
                    "weights {weight:?} in {groups} groups do not fit {input:?}"
                ));
            }
            padded(window, channels, size)?;
            let size = window.output(size).ok_or("the window does not fit")?;
            Ok(with_size(images, filters, size, *rank))
        }
        (
            Op::TransposedConvolution {
                rank,
                window,
                output_padding,
                groups,
            },
            [input, weight],
        ) => {
            let kernel = kernel(window, *rank, weight)?;
            let (images, channels, size) = spatial(input, *rank)?;
            groups_fit(*groups, channels)?;
            if kernel[0] != channels {
                return Err(format!("weights {weight:?} do not fit {input:?}"));
            }
            let full = transposed(window, size, *output_padding)?;
            let cut = |axis: usize| {
                let (before, after) = window.padding[axis];
                let left = full[axis].checked_sub(before + after);
                left.filter(|&left| left > 0).ok_or("padding cuts all off")
            };
            let filters = kernel[1].checked_mul(*groups).ok_or("too many channels")?;
            Ok(with_size(images, filters, [cut(0)?, cut(1)?], *rank))
        }
        (Op::Linear, [input, weight]) => match (&input[..], &weight[..]) {
            ([leading @ .., last], [inputs, outputs @ Dim::Fixed(_)]) if last == inputs => {
                fixed(*inputs)?;
                Ok([leading, &[*outputs]].concat())
            }
            _ => Err(format!("weights {weight:?} do not fit {input:?}")),
        },
        (Op::MatMul, [left, right]) => match (&left[..], &right[..]) {
            ([a @ .., m, k], [b @ .., inner, n]) if k == inner => {
                fixed(*k)?;
                Ok([&broadcast(a, b)?[..], &[*m, *n]].concat())
            }
            _ => Err(format!("{left:?} cannot be multiplied by {right:?}")),
        },
        (Op::BatchNorm { epsilon }, [input, vectors @ ..]) if vectors.len() == 4 => {
            norm(*epsilon, input, 1, vectors)
        }
        (Op::LayerNorm { epsilon }, [input, vectors @ ..]) if vectors.len() == 2 => {
            norm(*epsilon, input, input.len() - 1, vectors)
        }
        (Op::GroupNorm { groups, epsilon }, [input, vectors @ ..]) if vectors.len() == 2 => {
            let dims = norm(*epsilon, input, 1, vectors)?;
            groups_fit(*groups, fixed(dims[1])?)?;
            Ok(dims)
        }
        (Op::Unary(_), [input]) => Ok(input.clone()),
        (Op::Binary(_), [left, right]) => broadcast(left, right),
        (Op::Softmax { axis }, [input]) if *axis < input.len() => Ok(input.clone()),
        (Op::MaxPool { rank, window, ceil }, [input]) => {
            let (_, _, size) = spatial(input, *rank)?;
            let dims = pooled(window, *rank, input, *ceil)?;
            let (_, _, output) = spatial(&dims, *rank)?;
            match (0..2).all(|axis| all_see_input(window, axis, size[axis], output[axis])) {
                true => Ok(dims),
                false => Err("a window lies in the padding alone".to_string()),
            }
        }
        (Op::Slice { ranges }, [input]) if ranges.len() == input.len() => {
            let axes = input.iter().zip(ranges);
            axes.map(|(dim, range)| slice(*dim, *range)).collect()
        }
        (Op::Pad { padding, .. }, [input]) if padding.len() == input.len() => {
            let longer = |(dim, &(before, after)): (&Dim, &(usize, usize))| match dim {
                Dim::Fixed(length) => {
                    let length = length.checked_add(before)?.checked_add(after)?;
                    Some(Dim::Fixed(length))
                }
                batch => ((before, after) == (0, 0)).then_some(*batch),
            };
            let dims = input.iter().zip(padding).map(longer);
            let dims: Option<_> = dims.collect();
            dims.ok_or_else(|| format!("{input:?} cannot be padded by {padding:?}"))
        }
        (Op::Reshape, [input]) => {
            // As many elements for any batch: the same number, to the same power of the batch.
            let size = |dims: &[Dim]| {
                let powers = dims.iter().filter(|dim| matches!(dim, Dim::Batch(_)));
                (elements(dims, 1), powers.count())
            };
            match size(input) == size(declared) {
                true => Ok(declared.to_vec()),
                false => Err(format!("{input:?} are not the elements of {declared:?}")),
            }
        }
        (Op::Permute { axes }, [input]) => {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            match sorted.iter().copied().eq(0..input.len()) {
                true => Ok(axes.iter().map(|&axis| input[axis]).collect()),
                false => Err(format!("axes {axes:?} are no order of {input:?}")),
            }
        }
        (Op::Expand, [input]) => match broadcast(input, declared)? {
            dims if dims == declared => Ok(dims),
            _ => Err(format!("{input:?} cannot be expanded to {declared:?}")),
        },
        (Op::UpsampleNearest | Op::UpsampleBilinear { .. }, [input]) => {
            let (images, channels, _) = spatial(input, 2)?;
            let (_, _, size) = spatial(declared, 2)?;
            Ok(with_size(images, channels, size, 2))
        }
        (Op::Float(op), operands) => op.dims(operands),
        (op, operands) => match (op.sums(), operands) {
            (Some((over, _)), [input]) => summed(over, input),
            _ => Err(format!(
                "{} does not take {operands:?} in this form",
                op.name()
            )),
        },
    }
}

fn summed(over: Over, input: &[Dim]) -> Result<Vec<Dim>> {
    match over {
        Over::Windows { rank, window, ceil } => match window.dilation {
            [1, 1] => pooled(&window, rank, input, ceil),
            _ => Err("an average pool has no dilation".to_string()),
        },
        Over::Shares { rank, output } => {
            let (images, channels, _) = spatial(input, rank)?;
            if output.contains(&0) || (rank == 1 && output[0] != 1) {
                return Err(format!("output {output:?}"));
            }
            Ok(with_size(images, channels, output, rank))
        }
        Over::Axes(axes) => {
            let mut dims = input.to_vec();
            let rising = axes.windows(2).all(|pair| pair[0] < pair[1]);
            for &axis in axes {
                *dims.get_mut(axis).ok_or_else(|| no_axis(axis, input))? = Dim::Fixed(1);
            }
            match rising && !axes.is_empty() {
                true => Ok(dims),
                false => Err(format!("axes {axes:?}: give at least one, rising")),
            }
        }
    }
}

fn fixed(dim: Dim) -> Result<usize> {
    match dim {
        Dim::Fixed(length) => Ok(length),
        Dim::Batch(_) => Err("an axis grows with the batch that must not".to_string()),
    }
}

fn no_axis(axis: usize, dims: &[Dim]) -> String {
    format!("no axis {axis} in {dims:?}")
}

/// Images, channels, height and width.
pub(super) fn spatial(dims: &[Dim], rank: usize) -> Result<(Dim, usize, [usize; 2])> {
    match (rank, dims) {
        (1, &[images, channels, width]) => Ok((images, fixed(channels)?, [1, fixed(width)?])),
        (2, &[images, channels, height, width]) => {
            let size = [fixed(height)?, fixed(width)?];
            Ok((images, fixed(channels)?, size))
        }
        _ => Err(format!("{dims:?} have no {rank} spatial axes")),
    }
}

fn with_size(images: Dim, channels: usize, size: [usize; 2], rank: usize) -> Vec<Dim> {
    let size = size.map(Dim::Fixed);
    [&[images, Dim::Fixed(channels)], &size[2 - rank..]].concat()
}

/// The first two dimensions of a weight, whose others are the window's kernel.
fn kernel(window: &Window, rank: usize, weight: &[Dim]) -> Result<[usize; 2]> {
    check_window(window, rank)?;
    let (first, second, kernel) = spatial(weight, rank)?;
    match kernel == window.kernel {
        true => Ok([fixed(first)?, second]),
        false => Err(format!(
            "weights {weight:?} of a kernel {:?}",
            window.kernel
        )),
    }
}

fn check_window(window: &Window, rank: usize) -> Result<()> {
    let lengths = [window.kernel, window.stride, window.dilation].concat();
    let mut padding = window.padding.iter().flat_map(|(a, b)| [a, b]);
    let trivial = rank == 2
        || (window.kernel[0], window.stride[0], window.dilation[0]) == (1, 1, 1)
            && window.padding[0] == (0, 0);
    let fits = lengths.iter().all(|n| (1..=MAX_WINDOW).contains(n))
        && padding.all(|&n| n <= MAX_WINDOW)
        && trivial;
    match fits {
        true => Ok(()),
        false => Err(format!("{window:?} is no window of rank {rank}")),
    }
}

fn groups_fit(groups: usize, channels: usize) -> Result<()> {
    match groups > 0 && channels.is_multiple_of(groups) {
        true => Ok(()),
        false => Err(format!("{groups} groups of {channels} channels")),
    }
}

/// Height and width of a padded input, which is held in memory.
pub(super) fn padded(window: &Window, channels: usize, size: [usize; 2]) -> Result<[usize; 2]> {
    let axis = |axis: usize| {
        let (before, after) = window.padding[axis];
        size[axis] + before + after
    };
    within(channels, [axis(0), axis(1)])
}

/// Height and width of a transposed convolution's result before its padding is cut off.
pub(super) fn transposed(
    window: &Window,
    size: [usize; 2],
    output_padding: [usize; 2],
) -> Result<[usize; 2]> {
    let axis = |axis: usize| {
        let extent = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
        let steps = size[axis]
            .checked_sub(1)?
            .checked_mul(window.stride[axis])?;
        steps.checked_add(extent)?.checked_add(output_padding[axis])
    };
    match (axis(0), axis(1)) {
        (Some(height), Some(width)) => within(1, [height, width]),
        _ => Err("too large".to_string()),
    }
}

fn within(channels: usize, size: [usize; 2]) -> Result<[usize; 2]> {
    let elements = elements(&[channels, size[0], size[1]].map(Dim::Fixed), 1);
    match elements.is_some_and(|elements| elements <= MAX_ELEMENTS) {
        true => Ok(size),
        false => Err(format!("{channels} channels of {size:?} are too large")),
    }
}

fn pooled(window: &Window, rank: usize, input: &[Dim], ceil: bool) -> Result<Vec<Dim>> {
    check_window(window, rank)?;
    let (images, channels, size) = spatial(input, rank)?;
    if !ceil {
        let size = window.output(size).ok_or("the window does not fit")?;
        return Ok(with_size(images, channels, size, rank));
    }
    let axis = |axis: usize| {
        let (before, after) = window.padding[axis];
        let extent = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
        // A window longer than the padded input is taken once.
        let room = (size[axis] + before + after).saturating_sub(extent);
        let windows = room.div_ceil(window.stride[axis]) + 1;
        // None that starts beyond the input.
        let beyond = (windows - 1) * window.stride[axis] >= size[axis] + before;
        windows - usize::from(beyond && windows > 1)
    };
    Ok(with_size(images, channels, [axis(0), axis(1)], rank))
}

fn all_see_input(window: &Window, axis: usize, input: usize, output: usize) -> bool {
    let (before, _) = window.padding[axis];
    (0..output).all(|place| {
        let start = place * window.stride[axis];
        // The first element that is no padding before the input.
        let tap = before.saturating_sub(start).div_ceil(window.dilation[axis]);
        tap < window.kernel[axis] && start + tap * window.dilation[axis] < before + input
    })
}

fn norm(epsilon: f32, input: &[Dim], axis: usize, vectors: &[Vec<Dim>]) -> Result<Vec<Dim>> {
    let channels = *input.get(axis).ok_or_else(|| no_axis(axis, input))?;
    fixed(channels)?;
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err(format!("epsilon {epsilon}"));
    }
    match vectors.iter().all(|vector| vector[..] == [channels]) {
        true => Ok(input.to_vec()),
        false => Err(format!("{vectors:?} for {input:?}")),
    }
}

fn concatenate(operands: &[Vec<Dim>], axis: usize) -> Result<Vec<Dim>> {
    let mut dims = operands[0].clone();
    for operand in &operands[1..] {
        let length = match (dims.get(axis), operand.get(axis)) {
            (Some(Dim::Fixed(a)), Some(Dim::Fixed(b))) => a.checked_add(*b).map(Dim::Fixed),
            (Some(Dim::Batch(a)), Some(Dim::Batch(b))) => a.checked_add(*b).map(Dim::Batch),
            _ => None,
        };
        let mut expected = dims.clone();
        if let (Some(to), Some(from)) = (expected.get_mut(axis), operand.get(axis)) {
            *to = *from;
        }
        match length {
            Some(length) if expected == *operand => dims[axis] = length,
            _ => {
                return Err(format!(
                    "{operands:?} cannot follow each other on axis {axis}"
                ));
            }
        }
    }
    match axis < dims.len() {
        true => Ok(dims),
        false => Err(no_axis(axis, &dims)),
    }
}

fn slice(dim: Dim, (first, end, step): (usize, Option<usize>, usize)) -> Result<Dim> {
    match (dim, end) {
        (Dim::Fixed(length), end) => {
            let end = end.unwrap_or(length);
            match first < end && end <= length && step > 0 {
                true => Ok(Dim::Fixed((end - first).div_ceil(step))),
                false => Err(format!("{first}..{end} by {step} of {length}")),
            }
        }
        // Whole images, or the same part of each.
        (Dim::Batch(each), None) if first == 0 && step > 0 && each.is_multiple_of(step) => {
            Ok(Dim::Batch(each / step))
        }
        _ => Err(format!(
            "{first}..{end:?} by {step} of an axis that grows with the batch"
        )),
    }
}

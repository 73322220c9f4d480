//! Elements that change places.

use std::borrow::Cow;

use crate::network::Op;

use super::sink::reserve;
use super::window::{Windows, pool};

/// The result of a movement. `fill` is what padding holds.
pub(super) fn apply<T: Copy + PartialOrd>(
    op: &Op,
    operands: &[(&[T], &[usize])],
    dims: &[usize],
    fill: T,
) -> Result<Vec<T>, String> {
    let &[(source, from), ..] = operands else {
        return Err("no operand".to_string());
    };
    let step = strides(from);
    let each = |axes: Vec<Vec<Option<usize>>>| gather(source, &axes, fill, dims);
    match op {
        Op::Reshape => Ok(source.to_vec()),
        Op::Expand => expand(source, from, dims).map(Cow::into_owned),
        Op::Concatenate { axis } => {
            let outer: usize = dims[..*axis].iter().product();
            let mut result = reserve(dims.iter().product())?;
            for part in 0..outer {
                for (source, from) in operands {
                    let length: usize = from[*axis..].iter().product();
                    result.extend_from_slice(&source[part * length..(part + 1) * length]);
                }
            }
            Ok(result)
        }
        Op::Permute { axes } => each(
            axes.iter()
                .map(|&axis| (0..from[axis]).map(|i| Some(i * step[axis])).collect())
                .collect(),
        ),
        Op::Slice { ranges } => {
            let places = |axis: usize| {
                let (first, _, by) = ranges[axis];
                let places = (0..dims[axis]).map(|i| Some((first + i * by) * step[axis]));
                places.collect()
            };
            each((0..from.len()).map(places).collect())
        }
        Op::Pad { padding, .. } => {
            let places = |axis: usize| {
                let inside = |i: usize| {
                    let inside = i.checked_sub(padding[axis].0);
                    inside.filter(|&i| i < from[axis]).map(|i| i * step[axis])
                };
                (0..dims[axis]).map(inside).collect()
            };
            each((0..from.len()).map(places).collect())
        }
        Op::UpsampleNearest => {
            let places = |axis: usize| {
                let place = |i| nearest(i, from[axis], dims[axis]) * step[axis];
                (0..dims[axis]).map(|i| Some(place(i))).collect()
            };
            each((0..from.len()).map(places).collect())
        }
        Op::MaxPool { window, rank, .. } => {
            let size = |dims: &[usize]| match rank {
                1 => [1, dims[2]],
                _ => [dims[2], dims[3]],
            };
            let mut result = reserve(dims.iter().product())?;
            let windows = Windows::Spaced(*window);
            pool(windows, source, size(from), size(dims), |seen| {
                let greater = |a, b| if b > a { b } else { a };
                result.push(seen.values().reduce(greater).unwrap_or(fill));
            });
            Ok(result)
        }
        _ => Err(format!("{} is no movement", op.name())),
    }
}

/// The nearest element as Burn finds it: by a ratio in double precision, rounded down.
fn nearest(place: usize, length: usize, places: usize) -> usize {
    let ratio = length as f64 / places as f64;
    ((place as f64 * ratio).floor() as usize).min(length - 1)
}

/// Axes of length 1 repeated; missing axes come first.
pub(crate) fn expand<'a, T: Copy + Clone>(
    source: &'a [T],
    from: &[usize],
    to: &[usize],
) -> Result<Cow<'a, [T]>, String> {
    let Some(&first) = source.first().filter(|_| from != to) else {
        return Ok(Cow::Borrowed(source));
    };
    let step = strides(from);
    let missing = to.len() - from.len();
    let places = |axis: usize| {
        let place = |i: usize| match axis.checked_sub(missing) {
            Some(axis) if from[axis] > 1 => i * step[axis],
            _ => 0,
        };
        (0..to[axis]).map(|i| Some(place(i))).collect()
    };
    let axes: Vec<Vec<Option<usize>>> = (0..to.len()).map(places).collect();
    gather(source, &axes, first, to).map(Cow::Owned)
}

/// Elements from one step on each axis to the next.
fn strides(dims: &[usize]) -> Vec<usize> {
    (0..dims.len())
        .map(|axis| dims[axis + 1..].iter().product())
        .collect()
}

/// `source[axes[0][i] + axes[1][j] + …]` for each `[i, j, …]`; `fill` where one of them is none.
fn gather<T: Copy>(
    source: &[T],
    axes: &[Vec<Option<usize>>],
    fill: T,
    dims: &[usize],
) -> Result<Vec<T>, String> {
    fn level<T: Copy>(
        source: &[T],
        axes: &[Vec<Option<usize>>],
        start: Option<usize>,
        fill: T,
        result: &mut Vec<T>,
    ) {
        let at = |place: Option<usize>| start.zip(place).map(|(start, place)| start + place);
        match axes {
            [] => result.push(start.map_or(fill, |start| source[start])),
            [last] => result.extend(last.iter().map(|&place| match at(place) {
                Some(place) => source[place],
                None => fill,
            })),
            [first, rest @ ..] => {
                for &place in first {
                    level(source, rest, at(place), fill, result);
                }
            }
        }
    }
    let mut result = reserve(dims.iter().product())?;
    level(source, axes, Some(0), fill, &mut result);
    Ok(result)
}

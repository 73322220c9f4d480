//! Compares the pass of a smaller module with what it should be.

use std::collections::HashSet;

use super::flow::Flow;
use crate::graph::{Graph, Node};
use crate::network::{Constant, Dim, Op, Value};

/// Where a pass does something else with fewer channels.
pub(super) struct Mismatch {
    /// The layer, if it is known.
    pub layer: Option<String>,
    pub what: String,
}

/// Whether `after` is the graph of `flow` without the places of these roots.
pub(super) fn compare(
    flow: &Flow<'_>,
    gone: &HashSet<usize>,
    after: &Graph,
) -> Result<(), Mismatch> {
    let before = flow.graph;
    let anywhere = |what: String| Mismatch { layer: None, what };
    let (one, other) = (before.nodes().len(), after.nodes().len());
    if one != other {
        let what = format!("it does {other} operations, not {one}");
        return Err(anywhere(what));
    }
    for (index, (old, new)) in before.nodes().iter().zip(after.nodes()).enumerate() {
        let at = |what: String| Mismatch {
            layer: Some(old.layer.clone()),
            what,
        };
        let value = Value::Node(index);
        node(flow, gone, (value, old), new).map_err(at)?;
        for (axis, (dim, found)) in old.dims.iter().zip(&new.dims).enumerate() {
            let kept = flow.kept(&flow.axis(value, axis), gone);
            let expected = kept.map_or(*dim, |kept| Dim::Fixed(kept.len()));
            if expected != *found {
                return Err(at(format!(
                    "axis {axis} of {} has length {}, not {}",
                    old.op.name(),
                    found.at(1),
                    expected.at(1)
                )));
            }
        }
    }
    let constants = before.constants().iter().zip(after.constants());
    for (index, (old, new)) in constants.enumerate() {
        let rank = old.dims.len();
        let axes = (0..rank).map(|axis| flow.axis(Value::Constant(index), axis));
        let kept: Vec<_> = axes.map(|axis| flow.kept(&axis, gone)).collect();
        if without(old, &kept) != *new {
            return Err(anywhere("a constant that the pass makes is another".into()));
        }
    }
    match before.constants().len() == after.constants().len() {
        true => Ok(()),
        false => Err(anywhere("it makes other constants".into())),
    }
}

fn node(
    flow: &Flow<'_>,
    gone: &HashSet<usize>,
    (output, old): (Value, &Node),
    new: &Node,
) -> Result<(), String> {
    let name = old.op.name();
    if old.inputs != new.inputs || old.epilogue != new.epilogue {
        return Err(format!("{name} has other operands"));
    }
    let input = old.inputs.first().copied().unwrap_or(Value::Input);
    let kept = |axis: usize| flow.kept(&flow.axis(input, axis), gone);
    let same = match (&old.op, &new.op) {
        (
            Op::Convolution {
                rank,
                window,
                groups,
            },
            Op::Convolution {
                rank: new_rank,
                window: new_window,
                groups: new_groups,
            },
        ) => {
            // How many groups there are follows from the dimensions.
            (rank, window) == (new_rank, new_window) && (*groups > 1 || *new_groups == 1)
        }
        (
            Op::TransposedConvolution { groups, .. },
            Op::TransposedConvolution {
                groups: new_groups, ..
            },
        ) => {
            let mut expected = old.op.clone();
            if let Op::TransposedConvolution { groups, .. } = &mut expected {
                *groups = *new_groups;
            }
            expected == new.op && (*groups > 1 || *new_groups == 1)
        }
        (
            Op::GroupNorm { groups, epsilon },
            Op::GroupNorm {
                groups: new_groups,
                epsilon: new_epsilon,
            },
        ) => {
            let axis = flow.axis(input, 1);
            let left = kept(1).map_or(axis.len(), |kept| kept.len());
            let expected = match *groups {
                1 => 1,
                groups => groups * left / axis.len().max(1),
            };
            epsilon == new_epsilon && *new_groups == expected
        }
        (Op::Slice { ranges }, Op::Slice { ranges: new_ranges }) => {
            let axes = ranges.iter().zip(new_ranges).enumerate();
            axes.into_iter().all(|(axis, (range, new_range))| {
                let places = flow.axis(input, axis);
                let Some(left) = kept(axis) else {
                    return range == new_range;
                };
                // The places that it should read, and those that it reads.
                let wanted = taken(*range, places.len());
                let wanted = wanted.filter(|place| left.contains(place));
                wanted.eq(taken(*new_range, left.len()).map(|place| left[place]))
            })
        }
        (
            Op::Pad { padding, value },
            Op::Pad {
                padding: new_padding,
                value: new_value,
            },
        ) => {
            let axes = padding.iter().zip(new_padding).enumerate();
            let mut same = axes.into_iter().map(|(axis, (&(before, after), new))| {
                let places = flow.axis(output, axis);
                let count =
                    |part: &[usize]| flow.kept(part, gone).map_or(part.len(), |kept| kept.len());
                match places.is_empty() {
                    true => (before, after) == *new,
                    false => {
                        let back = places.len() - after;
                        (count(&places[..before]), count(&places[back..])) == *new
                    }
                }
            });
            value == new_value && same.all(|same| same)
        }
        (old, new) => old == new,
    };
    match same {
        true => Ok(()),
        false => Err(format!("{name} has other numbers")),
    }
}

// The places that a range takes of an axis.
fn taken(
    (start, end, step): (usize, Option<usize>, usize),
    length: usize,
) -> impl Iterator<Item = usize> {
    (start..end.unwrap_or(length).min(length)).step_by(step.max(1))
}

// A constant without the places that are not kept.
fn without(constant: &Constant, kept: &[Option<Vec<usize>>]) -> Constant {
    let (mut dims, mut values) = (constant.dims.clone(), constant.values.clone());
    for (axis, kept) in kept.iter().enumerate() {
        let Some(kept) = kept else { continue };
        let inner: usize = dims[axis + 1..].iter().product();
        let rows = values.chunks(inner * dims[axis]);
        values = rows
            .flat_map(|row| {
                kept.iter()
                    .flat_map(move |place| &row[place * inner..][..inner])
            })
            .copied()
            .collect();
        dims[axis] = kept.len();
    }
    Constant { dims, values }
}

//! Movements of elements, as maps of channels, rows and columns.

use super::axes::Role;
use super::node::{FusedNode, NodeWork, Rearrange};
use super::shape::Shape;
use super::viewed::Viewed;
use crate::network::{Dim, Op, Value};

/// What an operation moves where; none of one that does something else, or tears planes apart.
pub(in crate::engine) fn of(
    op: &Op,
    dims: &[Dim],
    to: &Shape,
    from: &[Shape],
) -> Option<Rearrange> {
    let first = from.first()?;
    let rank = to.axes.rank();
    let of_first = |axis: usize, map: &dyn Fn(usize, usize) -> Option<usize>| {
        let place = |place: usize| map(axis, place).map(|place| (0, place));
        (0..to.axes.length(axis)).map(place).collect::<Vec<_>>()
    };
    let all = |map: &dyn Fn(usize, usize) -> Option<usize>| {
        let maps = (0..rank).map(|axis| of_first(axis, map));
        maps.collect::<Vec<_>>()
    };
    let own: Vec<usize> = (0..rank).collect();
    let rearranged = match op {
        Op::Reshape => {
            let axes = first.axes.reshaped(dims)?;
            if !axes.is_like(&to.axes) || axes.channels() != first.channels {
                return None;
            }
            let whole = |length: usize| (0..length).map(Some).collect();
            Rearrange {
                channels: (0..to.channels).map(|channel| Some((0, channel))).collect(),
                rows: whole(to.rows),
                columns: whole(to.columns),
                in_order: to.size() != first.size(),
                beside: Vec::new(),
            }
        }
        Op::Permute { axes } => by_axes(to, from, axes, &all(&|_, place| Some(place)))?,
        Op::Expand if first.axes.rank() == rank => {
            let repeated = |axis: usize, place: usize| match first.axes.length(axis) {
                1 => Some(0),
                _ => Some(place),
            };
            by_axes(to, from, &own, &all(&repeated))?
        }
        Op::Slice { ranges } => {
            if ranges.first() != Some(&(0, None, 1)) || ranges.len() != rank {
                return None;
            }
            let part = |axis: usize, place: usize| {
                let (start, _, step) = ranges[axis];
                Some(start + place * step)
            };
            by_axes(to, from, &own, &all(&part))?
        }
        Op::Pad { padding, value } => {
            if *value != 0.0 || padding.first() != Some(&(0, 0)) || padding.len() != rank {
                return None;
            }
            let inner = |axis: usize, place: usize| {
                let place = place.checked_sub(padding[axis].0);
                place.filter(|&place| place < first.axes.length(axis))
            };
            by_axes(to, from, &own, &all(&inner))?
        }
        Op::Concatenate { axis } if *axis > 0 && *axis < rank => {
            if to.axes.role(*axis) != Role::Channel {
                let beside = beside(*axis, to, from)?;
                return beside.keeps_planes(to.kind.unit()).then_some(beside);
            }
            if from.iter().any(|shape| shape.size() != to.size()) {
                return None;
            }
            let mut maps = all(&|_, place| Some(place));
            let parts = from.iter().enumerate().flat_map(|(operand, shape)| {
                (0..shape.axes.length(*axis)).map(move |place| Some((operand, place)))
            });
            maps[*axis] = parts.collect();
            by_axes(to, from, &own, &maps)?
        }
        Op::UpsampleNearest if first.axes.rank() == 4 && rank == 4 => {
            let nearest = |axis: usize, place: usize| match axis {
                2 | 3 => Some(place * first.axes.length(axis) / to.axes.length(axis)),
                _ => Some(place),
            };
            by_axes(to, from, &own, &all(&nearest))?
        }
        _ => return None,
    };
    let inside = rearranged
        .channels
        .iter()
        .flatten()
        .all(|&(operand, channel)| {
            from.get(operand)
                .is_some_and(|shape| channel < shape.channels)
        })
        && (rearranged.in_order
            || (rearranged.rows.iter().flatten()).all(|&row| row < first.rows)
                && (rearranged.columns.iter().flatten()).all(|&column| column < first.columns));
    (inside && rearranged.keeps_planes(to.kind.unit())).then_some(rearranged)
}

// For each axis of the result, the operands' axis that it comes from, and for each place there operand and place.
fn by_axes(
    to: &Shape,
    from: &[Shape],
    axes: &[usize],
    maps: &[Vec<Option<(usize, usize)>>],
) -> Option<Rearrange> {
    let alike = |shape: &Shape| {
        shape.axes.rank() == axes.len()
            && (1..axes.len()).all(|axis| {
                let of = axes[axis];
                let one = shape.axes.length(of) == 1;
                one || (of > 0 && to.axes.role(axis) == shape.axes.role(of))
            })
    };
    if axes.first() != Some(&0) || !from.iter().all(alike) {
        return None;
    }
    // An axis of one element may be what it likes.
    let places = |role: Role| match to.axes.axis_of(role) {
        Some(axis) => maps[axis].iter().map(|of| of.map(|(_, at)| at)).collect(),
        None => vec![Some(0)],
    };
    let own = to.axes.channel_axes();
    let channel = |place: Vec<usize>| {
        let mut operand = 0;
        // By axis of the operand.
        let mut at = vec![0; axes.len()];
        for (&axis, place) in own.iter().zip(place) {
            let (of, place) = maps[axis][place]?;
            operand = operand.max(of);
            at[axes[axis]] = place;
        }
        let from = &from[operand].axes;
        let channels = from.channel_axes().into_iter();
        let channel = channels.fold(0, |all, axis| all * from.length(axis) + at[axis]);
        Some((operand, channel))
    };
    Some(Rearrange {
        channels: to.axes.channel_places().into_iter().map(channel).collect(),
        rows: places(Role::Row),
        columns: places(Role::Column),
        in_order: false,
        beside: Vec::new(),
    })
}

// Operands one after the other along rows or columns.
fn beside(axis: usize, to: &Shape, from: &[Shape]) -> Option<Rearrange> {
    let own: Vec<usize> = (0..to.axes.rank()).collect();
    let mut start = 0;
    let mut parts = from.iter().map(|shape| {
        let length = shape.axes.length(axis);
        let maps = own.iter().map(|&of| {
            let place = |place: usize| {
                let own = match of == axis {
                    true => place.checked_sub(start).filter(|&own| own < length),
                    false => Some(place),
                };
                own.map(|own| (0, own))
            };
            (0..to.axes.length(of)).map(place).collect()
        });
        let maps: Vec<_> = maps.collect();
        start += length;
        let part = by_axes(to, std::slice::from_ref(shape), &own, &maps)?;
        (shape.channels == to.channels).then_some(part)
    });
    let mut first = parts.next()??;
    for part in parts {
        let part = part?;
        first.beside.push([part.rows, part.columns]);
    }
    Some(first)
}

/// Lets nodes read through movements that leave all in place: tensors whose axes have another order lie alike.
pub(in crate::engine) fn look_through(nodes: &mut [FusedNode], model: &Viewed) {
    for index in 0..nodes.len() {
        let (before, rest) = nodes.split_at_mut(index);
        let node = &mut rest[0];
        if !node.is_on_blocks() {
            continue;
        }
        for input in &mut node.inputs {
            let source = before
                .iter()
                .find(|source| *input == Value::Node(source.output));
            let Some(FusedNode {
                work: NodeWork::Rearrange(rearrange),
                inputs,
                ..
            }) = source
            else {
                continue;
            };
            let shapes = [*input, inputs[0]].map(|value| Shape::of(model, value));
            if let ([Some(to), Some(from)], [source]) = (shapes, &inputs[..])
                && to.lies_like(&from)
                && rearrange.is_identity()
            {
                *input = *source;
            }
        }
    }
}

/// Movements of movements become one each.
pub(in crate::engine) fn join(nodes: &mut [FusedNode], model: &Viewed) {
    for index in 0..nodes.len() {
        let (before, rest) = nodes.split_at_mut(index);
        let node = &mut rest[0];
        let (NodeWork::Rearrange(second), [input]) = (&node.work, &node.inputs[..]) else {
            continue;
        };
        let source = before
            .iter()
            .find(|source| *input == Value::Node(source.output));
        let Some(source) = source else { continue };
        let NodeWork::Rearrange(first) = &source.work else {
            continue;
        };
        let moves = |of: &Rearrange| !of.in_order && of.beside.is_empty();
        if !moves(first) || !moves(second) {
            continue;
        }
        let joined = second.after(first);
        let shape = Shape::of(model, Value::Node(node.output));
        if shape.is_some_and(|shape| joined.keeps_planes(shape.kind.unit())) {
            node.work = NodeWork::Rearrange(joined);
            node.inputs.clone_from(&source.inputs);
        }
    }
}

impl Rearrange {
    // Whether all elements of one operand stay, if it has as many.
    fn is_identity(&self) -> bool {
        let stays = |map: &[Option<usize>]| map.iter().enumerate().all(|(at, of)| *of == Some(at));
        let mut channels = self.channels.iter().enumerate();
        let alike = channels.all(|(channel, of)| *of == Some((0, channel)));
        !self.in_order
            && self.beside.is_empty()
            && alike
            && stays(&self.rows)
            && stays(&self.columns)
    }

    /// Whether some elements come from nowhere.
    pub fn makes_zeros(&self) -> bool {
        self.channels.contains(&None)
            || [&self.rows, &self.columns]
                .iter()
                .any(|m| m.contains(&None))
    }

    /// Whether each plane of the result is one of an operand's, or empty.
    pub fn keeps_planes(&self, unit: usize) -> bool {
        self.channels.chunks(unit).all(|group| {
            let first = group[0];
            group
                .iter()
                .enumerate()
                .all(|(place, channel)| match (first, channel) {
                    (None, None) => true,
                    (Some((operand, start)), Some((other, channel))) => {
                        operand == *other && start % unit == 0 && *channel == start + place
                    }
                    _ => false,
                })
        })
    }

    // Of one operand, which the first has made.
    fn after(&self, first: &Self) -> Self {
        let places = |second: &[Option<usize>], first: &[Option<usize>]| {
            let place = |place: &Option<usize>| place.and_then(|place| first[place]);
            second.iter().map(place).collect()
        };
        let channel = |from: &Option<(usize, usize)>| from.and_then(|(_, c)| first.channels[c]);
        Self {
            channels: self.channels.iter().map(channel).collect(),
            rows: places(&self.rows, &first.rows),
            columns: places(&self.columns, &first.columns),
            in_order: false,
            beside: Vec::new(),
        }
    }
}

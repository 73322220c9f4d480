//! Movements of elements, as maps of channels, rows and columns.

use super::node::{FusedNode, NodeWork, Rearrange};
use super::shape::Shape;
use crate::network::Network;
use crate::network::{Dim, Op, Value};

/// What an operation moves where; none of one that does something else, or tears planes apart.
pub(in crate::engine) fn of(op: &Op, dims: &[Dim], to: Shape, from: &[Shape]) -> Option<Rearrange> {
    let first = from.first()?;
    let same = |length: usize| (0..length).map(Some).collect::<Vec<_>>();
    let of_first = |channels: Vec<Option<usize>>| -> Vec<Option<(usize, usize)>> {
        channels.into_iter().map(|c| c.map(|c| (0, c))).collect()
    };
    let rank = dims.len();
    // The axes of channels, rows and columns.
    let axes = match rank {
        2 => [Some(1), None, None],
        3 => [Some(1), None, Some(2)],
        4 => [Some(1), Some(2), Some(3)],
        _ => return None,
    };
    let lengths = [to.channels, to.rows, to.columns];
    let mut maps = lengths.map(same);
    let rearranged = match op {
        Op::Reshape => {
            let alike = (to.channels, to.rows * to.columns)
                == (first.channels, first.rows * first.columns)
                && (to.rows, to.columns) == (first.rows, first.columns);
            if !alike {
                return None;
            }
            let [channels, rows, columns] = maps;
            Rearrange {
                channels: of_first(channels),
                rows,
                columns,
            }
        }
        Op::Slice { ranges } => {
            for (map, axis) in maps.iter_mut().zip(axes) {
                let Some(axis) = axis else { continue };
                let (start, _, step) = *ranges.get(axis)?;
                *map = (0..map.len())
                    .map(|place| Some(start + place * step))
                    .collect();
            }
            if ranges[0] != (0, None, 1) {
                return None;
            }
            let [channels, rows, columns] = maps;
            Rearrange {
                channels: of_first(channels),
                rows,
                columns,
            }
        }
        Op::Pad { padding, value } => {
            if *value != 0.0 || padding.first() != Some(&(0, 0)) {
                return None;
            }
            let sizes = [first.channels, first.rows, first.columns];
            for ((map, axis), size) in maps.iter_mut().zip(axes).zip(sizes) {
                let Some(axis) = axis else { continue };
                let (before, _) = *padding.get(axis)?;
                let inner = |place: usize| place.checked_sub(before).filter(|&place| place < size);
                *map = (0..map.len()).map(inner).collect();
            }
            let [channels, rows, columns] = maps;
            Rearrange {
                channels: of_first(channels),
                rows,
                columns,
            }
        }
        Op::Concatenate { axis: 1 } => {
            let channels = from.iter().enumerate().flat_map(|(operand, shape)| {
                (0..shape.channels).map(move |channel| Some((operand, channel)))
            });
            let alike = from
                .iter()
                .all(|shape| (shape.rows, shape.columns) == (to.rows, to.columns));
            if !alike {
                return None;
            }
            let [_, rows, columns] = maps;
            Rearrange {
                channels: channels.collect(),
                rows,
                columns,
            }
        }
        Op::UpsampleNearest if rank == 4 => {
            let nearest = |length: usize, size: usize| -> Vec<Option<usize>> {
                (0..length)
                    .map(|place| Some(place * size / length))
                    .collect()
            };
            let [channels, ..] = maps;
            Rearrange {
                channels: of_first(channels),
                rows: nearest(to.rows, first.rows),
                columns: nearest(to.columns, first.columns),
            }
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
        && rearranged
            .rows
            .iter()
            .flatten()
            .all(|&row| row < first.rows)
        && rearranged
            .columns
            .iter()
            .flatten()
            .all(|&column| column < first.columns);
    (inside && rearranged.keeps_planes(to.kind.unit())).then_some(rearranged)
}

/// Movements of movements become one each.
pub(in crate::engine) fn join(nodes: &mut [FusedNode], model: &Network) {
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
        let joined = second.after(first);
        let shape = Shape::of(model, Value::Node(node.output));
        if shape.is_some_and(|shape| joined.keeps_planes(shape.kind.unit())) {
            node.work = NodeWork::Rearrange(joined);
            node.inputs.clone_from(&source.inputs);
        }
    }
}

impl Rearrange {
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
        }
    }
}

//! Movements of any kind, several in a row as one: for each place of the result, where its element comes from.

use std::collections::HashMap;

use super::lowering::{Lowering, order};
use super::node::{Assemble, NodeWork, Pattern, Rearrange};
use super::shape::Shape;
use crate::format::Scheme;
use crate::network::{Dim, FloatOp, Grid, Op, Operand, Step, StepOp, Value, execute_alone};

/// Elements of all patterns of a movement: of more, it runs plainly.
const PATTERNS: usize = 1 << 22;

/// Channels of one place each: more are planes of which vector blocks waste all lanes but one.
const FLAT: usize = 1024;

/// The elements of a tensor by number, those of all roots in turn from 1 on; 0: the fill.
struct Trace<'a, 'm> {
    lowering: &'a Lowering<'m>,
    kind: usize,
    // Whether channels must be in front.
    images: bool,
    roots: Vec<(Value, Shape, usize)>,
    next: usize,
    fill: Option<f32>,
}

/// What a step moves where, through other movements that nothing else needs; none of one that vector blocks
/// cannot hold. `images`: only where channels are in front of all tensors.
pub(in crate::engine) fn of<'m>(
    lowering: &Lowering<'m>,
    index: usize,
    images: bool,
) -> Option<(NodeWork<'m>, Vec<Value>)> {
    let to = Shape::of(lowering.model, Value::Node(index))?;
    if images {
        lowering.images(Value::Node(index))?;
    }
    if [to.rows, to.columns] == [1, 1] && to.channels > FLAT {
        return None;
    }
    let mut trace = Trace {
        lowering,
        kind: to.kind.unit(),
        images,
        roots: Vec::new(),
        next: 1,
        fill: None,
    };
    let mut numbers = trace.value(Value::Node(index), true)?;
    if let Some(order) = order(&to.axes) {
        numbers = order.iter().map(|&at| numbers[at]).collect();
    }
    let inputs = trace.roots.iter().map(|(value, ..)| *value).collect();
    let mut assemble = trace.patterns(&numbers, &to)?;
    assemble.fill = trace.fill.unwrap_or(0.0);
    let work = match assemble.as_rearrange(&to) {
        Some(rearrange) => NodeWork::Rearrange(rearrange),
        None => NodeWork::Assemble(assemble),
    };
    Some((work, inputs))
}

/// Whether one of a movement's operands is best taken from what that was made of.
pub(in crate::engine) fn looks_through(lowering: &Lowering<'_>, step: &Step) -> bool {
    step.inputs.iter().any(|&value| {
        movement(lowering, value).is_some()
            && (Shape::of(lowering.model, value).is_none() || lowering.is_used_once(value))
    })
}

// The step of a value that only moves elements.
fn movement<'m>(lowering: &Lowering<'m>, value: Value) -> Option<&'m Step> {
    let Value::Node(index) = value else {
        return None;
    };
    let step = &lowering.model.steps()[index];
    match &step.op {
        StepOp::Move(Op::MaxPool { .. }) => None,
        StepOp::Move(_) => Some(step),
        StepOp::Float(Op::Float(FloatOp::Select { .. })) => Some(step),
        _ => None,
    }
}

impl Trace<'_, '_> {
    fn value(&mut self, value: Value, first: bool) -> Option<Vec<i32>> {
        let model = self.lowering.model;
        let shape = Shape::of(model, value);
        let through = first || shape.is_none() || self.lowering.is_used_once(value);
        let step = movement(self.lowering, value).filter(|_| through);
        let Some(step) = step else {
            return self.root(value, shape?);
        };
        let operands: Option<Vec<_>> = (step.inputs.iter())
            .map(|&input| Some((self.value(input, false)?, lengths(&model.dims(input)))))
            .collect();
        let operands = operands?;
        let dims = lengths(&step.dims);
        match &step.op {
            StepOp::Float(Op::Float(FloatOp::Select { axis, indices })) => {
                let (numbers, from) = operands.first()?;
                Some(selected(numbers, from, *axis, indices))
            }
            StepOp::Move(op) => {
                if let Op::Pad { value, .. } = op {
                    // One number alone can come from nowhere.
                    if self
                        .fill
                        .is_some_and(|fill| fill.to_bits() != value.to_bits())
                    {
                        return None;
                    }
                    self.fill = Some(*value);
                }
                let grid = Grid::new(Scheme::symmetric(8).ok()?, 1.0, 0).ok()?;
                let views = operands.iter();
                let views = views.map(|(of, dims)| Operand::of_codes(dims.clone(), grid, of));
                let views: Vec<Operand<'_>> = views.collect();
                match execute_alone(step, &views, &dims).ok()? {
                    crate::network::Elements::Codes(numbers) => Some(numbers),
                    crate::network::Elements::Values(_) => None,
                }
            }
            _ => None,
        }
    }

    fn root(&mut self, value: Value, shape: Shape) -> Option<Vec<i32>> {
        if shape.kind.unit() != self.kind {
            return None;
        }
        if self.images {
            self.lowering.images(value)?;
        }
        let count = shape.channels * shape.rows * shape.columns;
        let known = self.roots.iter().find(|(known, ..)| *known == value);
        let first = match known {
            Some(&(_, _, first)) => first,
            None => {
                self.roots.push((value, shape, self.next));
                self.next += count;
                self.next - count
            }
        };
        let end = i32::try_from(first + count).ok()?;
        let first = end - count as i32;
        let mut numbers: Vec<i32> = (first..end).collect();
        if let Some(order) = order(&shape.axes) {
            (first..)
                .zip(order)
                .for_each(|(number, at)| numbers[at] = number);
        }
        Some(numbers)
    }

    // By channel of the result, the places that it comes from.
    fn patterns(&self, numbers: &[i32], to: &Shape) -> Option<Assemble> {
        let plane = to.rows * to.columns;
        let mut known: HashMap<Pattern, usize> = HashMap::new();
        let mut channels = Vec::new();
        for numbers in numbers.chunks_exact(plane.max(1)) {
            let mut sources: Vec<(usize, usize)> = Vec::new();
            let mut places: HashMap<(usize, usize), usize> = HashMap::new();
            let mut latest = None;
            let mut pattern = Vec::with_capacity(plane);
            for &number in numbers {
                let Some(root) = self.root_of(number) else {
                    pattern.push(None);
                    continue;
                };
                let (_, shape, first) = &self.roots[root];
                let (element, each) = (number as usize - first, shape.rows * shape.columns);
                let source = (root, element / each);
                let slot = match latest {
                    Some((known, slot)) if known == source => slot,
                    _ => *places.entry(source).or_insert_with(|| {
                        sources.push(source);
                        sources.len() - 1
                    }),
                };
                latest = Some((source, slot));
                pattern.push(Some((slot as u32, (element % each) as u32)));
            }
            let next = known.len();
            let index = *known.entry(pattern).or_insert(next);
            if known.len() * plane > PATTERNS {
                return None;
            }
            channels.push((index, sources));
        }
        let mut patterns = vec![Vec::new(); known.len()];
        known
            .into_iter()
            .for_each(|(pattern, index)| patterns[index] = pattern);
        let shapes = self
            .roots
            .iter()
            .map(|(_, shape, _)| [shape.rows, shape.columns]);
        Some(Assemble {
            patterns,
            channels,
            operands: shapes.collect(),
            fill: 0.0,
        })
    }

    fn root_of(&self, number: i32) -> Option<usize> {
        let number = usize::try_from(number).ok().filter(|&number| number > 0)?;
        let after = self.roots.partition_point(|(_, _, first)| *first <= number);
        after.checked_sub(1)
    }
}

impl Assemble {
    // Planes that are others' rows and columns at other places.
    fn as_rearrange(&self, to: &Shape) -> Option<Rearrange> {
        if self.fill != 0.0 {
            return None;
        }
        let mut some = self
            .channels
            .iter()
            .filter(|(_, sources)| !sources.is_empty());
        let (first, sources) = some.next()?;
        if sources.len() > 1 || some.any(|(index, sources)| index != first || sources.len() > 1) {
            return None;
        }
        let pattern = &self.patterns[*first];
        // Operands of several sizes have rows and columns of their own.
        let size = self.operands[sources[0].0];
        let at = |row: usize, column: usize| {
            let place = pattern[row * to.columns + column];
            place.map(|(_, place)| [place as usize / size[1], place as usize % size[1]])
        };
        // A row and a column that come from somewhere tell where all do.
        let place = pattern.iter().position(Option::is_some)?;
        let (row, column) = (place / to.columns, place % to.columns);
        let rows: Vec<_> = (0..to.rows).map(|row| Some(at(row, column)?[0])).collect();
        let columns: Vec<_> = (0..to.columns)
            .map(|column| Some(at(row, column)?[1]))
            .collect();
        let mut places =
            (0..to.rows).flat_map(|row| (0..to.columns).map(move |column| [row, column]));
        let separable = places.all(|[row, column]| {
            let expected = rows[row]
                .zip(columns[column])
                .map(|(row, column)| [row, column]);
            at(row, column) == expected
        });
        let same = (self.channels.iter())
            .flat_map(|(_, sources)| sources)
            .all(|&(operand, _)| self.operands[operand] == size);
        let rearrange = Rearrange {
            channels: (self.channels.iter())
                .map(|(_, sources)| sources.first().copied())
                .collect(),
            rows,
            columns,
            in_order: false,
            beside: Vec::new(),
        };
        let fits = separable && same && rearrange.keeps_planes(to.kind.unit());
        fits.then_some(rearrange)
    }
}

fn lengths(dims: &[Dim]) -> Vec<usize> {
    dims.iter().map(|dim| dim.at(1)).collect()
}

fn selected(numbers: &[i32], from: &[usize], axis: usize, indices: &[usize]) -> Vec<i32> {
    let inner: usize = from[axis + 1..].iter().product();
    let blocks = numbers.chunks_exact((from[axis] * inner).max(1));
    let rows = blocks.flat_map(|block| {
        (indices.iter()).flat_map(move |index| &block[index * inner..(index + 1) * inner])
    });
    rows.copied().collect()
}

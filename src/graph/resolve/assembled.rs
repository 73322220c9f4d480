//! Tensors that a pass fills part by part, as recurrent layers do with their results.

use burn_ir::{SliceAssignOpIr, TensorId, TensorIr};

use super::{ConstantValue, Known, Resolver};
use crate::graph::GraphError;
use crate::graph::node::Epilogue;
use crate::network::{Dim, Op, Value};

/// A tensor that the pass made itself, and the parts of it that were given later.
#[derive(Clone)]
pub(super) struct Assembled {
    base: ConstantValue,
    /// The one axis along which parts lie.
    axis: usize,
    /// First element, elements, what is there; by their places, none on another.
    parts: Vec<(usize, usize, Value)>,
}

impl Resolver<'_> {
    /// Whether the operation gives a part of a tensor that the pass made itself.
    pub(super) fn assigned(&mut self, op: &SliceAssignOpIr) -> Result<bool, GraphError> {
        let dims = self.dims(&op.out);
        let Some((axis, start, length)) = self.part(op, &dims) else {
            return Ok(false);
        };
        let assembled = match self.known.get(&op.tensor.id) {
            Some(Known::Assembled(known)) if known.axis == axis => Some(known.clone()),
            _ => self.held(&op.tensor)?.map(|base| Assembled {
                base,
                axis,
                parts: Vec::new(),
            }),
        };
        let value = self.value(&op.value)?;
        let Some(mut assembled) = assembled else {
            return Ok(false);
        };
        let place = assembled.parts.partition_point(|part| part.0 < start);
        let before = place.checked_sub(1).map(|before| assembled.parts[before]);
        let free = before.is_none_or(|(first, count, _)| first + count <= start);
        match assembled.parts.get(place) {
            Some(part) if (part.0, part.1) == (start, length) => {
                assembled.parts[place].2 = value;
            }
            Some(part) if part.0 < start + length => return Ok(false),
            _ if !free => return Ok(false),
            _ => assembled.parts.insert(place, (start, length, value)),
        }
        self.known.insert(op.out.id, Known::Assembled(assembled));
        Ok(true)
    }

    // The one axis that is not whole, first element and elements of the part.
    fn part(&self, op: &SliceAssignOpIr, dims: &[Dim]) -> Option<(usize, usize, usize)> {
        let lengths = |tensor: &TensorIr| tensor.shape.as_slice().to_vec();
        let (whole, part) = (lengths(&op.out), lengths(&op.value));
        let mut cut = (0..whole.len()).filter(|&axis| whole[axis] != part[axis]);
        // A part that is all of the tensor lies along any axis that does not grow.
        let fixed = |axis: &usize| matches!(dims[*axis], Dim::Fixed(_));
        let axis = cut.next().or_else(|| (0..whole.len()).find(fixed))?;
        if cut.next().is_some() || !fixed(&axis) {
            return None;
        }
        let range = op.ranges.get(axis);
        let start = range.map_or(Some(0), |range| usize::try_from(range.start).ok())?;
        let step = range.map_or(1, |range| range.step);
        (step == 1 && start + part[axis] <= whole[axis]).then_some((axis, start, part[axis]))
    }

    /// The tensor as a node: its parts one after the other.
    pub(super) fn place_assembled(
        &mut self,
        id: TensorId,
        known: Assembled,
    ) -> Result<Value, GraphError> {
        let Assembled { base, axis, parts } = known;
        let Dim::Fixed(length) = base.dims[axis] else {
            return Err(self.unsupported("a tensor filled along the batch".to_string()));
        };
        let mut inputs = Vec::new();
        let mut at = 0;
        for (start, count, value) in parts {
            self.gap(&base, axis, (at, start), &mut inputs)?;
            inputs.push(value);
            at = start + count;
        }
        self.gap(&base, axis, (at, length), &mut inputs)?;
        let value = match inputs.as_slice() {
            [value] => *value,
            _ => {
                let concatenate = Op::Concatenate { axis };
                self.push(concatenate, inputs, Epilogue::default(), base.dims)?
            }
        };
        self.known.insert(id, Known::Value(value));
        Ok(value)
    }

    // What nothing was given for.
    fn gap(
        &mut self,
        base: &ConstantValue,
        axis: usize,
        (from, to): (usize, usize),
        inputs: &mut Vec<Value>,
    ) -> Result<(), GraphError> {
        if from == to {
            return Ok(());
        }
        let mut dims = base.dims.clone();
        dims[axis] = Dim::Fixed(to - from);
        let mut stored = base.stored.clone();
        stored[axis] = stored[axis].min(to - from);
        let of = ConstantValue::build(dims.clone(), stored, |index| {
            let mut index = index.to_vec();
            index[axis] += from;
            base.at(&index)
        });
        let (lengths, values) = of.full();
        let mut value = self.constant(lengths, &values);
        if dims.iter().any(|dim| matches!(dim, Dim::Batch(_))) {
            value = self.push(Op::Expand, vec![value], Epilogue::default(), dims)?;
        }
        inputs.push(value);
        Ok(())
    }
}

//! Operations that move elements.

use burn::tensor::Slice;
use burn_ir::{BaseOperationIr, MaskFillOpIr, MaskWhereOpIr, OperationIr, SelectOpIr, TensorIr};
use burn_ir::{RepeatDimOpIr, SliceOpIr};

use super::{ConstantValue, Resolver};
use crate::graph::GraphError;
use crate::graph::node::Epilogue;
use crate::network::{Binary, Dim, Op};

impl Resolver<'_> {
    /// Whether the operation is one of the graph's. The other recording's tells what grows.
    pub(super) fn base(
        &mut self,
        op: &BaseOperationIr,
        other: &OperationIr,
    ) -> Result<bool, GraphError> {
        match op {
            BaseOperationIr::Reshape(op) => self.unless_same(Op::Reshape, &op.input, &op.out)?,
            BaseOperationIr::Expand(op) => self.unless_same(Op::Expand, &op.input, &op.out)?,
            BaseOperationIr::SwapDims(op) => {
                let mut axes: Vec<usize> = (0..op.out.shape.as_slice().len()).collect();
                axes.swap(op.dim1, op.dim2);
                self.permute(axes, &op.input, &op.out)?;
            }
            BaseOperationIr::Permute(op) => self.permute(op.axes.clone(), &op.input, &op.out)?,
            BaseOperationIr::Slice(op) => return self.slice(op, other),
            BaseOperationIr::Cat(op) => {
                let inputs: Result<Vec<_>, _> = op.tensors.iter().map(|t| self.value(t)).collect();
                self.node(Op::Concatenate { axis: op.dim }, inputs?, &op.out)?;
            }
            BaseOperationIr::RepeatDim(op) => self.repeat(op, other)?,
            BaseOperationIr::Cast(op) if op.input.dtype == op.out.dtype => {
                let value = self.value(&op.input)?;
                self.bind(&op.out, value);
            }
            BaseOperationIr::MaskFill(op) => return self.mask_fill(op),
            BaseOperationIr::MaskWhere(op) => return self.mask_where(op),
            BaseOperationIr::Select(op) => return self.select(op),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn unless_same(&mut self, op: Op, input: &TensorIr, out: &TensorIr) -> Result<(), GraphError> {
        let value = self.value(input)?;
        if self.dims(input) == self.dims(out) {
            self.bind(out, value);
            return Ok(());
        }
        self.node(op, vec![value], out)
    }

    fn permute(
        &mut self,
        axes: Vec<usize>,
        input: &TensorIr,
        out: &TensorIr,
    ) -> Result<(), GraphError> {
        let value = self.value(input)?;
        if axes.iter().copied().eq(0..axes.len()) {
            self.bind(out, value);
            return Ok(());
        }
        self.node(Op::Permute { axes }, vec![value], out)
    }

    fn slice(&mut self, op: &SliceOpIr, other: &OperationIr) -> Result<bool, GraphError> {
        let (OperationIr::BaseFloat(BaseOperationIr::Slice(other))
        | OperationIr::BaseBool(BaseOperationIr::Slice(other))) = other
        else {
            return Ok(false);
        };
        let dims = self.dims(&op.tensor);
        let lengths = |op: &SliceOpIr| op.tensor.shape.as_slice().to_vec();
        let (lengths, others) = (lengths(op), lengths(other));
        let mut ranges = Vec::new();
        for (axis, (one, two)) in op.ranges.iter().zip(&other.ranges).enumerate() {
            let bounds = |slice: &Slice, length: usize| {
                let end = slice
                    .end
                    .map_or(Some(length), |end| usize::try_from(end).ok());
                Some((usize::try_from(slice.start).ok()?, end?.min(length)))
            };
            let ends = (bounds(one, lengths[axis]), bounds(two, others[axis]));
            let (Some((start, end)), Some(other)) = ends else {
                return Ok(false);
            };
            let Ok(step @ 1..) = usize::try_from(one.step) else {
                return Ok(false); // from the end to the start
            };
            let whole = end == lengths[axis] && other.1 == others[axis];
            let end = match dims[axis] {
                Dim::Batch(_) if whole => None,
                // As many as there are in a batch of one.
                Dim::Batch(each) if end <= each => Some(end),
                Dim::Fixed(_) => Some(end),
                Dim::Batch(_) => return Err(self.varies("it takes a part of the batch".into())),
            };
            if (start, one.step) != (other.0, two.step) || end.is_some_and(|end| end != other.1) {
                return Err(self.varies("a slice that moves with the batch".into()));
            }
            ranges.push((start, end, step));
        }
        // The axes left out are whole.
        for dim in &dims[ranges.len()..] {
            ranges.push(match dim {
                Dim::Fixed(length) => (0, Some(*length), 1),
                Dim::Batch(_) => (0, None, 1),
            });
        }
        self.unless_same(Op::Slice { ranges }, &op.tensor, &op.out)?;
        Ok(true)
    }

    fn repeat(&mut self, op: &RepeatDimOpIr, other: &OperationIr) -> Result<(), GraphError> {
        let times = match other {
            OperationIr::BaseFloat(BaseOperationIr::RepeatDim(other))
            | OperationIr::BaseBool(BaseOperationIr::RepeatDim(other)) => other.times,
            _ => op.times,
        };
        if self.dims(&op.tensor)[op.dim] == Dim::Fixed(1) {
            return self.unless_same(Op::Expand, &op.tensor, &op.out);
        }
        if times != op.times {
            return Err(self.varies("repeated a number of times that grows".to_string()));
        }
        let value = self.value(&op.tensor)?;
        if times == 1 {
            self.bind(&op.out, value);
            return Ok(());
        }
        self.node(
            Op::Concatenate { axis: op.dim },
            vec![value; times],
            &op.out,
        )
    }

    // With a mask that the pass made itself: `x keep + fill`.
    fn mask_fill(&mut self, op: &MaskFillOpIr) -> Result<bool, GraphError> {
        let Some(mask) = self.held(&op.mask)? else {
            return Ok(false);
        };
        let value: f64 = op.value.elem();
        let filled = mask.map(|set| if set != 0.0 { value } else { 0.0 });
        let filled = self.constant(filled.stored, &filled.values);
        self.masked(&mask, &op.tensor, filled, &op.out)?;
        Ok(true)
    }

    fn mask_where(&mut self, op: &MaskWhereOpIr) -> Result<bool, GraphError> {
        let Some(mask) = self.held(&op.mask)? else {
            return Ok(false);
        };
        let values = self.broadcast(&op.value)?;
        let chosen = self.constant(mask.stored.clone(), &mask.values);
        let dims = self.dims(&op.out);
        let multiply = Op::Binary(Binary::Multiply);
        let filled = self.push(multiply, vec![values, chosen], Epilogue::default(), dims)?;
        self.masked(&mask, &op.tensor, filled, &op.out)?;
        Ok(true)
    }

    fn masked(
        &mut self,
        mask: &ConstantValue,
        tensor: &TensorIr,
        filled: crate::network::Value,
        out: &TensorIr,
    ) -> Result<(), GraphError> {
        if mask.single() == Some(0.0) {
            let value = self.value(tensor)?;
            self.bind(out, value);
            return Ok(());
        }
        let keep = mask.map(|set| if set != 0.0 { 0.0 } else { 1.0 });
        let keep = self.constant(keep.stored, &keep.values);
        let tensor = self.broadcast(tensor)?;
        let dims = self.dims(out);
        let multiply = Op::Binary(Binary::Multiply);
        let kept = self.push(multiply, vec![tensor, keep], Epilogue::default(), dims)?;
        self.node(Op::Binary(Binary::Add), vec![kept, filled], out)
    }

    // At indices that the pass made itself, one step apart.
    fn select(&mut self, op: &SelectOpIr) -> Result<bool, GraphError> {
        let Some(indices) = self.held(&op.indices)? else {
            return Ok(false);
        };
        let dims = self.dims(&op.tensor);
        let (_, indices) = indices.full();
        let step = match indices.as_slice() {
            [first, second, ..] => second - first,
            _ => 1.0,
        };
        let even = indices.windows(2).all(|pair| pair[1] - pair[0] == step);
        let (Some(first), Some(last)) = (indices.first(), indices.last()) else {
            return Ok(false);
        };
        if !even || step < 1.0 || *first < 0.0 || !matches!(dims[op.dim], Dim::Fixed(_)) {
            return Ok(false);
        }
        let ranges = dims.iter().enumerate().map(|(axis, dim)| match dim {
            Dim::Fixed(_) if axis == op.dim => {
                (*first as usize, Some(*last as usize + 1), step as usize)
            }
            Dim::Fixed(length) => (0, Some(*length), 1),
            Dim::Batch(_) => (0, None, 1),
        });
        let ranges = ranges.collect();
        self.unless_same(Op::Slice { ranges }, &op.tensor, &op.out)?;
        Ok(true)
    }
}

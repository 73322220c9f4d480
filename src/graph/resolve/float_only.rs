//! Operations without an integer form, where the capture lets them stay in float. A tensor of booleans
//! that depends on the input is a float tensor of ones and zeros here.

use burn_ir::{
    ActivationOperationIr, BaseOperationIr, BinaryOpIr, BoolOperationIr, DimOpIr, FloatOperationIr,
    NumericOperationIr, OperationIr, PadModeIr, ReduceOpIr, ScalarIr, SliceOpIr, TensorIr,
};

use super::{ConstantValue, Resolver, compare};
use crate::graph::node::Epilogue;
use crate::graph::{Fallback, GraphError};
use crate::network::{Binary, Dim, FloatOp, Op, Unary, Value};

impl Resolver<'_> {
    /// Whether the operation is one of [`FloatOp`]'s, or one on its masks. Fails where it is and the
    /// capture refuses it.
    pub(super) fn float_only(
        &mut self,
        one: &OperationIr,
        other: &OperationIr,
    ) -> Result<bool, GraphError> {
        let done = match one {
            OperationIr::NumericFloat(_, op) => self.numeric_in_float(op)?,
            OperationIr::BaseFloat(op) => self.base_in_float(op)?,
            OperationIr::Float(_, FloatOperationIr::Powf(op)) => {
                if let Some(power) = self.held(&op.rhs)?.and_then(|held| held.single())
                    && self.dims(&op.lhs) == self.dims(&op.out)
                {
                    self.unary(&op.lhs, &[Unary::Power(power as f32)], &op.out)?;
                    return Ok(true);
                }
                self.compared(FloatOp::Power, op)?;
                true
            }
            OperationIr::Activation(ActivationOperationIr::LogSoftmax(op)) => {
                self.along(FloatOp::LogSoftmax { axis: op.axis }, op)?;
                true
            }
            OperationIr::BaseBool(op) => self.base(op, other)?,
            OperationIr::Bool(op) => self.logic(op)?,
            _ => false,
        };
        if done && self.fallback == Fallback::Refuse {
            return Err(GraphError::Unsupported {
                op: compare::name(one),
                layer: self.layer.clone(),
                place: self.place,
                in_float: true,
            });
        }
        Ok(done)
    }

    fn numeric_in_float(&mut self, op: &NumericOperationIr) -> Result<bool, GraphError> {
        use NumericOperationIr as From;
        match op {
            // With a number: see `mask`.
            From::Greater(op) => self.compared(FloatOp::Greater, op)?,
            From::GreaterEqual(op) => self.compared(FloatOp::GreaterEqual, op)?,
            From::Lower(op) => self.compared(FloatOp::Less, op)?,
            From::LowerEqual(op) => self.compared(FloatOp::LessEqual, op)?,
            From::MaxDim(op) if op.accumulator_len == 1 => {
                self.reduced(|axis| FloatOp::Max { axis }, &[op.axis], &op.input, &op.out)?
            }
            From::MinDim(op) if op.accumulator_len == 1 => {
                self.reduced(|axis| FloatOp::Min { axis }, &[op.axis], &op.input, &op.out)?
            }
            // Who uses the indices asks for a tensor of unknown origin.
            From::MaxDimWithIndices(op) => {
                self.reduced(|axis| FloatOp::Max { axis }, &[op.dim], &op.tensor, &op.out)?
            }
            From::MinDimWithIndices(op) => {
                self.reduced(|axis| FloatOp::Min { axis }, &[op.dim], &op.tensor, &op.out)?
            }
            From::ProdDim(op) if op.accumulator_len == 1 => self.reduced(
                |axis| FloatOp::Product { axis },
                &[op.axis],
                &op.input,
                &op.out,
            )?,
            From::Max(op) => self.over_all(|axis| FloatOp::Max { axis }, op)?,
            From::Min(op) => self.over_all(|axis| FloatOp::Min { axis }, op)?,
            From::Prod(op) => self.over_all(|axis| FloatOp::Product { axis }, op)?,
            From::CumSum(op) => self.along(FloatOp::CumulativeSum { axis: op.axis }, op)?,
            From::CumProd(op) => self.along(FloatOp::CumulativeProduct { axis: op.axis }, op)?,
            From::CumMax(op) => self.along(FloatOp::CumulativeMax { axis: op.axis }, op)?,
            From::CumMin(op) => self.along(FloatOp::CumulativeMin { axis: op.axis }, op)?,
            From::Sort(op) => self.sorted(op.dim, op.descending, &op.input, &op.out)?,
            From::SortWithIndices(op) => self.sorted(op.dim, op.descending, &op.input, &op.out)?,
            From::TopK(op) => return self.greatest(op.axis, &op.input, &op.out),
            From::TopKWithIndices(op) => return self.greatest(op.dim, &op.tensor, &op.out),
            From::Pad(op) => {
                let mut places = Vec::new();
                for (axis, &(before, after)) in op.padding.iter().enumerate() {
                    if (before, after) == (0, 0) {
                        continue;
                    }
                    let Dim::Fixed(length) = self.dims(&op.input)[axis] else {
                        return Ok(false);
                    };
                    // Burn takes no padding that reaches beyond the elements.
                    let last = length as isize - 1;
                    let place = |at: isize| match op.mode {
                        PadModeIr::Reflect => (last - (last - at.abs()).abs()).unsigned_abs(),
                        _ => at.clamp(0, last).unsigned_abs(),
                    };
                    let all = -(before as isize)..(length + after) as isize;
                    places.push((axis, all.map(place).collect()));
                }
                self.selected(places, &op.input, &op.out)?
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn base_in_float(&mut self, op: &BaseOperationIr) -> Result<bool, GraphError> {
        match op {
            BaseOperationIr::Equal(op) => self.compared(FloatOp::Equal, op)?,
            BaseOperationIr::NotEqual(op) => self.compared(FloatOp::NotEqual, op)?,
            BaseOperationIr::EqualElem(op) => {
                self.against(FloatOp::Equal, &op.lhs, op.rhs, &op.out)?
            }
            BaseOperationIr::NotEqualElem(op) => {
                self.against(FloatOp::NotEqual, &op.lhs, op.rhs, &op.out)?
            }
            BaseOperationIr::MaskFill(op) => {
                let fill = self.number(op.value, &op.out);
                let inputs = vec![self.broadcast(&op.tensor)?, self.broadcast(&op.mask)?, fill];
                self.node(Op::Float(FloatOp::Where), inputs, &op.out)?
            }
            BaseOperationIr::MaskWhere(op) => {
                let operands = [&op.tensor, &op.mask, &op.value];
                let inputs = operands.map(|tensor| self.broadcast(tensor));
                let inputs: Result<Vec<_>, _> = inputs.into_iter().collect();
                self.node(Op::Float(FloatOp::Where), inputs?, &op.out)?
            }
            BaseOperationIr::Flip(op) => {
                let mut places = Vec::new();
                for &axis in &op.axes {
                    let Dim::Fixed(length) = self.dims(&op.input)[axis] else {
                        return Ok(false);
                    };
                    places.push((axis, (0..length).rev().collect()));
                }
                self.selected(places, &op.input, &op.out)?
            }
            BaseOperationIr::Slice(op) => return self.slice_in_float(op),
            BaseOperationIr::Select(op) => {
                let Some(places) = self.places(&op.indices)? else {
                    return Ok(false);
                };
                if !matches!(self.dims(&op.tensor)[op.dim], Dim::Fixed(_)) {
                    return Ok(false);
                }
                let places = places
                    .full()
                    .1
                    .into_iter()
                    .map(|place| place as usize)
                    .collect();
                self.selected(vec![(op.dim, places)], &op.tensor, &op.out)?
            }
            BaseOperationIr::Gather(op) => {
                let Some(places) = self.places(&op.indices)? else {
                    return Ok(false);
                };
                let (dims, places) = places.full();
                let indices = self.constant(dims, &places);
                let inputs = vec![self.value(&op.tensor)?, indices];
                let gather = FloatOp::Gather { axis: op.dim };
                let operands = [self.graph.dims(inputs[0]), self.graph.dims(inputs[1])];
                if gather.dims(&operands).ok() != Some(self.dims(&op.out)) {
                    return Ok(false);
                }
                self.node(Op::Float(gather), inputs, &op.out)?
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    // Burn ends a slice that goes backwards where one that goes forwards would.
    fn slice_in_float(&mut self, op: &SliceOpIr) -> Result<bool, GraphError> {
        let dims = self.dims(&op.tensor);
        let mut places = Vec::new();
        for (axis, range) in op.ranges.iter().enumerate() {
            let Dim::Fixed(length) = dims[axis] else {
                if (range.start, range.step) == (0, 1) && self.dims(&op.out)[axis] == dims[axis] {
                    continue;
                }
                return Ok(false);
            };
            let end = range.end.map_or(Some(length), |end| end.try_into().ok());
            let (Ok(start), Some(end)) = (usize::try_from(range.start), end) else {
                return Ok(false);
            };
            let by = range.step.unsigned_abs();
            let end = end.min(length);
            let all = start..end;
            let chosen: Vec<usize> = match range.step < 0 {
                true => all.rev().step_by(by).collect(),
                false => all.step_by(by.max(1)).collect(),
            };
            if !chosen.iter().copied().eq(0..length) {
                places.push((axis, chosen));
            }
        }
        self.selected(places, &op.tensor, &op.out)?;
        Ok(true)
    }

    fn logic(&mut self, op: &BoolOperationIr) -> Result<bool, GraphError> {
        match op {
            BoolOperationIr::IntoFloat(op) => {
                let value = self.value(&op.input)?;
                self.bind(&op.out, value);
            }
            BoolOperationIr::Not(op) => {
                let functions = [Unary::MulScalar(-1.0), Unary::AddScalar(1.0)];
                self.unary(&op.input, &functions, &op.out)?;
            }
            BoolOperationIr::And(op) => {
                let inputs = vec![self.broadcast(&op.lhs)?, self.broadcast(&op.rhs)?];
                self.node(Op::Binary(Binary::Multiply), inputs, &op.out)?;
            }
            BoolOperationIr::Or(op) => {
                let inputs = vec![self.broadcast(&op.lhs)?, self.broadcast(&op.rhs)?];
                let dims = self.dims(&op.out);
                let sum = Op::Binary(Binary::Add);
                let sum = self.push(sum, inputs, Epilogue::default(), dims)?;
                let zero = self.number(ScalarIr::Float(0.0), &op.out);
                self.node(Op::Float(FloatOp::Greater), vec![sum, zero], &op.out)?;
            }
            BoolOperationIr::Xor(op) => self.compared(FloatOp::NotEqual, op)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn compared(&mut self, how: FloatOp, op: &BinaryOpIr) -> Result<(), GraphError> {
        let inputs = vec![self.broadcast(&op.lhs)?, self.broadcast(&op.rhs)?];
        self.node(Op::Float(how), inputs, &op.out)
    }

    fn against(
        &mut self,
        how: FloatOp,
        tensor: &TensorIr,
        number: ScalarIr,
        out: &TensorIr,
    ) -> Result<(), GraphError> {
        let inputs = vec![self.value(tensor)?, self.number(number, out)];
        self.node(Op::Float(how), inputs, out)
    }

    // One number that broadcasts over a tensor.
    fn number(&mut self, number: ScalarIr, over: &TensorIr) -> Value {
        let rank = over.shape.as_slice().len();
        self.constant(vec![1; rank], &[number.elem()])
    }

    fn along(&mut self, op: FloatOp, recorded: &DimOpIr) -> Result<(), GraphError> {
        let input = self.value(&recorded.input)?;
        self.node(Op::Float(op), vec![input], &recorded.out)
    }

    fn reduced(
        &mut self,
        how: impl Fn(usize) -> FloatOp,
        axes: &[usize],
        input: &TensorIr,
        out: &TensorIr,
    ) -> Result<(), GraphError> {
        let mut value = self.value(input)?;
        let mut dims = self.dims(input);
        for &axis in axes {
            dims[axis] = Dim::Fixed(1);
            let op = Op::Float(how(axis));
            value = self.push(op, vec![value], Epilogue::default(), dims.clone())?;
        }
        match dims == self.dims(out) {
            true => self.bind(out, value),
            // Over all axes, which go.
            false => self.node(Op::Reshape, vec![value], out)?,
        }
        Ok(())
    }

    fn sorted(
        &mut self,
        axis: usize,
        descending: bool,
        input: &TensorIr,
        out: &TensorIr,
    ) -> Result<(), GraphError> {
        let sort = match descending {
            true => FloatOp::SortDescending { axis },
            false => FloatOp::Sort { axis },
        };
        let input = self.value(input)?;
        self.node(Op::Float(sort), vec![input], out)
    }

    // As many of an axis as the result has, the greatest first.
    fn greatest(
        &mut self,
        axis: usize,
        input: &TensorIr,
        out: &TensorIr,
    ) -> Result<bool, GraphError> {
        let Dim::Fixed(count) = self.dims(out)[axis] else {
            return Ok(false);
        };
        let dims = self.dims(input);
        let value = self.value(input)?;
        let sort = Op::Float(FloatOp::SortDescending { axis });
        let sorted = self.push(sort, vec![value], Epilogue::default(), dims)?;
        let indices = (0..count).collect();
        let select = Op::Float(FloatOp::Select { axis, indices });
        self.node(select, vec![sorted], out)?;
        Ok(true)
    }

    fn over_all(
        &mut self,
        how: impl Fn(usize) -> FloatOp,
        op: &ReduceOpIr,
    ) -> Result<(), GraphError> {
        let axes: Vec<usize> = (0..op.input.shape.as_slice().len()).collect();
        self.reduced(how, &axes, &op.input, &op.out)
    }

    // These places of each of these axes.
    fn selected(
        &mut self,
        places: Vec<(usize, Vec<usize>)>,
        input: &TensorIr,
        out: &TensorIr,
    ) -> Result<(), GraphError> {
        let mut value = self.value(input)?;
        let mut dims = self.dims(input);
        for (axis, indices) in places {
            dims[axis] = Dim::Fixed(indices.len());
            let op = Op::Float(FloatOp::Select { axis, indices });
            value = self.push(op, vec![value], Epilogue::default(), dims.clone())?;
        }
        self.bind(out, value);
        Ok(())
    }

    // Indices that the pass made itself.
    fn places(&self, indices: &TensorIr) -> Result<Option<ConstantValue>, GraphError> {
        let held = self.held(indices)?;
        Ok(held.filter(|held| held.values.iter().all(|place| *place >= 0.0)))
    }
}

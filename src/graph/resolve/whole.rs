//! Whole numbers that the input gives, such as token ids: places in a table.

use burn_ir::{BaseOperationIr, FloatOperationIr, ModuleOperationIr, OperationIr, TensorIr};

use super::{Known, Resolver, compare};
use crate::graph::node::Epilogue;
use crate::graph::{Fallback, GraphError};
use crate::network::{Dim, FloatOp, Op, Value};

impl Resolver<'_> {
    /// Whether the operation makes whole numbers of an activation, moves them, or looks them up.
    pub(super) fn whole(&mut self, one: &OperationIr) -> Result<bool, GraphError> {
        match one {
            OperationIr::Float(_, FloatOperationIr::IntoInt(op)) => {
                let value = self.value(&op.input)?;
                self.known.insert(op.out.id, Known::Whole(value));
            }
            OperationIr::BaseInt(BaseOperationIr::Cast(op)) => {
                let Some(value) = self.places_in(&op.input) else {
                    return Ok(false);
                };
                self.known.insert(op.out.id, Known::Whole(value));
            }
            OperationIr::BaseInt(BaseOperationIr::Reshape(op)) => {
                let Some(mut value) = self.places_in(&op.input) else {
                    return Ok(false);
                };
                let dims = self.dims(&op.out);
                if self.dims(&op.input) != dims {
                    value = self.push(Op::Reshape, vec![value], Epilogue::default(), dims)?;
                }
                self.known.insert(op.out.id, Known::Whole(value));
            }
            OperationIr::Module(ModuleOperationIr::Embedding(op)) => {
                return self.looked_up(one, &op.weights, &op.indices, &op.out);
            }
            OperationIr::BaseFloat(BaseOperationIr::Select(op)) if op.dim == 0 => {
                return self.looked_up(one, &op.tensor, &op.indices, &op.out);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn places_in(&self, tensor: &TensorIr) -> Option<Value> {
        match self.known.get(&tensor.id) {
            Some(Known::Whole(value)) => Some(*value),
            _ => None,
        }
    }

    fn looked_up(
        &mut self,
        one: &OperationIr,
        table: &TensorIr,
        places: &TensorIr,
        out: &TensorIr,
    ) -> Result<bool, GraphError> {
        let places = match self.held(places)? {
            Some(held) if matches!(one, OperationIr::Module(_)) => {
                let (dims, places) = held.full();
                self.constant(dims, &places)
            }
            _ => match self.places_in(places) {
                Some(value) => value,
                None => return Ok(false),
            },
        };
        if self.fallback == Fallback::Refuse {
            return Err(GraphError::Unsupported {
                op: compare::name(one),
                layer: self.layer.clone(),
                place: self.place,
                in_float: true,
            });
        }
        let inputs = vec![self.value(table)?, places];
        let operands = [self.graph.dims(inputs[0]), self.graph.dims(inputs[1])];
        let dims: Option<Vec<Dim>> = FloatOp::Lookup.dims(&operands).ok();
        if dims != Some(self.dims(out)) {
            return Ok(false);
        }
        self.node(Op::Float(FloatOp::Lookup), inputs, out)?;
        Ok(true)
    }
}

//! Comparisons with a number, which become nodes only where they are needed: what they choose between is
//! often a function of one number.

use burn_ir::{BaseOperationIr, NumericOperationIr, OperationIr, ScalarIr, TensorIr};

use super::{Known, Resolver, compare, matching};
use crate::graph::node::Epilogue;
use crate::graph::{Fallback, GraphError};
use crate::network::{Dim, FloatOp, Op, Unary, Value};

/// A comparison of a tensor with a number.
#[derive(Clone)]
pub(super) struct Mask {
    how: FloatOp,
    value: Value,
    number: f32,
    dims: Vec<Dim>,
    /// The operation in the recording, for the error of a capture that refuses it.
    name: String,
    layer: String,
    place: usize,
}

impl Resolver<'_> {
    /// Whether the operation compares with a number, or chooses by such a comparison between what a
    /// function of one number gives.
    pub(super) fn masks(&mut self, one: &OperationIr) -> Result<bool, GraphError> {
        use NumericOperationIr as From;
        let (how, left, right, out) = match one {
            OperationIr::NumericFloat(_, op) => match op {
                From::Greater(op) => (FloatOp::Greater, &op.lhs, Err(&op.rhs), &op.out),
                From::GreaterEqual(op) => (FloatOp::GreaterEqual, &op.lhs, Err(&op.rhs), &op.out),
                From::Lower(op) => (FloatOp::Less, &op.lhs, Err(&op.rhs), &op.out),
                From::LowerEqual(op) => (FloatOp::LessEqual, &op.lhs, Err(&op.rhs), &op.out),
                From::GreaterElem(op) => (FloatOp::Greater, &op.lhs, Ok(op.rhs), &op.out),
                From::GreaterEqualElem(op) => (FloatOp::GreaterEqual, &op.lhs, Ok(op.rhs), &op.out),
                From::LowerElem(op) => (FloatOp::Less, &op.lhs, Ok(op.rhs), &op.out),
                From::LowerEqualElem(op) => (FloatOp::LessEqual, &op.lhs, Ok(op.rhs), &op.out),
                _ => return Ok(false),
            },
            OperationIr::BaseFloat(BaseOperationIr::MaskWhere(op)) => {
                let Some(Known::Mask(mask)) = self.known.get(&op.mask.id).cloned() else {
                    return Ok(false);
                };
                let (chosen, other) = (self.broadcast(&op.value)?, self.broadcast(&op.tensor)?);
                return Ok(self.choose(&mask, chosen, other, &op.out));
            }
            OperationIr::BaseFloat(BaseOperationIr::MaskFill(op)) => {
                let Some(Known::Mask(mask)) = self.known.get(&op.mask.id).cloned() else {
                    return Ok(false);
                };
                let fill = self.constant(vec![1], &[op.value.elem()]);
                let other = self.broadcast(&op.tensor)?;
                return Ok(self.choose(&mask, fill, other, &op.out));
            }
            _ => return Ok(false),
        };
        self.compares(compare::name(one), how, left, right, out)
    }

    fn compares(
        &mut self,
        name: String,
        how: FloatOp,
        left: &TensorIr,
        right: Result<ScalarIr, &TensorIr>,
        out: &TensorIr,
    ) -> Result<bool, GraphError> {
        let dims = self.dims(out);
        let number = |tensor: &TensorIr| -> Result<Option<f32>, GraphError> {
            Ok(self
                .held(tensor)?
                .and_then(|held| held.single())
                .map(|n| n as f32))
        };
        let found = match right {
            Ok(scalar) => Some((how.clone(), left, scalar.elem::<f32>())),
            Err(right) => match (number(left)?, number(right)?) {
                (None, Some(number)) => Some((how.clone(), left, number)),
                (Some(number), None) => Some((turned(&how), right, number)),
                _ => None,
            },
        };
        let (how, value, number) = match (found, right) {
            (Some((how, tensor, number)), _) if self.dims(tensor) == dims => {
                (how, self.value(tensor)?, number)
            }
            // `x < s x` is `x < 0`, of a slope below 1.
            (None, Err(right)) if self.dims(left) == dims && self.dims(right) == dims => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                let below = |of, x| {
                    self.slope(of)
                        .is_some_and(|(s, y)| y == x && (0.0..1.0).contains(&s))
                };
                match (below(right, left), below(left, right)) {
                    (true, _) => (how, left, 0.0),
                    (_, true) => (turned(&how), right, 0.0),
                    _ => return Ok(false),
                }
            }
            _ => return Ok(false),
        };
        let mask = Mask {
            how,
            value,
            number,
            dims,
            name,
            layer: self.layer.clone(),
            place: self.place,
        };
        self.known.insert(out.id, Known::Mask(mask));
        Ok(true)
    }

    /// The comparison as a node. Fails where the capture refuses it.
    pub(super) fn place_mask(&mut self, mask: Mask) -> Result<Value, GraphError> {
        if self.fallback == Fallback::Refuse {
            return Err(GraphError::Unsupported {
                op: mask.name,
                layer: mask.layer,
                place: mask.place,
                in_float: true,
            });
        }
        let number = self.constant(vec![1; mask.dims.len()], &[f64::from(mask.number)]);
        let inputs = vec![mask.value, number];
        self.push(Op::Float(mask.how), inputs, Epilogue::default(), mask.dims)
    }

    // Binds the choice where it is a function of one number.
    fn choose(&mut self, mask: &Mask, chosen: Value, other: Value, out: &TensorIr) -> bool {
        let (below, above) = match mask.how {
            FloatOp::Less | FloatOp::LessEqual => (chosen, other),
            _ => (other, chosen),
        };
        let (x, at) = (mask.value, mask.number);
        let uniform = |value| matching::uniform(&self.graph, value);
        let function = if above == x && at == 0.0 && uniform(below) == Some(0.0) {
            Unary::Relu
        } else if above == x && uniform(below) == Some(at) {
            Unary::Clamp {
                min: at,
                max: f32::INFINITY,
            }
        } else if below == x && uniform(above) == Some(at) {
            Unary::Clamp {
                min: f32::NEG_INFINITY,
                max: at,
            }
        } else if let (true, 0.0, Some((slope, of))) = (above == x, at, self.slope(below))
            && of == x
        {
            Unary::LeakyRelu { slope }
        } else {
            return false;
        };
        if self.dims(out) != mask.dims {
            return false;
        }
        let op = Op::Unary(function);
        let placed = self.push(op, vec![x], Epilogue::default(), mask.dims.clone());
        placed.is_ok_and(|value| {
            self.bind(out, value);
            true
        })
    }

    // Of what is `x s` below zero: the number and the tensor.
    fn slope(&self, value: Value) -> Option<(f32, Value)> {
        match matching::made(&self.graph, value)? {
            (Op::Unary(Unary::MulScalar(slope) | Unary::LeakyRelu { slope }), x) => {
                Some((*slope, x))
            }
            _ => None,
        }
    }
}

// The same with its sides exchanged.
fn turned(how: &FloatOp) -> FloatOp {
    match how {
        FloatOp::Greater => FloatOp::Less,
        FloatOp::GreaterEqual => FloatOp::LessEqual,
        FloatOp::Less => FloatOp::Greater,
        _ => FloatOp::GreaterEqual,
    }
}

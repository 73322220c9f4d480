//! What the pass computes from constants alone.

use burn_ir::{
    BaseOperationIr, BinaryOpIr, BoolOperationIr, FloatOperationIr, IntOperationIr,
    NumericOperationIr, OperationIr, ScalarIr, ScalarOpIr, TensorIr,
};

use super::{ConstantValue, Known, Resolver};
use crate::graph::GraphError;
use crate::network::Dim;

impl ConstantValue {
    /// A function of each element.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self {
            dims: self.dims.clone(),
            stored: self.stored.clone(),
            values: self.values.iter().map(|value| f(*value)).collect(),
        }
    }

    // A function of two tensors whose axes of length 1 repeat.
    fn zip(&self, other: &Self, dims: Vec<Dim>, f: impl Fn(f64, f64) -> f64) -> Self {
        let length = |held: &Self, axis: usize| {
            let missing = dims.len() - held.stored.len();
            axis.checked_sub(missing)
                .map_or(1, |axis| held.stored[axis])
        };
        let stored = (0..dims.len())
            .map(|axis| length(self, axis).max(length(other, axis)))
            .collect();
        Self::build(dims, stored, |index| f(self.at(index), other.at(index)))
    }

    // The same elements in other dimensions; none where that needs all of those that repeat.
    fn reshaped(self, dims: Vec<Dim>) -> Option<Self> {
        if let Some(value) = self.single() {
            return Some(Self::uniform(value, dims));
        }
        let full = Self::uniform(0.0, self.dims.clone()).full().0;
        let grows = |dim: &Dim| matches!(dim, Dim::Batch(_));
        let first = match (self.dims.first(), dims.first()) {
            (Some(one), Some(other)) if grows(one) || grows(other) => one == other,
            _ => true,
        };
        let rest = !self
            .dims
            .iter()
            .skip(1)
            .chain(dims.iter().skip(1))
            .any(grows);
        if !first || !rest || self.stored != full {
            return None;
        }
        Some(Self {
            stored: Self::uniform(0.0, dims.clone()).full().0,
            values: self.values,
            dims,
        })
    }

    fn expanded(self, dims: Vec<Dim>) -> Self {
        let mut stored = vec![1; dims.len() - self.stored.len()];
        stored.extend(self.stored);
        Self {
            dims,
            stored,
            values: self.values,
        }
    }

    fn permuted(self, axes: &[usize], dims: Vec<Dim>) -> Self {
        let stored = axes.iter().map(|axis| self.stored[*axis]).collect();
        Self::build(dims, stored, |index| {
            let mut from = vec![0; index.len()];
            for (to, axis) in index.iter().zip(axes) {
                from[*axis] = *to;
            }
            self.at(&from)
        })
    }
}

impl Resolver<'_> {
    /// Whether the result is known without the input.
    pub(super) fn fold(&mut self, operation: &OperationIr) -> Result<bool, GraphError> {
        let folded = match operation {
            OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => {
                self.fold_base(op)?
            }
            OperationIr::NumericFloat(_, op) => self.fold_numeric(op, false)?,
            OperationIr::NumericInt(_, op) => self.fold_numeric(op, true)?,
            OperationIr::Float(_, op) => self.fold_float(op)?,
            OperationIr::Int(IntOperationIr::IntoFloat(op))
            | OperationIr::Bool(BoolOperationIr::IntoFloat(op) | BoolOperationIr::IntoInt(op)) => {
                self.held(&op.input)?.map(|held| (held, &op.out))
            }
            OperationIr::Bool(op) => self.fold_bool(op)?,
            _ => None,
        };
        let Some((held, out)) = folded else {
            return Ok(false);
        };
        self.known.insert(out.id, Known::Constant(held));
        Ok(true)
    }

    fn fold_base<'o>(
        &self,
        op: &'o BaseOperationIr,
    ) -> Result<Option<(ConstantValue, &'o TensorIr)>, GraphError> {
        use BaseOperationIr as From;
        let created = |value: f64, out: &TensorIr| ConstantValue::uniform(value, self.dims(out));
        let compared = |op: &'o BinaryOpIr, equal: bool| {
            self.fold_two(op, |a, b| f64::from((a == b) == equal))
        };
        Ok(match op {
            // What is empty is filled later: see `assembled`.
            From::Zeros(op) | From::Empty(op) => Some((created(0.0, &op.out), &op.out)),
            From::Ones(op) => Some((created(1.0, &op.out), &op.out)),
            From::Reshape(op) => self
                .held(&op.input)?
                .and_then(|held| held.reshaped(self.dims(&op.out)))
                .map(|held| (held, &op.out)),
            From::Expand(op) => self
                .held(&op.input)?
                .map(|held| (held.expanded(self.dims(&op.out)), &op.out)),
            From::Permute(op) => self
                .held(&op.input)?
                .map(|held| (held.permuted(&op.axes, self.dims(&op.out)), &op.out)),
            From::SwapDims(op) => self.held(&op.input)?.map(|held| {
                let mut axes: Vec<usize> = (0..held.dims.len()).collect();
                axes.swap(op.dim1, op.dim2);
                (held.permuted(&axes, self.dims(&op.out)), &op.out)
            }),
            From::RepeatDim(op) => {
                let held = self.held(&op.tensor)?;
                let held = held.filter(|held| held.stored[op.dim] == 1);
                held.map(|held| (held.expanded(self.dims(&op.out)), &op.out))
            }
            From::Cast(op) => self.held(&op.input)?.map(|held| (held, &op.out)),
            From::Equal(op) => compared(op, true)?,
            From::NotEqual(op) => compared(op, false)?,
            From::EqualElem(op) => self.fold_one(op, |a, b| f64::from(a == b))?,
            From::NotEqualElem(op) => self.fold_one(op, |a, b| f64::from(a != b))?,
            From::MaskFill(op) => {
                let value: f64 = op.value.elem();
                let fill = |x: f64, set: f64| if set != 0.0 { value } else { x };
                match (self.held(&op.tensor)?, self.held(&op.mask)?) {
                    (Some(held), Some(mask)) => {
                        Some((held.zip(&mask, self.dims(&op.out), fill), &op.out))
                    }
                    _ => None,
                }
            }
            _ => None,
        })
    }

    fn fold_numeric<'o>(
        &self,
        op: &'o NumericOperationIr,
        integer: bool,
    ) -> Result<Option<(ConstantValue, &'o TensorIr)>, GraphError> {
        use NumericOperationIr as From;
        // Floats are rounded as they are computed; integers are exact.
        let round = move |x: f64| if integer { x } else { f64::from(x as f32) };
        let divide = move |a: f64, b: f64| match integer {
            true => (a / b).trunc(),
            false => round(a / b),
        };
        match op {
            From::Full(op) => {
                let held = ConstantValue::uniform(op.value.elem(), self.dims(&op.out));
                Ok(Some((held, &op.out)))
            }
            From::Add(op) => self.fold_two(op, |a, b| round(a + b)),
            From::Sub(op) => self.fold_two(op, |a, b| round(a - b)),
            From::Mul(op) => self.fold_two(op, |a, b| round(a * b)),
            From::Div(op) => self.fold_two(op, divide),
            From::AddScalar(op) => self.fold_one(op, |a, b| round(a + b)),
            From::SubScalar(op) => self.fold_one(op, |a, b| round(a - b)),
            From::MulScalar(op) => self.fold_one(op, |a, b| round(a * b)),
            From::DivScalar(op) => self.fold_one(op, divide),
            From::PowiScalar(op) => self.fold_one(op, |a, b| round(a.powf(b))),
            From::Neg(op) => self.fold_unary(&op.input, &op.out, |a| -a),
            From::Abs(op) => self.fold_unary(&op.input, &op.out, f64::abs),
            From::Greater(op) => self.fold_two(op, |a, b| f64::from(a > b)),
            From::GreaterEqual(op) => self.fold_two(op, |a, b| f64::from(a >= b)),
            From::Lower(op) => self.fold_two(op, |a, b| f64::from(a < b)),
            From::LowerEqual(op) => self.fold_two(op, |a, b| f64::from(a <= b)),
            From::GreaterElem(op) => self.fold_one(op, |a, b| f64::from(a > b)),
            From::GreaterEqualElem(op) => self.fold_one(op, |a, b| f64::from(a >= b)),
            From::LowerElem(op) => self.fold_one(op, |a, b| f64::from(a < b)),
            From::LowerEqualElem(op) => self.fold_one(op, |a, b| f64::from(a <= b)),
            _ => Ok(None),
        }
    }

    fn fold_float<'o>(
        &self,
        op: &'o FloatOperationIr,
    ) -> Result<Option<(ConstantValue, &'o TensorIr)>, GraphError> {
        use FloatOperationIr as From;
        let (op, f): (_, fn(f64) -> f64) = match op {
            From::Exp(op) => (op, f64::exp),
            From::Log(op) => (op, f64::ln),
            From::Sqrt(op) => (op, f64::sqrt),
            From::Recip(op) => (op, f64::recip),
            From::Sin(op) => (op, f64::sin),
            From::Cos(op) => (op, f64::cos),
            From::Tanh(op) => (op, f64::tanh),
            From::PowfScalar(op) => return self.fold_one(op, |a, b| f64::from(a.powf(b) as f32)),
            _ => return Ok(None),
        };
        self.fold_unary(&op.input, &op.out, |x| f64::from(f(x) as f32))
    }

    fn fold_bool<'o>(
        &self,
        op: &'o BoolOperationIr,
    ) -> Result<Option<(ConstantValue, &'o TensorIr)>, GraphError> {
        let set = |x: f64| x != 0.0;
        match op {
            BoolOperationIr::Not(op) => self.fold_unary(&op.input, &op.out, |x| f64::from(!set(x))),
            BoolOperationIr::And(op) => self.fold_two(op, |a, b| f64::from(set(a) && set(b))),
            BoolOperationIr::Or(op) => self.fold_two(op, |a, b| f64::from(set(a) || set(b))),
            BoolOperationIr::Xor(op) => self.fold_two(op, |a, b| f64::from(set(a) != set(b))),
            _ => Ok(None),
        }
    }

    fn fold_unary<'o>(
        &self,
        input: &TensorIr,
        out: &'o TensorIr,
        f: impl Fn(f64) -> f64,
    ) -> Result<Option<(ConstantValue, &'o TensorIr)>, GraphError> {
        Ok(self.held(input)?.map(|held| (held.map(f), out)))
    }

    fn fold_one<'o>(
        &self,
        op: &'o ScalarOpIr,
        f: impl Fn(f64, f64) -> f64,
    ) -> Result<Option<(ConstantValue, &'o TensorIr)>, GraphError> {
        let scalar = |scalar: ScalarIr| scalar.elem::<f64>();
        self.fold_unary(&op.lhs, &op.out, |x| f(x, scalar(op.rhs)))
    }

    fn fold_two<'o>(
        &self,
        op: &'o BinaryOpIr,
        f: impl Fn(f64, f64) -> f64,
    ) -> Result<Option<(ConstantValue, &'o TensorIr)>, GraphError> {
        let (Some(one), Some(other)) = (self.held(&op.lhs)?, self.held(&op.rhs)?) else {
            return Ok(None);
        };
        Ok(Some((one.zip(&other, self.dims(&op.out), f), &op.out)))
    }
}

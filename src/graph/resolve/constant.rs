//! Tensors that the pass makes itself.

use burn_ir::{TensorId, TensorIr};

use super::{Known, Resolver};
use crate::graph::GraphError;
use crate::graph::node::Epilogue;
use crate::network::Constant;
use crate::network::{Dim, Op, Value};

/// A tensor known by its elements, of any kind: floats, integers, or 0 and 1 for booleans.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ConstantValue {
    /// Its dimensions.
    pub dims: Vec<Dim>,
    /// Those of `values`: 1 where all elements along an axis are equal.
    pub stored: Vec<usize>,
    /// The last axis fastest.
    pub values: Vec<f64>,
}

impl ConstantValue {
    /// The same value everywhere.
    pub fn uniform(value: f64, dims: Vec<Dim>) -> Self {
        Self {
            stored: vec![1; dims.len()],
            values: vec![value],
            dims,
        }
    }

    /// The value, if it is the same everywhere.
    pub fn single(&self) -> Option<f64> {
        match self.values.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// The value at an index, along each axis.
    pub fn at(&self, index: &[usize]) -> f64 {
        // Axes are counted from the last, as they broadcast.
        let index = &index[index.len() - self.stored.len()..];
        let offset = self
            .stored
            .iter()
            .zip(index)
            .fold(0, |offset, (&length, &index)| {
                offset * length + if length == 1 { 0 } else { index }
            });
        self.values[offset]
    }

    /// From a value for each index of `stored`.
    pub fn build(dims: Vec<Dim>, stored: Vec<usize>, value: impl Fn(&[usize]) -> f64) -> Self {
        let count = stored.iter().product();
        let mut index = vec![0; stored.len()];
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(value(&index));
            for axis in (0..stored.len()).rev() {
                index[axis] += 1;
                if index[axis] < stored[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Self {
            dims,
            stored,
            values,
        }
        .compact()
    }

    // A single value, where all are equal.
    fn compact(mut self) -> Self {
        if let Some(first) = self.values.first().copied()
            && self.values.iter().all(|value| *value == first)
        {
            self.values.truncate(1);
            self.stored.fill(1);
        }
        self
    }

    /// The elements along all axes that do not grow with the batch.
    pub fn full(&self) -> (Vec<usize>, Vec<f64>) {
        let dims: Vec<usize> = self
            .dims
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(length) => *length,
                Dim::Batch(_) => 1,
            })
            .collect();
        if dims == self.stored {
            return (dims, self.values.clone());
        }
        let count = dims.iter().product();
        if let Some(value) = self.single() {
            return (dims, vec![value; count]);
        }
        let mut index = vec![0; dims.len()];
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.at(&index));
            for axis in (0..dims.len()).rev() {
                index[axis] += 1;
                if index[axis] < dims[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        (dims, values)
    }
}

impl Resolver<'_> {
    /// A tensor that was given by its values.
    pub(super) fn given(&self, tensor: &TensorIr) -> Result<ConstantValue, GraphError> {
        match self.late(tensor.id)? {
            Some(held) => Ok(held),
            None => Err(self.unsupported("a tensor of unknown values".to_string())),
        }
    }

    /// The same, none for a tensor that was not.
    pub(super) fn late(&self, id: TensorId) -> Result<Option<ConstantValue>, GraphError> {
        let dims = self.comparison.dims(id);
        let partner = self.comparison.partner(id);
        let other = partner.and_then(|id| self.second.values.get(&id));
        let (Some(one), Some(other)) = (self.first.values.get(&id), other) else {
            return Ok(None);
        };
        if dims.is_empty() {
            return Ok(None);
        }
        let [one, other] = [one, other].map(|data| data.iter::<f64>().collect::<Vec<_>>());
        let grows = dims.iter().any(|dim| matches!(dim, Dim::Batch(_)));
        if !grows {
            // Equal to the last bit, so that NaN is equal to itself.
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            if bits(&one) != bits(&other) {
                return Err(self.varies("a constant of other values".to_string()));
            }
            let stored = ConstantValue::uniform(0.0, dims.clone()).full().0;
            return Ok(Some(
                ConstantValue {
                    dims,
                    stored,
                    values: one,
                }
                .compact(),
            ));
        }
        // One for each image must be the same for all images.
        let (stored, _) = ConstantValue::uniform(0.0, dims.clone()).full();
        let row = &one[..one.len().min(stored.iter().product())];
        let repeats = |values: &[f64]| row.is_empty() || values.chunks(row.len()).all(|c| c == row);
        let uniform = |value: f64| one.iter().chain(&other).all(|v| *v == value);
        match row.first() {
            Some(&value) if uniform(value) => Ok(Some(ConstantValue::uniform(value, dims))),
            _ if matches!(dims[0], Dim::Batch(_))
                && dims[1..].iter().all(|dim| matches!(dim, Dim::Fixed(_)))
                && repeats(&one)
                && repeats(&other) =>
            {
                Ok(Some(ConstantValue {
                    dims,
                    stored,
                    values: row.to_vec(),
                }))
            }
            _ => Err(self.varies("a constant that is another for each image".to_string())),
        }
    }

    /// What is known of a tensor, if the pass made it itself or it is a number.
    pub(super) fn held(&self, tensor: &TensorIr) -> Result<Option<ConstantValue>, GraphError> {
        match self.known.get(&tensor.id) {
            Some(Known::Constant(held)) => Ok(Some(held.clone())),
            Some(Known::Value(_)) => Ok(self.numbers.get(&tensor.id).cloned()),
            Some(Known::Mask(_) | Known::Assembled(_) | Known::Whole(_)) => Ok(None),
            None => self.late(tensor.id),
        }
    }

    /// A constant with all its elements, repeated for each image.
    pub(super) fn place_full(
        &mut self,
        id: TensorId,
        held: ConstantValue,
    ) -> Result<Value, GraphError> {
        if let Some(value) = self.placed.get(&id) {
            return Ok(*value);
        }
        let (dims, values) = held.full();
        let mut value = self.constant(dims, &values);
        if held.dims.iter().any(|dim| matches!(dim, Dim::Batch(_))) {
            let epilogue = Epilogue::default();
            value = self.push(Op::Expand, vec![value], epilogue, held.dims)?;
        }
        self.placed.insert(id, value);
        Ok(value)
    }

    /// An operand of an operation that repeats axes of length 1 itself.
    pub(super) fn broadcast(&mut self, tensor: &TensorIr) -> Result<Value, GraphError> {
        match self.held(tensor)? {
            Some(held) => Ok(self.constant(held.stored, &held.values)),
            None => self.value(tensor),
        }
    }

    pub(super) fn constant(&mut self, dims: Vec<usize>, values: &[f64]) -> Value {
        let values = values.iter().map(|value| *value as f32).collect();
        let constant = Constant { dims, values };
        let known = self
            .graph
            .constants
            .iter()
            .position(|known| *known == constant);
        Value::Constant(known.unwrap_or_else(|| {
            self.graph.constants.push(constant);
            self.graph.constants.len() - 1
        }))
    }
}

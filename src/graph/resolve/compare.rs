//! Two recordings of one pass: the same operations, and which lengths grow with the batch.

use std::collections::HashMap;

use burn::tensor::Slice;
use burn_ir::{BaseOperationIr, IrVisitorMut, OperationIr, TensorId, TensorIr, TensorStatus};

use super::Resolver;
use crate::graph::GraphError;
use crate::graph::recorded::BATCHES;
use crate::network::Dim;

/// Which tensor of one recording is which of the other.
pub(super) struct Comparison {
    numbers: [HashMap<TensorId, u64>; 2],
    partners: HashMap<TensorId, TensorId>,
    dims: HashMap<TensorId, Vec<Dim>>,
}

impl Comparison {
    /// Knows these pairs of tensors.
    pub fn new(first: &[TensorId], second: &[TensorId]) -> Self {
        let mut new = Self {
            numbers: [HashMap::new(), HashMap::new()],
            partners: HashMap::new(),
            dims: HashMap::new(),
        };
        for (one, other) in first.iter().zip(second) {
            new.number(0, *one);
            new.number(1, *other);
            new.partners.insert(*one, *other);
        }
        new
    }

    /// Dimensions of a tensor that an operation seen so far uses or gives.
    pub fn dims(&self, tensor: TensorId) -> Vec<Dim> {
        self.dims.get(&tensor).cloned().unwrap_or_default()
    }

    /// The tensor of the second recording for one of the first.
    pub fn partner(&self, tensor: TensorId) -> Option<TensorId> {
        self.partners.get(&tensor).copied()
    }

    fn number(&mut self, recording: usize, tensor: TensorId) -> u64 {
        let next = self.numbers[recording].len() as u64;
        *self.numbers[recording].entry(tensor).or_insert(next)
    }
}

impl Resolver<'_> {
    /// Fails where two operations at the same place differ in more than lengths.
    pub(super) fn compare(
        &mut self,
        one: &OperationIr,
        other: &OperationIr,
    ) -> Result<(), GraphError> {
        let differ = || format!("{} or {}", name(one), name(other));
        let (tensors, others) = (one.nodes(), other.nodes());
        if tensors.len() != others.len() {
            return Err(self.varies(differ()));
        }
        for (tensor, partner) in tensors.into_iter().zip(others) {
            let Some(dims) = self.lengths(tensor, partner) else {
                let (one, other) = (tensor.shape.as_slice(), partner.shape.as_slice());
                return Err(self.varies(format!(
                    "{} of {one:?} for {} images and {other:?} for {}",
                    name_of(&format!("{:?}", self.first.operations[self.place])),
                    BATCHES[0],
                    BATCHES[1],
                )));
            };
            self.comparison.dims.insert(tensor.id, dims);
            self.comparison.partners.insert(tensor.id, partner.id);
        }
        if self.plain(0, one) != self.plain(1, other) {
            let what = match name(one) == name(other) {
                true => format!("{} with other operands or options", name(one)),
                false => differ(),
            };
            return Err(self.varies(what));
        }
        Ok(())
    }

    fn lengths(&self, one: &TensorIr, other: &TensorIr) -> Option<Vec<Dim>> {
        let (one, other) = (one.shape.as_slice(), other.shape.as_slice());
        if one.len() != other.len() {
            return None;
        }
        let lengths = one.iter().zip(other).map(|(&one, &other)| {
            let each = one / BATCHES[0];
            match one == other {
                true => Some(Dim::Fixed(one)),
                false => (one == each * BATCHES[0] && other == each * BATCHES[1])
                    .then_some(Dim::Batch(each)),
            }
        });
        lengths.collect()
    }

    // Without what differs between recordings or grows with the batch.
    fn plain(&mut self, recording: usize, operation: &OperationIr) -> OperationIr {
        let mut operation = operation.clone();
        operation.visit_mut(&mut Plain {
            comparison: &mut self.comparison,
            recording,
        });
        if let OperationIr::BaseFloat(BaseOperationIr::RepeatDim(op))
        | OperationIr::BaseInt(BaseOperationIr::RepeatDim(op))
        | OperationIr::BaseBool(BaseOperationIr::RepeatDim(op)) = &mut operation
        {
            op.times = 1;
        }
        operation
    }
}

struct Plain<'a> {
    comparison: &'a mut Comparison,
    recording: usize,
}

impl IrVisitorMut for Plain<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        let number = self.comparison.number(self.recording, tensor.id);
        tensor.id = TensorId::new(number);
        tensor.status = TensorStatus::ReadOnly;
        tensor.shape.as_mut_slice().fill(1);
    }

    fn visit_range_mut(&mut self, range: &mut Slice) {
        *range = Slice::new(0, None, 1);
    }
}

/// What Burn calls an operation.
pub(super) fn name(operation: &OperationIr) -> String {
    let name = name_of(&format!("{operation:?}"));
    match operation {
        OperationIr::BaseInt(_) | OperationIr::NumericInt(..) | OperationIr::Int(_) => {
            format!("{name} of integers")
        }
        OperationIr::BaseBool(_) | OperationIr::Bool(_) => format!("{name} of booleans"),
        _ => name,
    }
}

// The operation's variant is the name before that of its description: `Kind(F32, Name(NameOpIr { …`.
fn name_of(debug: &str) -> String {
    let head = debug.split(" {").next().unwrap_or(debug);
    let name = head.rsplit('(').nth(1).unwrap_or(head);
    name.rsplit(' ').next().unwrap_or(name).to_string()
}

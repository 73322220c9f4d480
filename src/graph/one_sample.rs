//! A pass whose batch is fixed at one sample, as many exported files have it: its recording, with the
//! lengths that it would have for more samples.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::Module;
use burn::tensor::{Slice, Tensor, TensorData};
use burn_ir::{BaseOperationIr, IrVisitorMut, OperationIr, TensorId, TensorIr};

use super::recorded::Recording;
use super::{Graph, GraphError};

/// The recording of one sample for so many. Fails where an operation mixes samples, or moves the batch
/// to where it cannot be followed.
pub(super) fn repeated(one: &Recording, batch: usize) -> Result<Recording, GraphError> {
    let mut axes = HashMap::from([(one.input, 0)]);
    let mut repeated = one.clone();
    repeated.shape[0] = batch;
    for (place, operation) in repeated.operations.iter_mut().enumerate() {
        let followed = carried(operation, &axes).map_err(|what| GraphError::Capture {
            reason: format!(
                "the batch is fixed at 1, and operation {place} {what}: leave the batch free"
            ),
        })?;
        if let Some(axis) = followed {
            axes.extend(operation.outputs().map(|out| (out.id, axis)));
        }
        let slice = sliced(operation).and_then(|(input, ranges)| {
            let axis = *axes.get(&input.id)?;
            Some((ranges.get_mut(axis)?, input.shape.as_slice()[axis]))
        });
        if let Some((range, length)) = slice {
            *range = Slice::new(0, Some((length * batch) as isize), 1);
        }
        operation.visit_mut(&mut Repeat { axes: &axes, batch });
    }
    Ok(repeated)
}

/// Whether the graph of a pass of one sample computes for two what the pass does for each.
pub(super) fn agrees<M: Module, const D: usize, const E: usize>(
    graph: &Graph,
    module: &M,
    shape: [usize; D],
    forward: &impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> bool {
    let Some(device) = module.devices().into_iter().next() else {
        return true;
    };
    // Small whole numbers, which may be places in a table as well.
    let length: usize = shape[1..].iter().product();
    let sample = |of: usize| (0..length).map(move |index| ((index * 7 + of * 3) % 5 % 2) as f32);
    let tensor = |values: Vec<f32>| {
        let mut shape = shape;
        shape[0] = values.len() / length.max(1);
        Tensor::<D>::from_data(TensorData::new(values, shape), &device)
    };
    let numbers = |output: Tensor<E>| output.into_data().try_to_vec::<f32>().ok();
    let compared = catch_unwind(AssertUnwindSafe(|| {
        let module = module.valid().materialize();
        let both = tensor(sample(0).chain(sample(1)).collect());
        let found = numbers(graph.forward::<M, D, E>(&module, both).ok()?)?;
        let mut expected = Vec::new();
        for of in 0..2 {
            expected.extend(numbers(forward(&module, tensor(sample(of).collect())))?);
        }
        let size = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
        let mut pairs = found.iter().zip(&expected);
        let near = pairs.all(|(a, b)| (a - b).abs() <= 1e-3 * size || a.to_bits() == b.to_bits());
        Some(found.len() == expected.len() && near)
    }));
    matches!(compared, Ok(Some(true)))
}

// The batch's axis in the results of an operation; none, where no operand has one.
fn carried(
    operation: &OperationIr,
    axes: &HashMap<TensorId, usize>,
) -> Result<Option<usize>, &'static str> {
    let mut operands = operation
        .inputs()
        .filter_map(|tensor| Some((tensor, *axes.get(&tensor.id)?)));
    let Some((first, axis)) = operands.next() else {
        return Ok(None);
    };
    if operands.any(|(_, other)| other != axis) {
        return Err("reads two tensors with the batch on different axes");
    }
    let moved = match base(operation) {
        Some(BaseOperationIr::Reshape(op)) => reshaped(&op.input, axis, &op.out),
        Some(BaseOperationIr::SwapDims(op)) => Some(match axis {
            axis if axis == op.dim1 => op.dim2,
            axis if axis == op.dim2 => op.dim1,
            axis => axis,
        }),
        Some(BaseOperationIr::Permute(op)) => op.axes.iter().position(|&from| from == axis),
        Some(BaseOperationIr::Expand(op)) => {
            let more = op
                .out
                .shape
                .num_dims()
                .checked_sub(op.input.shape.num_dims());
            more.map(|more| axis + more)
        }
        Some(BaseOperationIr::Slice(op)) => {
            let length = first.shape.as_slice()[axis] as isize;
            let range = op.ranges.get(axis).copied();
            let whole = range.is_none_or(|range| {
                (range.start, range.step) == (0, 1) && range.end.is_none_or(|end| end == length)
            });
            whole.then_some(axis)
        }
        _ => Some(axis),
    };
    let moved = moved.ok_or("moves the batch to where it cannot be followed")?;
    let fits = operation.outputs().all(|out| moved < out.shape.num_dims());
    fits.then_some(Some(moved)).ok_or("drops the batch")
}

// All that lies before the batch's axis stays before it.
fn reshaped(input: &TensorIr, axis: usize, out: &TensorIr) -> Option<usize> {
    let before: usize = input.shape.as_slice()[..axis].iter().product();
    let out = out.shape.as_slice();
    (0..out.len()).find(|&place| out[..place].iter().product::<usize>() == before)
}

fn base(operation: &OperationIr) -> Option<&BaseOperationIr> {
    match operation {
        OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => {
            Some(op)
        }
        _ => None,
    }
}

fn sliced(operation: &mut OperationIr) -> Option<(TensorIr, &mut Vec<Slice>)> {
    match operation {
        OperationIr::BaseFloat(BaseOperationIr::Slice(op))
        | OperationIr::BaseInt(BaseOperationIr::Slice(op))
        | OperationIr::BaseBool(BaseOperationIr::Slice(op)) => {
            Some((op.tensor.clone(), &mut op.ranges))
        }
        _ => None,
    }
}

/// Makes the batch's axis longer in each tensor that has one.
struct Repeat<'a> {
    axes: &'a HashMap<TensorId, usize>,
    batch: usize,
}

impl IrVisitorMut for Repeat<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        if let Some(axis) = self.axes.get(&tensor.id) {
            tensor.shape.as_mut_slice()[*axis] *= self.batch;
        }
    }
}

use burn::tensor::{Tensor, activation};

use super::tensor::{AnyTensor, map_rank};
use crate::network::FloatOp;

/// Computes an operation on a device of Burn, with its gradients. Operands are those of a checked graph, and
/// `dims` the dimensions of the result.
pub(super) fn apply(
    op: &FloatOp,
    mut operands: impl Iterator<Item = AnyTensor>,
    dims: &[usize],
) -> AnyTensor {
    // A graph gives each operation all its operands.
    let mut next = || {
        operands
            .next()
            .expect("a node has the operands of its operation")
    };
    // The same on tensors of any rank.
    macro_rules! ranked {
        ($function:ident($($operand:expr),*)) => {
            match dims.len() {
                1 => $function::<1>(op, $($operand.rank()),*).into(),
                2 => $function::<2>(op, $($operand.rank()),*).into(),
                3 => $function::<3>(op, $($operand.rank()),*).into(),
                4 => $function::<4>(op, $($operand.rank()),*).into(),
                5 => $function::<5>(op, $($operand.rank()),*).into(),
                _ => $function::<6>(op, $($operand.rank()),*).into(),
            }
        };
    }
    let first = next();
    match op {
        FloatOp::Where => {
            let (mask, chosen) = (next().expand(dims), next().expand(dims));
            ranked!(choose(first.expand(dims), mask, chosen))
        }
        FloatOp::Gather { axis } => {
            let mut of_all = first.dims();
            of_all[*axis] = dims[*axis];
            ranked!(gather(first, next().expand(&of_all)))
        }
        FloatOp::Lookup => {
            let table = first.dims();
            let row = table[1..].iter().product();
            let table: Tensor<2> = first.reshape(&[table[0], row]).rank();
            let places = next();
            let count = places.dims().iter().product();
            let places: Tensor<1> = places.reshape(&[count]).rank();
            AnyTensor::from(table.select(0, places.int())).reshape(dims)
        }
        _ if op.axis().is_some() => map_rank!(first, x => along(op, x)),
        _ => ranked!(pair(first.expand(dims), next().expand(dims))),
    }
}

fn pair<const D: usize>(op: &FloatOp, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    match op {
        FloatOp::Power => a.powf(b),
        FloatOp::Greater => a.greater(b).float(),
        FloatOp::GreaterEqual => a.greater_equal(b).float(),
        FloatOp::Less => a.lower(b).float(),
        FloatOp::LessEqual => a.lower_equal(b).float(),
        FloatOp::Equal => a.equal(b).float(),
        FloatOp::NotEqual => a.not_equal(b).float(),
        _ => unreachable!("all others are handled apart"),
    }
}

fn choose<const D: usize>(
    _op: &FloatOp,
    otherwise: Tensor<D>,
    mask: Tensor<D>,
    chosen: Tensor<D>,
) -> Tensor<D> {
    otherwise.mask_where(mask.not_equal_elem(0.0), chosen)
}

fn gather<const D: usize>(op: &FloatOp, input: Tensor<D>, indices: Tensor<D>) -> Tensor<D> {
    input.gather(op.axis().unwrap_or(0), indices.int())
}

fn along<const D: usize>(op: &FloatOp, x: Tensor<D>) -> Tensor<D> {
    match op {
        FloatOp::Max { axis } => x.max_dim(*axis),
        FloatOp::Min { axis } => x.min_dim(*axis),
        FloatOp::Product { axis } => x.prod_dim(*axis),
        FloatOp::CumulativeSum { axis } => x.cumsum(*axis),
        FloatOp::CumulativeProduct { axis } => x.cumprod(*axis),
        FloatOp::CumulativeMax { axis } => x.cummax(*axis),
        FloatOp::CumulativeMin { axis } => x.cummin(*axis),
        FloatOp::LogSoftmax { axis } => activation::log_softmax(x, *axis),
        FloatOp::Sort { axis } => x.sort(*axis),
        FloatOp::SortDescending { axis } => x.sort_descending(*axis),
        FloatOp::Select { axis, indices } => {
            let indices: Vec<i64> = indices.iter().map(|place| *place as i64).collect();
            let device = x.device();
            x.select(*axis, Tensor::from_data(indices.as_slice(), &device))
        }
        _ => unreachable!("all others are handled apart"),
    }
}

//! Linear layers, which Burn records as a product of matrices in one of two forms: the form depends on
//! the number of rows, and so on the batch.

use std::collections::HashMap;

use burn_ir::{
    BaseOperationIr, BinaryOpIr, FloatOperationIr, LinearOpIr, MatmulOpIr, ModuleOperationIr,
    NumericOperationIr, OperationIr, ShapeOpIr, TensorId,
};

/// The operations with each linear layer as one.
pub(in crate::graph) fn restore(
    operations: Vec<OperationIr>,
    output: TensorId,
) -> Vec<OperationIr> {
    let mut uses: HashMap<TensorId, usize> = HashMap::from([(output, 1)]);
    for tensor in operations.iter().flat_map(OperationIr::inputs) {
        *uses.entry(tensor.id).or_default() += 1;
    }
    let mut restored = Vec::with_capacity(operations.len());
    let mut rest = operations.as_slice();
    while let Some(first) = rest.first() {
        // What is inside of a layer is not seen by anyone else.
        let hidden = |part: &[OperationIr]| {
            let inner = part.iter().rev().skip(1).flat_map(OperationIr::outputs);
            inner.into_iter().all(|out| uses.get(&out.id) == Some(&1))
        };
        let found = merged(rest).or_else(|| batched(rest));
        match found.filter(|(_, length)| hidden(&rest[..*length])) {
            Some((layer, length)) => {
                restored.push(OperationIr::Module(ModuleOperationIr::Linear(layer)));
                rest = &rest[length..];
            }
            None => {
                restored.push(first.clone());
                rest = &rest[1..];
            }
        }
    }
    restored
}

// All rows as one matrix: reshape, product, perhaps a bias, reshape.
fn merged(operations: &[OperationIr]) -> Option<(LinearOpIr, usize)> {
    let rows = reshape(operations.first()?)?;
    let product = matmul(operations.get(1)?)?;
    let (from, weight) = (rows.input.shape.as_slice(), product.rhs.shape.as_slice());
    if product.lhs.id != rows.out.id
        || from.len() < 3
        || weight.len() != 2
        || rows.out.shape.as_slice().len() != 2
        || from.last() != weight.first()
    {
        return None;
    }
    let biased = bias(product, &operations[2..]);
    let (last, length) = match biased {
        Some((_, sum)) => (&sum.out, 4),
        None => (&product.out, 2),
    };
    let back = reshape(operations.get(length)?)?;
    let dims = back.out.shape.as_slice();
    if back.input.id != last.id
        || dims.len() != from.len()
        || dims[..dims.len() - 1] != from[..from.len() - 1]
    {
        return None;
    }
    let layer = LinearOpIr {
        x: rows.input.clone(),
        weight: product.rhs.clone(),
        bias: biased.map(|(bias, _)| bias.input.clone()),
        out: back.out.clone(),
    };
    Some((layer, length + 1))
}

// One matrix for each image: perhaps a reshape of the weight, product, perhaps a bias.
fn batched(operations: &[OperationIr]) -> Option<(LinearOpIr, usize)> {
    let first = operations.first()?;
    let unsqueezed = reshape(first).filter(|op| {
        let (from, to) = (op.input.shape.as_slice(), op.out.shape.as_slice());
        from.len() == 2
            && to.len() > 2
            && to.ends_with(from)
            && to[..to.len() - 2].iter().all(|length| *length == 1)
    });
    let start = usize::from(unsqueezed.is_some());
    let product = matmul(operations.get(start)?)?;
    let weight = unsqueezed.map_or(&product.rhs, |op| &op.input);
    let right = unsqueezed.map_or(product.rhs.id, |op| op.out.id);
    if product.rhs.id != right || weight.shape.as_slice().len() != 2 {
        return None;
    }
    let biased = bias(product, &operations[start + 1..]);
    if unsqueezed.is_none() && biased.is_none() {
        return None; // a product, as it stands
    }
    let layer = LinearOpIr {
        x: product.lhs.clone(),
        weight: weight.clone(),
        bias: biased.map(|(bias, _)| bias.input.clone()),
        out: biased.map_or(&product.out, |(_, sum)| &sum.out).clone(),
    };
    Some((layer, start + 1 + 2 * usize::from(biased.is_some())))
}

// A vector along the last axis, and the sum of a product and it.
fn bias<'o>(
    product: &MatmulOpIr,
    operations: &'o [OperationIr],
) -> Option<(&'o ShapeOpIr, &'o BinaryOpIr)> {
    let bias = reshape(operations.first()?)?;
    let OperationIr::NumericFloat(_, NumericOperationIr::Add(sum)) = operations.get(1)? else {
        return None;
    };
    let (vector, row) = (bias.input.shape.as_slice(), bias.out.shape.as_slice());
    let fits = vector.len() == 1
        && row.ends_with(vector)
        && vector.last() == product.out.shape.as_slice().last()
        && row[..row.len() - 1].iter().all(|length| *length == 1)
        && sum.lhs.id == product.out.id
        && sum.rhs.id == bias.out.id;
    fits.then_some((bias, sum))
}

fn reshape(operation: &OperationIr) -> Option<&ShapeOpIr> {
    match operation {
        OperationIr::BaseFloat(BaseOperationIr::Reshape(op)) => Some(op),
        _ => None,
    }
}

fn matmul(operation: &OperationIr) -> Option<&MatmulOpIr> {
    match operation {
        OperationIr::Float(_, FloatOperationIr::Matmul(op)) => Some(op),
        _ => None,
    }
}

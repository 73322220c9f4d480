//! The operations on constants, on the host: few and small, so plain rather than fast.

use crate::network::{Binary, Constant, Dim, Op};

/// The lengths, where none depends on the batch.
pub fn fixed(dims: &[Dim]) -> Option<Vec<usize>> {
    let lengths = dims.iter().map(|dim| match dim {
        Dim::Fixed(length) => Some(*length),
        Dim::Batch(_) => None,
    });
    lengths.collect()
}

/// The result; none for an operation that is not done here, or of dimensions that do not fit.
pub fn compute(op: &Op, operands: &[&Constant], dims: &[usize]) -> Option<Constant> {
    let values = match (op, operands) {
        (Op::Reshape, [x]) => x.values.clone(),
        (Op::Unary(unary), [x]) => x.values.iter().map(|&x| unary.value(x)).collect(),
        (Op::Binary(binary), [a, b]) => elementwise(*binary, a, b, dims)?,
        (Op::Expand, [x]) => repeated(x, dims)?,
        (Op::Permute { axes }, [x]) => {
            let from = strides(&x.dims);
            let steps = axes.iter().map(|&axis| from.get(axis).copied());
            gathered(x, dims, 0, &steps.collect::<Option<Vec<_>>>()?)?
        }
        (Op::Slice { ranges }, [x]) => {
            let from = strides(&x.dims);
            if ranges.len() != from.len() {
                return None;
            }
            let parts = ranges.iter().zip(&from);
            let offset = parts.clone().map(|((first, ..), stride)| first * stride);
            let steps: Vec<_> = parts.map(|((.., step), stride)| step * stride).collect();
            gathered(x, dims, offset.sum(), &steps)?
        }
        (Op::Concatenate { axis }, operands) => concatenated(operands, *axis)?,
        _ => return None,
    };
    (values.len() == dims.iter().product::<usize>()).then(|| Constant {
        dims: dims.to_vec(),
        values,
    })
}

// How far apart neighbours along each axis are.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

// For each element of the result, in order, the one at the sum of its position times the steps.
fn gathered(x: &Constant, dims: &[usize], offset: usize, steps: &[usize]) -> Option<Vec<f32>> {
    if steps.len() != dims.len() {
        return None;
    }
    let result = strides(dims);
    let count = dims.iter().product();
    let value = |index: usize| {
        let axes = (0..dims.len()).map(|axis| index / result[axis] % dims[axis] * steps[axis]);
        x.values.get(offset + axes.sum::<usize>()).copied()
    };
    (0..count).map(value).collect()
}

// Axes of length 1 repeated; missing axes come first.
fn repeated(x: &Constant, dims: &[usize]) -> Option<Vec<f32>> {
    let missing = dims.len().checked_sub(x.dims.len())?;
    let fits = x.dims.iter().zip(&dims[missing..]);
    if !fits.clone().all(|(&from, &to)| from == 1 || from == to) {
        return None;
    }
    let strides = strides(&x.dims);
    let kept = fits.zip(&strides).map(|((&from, _), &stride)| match from {
        1 => 0,
        _ => stride,
    });
    let steps: Vec<_> = std::iter::repeat_n(0, missing).chain(kept).collect();
    gathered(x, dims, 0, &steps)
}

fn elementwise(binary: Binary, a: &Constant, b: &Constant, dims: &[usize]) -> Option<Vec<f32>> {
    let (a, b) = (repeated(a, dims)?, repeated(b, dims)?);
    Some(
        a.iter()
            .zip(&b)
            .map(|(&a, &b)| binary.value(a, b))
            .collect(),
    )
}

fn concatenated(operands: &[&Constant], axis: usize) -> Option<Vec<f32>> {
    let first = operands.first()?;
    let outer: usize = first.dims.get(..axis)?.iter().product();
    let mut values = Vec::new();
    for place in 0..outer {
        for x in operands {
            let run: usize = x.dims.get(axis..)?.iter().product();
            values.extend_from_slice(x.values.get(place * run..(place + 1) * run)?);
        }
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::compute;
    use crate::network::{Binary, Constant, Op};

    fn counted(dims: &[usize]) -> Constant {
        let count = dims.iter().product::<usize>();
        Constant {
            dims: dims.to_vec(),
            values: (0..count).map(|value| value as f32).collect(),
        }
    }

    #[track_caller]
    fn check(op: Op, operands: &[Constant], dims: &[usize], expected: &[f32]) {
        let operands: Vec<_> = operands.iter().collect();
        let result = compute(&op, &operands, dims).unwrap();
        assert_eq!(result.values, expected);
        assert_eq!(result.dims, dims);
    }

    #[test]
    fn each_operation_gives_what_it_should() {
        let x = counted(&[2, 3]);
        let permute = Op::Permute { axes: vec![1, 0] };
        let transposed = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0];
        check(permute, std::slice::from_ref(&x), &[3, 2], &transposed);
        let slice = Op::Slice {
            ranges: vec![(1, Some(2), 1), (0, None, 2)],
        };
        check(slice, std::slice::from_ref(&x), &[1, 2], &[3.0, 5.0]);
        let pair = counted(&[2, 1]);
        let wide = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        check(Op::Expand, std::slice::from_ref(&pair), &[2, 3], &wide);
        let twice = [0.0, 1.0, 0.0, 1.0];
        check(Op::Expand, &[counted(&[2])], &[2, 2], &twice);
        let concatenate = Op::Concatenate { axis: 1 };
        let joined = [0.0, 0.0, 1.0, 2.0, 1.0, 3.0, 4.0, 5.0];
        check(concatenate, &[pair.clone(), x.clone()], &[2, 4], &joined);
        let subtract = Op::Binary(Binary::Subtract);
        let differences = [0.0, -1.0, -2.0, 1.0, 0.0, -1.0];
        check(subtract, &[pair, counted(&[3])], &[2, 3], &differences);
        let sums = [0.0, 2.0, 4.0, 3.0, 5.0, 7.0];
        check(Op::Binary(Binary::Add), &[x, counted(&[3])], &[2, 3], &sums);
    }

    #[test]
    fn what_does_not_fit_gives_nothing() {
        let x = counted(&[2, 3]);
        assert_eq!(compute(&Op::Reshape, &[&x], &[7]), None);
        assert_eq!(compute(&Op::Expand, &[&x], &[2, 4]), None);
        assert_eq!(compute(&Op::MatMul, &[&x, &x], &[2, 2]), None);
        let slice = Op::Slice {
            ranges: vec![(1, None, 1), (2, None, 1)],
        };
        assert_eq!(compute(&slice, &[&x], &[2, 3]), None);
    }
}

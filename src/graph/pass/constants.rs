use super::host;
use crate::graph::{Epilogue, Graph};
use crate::network::{Binary, Constant, Op, Unary, Value};

// Computes what depends on constants alone, and makes constants of one number part of the operation.
pub(super) fn constants(graph: Graph) -> Graph {
    super::replace(graph, |graph, index| {
        if let Some((operand, unary)) = with_scalar(graph, index) {
            let node = &mut graph.nodes[index];
            node.op = Op::Unary(unary);
            node.inputs = vec![operand];
        }
        let constant = computed(graph, index)?;
        graph.constants.push(constant);
        Some(Value::Constant(graph.constants.len() - 1))
    })
}

fn computed(graph: &Graph, index: usize) -> Option<Constant> {
    let node = &graph.nodes[index];
    if node.inputs.is_empty() || node.epilogue != Epilogue::default() {
        return None;
    }
    let operands = node.inputs.iter().map(|input| match input {
        Value::Constant(index) => graph.constants.get(*index),
        _ => None,
    });
    let operands: Vec<&Constant> = operands.collect::<Option<_>>()?;
    host::compute(&node.op, &operands, &host::fixed(&node.dims)?)
}

// An operation with a number in place of one on two tensors, and its operand.
fn with_scalar(graph: &Graph, index: usize) -> Option<(Value, Unary)> {
    let node = &graph.nodes[index];
    let Op::Binary(binary) = node.op else {
        return None;
    };
    let [a, b] = node.inputs[..] else {
        return None;
    };
    let scalar = |value: Value| match value {
        Value::Constant(index) => number(&graph.constants[index]),
        _ => None,
    };
    let (operand, unary) = match (scalar(a), scalar(b), binary) {
        (_, Some(b), Binary::Add) => (a, Unary::AddScalar(b)),
        (_, Some(b), Binary::Subtract) => (a, Unary::AddScalar(-b)),
        (_, Some(b), Binary::Multiply) => (a, Unary::MulScalar(b)),
        // The inverse of a tiny number is infinite.
        (_, Some(b), Binary::Divide) if b.recip().is_finite() => (a, Unary::MulScalar(b.recip())),
        (Some(a), _, Binary::Add) => (b, Unary::AddScalar(a)),
        (Some(a), _, Binary::Multiply) => (b, Unary::MulScalar(a)),
        (Some(1.0), _, Binary::Divide) => (b, Unary::Reciprocal),
        _ => return None,
    };
    // A constant with more or longer axes repeats the operand.
    let same = graph.dims(operand) == node.dims && node.epilogue == Epilogue::default();
    same.then_some((operand, unary))
}

// The number that all elements are.
fn number(constant: &Constant) -> Option<f32> {
    let first = *constant.values.first()?;
    let all = constant.values.iter().all(|&value| value == first);
    all.then_some(first)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{RELU, Sample, images, names};
    use super::super::simplified_by;
    use super::constants;
    use crate::network::{Binary, Dim, Op, Unary, Value};

    #[test]
    fn a_chain_of_constants_is_computed() {
        let mut sample = Sample::new(vec![Dim::Batch(1), Dim::Fixed(2), Dim::Fixed(3)]);
        let fixed = |dims: &[usize]| dims.iter().copied().map(Dim::Fixed).collect::<Vec<_>>();
        let row = sample.constant(&[3], &[1.0, 2.0, 3.0]);
        let column = sample.constant(&[2, 1], &[10.0, 20.0]);
        let row = sample.node(Op::Reshape, &[row], fixed(&[1, 3]));
        let sum = sample.node(Op::Binary(Binary::Add), &[row, column], fixed(&[2, 3]));
        let negative = Op::Unary(Unary::MulScalar(-1.0));
        let negative = sample.node(negative, &[sum], fixed(&[2, 3]));
        let product = Op::Binary(Binary::Multiply);
        let dims = vec![Dim::Batch(1), Dim::Fixed(2), Dim::Fixed(3)];
        let product = sample.node(product, &[Value::Input, negative], dims);
        let graph = simplified_by(constants, sample.output(product));
        assert_eq!(names(&graph), ["multiply"]);
        assert_eq!(graph.nodes[0].inputs, [Value::Input, Value::Constant(0)]);
        assert_eq!(graph.constants.len(), 1);
        assert_eq!(graph.constants[0].dims, [2, 3]);
        let values = [-11.0, -12.0, -13.0, -21.0, -22.0, -23.0];
        assert_eq!(graph.constants[0].values, values);
    }

    #[test]
    fn a_constant_that_grows_with_the_batch_stays_an_operation() {
        let mut sample = Sample::new(images(3, 4, 4));
        let zero = sample.constant(&[1, 1, 1, 1], &[0.5]);
        let grown = sample.node(Op::Expand, &[zero], images(2, 4, 4));
        let both = Op::Concatenate { axis: 1 };
        let both = sample.node(both, &[grown, Value::Input], images(5, 4, 4));
        let graph = sample.output(both);
        assert_eq!(constants(graph.clone()), graph);
    }

    #[test]
    fn a_number_becomes_part_of_the_operation() {
        let cases = [
            (Binary::Add, false, 4.0, Some(Unary::AddScalar(4.0))),
            (Binary::Add, true, 4.0, Some(Unary::AddScalar(4.0))),
            (Binary::Subtract, false, 4.0, Some(Unary::AddScalar(-4.0))),
            (Binary::Subtract, true, 4.0, None),
            (Binary::Multiply, false, 4.0, Some(Unary::MulScalar(4.0))),
            (Binary::Multiply, true, 4.0, Some(Unary::MulScalar(4.0))),
            (Binary::Divide, false, 4.0, Some(Unary::MulScalar(0.25))),
            (Binary::Divide, false, 0.0, None),
            (Binary::Divide, true, 4.0, None),
            (Binary::Divide, true, 1.0, Some(Unary::Reciprocal)),
        ];
        for (binary, first, scalar, expected) in cases {
            let mut sample = Sample::new(images(3, 4, 4));
            let number = sample.constant(&[1], &[scalar]);
            let relu = sample.node(RELU, &[Value::Input], images(3, 4, 4));
            let inputs = if first {
                [number, relu]
            } else {
                [relu, number]
            };
            let result = sample.node(Op::Binary(binary), &inputs, images(3, 4, 4));
            let graph = simplified_by(constants, sample.output(result));
            match expected {
                Some(unary) => {
                    assert_eq!(graph.nodes[1].op, Op::Unary(unary));
                    assert_eq!(graph.nodes[1].inputs, [Value::Node(0)]);
                    assert!(graph.constants.is_empty());
                }
                None => assert_eq!(graph.nodes[1].op, Op::Binary(binary)),
            }
        }
    }

    #[test]
    fn a_number_with_more_axes_than_its_operand_stays() {
        let mut sample = Sample::new(vec![Dim::Fixed(3), Dim::Fixed(4)]);
        let number = sample.constant(&[1, 1, 1], &[2.0]);
        let dims = [1, 3, 4].map(Dim::Fixed).to_vec();
        let sum = sample.node(Op::Binary(Binary::Add), &[Value::Input, number], dims);
        let graph = sample.output(sum);
        assert_eq!(constants(graph.clone()), graph);
    }

    #[test]
    fn a_tensor_of_one_number_is_one_and_of_several_is_not() {
        for (values, expected) in [([2.0, 2.0, 2.0], "add_scalar"), ([1.0, 2.0, 3.0], "add")] {
            let mut sample = Sample::new(images(3, 4, 4));
            let constant = sample.constant(&[3, 1, 1], &values);
            let inputs = [Value::Input, constant];
            let sum = sample.node(Op::Binary(Binary::Add), &inputs, images(3, 4, 4));
            let graph = simplified_by(constants, sample.output(sum));
            assert_eq!(names(&graph), [expected]);
        }
    }
}

use super::super::{Graph, Node};
use crate::network::{Op, Value};

/// Zeros before and after a tensor, joined to it by a concatenation, as padding.
pub(super) fn pad(mut graph: Graph) -> Graph {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let Op::Concatenate { axis } = node.op else {
            continue;
        };
        let others = node.inputs.iter().enumerate();
        let others = others.filter(|(_, value)| !zeros(&graph, **value));
        let others: Vec<usize> = others.map(|(place, _)| place).collect();
        let (1, [place]) = (others.len().min(node.inputs.len() - 1), others.as_slice()) else {
            continue;
        };
        let length = |values: &[Value]| -> usize {
            let lengths = values.iter().map(|value| graph.dims(*value)[axis].at(1));
            lengths.sum()
        };
        let mut padding = vec![(0, 0); node.dims.len()];
        padding[axis] = (
            length(&node.inputs[..*place]),
            length(&node.inputs[place + 1..]),
        );
        graph.nodes[index] = Node {
            op: Op::Pad {
                padding,
                value: 0.0,
            },
            inputs: vec![node.inputs[*place]],
            ..node.clone()
        };
    }
    graph
}

fn zeros(graph: &Graph, value: Value) -> bool {
    match value {
        Value::Constant(index) => graph.constants[index].values.iter().all(|v| *v == 0.0),
        Value::Node(index) => {
            let node = &graph.nodes[index];
            matches!(node.op, Op::Expand | Op::Reshape) && zeros(graph, node.inputs[0])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::simplified_by;
    use super::*;
    use crate::graph::Epilogue;
    use crate::network::{Constant, Dim};

    #[test]
    fn zeros_around_a_tensor_are_padding() {
        let dims = |channels| vec![Dim::Batch(1), Dim::Fixed(channels)];
        let node = |op, inputs, channels| Node {
            op,
            inputs,
            epilogue: Epilogue::default(),
            dims: dims(channels),
            layer: String::new(),
        };
        let zeros = Value::Node(0);
        let joined = vec![zeros, Value::Input, zeros];
        let graph = |value: f32| Graph {
            nodes: vec![
                node(Op::Expand, vec![Value::Constant(0)], 2),
                node(Op::Concatenate { axis: 1 }, joined.clone(), 7),
            ],
            input: dims(3),
            output: Value::Node(1),
            parameters: Vec::new(),
            numbers: Vec::new(),
            constants: vec![Constant {
                dims: vec![1, 1],
                values: vec![value],
            }],
        };
        let padded = simplified_by(pad, graph(0.0));
        let padding = vec![(0, 0), (2, 2)];
        let expected = Op::Pad {
            padding,
            value: 0.0,
        };
        assert_eq!(padded.nodes.len(), 1);
        assert_eq!(padded.nodes[0].op, expected);
        assert_eq!(padded.nodes[0].inputs, [Value::Input]);
        // Ones are no padding.
        let ones = simplified_by(pad, graph(1.0));
        assert_eq!(ones, graph(1.0));
    }
}

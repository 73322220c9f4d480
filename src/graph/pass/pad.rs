use super::super::{Graph, Node, Op, Value};

/// Zeros before and after a tensor, joined to it by a concatenation, as padding.
pub(super) fn pad(mut graph: Graph) -> Graph {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let Op::Concatenate { axis } = node.op else {
            continue;
        };
        let is_zero = |value: &Value| zeros(&graph, *value);
        let rest: Vec<usize> = (0..node.inputs.len())
            .filter(|place| !is_zero(&node.inputs[*place]))
            .collect();
        let [place] = rest.as_slice() else {
            continue;
        };
        if node.inputs.len() == 1 {
            continue;
        }
        let length = |values: &[Value]| -> usize {
            let lengths = values.iter().map(|value| graph.dims(*value)[axis].at(1));
            lengths.sum()
        };
        let mut padding = vec![(0, 0); node.dims.len()];
        padding[axis] = (
            length(&node.inputs[..*place]),
            length(&node.inputs[place + 1..]),
        );
        let value = 0.0;
        graph.nodes[index] = Node {
            op: Op::Pad { padding, value },
            inputs: vec![node.inputs[*place]],
            ..node.clone()
        };
    }
    super::dead(graph)
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

use super::super::{Graph, Op, Unary, Value};

/// Without operations that change nothing; two reshapes or permutes in a row are one.
pub(super) fn identity(mut graph: Graph) -> Graph {
    // What each node's result is the same as.
    let mut same: Vec<Value> = (0..graph.nodes.len()).map(Value::Node).collect();
    for index in 0..graph.nodes.len() {
        let resolve = |value: Value| match value {
            Value::Node(index) => same[index],
            other => other,
        };
        let mut node = graph.nodes[index].clone();
        node.inputs
            .iter_mut()
            .for_each(|value| *value = resolve(*value));
        node.epilogue = node.epilogue.map(resolve);
        if let Value::Node(before) = node.inputs[0] {
            let before = &graph.nodes[before];
            match (&before.op, &mut node.op) {
                (Op::Reshape, Op::Reshape) => node.inputs[0] = before.inputs[0],
                (Op::Permute { axes: first }, Op::Permute { axes }) => {
                    axes.iter_mut().for_each(|axis| *axis = first[*axis]);
                    node.inputs[0] = before.inputs[0];
                }
                _ => {}
            }
        }
        graph.nodes[index] = node;
        let node = &graph.nodes[index];
        if does_nothing(&graph, index) {
            same[index] = node.inputs[0];
        }
    }
    if let Value::Node(index) = graph.output {
        graph.output = same[index];
    }
    super::dead(graph)
}

fn does_nothing(graph: &Graph, index: usize) -> bool {
    let node = &graph.nodes[index];
    let before = graph.dims(node.inputs[0]);
    match &node.op {
        Op::Reshape | Op::Expand => before == node.dims,
        Op::Permute { axes } => axes.iter().enumerate().all(|(to, from)| to == *from),
        Op::Slice { ranges } => {
            let whole = ranges
                .iter()
                .all(|(start, _, step)| (*start, *step) == (0, 1));
            whole && before == node.dims
        }
        Op::Pad { padding, .. } => padding.iter().all(|pair| *pair == (0, 0)),
        Op::Concatenate { .. } => node.inputs.len() == 1,
        Op::Unary(Unary::AddScalar(0.0) | Unary::MulScalar(1.0)) => true,
        _ => false,
    }
}

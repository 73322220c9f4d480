use super::super::{Binary, Graph, Node, Op, Unary, Value};

/// Additions into the product whose result they add to, and activations into what they follow.
pub(super) fn fuse(graph: Graph) -> Graph {
    let graph = super::dead(additions(graph));
    super::dead(activations(graph))
}

fn additions(mut graph: Graph) -> Graph {
    for index in 0..graph.nodes.len() {
        let users = graph.users();
        let node = &graph.nodes[index];
        let (Op::Binary(Binary::Add), [a, b]) = (&node.op, node.inputs.as_slice()) else {
            continue;
        };
        let (a, b) = (*a, *b);
        let same_dims = graph.dims(a) == graph.dims(b);
        if a == b || !same_dims || !a.is_activation() || !b.is_activation() {
            continue;
        }
        let fits = |value: Value| match value {
            Value::Node(product) => {
                let before = &graph.nodes[product];
                let free = before.epilogue.add.is_none() && before.epilogue.activation.is_none();
                (before.op.is_product()
                    && free
                    && users[product].len() == 1
                    && graph.output != value)
                    .then_some(product)
            }
            _ => None,
        };
        // The later of two, so that the other is there when it runs.
        let choice = match (fits(a), fits(b)) {
            (Some(first), Some(second)) if first > second => Some((first, b)),
            (_, Some(second)) => Some((second, a)),
            (Some(first), None) => Some((first, b)),
            (None, None) => None,
        };
        if let Some((product, other)) = choice {
            let mut fused = graph.nodes[product].clone();
            fused.epilogue.add = Some(other);
            graph.nodes[index] = fused;
        }
    }
    graph
}

fn activations(mut graph: Graph) -> Graph {
    for index in 0..graph.nodes.len() {
        let users = graph.users();
        let node = &graph.nodes[index];
        let Op::Unary(function @ (Unary::Relu | Unary::Clamp { .. })) = node.op else {
            continue;
        };
        let Value::Node(before) = node.inputs[0] else {
            continue;
        };
        if users[before].len() != 1 || graph.output == node.inputs[0] {
            continue;
        }
        if bears_activation(&graph.nodes[before]) {
            let mut fused = graph.nodes[before].clone();
            fused.epilogue.activation = Some(function);
            graph.nodes[index] = fused;
        }
    }
    graph
}

fn bears_activation(node: &Node) -> bool {
    let kind =
        node.op.is_product() || matches!(node.op, Op::Binary(Binary::Add) | Op::BatchNorm { .. });
    kind && node.epilogue.activation.is_none()
}

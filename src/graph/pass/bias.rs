use super::super::{Binary, Epilogue, Graph, Op, Value};

/// The addition of a vector of parameters to each row of a linear layer, or to each channel of a
/// convolution, into its epilogue: how Burn adds some biases.
pub(super) fn bias(mut graph: Graph) -> Graph {
    let users = graph.users();
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let (Op::Binary(Binary::Add), [a, b]) = (&node.op, node.inputs.as_slice()) else {
            continue;
        };
        let found = [(*a, *b), (*b, *a)].into_iter().find_map(|(sum, vector)| {
            let Value::Node(product) = sum else {
                return None;
            };
            let before = &graph.nodes[product];
            let axis = match before.op {
                Op::Linear => node.dims.len() - 1,
                Op::Convolution { .. } | Op::TransposedConvolution { .. } => 1,
                _ => return None,
            };
            let free = before.epilogue == Epilogue::default() && before.dims == node.dims;
            let alone = users[product].len() == 1 && graph.output != sum;
            let bias = vector_along(&graph, vector, axis, node.dims.len())?;
            (free && alone).then_some((product, bias))
        });
        if let Some((product, bias)) = found {
            let mut biased = graph.nodes[product].clone();
            biased.epilogue.bias = Some(bias);
            graph.nodes[index] = biased;
        }
    }
    super::dead(graph)
}

// The parameter of one axis that a tensor is, or is reshaped from, lying along `axis` of `rank` axes.
fn vector_along(graph: &Graph, value: Value, axis: usize, rank: usize) -> Option<Value> {
    let parameter = match value {
        Value::Node(index) if graph.nodes[index].op == Op::Reshape => graph.nodes[index].inputs[0],
        other => other,
    };
    let Value::Parameter(index) = parameter else {
        return None;
    };
    let [length] = graph.parameters[index].dims.as_slice() else {
        return None;
    };
    let dims = graph.dims(value);
    // Axes that are missing come first.
    let along = dims.iter().enumerate().all(|(place, dim)| {
        let place = place + rank - dims.len();
        dim.at(1) == if place == axis { *length } else { 1 }
    });
    (dims.len() <= rank && dims.len() + axis >= rank && along).then_some(parameter)
}

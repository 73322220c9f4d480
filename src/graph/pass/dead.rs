use super::super::{Graph, Value};

/// Without nodes, parameters and constants that the output does not need.
pub(in super::super) fn dead(graph: Graph) -> Graph {
    let mut nodes = vec![false; graph.nodes.len()];
    let mut parameters = vec![false; graph.parameters.len()];
    let mut constants = vec![false; graph.constants.len()];
    let mut need = |value: Value, nodes: &mut Vec<bool>| match value {
        Value::Node(index) => nodes[index] = true,
        Value::Parameter(index) => parameters[index] = true,
        Value::Constant(index) => constants[index] = true,
        Value::Input => {}
    };
    need(graph.output, &mut nodes);
    for index in (0..graph.nodes.len()).rev() {
        if nodes[index] {
            for operand in graph.nodes[index].operands() {
                need(operand, &mut nodes);
            }
        }
    }
    let place = |kept: &[bool]| -> Vec<usize> {
        let mut next = 0;
        let places = kept.iter().map(|kept| {
            let place = next;
            next += usize::from(*kept);
            place
        });
        places.collect()
    };
    let (node_at, parameter_at, constant_at) =
        (place(&nodes), place(&parameters), place(&constants));
    let moved = |value: Value| match value {
        Value::Node(index) => Value::Node(node_at[index]),
        Value::Parameter(index) => Value::Parameter(parameter_at[index]),
        Value::Constant(index) => Value::Constant(constant_at[index]),
        Value::Input => Value::Input,
    };
    Graph {
        nodes: kept(graph.nodes, &nodes)
            .map(|mut node| {
                node.inputs
                    .iter_mut()
                    .for_each(|value| *value = moved(*value));
                node.epilogue = node.epilogue.map(moved);
                node
            })
            .collect(),
        input: graph.input,
        output: moved(graph.output),
        parameters: kept(graph.parameters, &parameters).collect(),
        constants: kept(graph.constants, &constants).collect(),
    }
}

fn kept<T>(all: Vec<T>, kept: &[bool]) -> impl Iterator<Item = T> {
    let all = all.into_iter().zip(kept);
    all.filter(|(_, kept)| **kept).map(|(one, _)| one)
}

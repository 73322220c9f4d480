//! Changes to a graph that keep what it computes.

use crate::graph::node::{Graph, Node};
use crate::network::Value;

/// Every use of these nodes' results becomes a use of another value.
pub(super) fn replace(graph: &mut Graph, from: usize, to: Value) {
    let change = |value| match value == Value::Node(from) {
        true => to,
        false => value,
    };
    for node in &mut graph.nodes {
        for input in &mut node.inputs {
            *input = change(*input);
        }
        node.epilogue = node.epilogue.map(change);
    }
    graph.output = change(graph.output);
}

/// Puts a node before another.
pub(super) fn insert(graph: &mut Graph, at: usize, node: Node) {
    let change = |value| match value {
        Value::Node(index) if index >= at => Value::Node(index + 1),
        other => other,
    };
    for node in &mut graph.nodes[at..] {
        for input in &mut node.inputs {
            *input = change(*input);
        }
        node.epilogue = node.epilogue.map(change);
    }
    graph.output = change(graph.output);
    graph.nodes.insert(at, node);
}

/// Drops nodes, parameters and constants that nothing uses.
pub(super) fn prune(graph: &mut Graph) {
    let mut nodes = vec![false; graph.nodes.len()];
    let mut parameters = vec![false; graph.parameters.len()];
    let mut constants = vec![false; graph.constants.len()];
    let mut mark = |nodes: &mut Vec<bool>, value| match value {
        Value::Node(index) => nodes[index] = true,
        Value::Parameter(index) => parameters[index] = true,
        Value::Constant(index) => constants[index] = true,
        Value::Input => {}
    };
    mark(&mut nodes, graph.output);
    for index in (0..graph.nodes.len()).rev() {
        if nodes[index] {
            for operand in graph.nodes[index].operands() {
                mark(&mut nodes, operand);
            }
        }
    }
    // Each kept entry moves down by those dropped before it.
    let places = |kept: &[bool]| -> Vec<usize> {
        let mut next = 0;
        kept.iter()
            .map(|kept| {
                next += usize::from(*kept);
                next.saturating_sub(1)
            })
            .collect()
    };
    let (node_at, parameter_at) = (places(&nodes), places(&parameters));
    let constant_at = places(&constants);
    let change = |value| match value {
        Value::Input => Value::Input,
        Value::Node(index) => Value::Node(node_at[index]),
        Value::Parameter(index) => Value::Parameter(parameter_at[index]),
        Value::Constant(index) => Value::Constant(constant_at[index]),
    };
    keep(&mut graph.nodes, &nodes);
    keep(&mut graph.parameters, &parameters);
    keep(&mut graph.constants, &constants);
    for node in &mut graph.nodes {
        let Node {
            inputs, epilogue, ..
        } = node;
        for input in inputs {
            *input = change(*input);
        }
        *epilogue = epilogue.map(change);
    }
    graph.output = change(graph.output);
}

fn keep<T>(items: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    items.retain(|_| kept.next().copied().unwrap_or(true));
}

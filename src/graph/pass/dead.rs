use crate::graph::Graph;
use crate::network::Value;

// Leaves out nodes, parameters and constants that the output does not need.
pub(in crate::graph) fn dead(mut graph: Graph) -> Graph {
    let mut nodes = vec![false; graph.nodes.len()];
    let mut parameters = vec![false; graph.parameters.len()];
    let mut constants = vec![false; graph.constants.len()];
    let mut open = vec![graph.output];
    while let Some(value) = open.pop() {
        match value {
            Value::Input => {}
            Value::Parameter(index) => parameters[index] = true,
            Value::Constant(index) => constants[index] = true,
            Value::Node(index) => {
                if !nodes[index] {
                    nodes[index] = true;
                    open.extend(graph.nodes[index].operands());
                }
            }
        }
    }
    let [to_node, to_parameter, to_constant] = [&nodes, &parameters, &constants].map(|kept| {
        let mut next = 0;
        let places = kept.iter().map(|&kept| {
            let place = next;
            next += usize::from(kept);
            place
        });
        places.collect::<Vec<usize>>()
    });
    let moved = |value| match value {
        Value::Input => Value::Input,
        Value::Node(index) => Value::Node(to_node[index]),
        Value::Parameter(index) => Value::Parameter(to_parameter[index]),
        Value::Constant(index) => Value::Constant(to_constant[index]),
    };
    graph.nodes = chosen(graph.nodes, &nodes);
    graph.parameters = chosen(graph.parameters, &parameters);
    graph.constants = chosen(graph.constants, &constants);
    for node in &mut graph.nodes {
        for operand in &mut node.inputs {
            *operand = moved(*operand);
        }
        node.epilogue = node.epilogue.map(moved);
    }
    graph.output = moved(graph.output);
    graph
}

fn chosen<T>(all: Vec<T>, kept: &[bool]) -> Vec<T> {
    let pairs = all.into_iter().zip(kept);
    pairs
        .filter_map(|(item, &kept)| kept.then_some(item))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, images};
    use super::dead;
    use crate::network::{Binary, Op, Unary, Value};

    #[test]
    fn what_nothing_uses_vanishes_and_the_rest_keeps_its_operands() {
        let mut sample = Sample::new(images(2, 4, 4));
        let unused = sample.parameter("unused", &[2, 4, 4]);
        let used = sample.parameter("used", &[2, 4, 4]);
        sample.constant(&[1], &[1.0]);
        let constant = sample.constant(&[1], &[2.0]);
        let a = sample.node(Op::Unary(Unary::Exp), &[Value::Input], images(2, 4, 4));
        sample.node(Op::Binary(Binary::Add), &[a, unused], images(2, 4, 4));
        let b = sample.node(Op::Binary(Binary::Multiply), &[a, used], images(2, 4, 4));
        let c = sample.node(Op::Binary(Binary::Add), &[b, constant], images(2, 4, 4));
        sample.node(Op::Unary(Unary::Exp), &[c], images(2, 4, 4));
        let graph = dead(sample.output(c));

        let inputs: Vec<_> = graph.nodes.iter().map(|node| node.inputs.clone()).collect();
        let expected = vec![
            vec![Value::Input],
            vec![Value::Node(0), Value::Parameter(0)],
            vec![Value::Node(1), Value::Constant(0)],
        ];
        assert_eq!(inputs, expected);
        assert_eq!(graph.output, Value::Node(2));
        assert_eq!(graph.parameters.len(), 1);
        assert_eq!(graph.parameters[0].path, "used");
        assert_eq!(graph.constants.len(), 1);
        assert_eq!(graph.constants[0].values, [2.0]);
    }

    #[test]
    fn the_operands_of_an_epilogue_stay() {
        let mut sample = Sample::new(images(2, 4, 4));
        sample.parameter("unused", &[2]);
        let weight = sample.parameter("weight", &[2, 2, 1, 1]);
        let bias = sample.parameter("bias", &[2]);
        let conv = sample.convolution(Value::Input, weight, images(2, 4, 4));
        sample.epilogue(conv).bias = Some(bias);
        let graph = dead(sample.output(conv));
        let paths: Vec<_> = graph.parameters.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["weight", "bias"]);
        assert_eq!(graph.nodes[0].epilogue.bias, Some(Value::Parameter(1)));
    }

    #[test]
    fn a_graph_that_returns_its_input_has_no_node() {
        let mut sample = Sample::new(images(2, 4, 4));
        sample.node(Op::Unary(Unary::Exp), &[Value::Input], images(2, 4, 4));
        let graph = dead(sample.output(Value::Input));
        assert!(graph.nodes.is_empty());
        assert_eq!(graph.output, Value::Input);
    }
}

use crate::graph::{Epilogue, Graph, Node};
use crate::network::{Binary, Op, Unary, Value};

// Additions, ReLUs and clamps become part of the step whose result they take, where nothing else uses
// that.
pub(super) fn fuse(mut graph: Graph) -> Graph {
    let uses = graph.uses();
    for index in 0..graph.nodes.len() {
        let fused = match graph.nodes[index].op {
            Op::Binary(Binary::Add) => with_addition(&graph, &uses, index),
            Op::Unary(unary @ (Unary::Relu | Unary::Clamp { .. })) => {
                with_activation(&graph, &uses, index, unary)
            }
            _ => None,
        };
        if let Some(fused) = fused {
            // The earlier step moves to this place: all its operands come before, and it alone was
            // used here. Its old place is dead; it leaves the uses of everything else as they were.
            graph.nodes[index] = fused;
        }
    }
    super::dead(graph)
}

// The product among the operands, which adds the other one to its result.
fn with_addition(graph: &Graph, uses: &[usize], index: usize) -> Option<Node> {
    let addition = &graph.nodes[index];
    let [a, b] = addition.inputs[..] else {
        return None;
    };
    let plain = Epilogue {
        activation: addition.epilogue.activation,
        ..Epilogue::default()
    };
    let fits = |value: Value| value.is_activation() && graph.dims(value) == addition.dims;
    if !(fits(a) && fits(b) && addition.epilogue == plain) {
        return None;
    }
    let source = |value| match value {
        Value::Node(source) => Some(source).filter(|&source| {
            let node = &graph.nodes[source];
            let free = node.epilogue.add.is_none() && node.epilogue.activation.is_none();
            node.op.is_product() && uses[source] == 1 && free
        }),
        _ => None,
    };
    // Of two, the later: what it adds is there by then.
    let (source, other) = match (source(a), source(b)) {
        (Some(x), Some(y)) if x < y => (y, a),
        (Some(x), _) => (x, b),
        (None, Some(y)) => (y, a),
        (None, None) => return None,
    };
    let mut product = graph.nodes[source].clone();
    product.epilogue.add = Some(other);
    product.epilogue.activation = addition.epilogue.activation;
    Some(product)
}

fn with_activation(graph: &Graph, uses: &[usize], index: usize, unary: Unary) -> Option<Node> {
    let [Value::Node(source)] = graph.nodes[index].inputs[..] else {
        return None;
    };
    let node = &graph.nodes[source];
    let takes =
        node.op.is_product() || matches!(node.op, Op::Binary(Binary::Add) | Op::BatchNorm { .. });
    let free = uses[source] == 1 && node.epilogue.activation.is_none();
    (takes && free).then(|| {
        let mut node = node.clone();
        node.epilogue.activation = Some(unary);
        node
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{RELU, Sample, images, names};
    use super::fuse;
    use crate::network::{Binary, Dim, Op, Unary, Value};

    const ADD: Op = Op::Binary(Binary::Add);

    fn dims() -> Vec<Dim> {
        images(3, 4, 4)
    }

    #[test]
    fn a_residual_and_its_relu_become_part_of_the_convolution() {
        let mut sample = Sample::new(dims());
        let conv = sample.pointwise(Value::Input);
        let sum = sample.node(ADD, &[conv, Value::Input], dims());
        let relu = sample.node(RELU, &[sum], dims());
        let graph = fuse(sample.output(relu));
        assert_eq!(names(&graph), ["convolution"]);
        assert_eq!(graph.nodes[0].epilogue.add, Some(Value::Input));
        assert_eq!(graph.nodes[0].epilogue.activation, Some(Unary::Relu));
        assert_eq!(graph.output, Value::Node(0));
    }

    #[test]
    fn of_two_products_the_later_adds_the_other() {
        for swapped in [false, true] {
            let mut sample = Sample::new(dims());
            let main = sample.pointwise(Value::Input);
            let shortcut = sample.pointwise(Value::Input);
            let inputs = match swapped {
                true => [shortcut, main],
                false => [main, shortcut],
            };
            let sum = sample.node(ADD, &inputs, dims());
            let graph = fuse(sample.output(sum));
            assert_eq!(names(&graph), ["convolution"; 2]);
            assert_eq!(graph.nodes[0].layer, "layer0");
            assert_eq!(graph.nodes[0].epilogue.add, None);
            assert_eq!(graph.nodes[1].epilogue.add, Some(Value::Node(0)));
        }
    }

    #[test]
    fn a_product_moves_behind_what_it_adds() {
        let mut sample = Sample::new(dims());
        let conv = sample.pointwise(Value::Input);
        let exp = sample.node(Op::Unary(Unary::Exp), &[Value::Input], dims());
        let sum = sample.node(ADD, &[conv, exp], dims());
        let graph = fuse(sample.output(sum));
        assert_eq!(names(&graph), ["exp", "convolution"]);
        assert_eq!(graph.nodes[1].epilogue.add, Some(Value::Node(0)));
    }

    #[test]
    fn nothing_is_added_after_an_activation_or_another_addition() {
        let mut sample = Sample::new(dims());
        let conv = sample.pointwise(Value::Input);
        sample.epilogue(conv).activation = Some(Unary::Relu);
        let sum = sample.node(ADD, &[conv, Value::Input], dims());
        let graph = sample.output(sum);
        assert_eq!(fuse(graph.clone()), graph);

        let mut sample = Sample::new(dims());
        let conv = sample.pointwise(Value::Input);
        let sum = sample.node(ADD, &[conv, Value::Input], dims());
        let exp = sample.node(Op::Unary(Unary::Exp), &[Value::Input], dims());
        let twice = sample.node(ADD, &[sum, exp], dims());
        let graph = fuse(sample.output(twice));
        assert_eq!(names(&graph), ["convolution", "exp", "add"]);
        assert_eq!(graph.nodes[0].epilogue.add, Some(Value::Input));
    }

    #[test]
    fn what_is_used_elsewhere_keeps_to_itself() {
        let mut sample = Sample::new(dims());
        let conv = sample.pointwise(Value::Input);
        let relu = sample.node(RELU, &[conv], dims());
        let sum = sample.node(ADD, &[conv, relu], dims());
        let graph = sample.output(sum);
        assert_eq!(fuse(graph.clone()), graph);

        // Twice by the same.
        let mut sample = Sample::new(dims());
        let conv = sample.pointwise(Value::Input);
        let sum = sample.node(ADD, &[conv, conv], dims());
        let graph = sample.output(sum);
        assert_eq!(fuse(graph.clone()), graph);
    }

    #[test]
    fn an_addition_of_other_dimensions_or_of_a_parameter_stays() {
        let mut sample = Sample::new(dims());
        let conv = sample.pointwise(Value::Input);
        let mean = Op::Mean { axes: vec![2, 3] };
        let mean = sample.node(mean, &[Value::Input], images(3, 1, 1));
        let sum = sample.node(ADD, &[conv, mean], dims());
        let parameter = sample.parameter("positions", &[1, 3, 4, 4]);
        let other = sample.pointwise(sum);
        let sum = sample.node(ADD, &[other, parameter], dims());
        let graph = sample.output(sum);
        assert_eq!(fuse(graph.clone()), graph);
    }

    #[test]
    fn an_addition_and_a_norm_take_an_activation() {
        let clamp = Unary::Clamp { min: 0.0, max: 6.0 };
        let mut sample = Sample::new(dims());
        let norm = sample.norm(3);
        let normed = sample.batch_norm(Value::Input, norm);
        let clamped = sample.node(Op::Unary(clamp), &[normed], dims());
        let sum = sample.node(ADD, &[clamped, Value::Input], dims());
        let relu = sample.node(RELU, &[sum], dims());
        // Only one activation.
        let last = sample.node(Op::Unary(clamp), &[relu], dims());
        let graph = fuse(sample.output(last));
        assert_eq!(names(&graph), ["batch_norm", "add", "clamp"]);
        assert_eq!(graph.nodes[0].epilogue.activation, Some(clamp));
        assert_eq!(graph.nodes[1].epilogue.activation, Some(Unary::Relu));
        assert_eq!(graph.nodes[1].inputs, [Value::Node(0), Value::Input]);
    }
}

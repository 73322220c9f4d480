use crate::graph::{Epilogue, Graph, Node};
use crate::network::{Binary, Dim, Op, Value};

// A vector that is added to the channels of a product becomes its bias, where nothing else sees the
// product without it. So Burn's linear layer records its bias.
pub(super) fn fold_bias(mut graph: Graph) -> Graph {
    let uses = graph.uses();
    for index in 0..graph.nodes.len() {
        if let Some(folded) = folded(&graph, &uses, index) {
            // As with batch norms, the product moves to this place.
            graph.nodes[index] = folded;
        }
    }
    super::dead(graph)
}

fn folded(graph: &Graph, uses: &[usize], index: usize) -> Option<Node> {
    let addition = &graph.nodes[index];
    let (Op::Binary(Binary::Add), [a, b]) = (&addition.op, &addition.inputs[..]) else {
        return None;
    };
    let with = |product: Value, added: Value| {
        let Value::Node(source) = product else {
            return None;
        };
        let product = &graph.nodes[source];
        if !product.op.has_weights() {
            return None;
        }
        let axis = product.op.channel_axis(product.dims.len());
        let plain = product.epilogue == Epilogue::default() && uses[source] == 1;
        // Dimensions that the addition grows are not the product's alone.
        let fits = plain && product.dims == addition.dims;
        let bias = fits.then(|| vector(graph, added, axis, &product.dims))??;
        let mut product = product.clone();
        product.epilogue.bias = Some(bias);
        product.epilogue.activation = addition.epilogue.activation;
        Some(product)
    };
    let only_activation = Epilogue {
        activation: addition.epilogue.activation,
        ..Epilogue::default()
    };
    let folded = with(*a, *b).or_else(|| with(*b, *a));
    folded.filter(|_| addition.epilogue == only_activation)
}

// The vector that lies along this axis of a tensor of these dimensions, and repeats along all others.
fn vector(graph: &Graph, added: Value, axis: usize, dims: &[Dim]) -> Option<Value> {
    let channels = *dims.get(axis)?;
    let added_dims = graph.dims(added);
    let missing = dims.len().checked_sub(added_dims.len())?;
    let lies = axis.checked_sub(missing)?;
    let repeats = |(axis, dim): (usize, &Dim)| match axis == lies {
        true => *dim == channels,
        false => *dim == Dim::Fixed(1),
    };
    if !added_dims.iter().enumerate().all(repeats) {
        return None;
    }
    let mut root = added;
    while let Value::Node(index) = root {
        let node = &graph.nodes[index];
        let moved = matches!(node.op, Op::Reshape) && node.epilogue == Epilogue::default();
        root = *node.inputs.first().filter(|_| moved)?;
    }
    let is_vector = !root.is_activation() && graph.dims(root) == [channels];
    is_vector.then_some(root)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, images, names};
    use super::fold_bias;
    use crate::network::{Binary, Dim, Op, Unary, Value};

    const ADD: Op = Op::Binary(Binary::Add);

    fn fixed(dims: &[usize]) -> Vec<Dim> {
        dims.iter().copied().map(Dim::Fixed).collect()
    }

    #[test]
    fn a_reshaped_vector_becomes_the_bias_of_a_linear_layer() {
        for swapped in [false, true] {
            let tokens = |width| vec![Dim::Batch(1), Dim::Fixed(7), Dim::Fixed(width)];
            let mut sample = Sample::new(tokens(4));
            let weight = sample.parameter("weight", &[4, 5]);
            let bias = sample.parameter("bias", &[5]);
            let linear = sample.node(Op::Linear, &[Value::Input, weight], tokens(5));
            let row = sample.node(Op::Reshape, &[bias], fixed(&[1, 1, 5]));
            let inputs = if swapped {
                [row, linear]
            } else {
                [linear, row]
            };
            let sum = sample.node(ADD, &inputs, tokens(5));
            sample.epilogue(sum).activation = Some(Unary::Relu);
            let graph = fold_bias(sample.output(sum));
            assert_eq!(names(&graph), ["linear"]);
            assert_eq!(graph.nodes[0].epilogue.bias, Some(bias));
            assert_eq!(graph.nodes[0].epilogue.activation, Some(Unary::Relu));
        }
    }

    #[test]
    fn a_vector_along_the_channels_becomes_the_bias_of_a_convolution() {
        // The dimensions added, and whether they are the channels': the image is as wide.
        for (dims, folds) in [
            (vec![1, 3, 1, 1], true),
            (vec![3, 1, 1], true),
            (vec![1, 1, 1, 3], false),
            (vec![3], false),
        ] {
            let mut sample = Sample::new(images(3, 3, 3));
            let conv = sample.pointwise(Value::Input);
            let bias = sample.parameter("bias", &[3]);
            let shaped = sample.node(Op::Reshape, &[bias], fixed(&dims));
            let sum = sample.node(ADD, &[conv, shaped], images(3, 3, 3));
            let graph = fold_bias(sample.output(sum));
            assert_eq!(graph.nodes.len(), if folds { 1 } else { 3 }, "{dims:?}");
            let expected = folds.then_some(Value::Parameter(1));
            assert_eq!(graph.nodes[0].epilogue.bias, expected, "{dims:?}");
        }
    }

    #[test]
    fn what_comes_after_something_else_or_is_seen_by_another_is_no_bias() {
        let with = |change: fn(&mut Sample, Value)| {
            let mut sample = Sample::new(images(3, 4, 4));
            let conv = sample.pointwise(Value::Input);
            let bias = sample.parameter("bias", &[3]);
            let shaped = sample.node(Op::Reshape, &[bias], fixed(&[1, 3, 1, 1]));
            let sum = sample.node(ADD, &[conv, shaped], images(3, 4, 4));
            change(&mut sample, conv);
            let product = sample.node(Op::Binary(Binary::Multiply), &[sum, conv], images(3, 4, 4));
            (sample, sum, product)
        };
        for change in [
            (|sample, conv| sample.epilogue(conv).activation = Some(Unary::Relu))
                as fn(&mut Sample, Value),
            |sample, conv| sample.epilogue(conv).add = Some(Value::Input),
        ] {
            let (sample, sum, _) = with(change);
            let graph = super::super::dead(sample.output(sum));
            assert_eq!(fold_bias(graph.clone()), graph);
        }
        let (sample, _, product) = with(|_, _| {});
        let graph = sample.output(product);
        assert_eq!(fold_bias(graph.clone()), graph);
        // Alone it is one.
        let (sample, sum, _) = with(|_, _| {});
        let graph = fold_bias(super::super::dead(sample.output(sum)));
        assert_eq!(graph.nodes.len(), 1);
    }
}

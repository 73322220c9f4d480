use crate::graph::{Epilogue, Graph, Node};
use crate::network::{Dim, Op, Value};

// A batch norm becomes part of the product before it, where nothing else sees what it normalizes.
pub(super) fn fold_batch_norm(mut graph: Graph) -> Graph {
    let uses = graph.uses();
    for index in 0..graph.nodes.len() {
        if let Some(folded) = folded(&graph, &uses, index) {
            // The product moves to its norm's place, so that all who use that find it there. Its old
            // place is dead; it leaves the uses of everything else as they were.
            graph.nodes[index] = folded;
        }
    }
    super::dead(graph)
}

fn folded(graph: &Graph, uses: &[usize], index: usize) -> Option<Node> {
    let norm = &graph.nodes[index];
    let folded = norm.batch_norm()?;
    let Value::Node(source) = norm.inputs[0] else {
        return None;
    };
    let computed = folded.operands().map(Value::is_activation);
    let product = &graph.nodes[source];
    let only_bias = Epilogue {
        bias: product.epilogue.bias,
        ..Epilogue::default()
    };
    // A batch norm's channels are axis 1; a linear layer's are its last.
    let same_channels = match product.op {
        Op::Linear => matches!(product.dims[..], [_, Dim::Fixed(_)]),
        ref op => op.has_weights(),
    };
    let folds = same_channels
        && uses[source] == 1
        && product.epilogue == only_bias
        && computed == [false; 4];
    folds.then(|| {
        let mut product = product.clone();
        product.epilogue = Epilogue {
            norm: Some(folded),
            ..norm.epilogue
        };
        product.epilogue.bias = only_bias.bias;
        product
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{RELU, Sample, images, names};
    use super::fold_batch_norm;
    use crate::network::{Binary, Dim, Op, Unary, Value};

    #[test]
    fn a_norm_after_a_convolution_becomes_part_of_it() {
        let mut sample = Sample::new(images(3, 4, 4));
        let bias = sample.parameter("bias", &[3]);
        let conv = sample.pointwise(Value::Input);
        sample.epilogue(conv).bias = Some(bias);
        let norm = sample.norm(3);
        let normed = sample.batch_norm(conv, norm);
        let relu = sample.node(RELU, &[normed], images(3, 4, 4));
        let graph = fold_batch_norm(sample.output(relu));
        assert_eq!(names(&graph), ["convolution", "relu"]);
        let epilogue = graph.nodes[0].epilogue;
        assert_eq!(epilogue.norm, Some(norm));
        assert_eq!(epilogue.bias, Some(bias));
        assert_eq!(graph.nodes[0].layer, "layer0");
        assert_eq!(graph.nodes[1].inputs, [Value::Node(0)]);
    }

    #[test]
    fn an_activation_in_the_norms_epilogue_comes_along() {
        let mut sample = Sample::new(images(3, 4, 4));
        let conv = sample.pointwise(Value::Input);
        let norm = sample.norm(3);
        let normed = sample.batch_norm(conv, norm);
        sample.epilogue(normed).activation = Some(Unary::Relu);
        let graph = fold_batch_norm(sample.output(normed));
        assert_eq!(names(&graph), ["convolution"]);
        assert_eq!(graph.nodes[0].epilogue.activation, Some(Unary::Relu));
        assert_eq!(graph.nodes[0].epilogue.norm, Some(norm));
    }

    #[test]
    fn a_convolution_that_is_seen_before_its_norm_keeps_to_itself() {
        let mut sample = Sample::new(images(3, 4, 4));
        let conv = sample.pointwise(Value::Input);
        let norm = sample.norm(3);
        let normed = sample.batch_norm(conv, norm);
        let sum = sample.node(Op::Binary(Binary::Add), &[normed, conv], images(3, 4, 4));
        let graph = sample.output(sum);
        assert_eq!(fold_batch_norm(graph.clone()), graph);
    }

    #[test]
    fn nothing_folds_past_an_activation() {
        let mut sample = Sample::new(images(3, 4, 4));
        let conv = sample.pointwise(Value::Input);
        sample.epilogue(conv).activation = Some(Unary::Relu);
        let norm = sample.norm(3);
        let normed = sample.batch_norm(conv, norm);
        let graph = sample.output(normed);
        assert_eq!(fold_batch_norm(graph.clone()), graph);
    }

    #[test]
    fn a_linear_layer_of_rank_2_folds_and_one_of_rank_3_does_not() {
        for (dims, channels, expected) in [
            (vec![Dim::Batch(1), Dim::Fixed(5)], 5, 1),
            // The norm is over axis 1, the layer's features are axis 2.
            (vec![Dim::Batch(1), Dim::Fixed(5), Dim::Fixed(5)], 5, 2),
        ] {
            let mut sample = Sample::new(dims.clone());
            let weight = sample.parameter("weight", &[5, 5]);
            let linear = sample.node(Op::Linear, &[Value::Input, weight], dims);
            let norm = sample.norm(channels);
            let normed = sample.batch_norm(linear, norm);
            let graph = fold_batch_norm(sample.output(normed));
            assert_eq!(graph.nodes.len(), expected);
        }
    }
}

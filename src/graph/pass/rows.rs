use crate::graph::Graph;
use crate::network::{Dim, Op, Value};

// A linear layer on rows that were other axes before, or become others after, works on those axes:
// Burn records it on rows alone. Then what is added to it has its dimensions.
pub(super) fn rows(mut graph: Graph) -> Graph {
    let users = graph.users();
    for index in 0..graph.nodes.len() {
        let Some(flatten) = flattened(&graph, &users, index) else {
            continue;
        };
        if let Some((input, dims)) = axes_before(&graph, flatten, index) {
            let node = &mut graph.nodes[index];
            node.inputs[0] = input;
            node.dims = dims;
        } else if let Some(dims) = axes_after(&graph, &users[index], index)
            && users[flatten].len() == 1
        {
            // The input goes into these axes at once.
            let features = graph.nodes[flatten].dims.last().copied();
            if let Some((features, (_, axes))) = features.zip(dims.split_last()) {
                graph.nodes[flatten].dims = axes.iter().copied().chain([features]).collect();
                graph.nodes[index].dims = dims;
            }
        }
    }
    super::dead(graph)
}

// The reshape that gives a linear layer its rows, where only other reshapes see what it makes of them:
// those give the same, whatever axes the rows are.
fn flattened(graph: &Graph, users: &[Vec<usize>], index: usize) -> Option<usize> {
    let node = &graph.nodes[index];
    let by_row = node.epilogue.add.is_none() && node.epilogue.norm.is_none();
    let reshapes = |&index: &usize| matches!(graph.nodes[index].op, Op::Reshape);
    let unseen = graph.output != Value::Node(index) && users[index].iter().all(reshapes);
    match *node.inputs.first()? {
        Value::Node(source) => {
            let fits = matches!(node.op, Op::Linear) && by_row && unseen && reshapes(&source);
            fits.then_some(source)
        }
        _ => None,
    }
}

// What the rows were before, and the dimensions that the layer gives to it.
fn axes_before(graph: &Graph, flatten: usize, index: usize) -> Option<(Value, Vec<Dim>)> {
    let flatten = &graph.nodes[flatten];
    let before = *flatten.inputs.first()?;
    let mut dims = graph.dims(before);
    let same_features = dims.len() > 1 && dims.last() == flatten.dims.last();
    *dims.last_mut()? = *graph.nodes[index].dims.last()?;
    (same_features && before.is_activation()).then_some((before, dims))
}

// The dimensions that all users reshape the result to, its features the last.
fn axes_after(graph: &Graph, users: &[usize], index: usize) -> Option<Vec<Dim>> {
    let dims = &graph.nodes[*users.first()?].dims;
    let same = users.iter().all(|&user| graph.nodes[user].dims == *dims);
    let same_features = dims.len() > 1 && dims.last() == graph.nodes[index].dims.last();
    (same && same_features).then(|| dims.clone())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{RELU, Sample, names};
    use super::rows;
    use crate::network::{Dim, Op, Value};

    fn tokens(width: usize) -> Vec<Dim> {
        vec![Dim::Batch(1), Dim::Fixed(7), Dim::Fixed(width)]
    }

    fn flat(width: usize) -> Vec<Dim> {
        vec![Dim::Batch(7), Dim::Fixed(width)]
    }

    #[test]
    fn a_linear_layer_between_reshapes_keeps_the_axes() {
        let mut sample = Sample::new(tokens(4));
        let weight = sample.parameter("weight", &[4, 5]);
        let bias = sample.parameter("bias", &[5]);
        let before = sample.node(Op::Reshape, &[Value::Input], flat(4));
        let linear = sample.node(Op::Linear, &[before, weight], flat(5));
        sample.epilogue(linear).bias = Some(bias);
        let after = sample.node(Op::Reshape, &[linear], tokens(5));
        let graph = rows(sample.output(after));
        assert_eq!(names(&graph), ["linear", "reshape"]);
        assert_eq!(graph.nodes[0].inputs, [Value::Input, Value::Parameter(0)]);
        assert_eq!(graph.nodes[0].dims, tokens(5));
        assert_eq!(graph.simplify().nodes.len(), 1);
    }

    #[test]
    fn rows_of_heads_go_into_the_axes_that_come_after() {
        let heads = [7, 2, 2].map(Dim::Fixed);
        let heads = [Dim::Batch(1)].into_iter().chain(heads).collect();
        let mut sample = Sample::new(heads);
        let weight = sample.parameter("weight", &[4, 5]);
        let before = sample.node(Op::Reshape, &[Value::Input], flat(4));
        let linear = sample.node(Op::Linear, &[before, weight], flat(5));
        let after = sample.node(Op::Reshape, &[linear], tokens(5));
        let graph = rows(sample.clone().output(after));
        assert_eq!(names(&graph), ["reshape", "linear", "reshape"]);
        assert_eq!(graph.nodes[0].dims, tokens(4));
        assert_eq!(graph.nodes[1].dims, tokens(5));
        assert_eq!(names(&graph.simplify()), ["reshape", "linear"]);

        // Another user of the rows keeps them.
        let other = sample.node(RELU, &[before], flat(4));
        let weight = sample.parameter("other", &[4, 7]);
        let other = sample.node(Op::Linear, &[other, weight], flat(7));
        let both = sample.node(Op::MatMul, &[after, other], tokens(7));
        let graph = sample.output(both);
        assert_eq!(rows(graph.clone()), graph);
    }

    #[test]
    fn rows_that_others_see_stay_rows() {
        let mut sample = Sample::new(tokens(4));
        let weight = sample.parameter("weight", &[4, 5]);
        let before = sample.node(Op::Reshape, &[Value::Input], flat(4));
        let linear = sample.node(Op::Linear, &[before, weight], flat(5));
        let relu = sample.node(RELU, &[linear], flat(5));
        let after = sample.node(Op::Reshape, &[relu], tokens(5));
        for output in [linear, after] {
            let mut graph = super::super::dead(sample.clone().output(output));
            assert_eq!(rows(graph.clone()), graph);
            // A norm or an addition is for rows too.
            graph.nodes[1].epilogue.add = Some(Value::Node(0));
            assert_eq!(rows(graph.clone()), graph);
        }
    }

    #[test]
    fn features_that_were_several_axes_stay_one() {
        let mut sample = Sample::new(tokens(4));
        let weight = sample.parameter("weight", &[28, 5]);
        let row = vec![Dim::Batch(1), Dim::Fixed(28)];
        let before = sample.node(Op::Reshape, &[Value::Input], row);
        let scores = vec![Dim::Batch(1), Dim::Fixed(5)];
        let linear = sample.node(Op::Linear, &[before, weight], scores);
        let column = vec![Dim::Batch(1), Dim::Fixed(5), Dim::Fixed(1)];
        let after = sample.node(Op::Reshape, &[linear], column);
        let graph = sample.output(after);
        assert_eq!(rows(graph.clone()), graph);
    }
}

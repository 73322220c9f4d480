//! A part of a permuted tensor, cut before it is permuted.
//!
//! Attention of many models lays queries, keys and values of `[N, S, 3, h, d]` as `[3, N, h, S, d]` and
//! takes one of the three. The batch is then not in front, and no step of the engine reads such a tensor.

use super::rewrite;
use crate::graph::node::{Epilogue, Graph, Node};
use crate::network::{Dim, Op, Value};

/// `permute(x)[i]` becomes `permute(x[.., i, ..])`, at the reshape that drops the cut axis. True where
/// that was the node; two nodes are then before it.
pub(super) fn apply(graph: &mut Graph, index: usize) -> bool {
    let Some((cut, dropped, axes)) = found(graph, index) else {
        return false;
    };
    rewrite::insert(graph, index, cut);
    let dropped = Node {
        inputs: vec![Value::Node(index)],
        ..dropped
    };
    rewrite::insert(graph, index + 1, dropped);
    let node = &mut graph.nodes[index + 2];
    node.op = Op::Permute { axes };
    node.inputs = vec![Value::Node(index + 1)];
    true
}

fn found(graph: &Graph, index: usize) -> Option<(Node, Node, Vec<usize>)> {
    let node = |value: Value| match value {
        Value::Node(index) => Some(&graph.nodes[index]),
        _ => None,
    };
    let bare = |node: &Node| node.epilogue == Epilogue::default();
    let reshape = &graph.nodes[index];
    let slice = node(*reshape.inputs.first()?)?;
    let permute = node(*slice.inputs.first()?)?;
    let (Op::Reshape, Op::Slice { ranges }, Op::Permute { axes }) =
        (&reshape.op, &slice.op, &permute.op)
    else {
        return None;
    };
    let moved = !matches!(permute.dims.first()?, Dim::Batch(_));
    let one = slice.dims.first() == Some(&Dim::Fixed(1));
    let drops = slice.dims.get(1..) == Some(reshape.dims.as_slice());
    if !(moved && one && drops && bare(slice) && bare(permute)) {
        return None;
    }
    let x = *permute.inputs.first()?;
    let first = *axes.first()?;
    let mut dims = graph.dims(x);
    let mut before = vec![(0, None, 1); dims.len()];
    for (place, &axis) in axes.iter().enumerate() {
        before[axis] = *ranges.get(place)?;
        dims[axis] = *slice.dims.get(place)?;
    }
    let at = |op, inputs, dims| Node {
        op,
        inputs,
        epilogue: Epilogue::default(),
        dims,
        layer: slice.layer.clone(),
    };
    let cut = at(Op::Slice { ranges: before }, vec![x], dims.clone());
    dims.remove(first);
    let dropped = at(Op::Reshape, Vec::new(), dims);
    let axes = axes[1..].iter();
    let axes = axes.map(|&axis| axis - usize::from(axis > first)).collect();
    Some((cut, dropped, axes))
}

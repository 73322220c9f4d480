use super::super::simulate::standing_norm;
use super::super::{Epilogue, Graph, Op, Value};

/// Batch norms into the convolution or the linear layer before them, where nothing else reads it.
pub(super) fn fold_batch_norm(mut graph: Graph) -> Graph {
    let users = graph.users();
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let Op::BatchNorm { .. } = node.op else {
            continue;
        };
        let Value::Node(product) = node.inputs[0] else {
            continue;
        };
        let before = &graph.nodes[product];
        let channels_fit = match before.op {
            Op::Convolution { .. } | Op::TransposedConvolution { .. } => true,
            Op::Linear => node.dims.len() == 2,
            _ => false,
        };
        let plain = before.epilogue
            == Epilogue {
                bias: before.epilogue.bias,
                ..Epilogue::default()
            };
        if !channels_fit || !plain || users[product].len() != 1 || graph.output == node.inputs[0] {
            continue;
        }
        // The product takes the norm's place: whoever read the norm reads it.
        let norm = standing_norm(node);
        let mut folded = before.clone();
        folded.epilogue.norm = Some(norm);
        graph.nodes[index] = folded;
    }
    super::dead(graph)
}

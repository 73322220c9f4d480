//! Rewrites of a graph, each small, each keeping what it computes.

mod bias;
mod dead;
mod fold_batch_norm;
mod fuse;
mod identity;
mod pad;

pub(super) use dead::dead;

use super::Graph;

impl Graph {
    /// The same computation in fewer nodes: without what nobody uses and what does nothing, batch norms
    /// folded into the products before them, and additions and activations into what they follow.
    pub fn simplify(self) -> Self {
        let graph = pad::pad(bias::bias(identity::identity(self)));
        let graph = fold_batch_norm::fold_batch_norm(graph);
        dead(fuse::fuse(graph))
    }
}

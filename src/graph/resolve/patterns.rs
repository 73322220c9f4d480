//! What Burn expresses in several operations becomes the one operation that they mean.

use super::rewrite;
use crate::graph::Graph;

/// Resolves all patterns, and drops what is then unused.
pub(super) fn apply(graph: &mut Graph) {
    rewrite::prune(graph);
}

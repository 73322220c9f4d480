//! The part of a network that a plan runs.

use super::Layout;
use super::lanes::LaneMapping;
use crate::engine::lower::node::FusedNode;
use crate::engine::lower::viewed::Viewed;
use crate::network::Value;

/// What of a model a plan runs, and as what.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Part<'a> {
    pub model: &'a Viewed<'a>,
    pub nodes: &'a [FusedNode<'a>],
    pub lanes: LaneMapping,
    /// The tensor from which it goes on.
    pub begin: Option<Begin>,
}

/// A tensor that another plan has made of each sample, and how it lies there.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Begin {
    pub value: Value,
    pub layout: Layout,
}

//! Nodes with the same weights: a layer that is called again and again, or a parameter in two places.

use std::collections::HashMap;
use std::sync::Arc;

use super::node::{FusedNode, NodeWork, WeightValues, Weighted};
use crate::format::same_bits;

/// Lets nodes whose weights, read in the same order, are the same share what is packed of them.
pub(in crate::engine) fn share_packed(nodes: &mut [FusedNode]) {
    let mut alike: HashMap<[usize; 3], Vec<usize>> = HashMap::new();
    for index in 0..nodes.len() {
        let (before, rest) = nodes.split_at_mut(index);
        let NodeWork::Product(weighted) = &mut rest[0].work else {
            continue;
        };
        let size = [weighted.filters(), weighted.channels, weighted.taps()];
        let firsts = alike.entry(size).or_default();
        let mut found = firsts
            .iter()
            .filter_map(|&first| match &before[first].work {
                NodeWork::Product(first) if first.packs_like(weighted) => Some(&first.found),
                _ => None,
            });
        match found.next() {
            Some(found) => weighted.found = Arc::clone(found),
            None => firsts.push(index),
        }
    }
}

impl Weighted<'_> {
    // Whether both are packed into the same for every layout.
    fn packs_like(&self, other: &Self) -> bool {
        let form = |of: &Self| (of.window.kernel, of.window.dilation, of.groups, of.channels);
        form(self) == form(other)
            && self.filter_order == other.filter_order
            && self.channel_order == other.channel_order
            && self.weights.same(&other.weights)
    }
}

impl WeightValues<'_> {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Codes(codes), Self::Codes(others)) => codes == others,
            (Self::Floats(values), Self::Floats(others)) => same_bits(values, others),
            _ => false,
        }
    }
}

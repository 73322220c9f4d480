//! Where tensors lie in one memory: those that are not alive together share their place.

use std::ops::Range;

/// A tensor's size, and the operations from which on and up to which it is needed.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Buffer {
    pub blocks: usize,
    pub first: usize,
    pub last: usize,
}

/// Where each buffer lies, and how many vector blocks that takes: the largest are placed first, each as low as
/// those it lives with allow.
pub(in crate::engine) fn place(buffers: &[Buffer]) -> (Vec<Range<usize>>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(buffers[index].blocks), index));
    let mut places: Vec<Option<Range<usize>>> = vec![None; buffers.len()];
    for &index in &order {
        let buffer = &buffers[index];
        let mut taken: Vec<Range<usize>> = order
            .iter()
            .filter(|&&other| {
                let other = &buffers[other];
                other.first <= buffer.last && buffer.first <= other.last
            })
            .filter_map(|&other| places[other].clone())
            .collect();
        taken.sort_by_key(|range| range.start);
        let mut start = 0;
        for range in taken {
            if start + buffer.blocks <= range.start {
                break;
            }
            start = start.max(range.end);
        }
        places[index] = Some(start..start + buffer.blocks);
    }
    let places: Vec<Range<usize>> = places.into_iter().flatten().collect();
    let blocks = places.iter().map(|range| range.end).max().unwrap_or(0);
    (places, blocks)
}

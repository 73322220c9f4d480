//! Channels in an order that leaves fewer groups of four alive.
//!
//! A group of four input channels costs the same whether one of its weights is left or all four. Where a
//! tensor lies between products alone, its channels may be in any order: the filters that make them are put
//! in that order, and so are the weights that read them.

use serde::{Deserialize, Serialize};

use super::node::{FusedNode, NodeWork, WeightValues, Weighted};
use crate::kernel::FILTER_BLOCK;
use crate::network::Value;

/// The order of a tensor's channels: which comes first, and so on; empty where they stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct Order {
    /// The step that makes it.
    step: usize,
    channels: Vec<usize>,
}

impl Order {
    // Whether it is one of so many channels.
    fn fits(&self, channels: usize) -> bool {
        let mut seen = vec![false; channels];
        let mut first = |&channel: &usize| {
            let seen = seen.get_mut(channel);
            seen.is_some_and(|seen| !std::mem::replace(seen, true))
        };
        let all = self.channels.len() == channels && self.channels.iter().all(&mut first);
        self.channels.is_empty() || all
    }
}

/// Puts the channels of each tensor that lies between products in the order that leaves the fewest
/// groups alive, where that is fewer than now; what is known from another time is not searched for. Gives
/// the orders.
pub(in crate::engine) fn reorder(nodes: &mut [FusedNode], known: &[Order]) -> Vec<Order> {
    let mut orders = Vec::new();
    for maker in 0..nodes.len() {
        let value = Value::Node(nodes[maker].output);
        let readers: Vec<usize> = (0..nodes.len())
            .filter(|&index| nodes[index].inputs.contains(&value))
            .collect();
        let free = nodes[maker].makes_freely()
            && !readers.is_empty()
            && readers
                .iter()
                .all(|&index| nodes[index].reads_freely(value));
        if !free {
            continue;
        }
        let order = {
            let weights = readers.iter().filter_map(|&index| nodes[index].weighted());
            let weights: Vec<_> = weights.collect();
            let of = nodes[maker]
                .weighted()
                .into_iter()
                .chain(weights.iter().copied());
            let output = nodes[maker].output;
            let fits = |order: &&Order| {
                let mut counts = of.clone().enumerate().map(|(place, weighted)| match place {
                    0 => weighted.filters(),
                    _ => weighted.channels,
                });
                order.step == output && counts.all(|count| order.fits(count))
            };
            let kept = known.iter().find(fits).map(|order| order.channels.clone());
            kept.unwrap_or_else(|| best_order(&weights).unwrap_or_default())
        };
        orders.push(Order {
            step: nodes[maker].output,
            channels: order.clone(),
        });
        if !order.is_empty() {
            if let NodeWork::Product(weighted) = &mut nodes[maker].work {
                weighted.order_filters(&order);
            }
            for index in readers {
                if let NodeWork::Product(weighted) = &mut nodes[index].work {
                    weighted.channel_order.clone_from(&order);
                }
            }
        }
    }
    orders
}

impl<'m> FusedNode<'m> {
    fn weighted(&self) -> Option<&Weighted<'m>> {
        match &self.work {
            NodeWork::Product(weighted) => Some(weighted),
            _ => None,
        }
    }

    // Its filters can be put in any order: no other tensor must have the same.
    fn makes_freely(&self) -> bool {
        self.weighted().is_some_and(|weighted| {
            let codes = matches!(weighted.weights, WeightValues::Codes(_));
            codes && weighted.groups == 1 && weighted.residual.is_none()
        })
    }

    // It reads a tensor's channels through its weights alone.
    fn reads_freely(&self, value: Value) -> bool {
        let once = self.inputs.iter().filter(|&&input| input == value).count() == 1;
        let codes = self.weighted().is_some_and(|weighted| {
            weighted.groups == 1 && matches!(weighted.weights, WeightValues::Codes(_))
        });
        once && codes && self.inputs.first() == Some(&value)
    }
}

impl Weighted<'_> {
    fn order_filters(&mut self, order: &[usize]) {
        self.filter_order = order.to_vec();
        self.filters = order.iter().map(|&filter| self.filters[filter]).collect();
    }

    // For each channel, a bit for each filter and tap where its weight is not zero.
    fn supports(&self) -> Vec<Vec<u64>> {
        let (taps, filters) = (self.taps(), self.filters());
        let mut supports = vec![vec![0u64; (filters * taps).div_ceil(64)]; self.channels];
        if let WeightValues::Codes(codes) = &self.weights {
            for (place, _) in codes.iter().enumerate().filter(|(_, code)| **code != 0) {
                let (filter, rest) = (
                    place / (self.channels * taps),
                    place % (self.channels * taps),
                );
                let bit = filter * taps + rest % taps;
                supports[rest / taps][bit / 64] |= 1 << (bit % 64);
            }
        }
        supports
    }
}

fn alive(supports: &[Vec<u64>], group: &[usize]) -> u32 {
    let words = supports.first().map_or(0, Vec::len);
    let word = |word: usize| {
        group
            .iter()
            .fold(0, |all, &channel| all | supports[channel][word])
    };
    (0..words).map(|index| word(index).count_ones()).sum()
}

// Groups are filled one after the other: with the fullest channel left, and then with those that add
// the fewest places.
fn best_order(readers: &[&Weighted]) -> Option<Vec<usize>> {
    let channels = readers.first()?.channels;
    let mut supports = vec![Vec::new(); channels];
    for reader in readers {
        if reader.channels != channels {
            return None;
        }
        for (all, more) in supports.iter_mut().zip(reader.supports()) {
            all.extend(more);
        }
    }
    let total = |order: &[usize]| -> u32 {
        order
            .chunks(FILTER_BLOCK)
            .map(|group| alive(&supports, group))
            .sum()
    };
    let now: Vec<usize> = (0..channels).collect();
    let mut left = now.clone();
    left.sort_by_key(|&channel| std::cmp::Reverse(alive(&supports, &[channel])));
    let mut order = Vec::with_capacity(channels);
    while !left.is_empty() {
        let first = left.remove(0);
        let mut union = supports[first].clone();
        order.push(first);
        for _ in 1..FILTER_BLOCK.min(left.len() + 1) {
            let added = |&channel: &usize| -> u32 {
                let words = supports[channel].iter().zip(&union);
                words.map(|(new, old)| (new & !old).count_ones()).sum()
            };
            let least = (0..left.len()).min_by_key(|&place| added(&left[place]))?;
            let next = left.remove(least);
            union
                .iter_mut()
                .zip(&supports[next])
                .for_each(|(all, new)| *all |= new);
            order.push(next);
        }
    }
    (total(&order) < total(&now)).then_some(order)
}

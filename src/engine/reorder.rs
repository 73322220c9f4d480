//! Channels in an order that leaves fewer groups of four alive.
//!
//! A group of four input channels costs the same whether one of its weights is left or all four.
//! Where a tensor lies between products alone, its channels may be in any order: the filters that make them are put in
//! that order, and so are the weights that read them.

use super::stage::{Stage, StageWork, WeightValues, Weighted};
use crate::graph::Value;
use crate::kernel::QUAD;

/// Puts the channels of each tensor that lies between products in the order that leaves the fewest
/// groups alive, where that is fewer than now.
pub(super) fn reorder(stages: &mut [Stage]) {
    for maker in 0..stages.len() {
        let value = Value::Node(stages[maker].output);
        let readers: Vec<usize> = (0..stages.len())
            .filter(|&index| stages[index].inputs.contains(&value))
            .collect();
        let free = stages[maker].makes_freely()
            && !readers.is_empty()
            && readers
                .iter()
                .all(|&index| stages[index].reads_freely(value));
        if !free {
            continue;
        }
        let order = {
            let weights = readers.iter().filter_map(|&index| stages[index].weighted());
            best_order(&weights.collect::<Vec<_>>())
        };
        if let Some(order) = order {
            if let StageWork::Product(weighted) = &mut stages[maker].work {
                weighted.order_filters(&order);
            }
            for index in readers {
                if let StageWork::Product(weighted) = &mut stages[index].work {
                    weighted.order_channels(&order);
                }
            }
        }
    }
}

impl Stage {
    fn weighted(&self) -> Option<&Weighted> {
        match &self.work {
            StageWork::Product(weighted) => Some(weighted),
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

impl Weighted {
    fn order_filters(&mut self, order: &[usize]) {
        let length = self.channels * self.taps();
        if let WeightValues::Codes(codes) = &mut self.weights {
            let filters = order.iter();
            let of = |&filter: &usize| codes[filter * length..(filter + 1) * length].to_vec();
            *codes = filters.flat_map(of).collect();
        }
        self.filters = order.iter().map(|&filter| self.filters[filter]).collect();
    }

    fn order_channels(&mut self, order: &[usize]) {
        let (taps, filters) = (self.taps(), self.filters());
        let channels = self.channels;
        if let WeightValues::Codes(codes) = &mut self.weights {
            let mut ordered = Vec::with_capacity(codes.len());
            for filter in 0..filters {
                for channel in order {
                    let first = (filter * channels + channel) * taps;
                    ordered.extend_from_slice(&codes[first..first + taps]);
                }
            }
            *codes = ordered;
        }
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
            .chunks(QUAD)
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
        for _ in 1..QUAD.min(left.len() + 1) {
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

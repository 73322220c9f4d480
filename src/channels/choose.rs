//! Which channels go: the lowest scores first, until the share is reached.

use std::collections::{HashMap, HashSet};

use super::flow::Flow;
use super::groups::Group;
use crate::network::{Dim, Op, Value};
use crate::prune::Scope;

/// What holds for each group.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub scope: Scope,
    pub at_least: usize,
    pub multiple: usize,
}

/// How many multiply-adds a pass on one sample has, as channels go.
pub(super) struct Macs {
    /// Positions, and what is left of each of the weight's axes.
    products: Vec<(u64, Vec<u64>)>,
    /// Where the places of a root lie: product, axis, and how many.
    places: HashMap<usize, Vec<(usize, usize, u64)>>,
}

impl Macs {
    pub fn of(flow: &Flow<'_>) -> Self {
        let mut macs = Self {
            products: Vec::new(),
            places: HashMap::new(),
        };
        let length = |dim: &Dim| dim.at(1) as u64;
        for node in flow.graph.nodes() {
            if !node.op.has_weights() {
                continue;
            }
            let input = flow.dims(node.inputs[0]);
            let positions: u64 = match node.op {
                Op::Linear => input[..input.len() - 1].iter().map(length).product(),
                Op::TransposedConvolution { .. } => input[2..].iter().map(length).product(),
                _ => node.dims[2..].iter().map(length).product(),
            };
            let weight: Value = node.inputs[1];
            let product = macs.products.len();
            let dims = flow.dims(weight);
            for axis in 0..dims.len() {
                let mut counts: HashMap<usize, u64> = HashMap::new();
                for slot in flow.axis(weight, axis) {
                    *counts.entry(flow.slots.root(slot)).or_default() += 1;
                }
                for (root, count) in counts {
                    let places = macs.places.entry(root).or_default();
                    places.push((product, axis, count));
                }
            }
            macs.products
                .push((positions, dims.iter().map(length).collect()));
        }
        macs
    }

    pub fn remove(&mut self, root: usize) {
        for &(product, axis, count) in self.places.get(&root).into_iter().flatten() {
            self.products[product].1[axis] -= count;
        }
    }

    pub fn total(&self) -> u64 {
        let products = self.products.iter();
        products
            .map(|(positions, dims)| positions * dims.iter().product::<u64>())
            .sum()
    }
}

/// How much is to go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    Channels(f64),
    Macs(f64),
}

/// The roots that go, of each group; or the greatest share that can go.
pub(super) fn choose(
    flow: &Flow<'_>,
    groups: &[Group],
    scores: &[Option<Vec<f64>>],
    limits: &Limits,
    target: Target,
) -> Result<Vec<HashSet<usize>>, f64> {
    let free = |index: &usize| groups[*index].fixed.is_none();
    let mut bundles: Vec<Bundle> = (0..groups.len())
        .filter(free)
        .filter_map(|index| Some((index, scores[index].as_ref()?)))
        .flat_map(|(index, scores)| bundles(index, &groups[index], scores, limits))
        .collect();
    // In a group bundles are in order already.
    bundles.sort_by(|one, other| one.key.total_cmp(&other.key));
    let channels = |group: &Group| (group.units.len() * group.width()) as f64;
    let all: f64 = (0..groups.len())
        .filter(free)
        .map(|i| channels(&groups[i]))
        .sum();
    let mut macs = Macs::of(flow);
    let full = macs.total() as f64;
    let mut removed = 0.0;
    let mut share = 0.0;
    let mut gone = vec![HashSet::new(); groups.len()];
    let (Target::Channels(wanted) | Target::Macs(wanted)) = target;
    for bundle in bundles {
        let group = &groups[bundle.group];
        for unit in &bundle.units {
            let root = group.units[*unit].root;
            macs.remove(root);
            gone[bundle.group].insert(root);
            removed += group.width() as f64;
        }
        share = match target {
            Target::Channels(_) => removed / all.max(1.0),
            Target::Macs(_) => 1.0 - macs.total() as f64 / full.max(1.0),
        };
        // Counts are whole: only rounding is forgiven.
        if share >= wanted - 1e-9 {
            return Ok(gone);
        }
    }
    Err(share)
}

// Units that go at once, so that a multiple stays.
struct Bundle {
    group: usize,
    units: Vec<usize>,
    key: f64,
}

fn bundles(index: usize, group: &Group, scores: &[f64], limits: &Limits) -> Vec<Bundle> {
    let (count, width) = (group.units.len(), group.width().max(1));
    let least = limits.at_least.div_ceil(width).max(1);
    let multiple = limits.multiple / common(limits.multiple, width);
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&one, &other| scores[one].total_cmp(&scores[other]));
    let mut bundles = Vec::new();
    let (mut kept, mut key) = (count, 0.0f64);
    while kept > least {
        let next = (kept - 1) / multiple * multiple;
        if next < least {
            break;
        }
        let units = order[count - kept..count - next].to_vec();
        key = match limits.scope {
            Scope::Layer => (count - next) as f64 / count as f64,
            _ => {
                let sum: f64 = units.iter().map(|&unit| scores[unit]).sum();
                key.max(sum / units.len() as f64)
            }
        };
        bundles.push(Bundle {
            group: index,
            units,
            key,
        });
        kept = next;
    }
    bundles
}

// The greatest common divisor.
fn common(one: usize, other: usize) -> usize {
    match other {
        0 => one.max(1),
        _ => common(other, one % other),
    }
}

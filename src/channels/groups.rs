//! From tied places to groups of channels.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Reason;
use super::flow::{Flow, Settings, walk};
use super::reshape::Modes;
use crate::graph::Graph;

/// An element of a parameter's axis: index of the parameter in the graph, axis in the module's order,
/// place.
pub(super) type Place = (usize, usize, usize);

// Parameters, axes and how many places on each; and why they stay.
type Signature = (Vec<(usize, usize, usize)>, Option<Reason>);

/// A channel, or several that can only go together.
pub(super) struct Unit {
    pub root: usize,
    pub places: Vec<Place>,
}

/// Units that lie on the same axes of the same parameters.
pub(super) struct Group {
    /// Parameter and axis.
    pub axes: Vec<(usize, usize)>,
    /// The first weight whose output channels these are.
    pub producer: (usize, usize),
    pub units: Vec<Unit>,
    pub fixed: Option<Reason>,
}

impl Group {
    /// Channels of the producer in each unit.
    pub fn width(&self) -> usize {
        let of_producer = |place: &&Place| (place.0, place.1) == self.producer;
        let unit = self.units.first();
        unit.map_or(0, |unit| unit.places.iter().filter(of_producer).count())
    }
}

/// A graph's groups, and the walk that found them.
pub(super) struct Found<'a> {
    pub flow: Flow<'a>,
    pub groups: Vec<Group>,
}

/// The choice of each reshape's factor, one after the other: of those that the rest of the graph and the
/// choices before let go, the first, or a later one where asked to move on.
#[derive(Clone, Default)]
pub(super) struct Choice {
    at: Vec<usize>,
    candidates: Vec<Vec<usize>>,
}

impl Choice {
    fn modes(&mut self, graph: &Graph, settings: &Settings) -> Modes {
        let mut modes = Modes::new();
        self.candidates.clear();
        loop {
            let open = walk(graph, settings, modes.clone());
            let Some(site) = open.sites.get(modes.len()) else {
                self.at.resize(modes.len(), 0);
                return modes;
            };
            let candidates = site.candidates(&open.slots);
            let at = self.at.get(modes.len()).copied().unwrap_or(0);
            let at = at.min(candidates.len().saturating_sub(1));
            modes.push(candidates.get(at).copied());
            self.candidates.push(candidates);
        }
    }

    /// Another factor for each site at which nothing can go; none where all have been tried.
    pub fn next(&self, found: &Found<'_>) -> Option<Self> {
        let stuck: HashSet<usize> = found
            .groups
            .iter()
            .filter(|group| group.fixed.is_some())
            .flat_map(|group| group.units.iter().map(|unit| unit.root))
            .collect();
        let slots = &found.flow.slots;
        let mut next = self.clone();
        let mut moved = false;
        for (index, site) in found.flow.sites.iter().enumerate() {
            let stays =
                |slot: &usize| slots.fixed(*slot).is_some() || stuck.contains(&slots.root(*slot));
            if site.one.iter().all(stays) && self.at[index] + 1 < self.candidates[index].len() {
                next.at[index] += 1;
                moved = true;
            }
        }
        moved.then_some(next)
    }
}

/// The groups of a graph.
pub(super) fn groups<'a>(
    graph: &'a Graph,
    settings: &'a Settings,
    choice: &mut Choice,
) -> Found<'a> {
    let modes = choice.modes(graph, settings);
    let flow = walk(graph, settings, modes);
    let mut units: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
    for parameter in 0..graph.parameters().len() {
        for (axis, places) in flow.own_axes(parameter).into_iter().enumerate() {
            for (place, slot) in places.into_iter().enumerate() {
                let root = flow.slots.root(slot);
                units
                    .entry(root)
                    .or_default()
                    .push((parameter, axis, place));
            }
        }
    }
    let own_axis = |(&parameter, &axis): (&usize, &usize)| {
        let axis = match graph.parameters()[parameter].transposed {
            true => 1 - axis,
            false => axis,
        };
        (parameter, axis)
    };
    let producers: HashSet<(usize, usize)> = flow.outputs.iter().map(own_axis).collect();
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<Signature, usize> = HashMap::new();
    for (root, places) in units {
        let mut counts: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for &(parameter, axis, _) in &places {
            *counts.entry((parameter, axis)).or_default() += 1;
        }
        // What no weight makes is not asked for: positions, inputs, elements of kernels.
        let Some(&producer) = counts.keys().find(|axis| producers.contains(axis)) else {
            continue;
        };
        let fixed = flow.slots.fixed(root).cloned();
        let signature = counts.iter().map(|(&(p, a), &count)| (p, a, count));
        let key = (signature.collect(), fixed.clone());
        let index = *known.entry(key).or_insert(groups.len());
        if index == groups.len() {
            groups.push(Group {
                axes: counts.into_keys().collect(),
                producer,
                units: Vec::new(),
                fixed,
            });
        }
        groups[index].units.push(Unit { root, places });
    }
    Found { flow, groups }
}

//! From a module to one with fewer channels.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::module::{Module, ParamId};
use burn::tensor::Tensor;

use super::check::{Mismatch, compare};
use super::choose::{Macs, Target, choose};
use super::flow::Settings;
use super::groups::{Choice, Found, Group, groups};
use super::read::{Parameter, read};
use super::removal::Cut;
use super::score::Scorer;
use super::{ChannelError, ChannelGroup, Channels, Fields, Narrowed, Reason, Removal};
use crate::compress::{Layer, layers};
use crate::graph::{Fallback, Graph};

pub(super) struct Run<'a, M, const D: usize, F, S> {
    plan: &'a Channels,
    module: &'a M,
    shape: [usize; D],
    forward: &'a F,
    fields: &'a S,
    parameters: Vec<Parameter>,
    layers: HashMap<String, Layer>,
    graph: Graph,
    settings: Settings,
}

impl<'a, M, const D: usize, const E: usize, F, S> Run<'a, M, D, F, S>
where
    M: Module,
    F: Fn(&M, Tensor<D>) -> Tensor<E>,
    S: Fn(&mut M, &mut Fields),
{
    pub fn new(
        plan: &'a Channels,
        module: &'a M,
        shape: [usize; D],
        forward: &'a F,
        fields: &'a S,
    ) -> Result<Self, ChannelError> {
        let parameters = read(module, true)?;
        let layers = layers(module)?;
        let selected = match &plan.selection {
            Some(selection) => Some(selection.select(&layers)?),
            None => None,
        };
        let graph = Graph::capture_with(module, shape, Fallback::Float, forward)?;
        let mut run = Self {
            plan,
            module,
            shape,
            forward,
            fields,
            parameters,
            layers: layers
                .into_iter()
                .map(|layer| (layer.path.clone(), layer))
                .collect(),
            graph,
            settings: Settings::default(),
        };
        run.settings = run.settings(selected.as_deref());
        Ok(run)
    }

    fn settings(&self, selected: Option<&[Layer]>) -> Settings {
        let mut reached = Fields::of(self.dims());
        (self.fields)(&mut self.module.clone(), &mut reached);
        let reached: HashSet<ParamId> = reached.reached().iter().copied().collect();
        let of_reached = self.parameters.iter().filter(|p| reached.contains(&p.id));
        let layer = |p: &Parameter| {
            p.path
                .rsplit_once('.')
                .map_or("", |(layer, _)| layer)
                .to_string()
        };
        let mut settings = Settings {
            resizable: of_reached.map(layer).collect(),
            renormalize: self.plan.renormalize,
            ..Settings::default()
        };
        let any_trains = self.parameters.iter().any(|parameter| parameter.trains);
        let mut first: HashMap<ParamId, usize> = HashMap::new();
        for (index, parameter) in self.of_graph().into_iter().enumerate() {
            match first.get(&parameter.id) {
                Some(&other) => settings.tied.push((other, index)),
                None => drop(first.insert(parameter.id, index)),
            }
            let path = parameter.path.clone();
            let frozen = any_trains && !parameter.trains && !parameter.statistic;
            if frozen && !self.plan.frozen {
                settings
                    .whole
                    .push((index, Reason::Frozen { path: path.clone() }));
            }
            if let Some(selected) = selected
                && !selected.iter().any(|layer| layer.path == path)
            {
                settings.outputs.insert(index, Reason::NotSelected { path });
            }
        }
        settings
    }

    // The parameters of the graph, in its order.
    fn of_graph(&self) -> Vec<&Parameter> {
        let by_path: HashMap<&str, &Parameter> = self
            .parameters
            .iter()
            .map(|parameter| (parameter.path.as_str(), parameter))
            .collect();
        let parameters = self.graph.parameters().iter();
        parameters
            .filter_map(|parameter| by_path.get(parameter.path.as_str()).copied())
            .collect()
    }

    fn dims(&self) -> HashMap<ParamId, Vec<usize>> {
        let parameters = self.parameters.iter();
        parameters.map(|one| (one.id, one.dims.clone())).collect()
    }

    pub fn run(self) -> Result<Narrowed<M>, ChannelError> {
        let mut found = self.find();
        let of_graph = self.of_graph();
        let mut scorer_found = Vec::new();
        {
            let mut scorer = Scorer::new(
                self.plan.score,
                &found,
                &of_graph,
                &self.layers,
                self.plan.observed.as_ref(),
            );
            for group in &found.groups {
                scorer_found.push(match group.fixed {
                    Some(_) => None,
                    None => scorer.scores(group)?,
                });
            }
        }
        for (group, scores) in found.groups.iter_mut().zip(&scorer_found) {
            if scores.is_none() && group.fixed.is_none() {
                group.fixed = Some(Reason::NoNorm);
            }
        }
        // Each turn fixes a group that the pass does not let go, or is the last.
        loop {
            let gone = self.choose(&found, &scorer_found)?;
            let taken: Vec<usize> = (0..gone.len()).filter(|&g| !gone[g].is_empty()).collect();
            let wrong = self.unfit(&found, &taken, &|group| gone[group].clone());
            if wrong.is_empty() {
                return self.finish(found, &gone);
            }
            for (group, reason) in wrong {
                found.groups[group].fixed = Some(reason);
            }
        }
    }

    // The groups, with those fixed that the pass does not let go.
    fn find(&self) -> Found<'_> {
        let mut choice = Choice::default();
        let mut best: Option<(usize, Found<'_>)> = None;
        loop {
            let mut found = groups(&self.graph, &self.settings, &mut choice);
            let free: Vec<usize> = (0..found.groups.len())
                .filter(|&g| found.groups[g].fixed.is_none() && found.groups[g].units.len() > 1)
                .collect();
            // Its last unit.
            let one = |group: usize| -> HashSet<usize> {
                let units: &[_] = &found.groups[group].units;
                units.last().map(|unit| unit.root).into_iter().collect()
            };
            let wrong = self.unfit(&found, &free, &one);
            for (group, reason) in wrong {
                found.groups[group].fixed = Some(reason);
            }
            let channels = |group: &Group| group.units.len() * group.width();
            let free = found.groups.iter().filter(|group| group.fixed.is_none());
            let count = free.map(channels).sum();
            let next = choice.next(&found);
            if best.as_ref().is_none_or(|(most, _)| count > *most) {
                best = Some((count, found));
            }
            match (next, best) {
                (Some(next), kept) => (choice, best) = (next, kept),
                (None, Some((_, found))) => return found,
                (None, None) => unreachable!("the best is set above"),
            }
        }
    }

    // The groups that the pass does not let go, of some that are to lose these roots.
    fn unfit(
        &self,
        found: &Found<'_>,
        candidates: &[usize],
        gone: &dyn Fn(usize) -> HashSet<usize>,
    ) -> Vec<(usize, Reason)> {
        let mut good: HashSet<usize> = HashSet::new();
        let mut wrong = Vec::new();
        let mut open = vec![candidates.to_vec()];
        while let Some(part) = open.pop() {
            if part.is_empty() {
                continue;
            }
            let mut roots = good.clone();
            part.iter().for_each(|&group| roots.extend(gone(group)));
            match (self.attempt(found, &roots), &part[..]) {
                (Ok(()), _) => good = roots,
                (Err(mismatch), [group]) => {
                    let producer = found.groups[*group].producer.0;
                    let path = || self.graph.parameters()[producer].path.clone();
                    let reason = Reason::Pass {
                        layer: mismatch.layer.unwrap_or_else(path),
                        what: mismatch.what,
                    };
                    wrong.push((*group, reason));
                }
                (Err(_), part) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    open.extend([second.to_vec(), first.to_vec()]);
                }
            }
        }
        wrong
    }

    // Whether the pass is the same without these roots.
    fn attempt(&self, found: &Found<'_>, gone: &HashSet<usize>) -> Result<(), Mismatch> {
        let failed = |what: String| Mismatch { layer: None, what };
        let smaller = self.smaller(&self.removal(found, gone));
        let smaller = smaller.map_err(|error| failed(error.to_string()))?;
        let after = Graph::capture_with(&smaller, self.shape, Fallback::Float, self.forward);
        let after = after.map_err(|error| failed(error.to_string()))?;
        compare(&found.flow, gone, &after)
    }

    fn smaller(&self, removal: &Removal) -> Result<M, ChannelError> {
        let mut smaller = removal.cut(self.module.clone())?;
        (self.fields)(&mut smaller, &mut Fields::of(self.dims()));
        Ok(smaller)
    }

    fn removal(&self, found: &Found<'_>, gone: &HashSet<usize>) -> Removal {
        let mut of_ids: HashMap<ParamId, Cut> = HashMap::new();
        for (index, parameter) in self.of_graph().into_iter().enumerate() {
            let axes = found.flow.own_axes(index).into_iter().enumerate();
            let kept: BTreeMap<usize, Vec<usize>> = axes
                .filter_map(|(axis, places)| Some((axis, found.flow.kept(&places, gone)?)))
                .filter(|(axis, kept)| kept.len() < parameter.dims[*axis])
                .collect();
            if !kept.is_empty() {
                let dims = parameter.dims.clone();
                of_ids.insert(parameter.id, Cut { dims, kept });
            }
        }
        // One parameter may be in places that the pass does not read.
        let cuts = self.parameters.iter().filter_map(|parameter| {
            let cut = of_ids.get(&parameter.id)?;
            Some((parameter.path.clone(), cut.clone()))
        });
        Removal {
            parameters: cuts.collect(),
        }
    }

    fn choose(
        &self,
        found: &Found<'_>,
        scores: &[Option<Vec<f64>>],
    ) -> Result<Vec<HashSet<usize>>, ChannelError> {
        let (limits, target) = (&self.plan.limits, self.plan.target);
        let can_go = |group: &Group| group.fixed.is_none() && group.units.len() > 1;
        let fixed = || self.fixed(found);
        if !found.groups.iter().any(can_go) {
            return Err(ChannelError::Nothing { fixed: fixed() });
        }
        choose(&found.flow, &found.groups, scores, limits, target).map_err(|most| {
            let (share, of) = match target {
                Target::Channels(share) => (share, "channels"),
                Target::Macs(share) => (share, "multiply-adds"),
            };
            ChannelError::Unreachable {
                share,
                of,
                most,
                fixed: fixed(),
            }
        })
    }

    fn fixed(&self, found: &Found<'_>) -> Vec<(String, Reason)> {
        let path = |group: &Group| self.graph.parameters()[group.producer.0].path.clone();
        let groups = found.groups.iter();
        groups
            .filter_map(|group| Some((path(group), group.fixed.clone()?)))
            .collect()
    }

    fn finish(
        &self,
        found: Found<'_>,
        gone: &[HashSet<usize>],
    ) -> Result<Narrowed<M>, ChannelError> {
        let all: HashSet<usize> = gone.iter().flatten().copied().collect();
        let removal = self.removal(&found, &all);
        let module = self.smaller(&removal)?;
        let mut macs = Macs::of(&found.flow);
        let before = macs.total();
        all.iter().for_each(|root| macs.remove(*root));
        let count = |parameter: &Parameter| parameter.dims.iter().product::<usize>();
        let left = |parameter: &Parameter| {
            let cut = removal.parameters.get(&parameter.path);
            let axes = parameter.dims.iter().enumerate();
            let left = axes.map(|(axis, length)| {
                let kept = cut.and_then(|cut| cut.kept.get(&axis));
                kept.map_or(*length, Vec::len)
            });
            left.product::<usize>()
        };
        let mut groups: Vec<ChannelGroup> = Vec::new();
        for (group, gone) in found.groups.iter().zip(gone) {
            let weights = group.axes.iter().filter(|(parameter, axis)| {
                let own = self.graph.parameters()[*parameter].transposed;
                let output = found.flow.outputs.get(parameter);
                output.is_some_and(|&output| {
                    if own {
                        1 - output == *axis
                    } else {
                        output == *axis
                    }
                })
            });
            let path =
                |&(parameter, _): &(usize, usize)| self.graph.parameters()[parameter].path.clone();
            let (units, width) = (group.units.len(), group.width());
            groups.push(ChannelGroup {
                layers: weights.map(path).collect(),
                channels: units * width,
                kept: (units - gone.len()) * width,
                fixed: group.fixed.clone(),
            });
        }
        Ok(Narrowed {
            module,
            groups,
            macs: (before, macs.total()),
            parameters: (
                self.parameters.iter().map(count).sum(),
                self.parameters.iter().map(left).sum(),
            ),
            removal,
        })
    }
}

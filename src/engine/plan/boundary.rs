//! Boundaries between nodes, at which a batch stage may begin.

use std::collections::HashMap;
use std::ops::Range;

use super::{Own, Plan};
use crate::engine::layout::Layout;
use crate::engine::layout::lanes::LaneMapping;
use crate::engine::layout::part::{Begin, Part};
use crate::engine::tune::cache::TunedKernel;
use crate::engine::tune::tuner::Tuner;
use crate::engine::{EngineError, LayerProfile, Tuning};
use crate::kernel::{Kernels, VectorBlock};
use crate::network::Value;

/// A plan behind which samples may go together, and the nodes before it.
#[derive(Clone, Copy)]
pub(super) struct Front<'a> {
    pub plan: &'a Plan,
    pub nodes: usize,
}

/// What batch stages are made of.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Setting<'a> {
    pub part: Part<'a>,
    pub one: &'a Plan,
    pub kernels: Kernels,
    pub threads: usize,
    pub tuning: Tuning,
}

impl<'a> Setting<'a> {
    /// `one`: the plan of one sample.
    pub fn new(
        part: Part<'a>,
        one: &'a Plan,
        (kernels, threads, tuning): (Kernels, usize, Tuning),
    ) -> Self {
        Self {
            part,
            one,
            kernels,
            threads,
            tuning,
        }
    }
}

/// A place between two nodes over which one tensor goes.
#[derive(Debug, Clone)]
pub(super) struct Boundary {
    pub nodes: usize,
    /// How samples go together behind it.
    lanes: LaneMapping,
    value: Value,
    pub place: Range<usize>,
    layout: Layout,
}

impl Boundary {
    /// What runs behind it, measured. `tried`: what was tried for its layers before, which are the last
    /// ones; `known`: their kernels.
    pub fn back(
        &self,
        setting: Setting<'_>,
        known: &[TunedKernel],
        tried: &[LayerProfile],
    ) -> Result<Plan, EngineError> {
        let Setting { part, kernels, .. } = setting;
        let tuner = Tuner::new(setting.tuning, setting.part.nodes, known);
        let part = Part {
            nodes: &part.nodes[self.nodes..],
            lanes: self.lanes,
            begin: Some(Begin {
                value: self.value,
                layout: self.layout,
            }),
            ..part
        };
        let mut back = Plan::new(part, kernels, setting.threads, tuner)?;
        for (row, known) in back.layers.iter_mut().rev().zip(tried.iter().rev()) {
            if (&row.layer, &row.kernel) == (&known.layer, &known.kernel) {
                *row = known.clone();
            }
        }
        back.measure_tried(part.model, kernels)?;
        Ok(back)
    }
}

impl Front<'_> {
    /// Where one tensor alone goes on.
    pub fn boundaries(self, part: Part<'_>, lanes: LaneMapping) -> Vec<Boundary> {
        let Part { model, nodes, .. } = part;
        // Until which node a value is needed.
        let mut last: HashMap<Value, usize> = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            for &input in node.inputs.iter().filter(|input| input.is_activation()) {
                last.insert(input, index);
            }
        }
        last.insert(model.output(), nodes.len());
        let mut boundaries = Vec::new();
        // Nodes whose lanes must be of one sample come before.
        let alone = nodes.iter().rposition(|node| node.needs_one_sample());
        let first = alone.map_or(0, |last| last + 1).max(self.nodes + 1);
        for boundary in first..nodes.len() {
            let made = nodes[..boundary]
                .iter()
                .map(|node| Value::Node(node.output));
            let mut across = made
                .chain([Value::Input])
                .filter(|value| last.get(value).is_some_and(|&last| last >= boundary));
            let (Some(value), None) = (across.next(), across.next()) else {
                continue;
            };
            // Where those who need it read a copy, it may be gone; and one of a plain step may be packed for
            // them only.
            let operations = self.plan.ends[boundary - self.nodes - 1];
            let there = |own: &&Own| own.value == value && own.is_there(operations);
            // Maps of lanes have 32 bits.
            let most = i32::MAX as usize / VectorBlock::LANES / lanes.samples();
            let counted = |own: &&Own| own.place.len() <= most;
            if let Some(own) = self.plan.owns.iter().filter(counted).find(there) {
                boundaries.push(Boundary {
                    nodes: boundary,
                    lanes,
                    value,
                    place: own.place.clone(),
                    layout: own.layout,
                });
            }
        }
        boundaries
    }
}

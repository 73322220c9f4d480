//! The plans of a model.

use std::collections::HashSet;

use super::Plan;
use super::batch::StagedBatch;
use super::boundary::Setting;
use crate::engine::layout::lanes::LaneMapping;
use crate::engine::layout::part::Part;
use crate::engine::lower;
use crate::engine::lower::node::FusedNode;
use crate::engine::lower::reorder::{Order, reorder};
use crate::engine::lower::same::share_packed;
use crate::engine::lower::viewed::Viewed;
use crate::engine::tune::cache::TunedStage;
use crate::engine::tune::tuner::Tuner;
use crate::engine::{EngineError, LayerProfile, Tuning, TuningCache};
use crate::kernel::{Kernels, VectorBlock};
use crate::network::Network;

#[derive(Debug)]
pub(in crate::engine) struct Plans {
    pub one: Plan,
    /// None where samples run faster one by one.
    pub many: Option<Many>,
    pub orders: Vec<Order>,
}

/// How several samples run together.
#[derive(Debug)]
pub(in crate::engine) enum Many {
    /// Sixteen in the lanes from the first operation on.
    Whole(Box<Plan>),
    /// One by one as long as they are large.
    Staged(StagedBatch),
}

/// The budget of a batch: bytes of sixteen samples' tensors that live together: more, and each layer waits
/// for memory.
const BATCH_BUDGET: usize = 6 << 20;

impl Plans {
    pub fn new(
        model: &Network,
        kernels: Kernels,
        threads: usize,
        tuning: Tuning,
        known: Option<&TuningCache>,
    ) -> Result<Option<Self>, EngineError> {
        let model = &Viewed::new(model);
        let mut nodes = lower::nodes(model);
        let orders = reorder(&mut nodes, known.map_or(&[], |known| &known.orders));
        share_packed(&mut nodes);
        let known = known.filter(|known| known.isa == kernels.isa());
        let part = |lanes| Part {
            model,
            nodes: &nodes,
            lanes,
            begin: None,
        };
        let tuned = known.map_or(&[][..], |known| &known.one);
        let tuner = Tuner::new(tuning, &nodes, tuned);
        let mut one = match Plan::new(part(LaneMapping::Tiles), kernels, threads, tuner) {
            Ok(one) => one,
            Err(EngineError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        one.measure_tried(model, kernels)?;
        let each = one.blocks * VectorBlock::BYTES;
        let small = each.saturating_mul(VectorBlock::LANES) <= BATCH_BUDGET;
        let many = match small && !nodes.iter().any(FusedNode::needs_one_sample) {
            true => {
                let tuned = known.and_then(|known| known.many.first());
                let tuner = Tuner::new(tuning, &nodes, tuned.map_or(&[], |tuned| &tuned.kernels));
                let mut plan = Plan::new(part(LaneMapping::Samples), kernels, threads, tuner)?;
                plan.measure_tried(model, kernels)?;
                Some(Many::Whole(Box::new(plan)))
            }
            false => {
                let options = (kernels, threads, tuning);
                let again = match known {
                    Some(known) => {
                        let setting = Setting::new(part(LaneMapping::Tiles), &one, options);
                        StagedBatch::again(setting, &known.many)?
                    }
                    None => None,
                };
                let staged = match again {
                    Some(staged) => staged,
                    None => {
                        // Where its kernels are known, its times are not.
                        let is_timed = one.layers.iter().all(|row| row.microseconds.is_some());
                        if tuning == Tuning::Measured && !is_timed {
                            one.measure(model, kernels)?;
                        }
                        StagedBatch::find(Setting::new(part(LaneMapping::Tiles), &one, options))?
                    }
                };
                (!staged.stages.is_empty()).then_some(Many::Staged(staged))
            }
        };
        Ok(Some(Self { one, many, orders }))
    }

    /// What runs the layers of a batch.
    pub fn layers(&self, batch: usize) -> &[LayerProfile] {
        match &self.many {
            Some(Many::Whole(plan)) if batch >= plan.lanes.samples() => &plan.layers,
            Some(Many::Staged(staged)) => {
                let stages = staged.stages.iter().rev();
                let mut stages = stages.filter(|stage| batch >= stage.back.lanes.samples());
                stages
                    .next()
                    .map_or(&self.one.layers, |stage| &stage.layers)
            }
            _ => &self.one.layers,
        }
    }

    /// [`layers`](Self::layers) with times taken anew.
    pub fn profile(
        &self,
        model: &Network,
        kernels: Kernels,
        batch: usize,
    ) -> Result<Vec<LayerProfile>, EngineError> {
        let staged = match &self.many {
            Some(Many::Whole(plan)) if batch >= plan.lanes.samples() => {
                return plan.profile(model, kernels);
            }
            Some(Many::Staged(staged)) => &staged.stages[..],
            _ => &[],
        };
        let mut rows = self.one.profile(model, kernels)?;
        for stage in staged {
            if batch >= stage.back.lanes.samples() {
                rows.truncate(stage.layers.len() - stage.back.layers.len());
                rows.extend(stage.back.profile(model, kernels)?);
            }
        }
        Ok(rows)
    }

    /// That of one sample, and those of several.
    pub fn all(&self) -> impl Iterator<Item = &Plan> {
        let many: Vec<&Plan> = match &self.many {
            None => Vec::new(),
            Some(Many::Whole(plan)) => vec![plan],
            Some(Many::Staged(staged)) => staged.stages.iter().map(|stage| &stage.back).collect(),
        };
        many.into_iter().chain([&self.one])
    }

    /// The constants that are read while it runs.
    pub fn constants(&self) -> HashSet<usize> {
        let operations = self.all().flat_map(|plan| &plan.operations);
        operations
            .flat_map(|operation| operation.work.constants())
            .collect()
    }

    /// The batch stages, for the tuning cache.
    pub fn tuned_stages(&self) -> Vec<TunedStage> {
        let of = |plan: &Plan, boundary| TunedStage {
            samples: plan.lanes.samples(),
            boundary,
            kernels: plan.tuned.clone(),
        };
        match &self.many {
            None => Vec::new(),
            Some(Many::Whole(plan)) => vec![of(plan, 0)],
            Some(Many::Staged(staged)) => {
                let stages = staged.stages.iter();
                stages
                    .map(|stage| of(&stage.back, stage.boundary))
                    .collect()
            }
        }
    }
}

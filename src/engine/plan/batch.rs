//! Samples whose first layers run one by one, in tiles, and whose later ones run together: four, in a quarter
//! of the tiles each, or sixteen, one in each lane; or four first, then sixteen.
//!
//! The first layers are large: sixteen samples of them do not stay in a cache. The later ones have few
//! positions, of which many tiles waste some, and many weights, which are read once for all samples.

use std::ops::Range;

use super::Plan;
use super::boundary::{Boundary, Front, Setting};
use crate::engine::layout::lanes::LaneMapping;
use crate::engine::layout::part::Part;
use crate::engine::lower::node::{FusedNode, NodeWork};
use crate::engine::lower::shape::{Kind, Shape};
use crate::engine::lower::viewed::Viewed;
use crate::engine::table::LAYOUT_CONVERSION;
use crate::engine::tune::cache::TunedStage;
use crate::engine::{EngineError, LayerProfile, Tuning};
use crate::kernel::{Access, KernelError, Steps, VectorBlock};
use crate::network::Value;

/// How samples may go together, and the most bytes that a layer's operands and result take then, of codes and
/// of floats: more were measured to bring nothing but trials. Of floats weights are large, too, and cold
/// for each sample that goes alone.
const CANDIDATES: [(LaneMapping, [usize; 2]); 2] = [
    (LaneMapping::Samples, [8 << 20, 20 << 20]),
    (LaneMapping::Quarters, [4 << 20, 10 << 20]),
];

/// What a batch stage must bring, as a share of all time: it holds its weights once more.
const GAIN: f64 = 0.03;

/// Behind the plan of one sample.
#[derive(Debug)]
pub(in crate::engine) struct StagedBatch {
    /// Each goes on from the one before, with more samples.
    pub stages: Vec<BatchStage>,
}

/// A plan that goes on from another one, of fewer samples.
#[derive(Debug)]
pub(in crate::engine) struct BatchStage {
    /// Nodes before it.
    pub boundary: usize,
    /// Samples of a pass of the plan before it, what runs of that, and where this leaves its tensor.
    pub before: usize,
    pub first: Steps,
    pub place: Range<usize>,
    /// Makes the tensors of all samples: those of each thread, and of one alone.
    pub shared: (Steps, Vec<Range<usize>>),
    pub alone: (Steps, Vec<Range<usize>>),
    pub back: Plan,
    /// Of all that runs, from the first layer on.
    pub layers: Vec<LayerProfile>,
}

/// One way to go together, measured from the earliest boundary on.
struct Candidate {
    back: Plan,
    /// From the earliest on.
    boundaries: Vec<Boundary>,
}

impl StagedBatch {
    /// The one of another time; none where its batch stages do not fit the model.
    pub fn again(setting: Setting<'_>, known: &[TunedStage]) -> Result<Option<Self>, EngineError> {
        let mut staged = Self { stages: Vec::new() };
        for of in known {
            let before = staged.front(setting.one).plan.lanes.samples();
            let mut candidates = CANDIDATES.into_iter().map(|(lanes, _)| lanes);
            let lanes =
                candidates.find(|lanes| lanes.samples() == of.samples && of.samples > before);
            let boundary = lanes.and_then(|lanes| staged.boundary(setting, lanes, of.boundary));
            let Some(boundary) = boundary else {
                return Ok(None);
            };
            let back = boundary.back(setting, &of.kernels, &[])?;
            staged.push(setting, &boundary, back)?;
        }
        Ok(Some(staged))
    }

    /// The best one; without batch stages where none brings anything.
    pub fn find(setting: Setting<'_>) -> Result<Self, EngineError> {
        let Part { model, nodes, .. } = setting.part;
        let mut staged = Self { stages: Vec::new() };
        let mut candidates = Vec::new();
        for (lanes, [codes, floats]) in CANDIDATES {
            let large = |node: &FusedNode<'_>| {
                let made = Shape::of(model, Value::Node(node.output));
                let near = match made.map(|shape| shape.kind) {
                    Some(Kind::Floats) => floats,
                    _ => codes,
                };
                bytes(model, node, lanes) > near
            };
            let first = nodes.iter().rposition(large).map_or(0, |last| last + 1);
            let mut boundaries = staged.front(setting.one).boundaries(setting.part, lanes);
            boundaries.retain(|boundary| boundary.nodes >= first);
            let Some(earliest) = boundaries.first() else {
                continue;
            };
            let back = earliest.back(setting, &[], &[])?;
            if setting.tuning == Tuning::Estimated {
                staged.push(setting, earliest, back)?;
                return Ok(staged);
            }
            candidates.push(Candidate { back, boundaries });
        }
        let chosen = best(setting.one, nodes.len(), &candidates);
        let mut candidates: Vec<_> = candidates.into_iter().map(Some).collect();
        for (candidate, nodes_before) in chosen {
            let Some(candidate) = candidates[candidate].take() else {
                break;
            };
            let earliest = candidate.boundaries[0].nodes;
            let Some(boundary) = staged.boundary(setting, candidate.back.lanes, nodes_before)
            else {
                break;
            };
            let back = match staged.stages.is_empty() && boundary.nodes == earliest {
                true => candidate.back,
                false => {
                    // The same kernels, from a later layer on.
                    let skipped = nodes[earliest..boundary.nodes].iter();
                    let is_product = |node: &&FusedNode| matches!(node.work, NodeWork::Product(_));
                    let tuned = &candidate.back.tuned[skipped.filter(is_product).count()..];
                    boundary.back(setting, tuned, &candidate.back.layers)?
                }
            };
            staged.push(setting, &boundary, back)?;
        }
        Ok(staged)
    }

    // A boundary behind the last plan.
    fn boundary(&self, setting: Setting<'_>, lanes: LaneMapping, nodes: usize) -> Option<Boundary> {
        let boundaries = self.front(setting.one).boundaries(setting.part, lanes);
        boundaries
            .into_iter()
            .find(|boundary| boundary.nodes == nodes)
    }

    // The last plan.
    fn front<'a>(&'a self, one: &'a Plan) -> Front<'a> {
        match self.stages.last() {
            None => Front {
                plan: one,
                nodes: 0,
            },
            Some(stage) => Front {
                plan: &stage.back,
                nodes: stage.boundary,
            },
        }
    }

    fn push(
        &mut self,
        setting: Setting<'_>,
        boundary: &Boundary,
        back: Plan,
    ) -> Result<(), EngineError> {
        let Setting { one, threads, .. } = setting;
        let Front { plan, nodes } = self.front(one);
        let operations = plan.ends[boundary.nodes - nodes - 1];
        let all = (self.stages.last()).map_or(&one.layers, |stage| &stage.layers);
        let earlier = all.len() - plan.layers.len();
        let layers = all[..earlier + operations].iter().chain(&back.layers);
        let before = plan.lanes.samples();
        let tensors = back.lanes.samples() / before;
        let stage = BatchStage {
            boundary: boundary.nodes,
            before,
            first: plan.first(operations),
            place: boundary.place.clone(),
            shared: shares(threads, tensors, boundary.place.len())?,
            alone: shares(1, tensors, boundary.place.len())?,
            layers: layers.cloned().collect(),
            back,
        };
        self.stages.push(stage);
        Ok(())
    }
}

impl BatchStage {
    /// Vector blocks of the tensors of all samples.
    pub fn blocks(&self) -> usize {
        self.place.len() * (self.back.lanes.samples() / self.before)
    }
}

impl Candidate {
    // Microseconds of a sample, from a boundary until so many nodes are done.
    fn time(&self, boundary: &Boundary, end: usize) -> f64 {
        let earliest = &self.boundaries[0];
        let conversions = self
            .back
            .layers
            .iter()
            .filter(|row| row.kernel == LAYOUT_CONVERSION);
        let convert_layout: f64 = conversions.filter_map(|row| row.microseconds).sum();
        let nodes = boundary.nodes - earliest.nodes..end - earliest.nodes;
        let counted = if nodes.start == 0 {
            convert_layout
        } else {
            0.0
        };
        let moved =
            convert_layout * boundary.place.len() as f64 / earliest.place.len().max(1) as f64;
        (self.back.time(nodes) - counted + moved) / self.back.lanes.samples() as f64
    }
}

// By batch stage, the way and the nodes before; none where that brings nothing.
fn best(one: &Plan, nodes: usize, candidates: &[Candidate]) -> Vec<(usize, usize)> {
    let stages = || {
        let boundaries = |(candidate, of): (usize, &'_ Candidate)| {
            (0..of.boundaries.len()).map(move |boundary| (candidate, boundary))
        };
        candidates.iter().enumerate().flat_map(boundaries)
    };
    let of = |(candidate, boundary): (usize, usize)| {
        (
            &candidates[candidate],
            &candidates[candidate].boundaries[boundary],
        )
    };
    let alone = stages().map(|stage| vec![stage]).collect();
    let both = stages().flat_map(|first| {
        let (few, boundary) = of(first);
        let after = stages().filter(move |&second| {
            let (many, later) = of(second);
            few.back.lanes.samples() < many.back.lanes.samples() && boundary.nodes < later.nodes
        });
        after.map(move |second| vec![first, second])
    });
    let cost = |chain: &[(usize, usize)]| {
        let begin = |&stage: &(usize, usize)| of(stage).1.nodes;
        let ends = chain[1..].iter().map(begin).chain([nodes]);
        let stages = chain.iter().zip(ends).map(|(&stage, end)| {
            let (candidate, boundary) = of(stage);
            candidate.time(boundary, end)
        });
        one.time(0..begin(&chain[0])) + stages.sum::<f64>()
    };
    let mut least = one.time(0..nodes);
    let mut chosen = Vec::new();
    // A second batch stage must be worth it, too.
    let both: Vec<Vec<(usize, usize)>> = both.collect();
    for chains in [alone, both] {
        let costs = chains.into_iter().map(|chain| (cost(&chain), chain));
        let best = costs.min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((cost, chain)) = best.filter(|(cost, _)| *cost < (1.0 - GAIN) * least) {
            (least, chosen) = (cost, chain);
        }
    }
    let chosen = chosen.into_iter();
    chosen.map(|stage| (stage.0, of(stage).1.nodes)).collect()
}

// One step, in which each thread makes tensors of so many vector blocks for its share of them.
fn shares(
    threads: usize,
    tensors: usize,
    each: usize,
) -> Result<(Steps, Vec<Range<usize>>), KernelError> {
    let start = |thread: usize| tensors * thread / threads;
    let shares: Vec<_> = (0..threads)
        .map(|thread| start(thread)..start(thread + 1))
        .collect();
    let writes = shares.iter().map(|of| of.start * each..of.end * each);
    let access = Access {
        parts: Vec::new(),
        reads: Vec::new(),
        writes: writes.collect(),
    };
    let steps = Steps::new(vec![access], tensors * each, threads)?;
    Ok((steps, shares))
}

// Bytes of a node's operands and result, of all samples.
fn bytes(model: &Viewed, node: &FusedNode<'_>, lanes: LaneMapping) -> usize {
    let values = node.inputs.iter().copied();
    let blocks = values.chain([Value::Node(node.output)]).map(|value| {
        let shape = Shape::of(model, value);
        shape.map_or(0, |shape| {
            shape.channels.div_ceil(shape.kind.unit()) * shape.rows * shape.columns
        })
    });
    blocks
        .sum::<usize>()
        .saturating_mul(VectorBlock::BYTES / VectorBlock::LANES * lanes.samples())
}

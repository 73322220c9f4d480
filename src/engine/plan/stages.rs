//! Images whose first layers run one by one, in tiles, and whose later ones run together: four, in a quarter
//! of the tiles each, or sixteen, one in each lane; or four first, then sixteen.
//!
//! The first layers are large: sixteen images of them do not stay in a cache. The later ones have few
//! positions, of which many tiles waste some, and many weights, which are read once for all images.

use std::collections::HashMap;
use std::ops::Range;

use super::{Own, Plan};
use crate::engine::layout::Layout;
use crate::engine::layout::lanes::Sites;
use crate::engine::layout::part::Begin;
use crate::engine::layout::part::Part;
use crate::engine::lower::node::{Stage, StageWork};
use crate::engine::lower::shape::{Kind, Shape};
use crate::engine::table::REGROUP;
use crate::engine::tune::cache::{Kept, Together};
use crate::engine::tune::tuner::Chooser;
use crate::engine::{Choice, EngineError, LayerRow};
use crate::kernel::{Access, Cell, KernelError, Kernels, Steps};
use crate::network::Network;
use crate::network::Value;

/// How images may go together, and the most bytes that a layer's operands and result take then, of codes and
/// of floats: more were measured to bring nothing but trials. Of floats weights are large, too, and come from
/// afar for each image that goes alone.
const WAYS: [(Sites, [usize; 2]); 2] = [
    (Sites::Images, [8 << 20, 20 << 20]),
    (Sites::Quarters, [4 << 20, 10 << 20]),
];

/// What a level must bring, as a share of all time: it holds its weights once more.
const GAIN: f64 = 0.03;

/// Behind the plan of one image.
#[derive(Debug)]
pub(in crate::engine) struct Split {
    /// Each goes on from the one before, with more images.
    pub levels: Vec<Level>,
}

/// A plan that goes on from another one, of fewer images.
#[derive(Debug)]
pub(in crate::engine) struct Level {
    /// Stages before it.
    pub cut: usize,
    /// Images of a pass of the plan before it, what runs of that, and where this leaves its tensor.
    pub before: usize,
    pub first: Steps,
    pub place: Range<usize>,
    /// Makes the tensors of all images: those of each thread, and of one alone.
    pub shared: (Steps, Vec<Range<usize>>),
    pub alone: (Steps, Vec<Range<usize>>),
    pub back: Plan,
    /// Of all that runs, from the first layer on.
    pub layers: Vec<LayerRow>,
}

/// One way to go together, measured from the earliest cut on.
struct Way {
    back: Plan,
    /// From the earliest on.
    cuts: Vec<Cut>,
}

/// A plan behind which images may go together, and the stages before it.
#[derive(Clone, Copy)]
struct Front<'a> {
    plan: &'a Plan,
    stages: usize,
}

/// What levels are made of.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Setting<'a> {
    part: Part<'a>,
    one: &'a Plan,
    kernels: Kernels,
    threads: usize,
    choice: Choice,
}

impl<'a> Setting<'a> {
    /// `one`: the plan of one image.
    pub fn new(
        part: Part<'a>,
        one: &'a Plan,
        (kernels, threads, choice): (Kernels, usize, Choice),
    ) -> Self {
        Self {
            part,
            one,
            kernels,
            threads,
            choice,
        }
    }
}

impl Split {
    /// The one of another time; none where its levels do not fit the model.
    pub fn again(setting: Setting<'_>, known: &[Together]) -> Result<Option<Self>, EngineError> {
        let mut split = Self { levels: Vec::new() };
        for of in known {
            let before = split.front(setting.one).plan.sites.images();
            let mut ways = WAYS.into_iter().map(|(sites, _)| sites);
            let sites = ways.find(|sites| sites.images() == of.images && of.images > before);
            let cut = sites.and_then(|sites| split.cut(setting, sites, of.cut));
            let Some(cut) = cut else {
                return Ok(None);
            };
            let back = cut.back(setting, &of.kernels, &[])?;
            split.push(setting, &cut, back)?;
        }
        Ok(Some(split))
    }

    /// The best one; without levels where none brings anything.
    pub fn find(setting: Setting<'_>) -> Result<Self, EngineError> {
        let Part { model, stages, .. } = setting.part;
        let mut split = Self { levels: Vec::new() };
        let mut ways = Vec::new();
        for (sites, [codes, floats]) in WAYS {
            let large = |stage: &Stage<'_>| {
                let made = Shape::of(model, Value::Node(stage.output));
                let near = match made.map(|shape| shape.kind) {
                    Some(Kind::Floats) => floats,
                    _ => codes,
                };
                bytes(model, stage, sites) > near
            };
            let first = stages.iter().rposition(large).map_or(0, |last| last + 1);
            let mut cuts = split.front(setting.one).cuts(setting.part, sites);
            cuts.retain(|cut| cut.stages >= first);
            let Some(earliest) = cuts.first() else {
                continue;
            };
            let back = earliest.back(setting, &[], &[])?;
            if setting.choice == Choice::Estimated {
                split.push(setting, earliest, back)?;
                return Ok(split);
            }
            ways.push(Way { back, cuts });
        }
        let chosen = best(setting.one, stages.len(), &ways);
        let mut ways: Vec<_> = ways.into_iter().map(Some).collect();
        for (way, stages_before) in chosen {
            let Some(way) = ways[way].take() else {
                break;
            };
            let earliest = way.cuts[0].stages;
            let Some(cut) = split.cut(setting, way.back.sites, stages_before) else {
                break;
            };
            let back = match split.levels.is_empty() && cut.stages == earliest {
                true => way.back,
                false => {
                    // The same kernels, from a later layer on.
                    let skipped = stages[earliest..cut.stages].iter();
                    let is_product = |stage: &&Stage| matches!(stage.work, StageWork::Product(_));
                    let kept = &way.back.kept[skipped.filter(is_product).count()..];
                    cut.back(setting, kept, &way.back.layers)?
                }
            };
            split.push(setting, &cut, back)?;
        }
        Ok(split)
    }

    // A cut behind the last plan.
    fn cut(&self, setting: Setting<'_>, sites: Sites, stages: usize) -> Option<Cut> {
        let cuts = self.front(setting.one).cuts(setting.part, sites);
        cuts.into_iter().find(|cut| cut.stages == stages)
    }

    // The last plan.
    fn front<'a>(&'a self, one: &'a Plan) -> Front<'a> {
        match self.levels.last() {
            None => Front {
                plan: one,
                stages: 0,
            },
            Some(level) => Front {
                plan: &level.back,
                stages: level.cut,
            },
        }
    }

    fn push(&mut self, setting: Setting<'_>, cut: &Cut, back: Plan) -> Result<(), EngineError> {
        let Setting { one, threads, .. } = setting;
        let Front { plan, stages } = self.front(one);
        let operations = plan.ends[cut.stages - stages - 1];
        let all = (self.levels.last()).map_or(&one.layers, |level| &level.layers);
        let earlier = all.len() - plan.layers.len();
        let layers = all[..earlier + operations].iter().chain(&back.layers);
        let before = plan.sites.images();
        let tensors = back.sites.images() / before;
        let level = Level {
            cut: cut.stages,
            before,
            first: plan.first(operations),
            place: cut.place.clone(),
            shared: shares(threads, tensors, cut.place.len())?,
            alone: shares(1, tensors, cut.place.len())?,
            layers: layers.cloned().collect(),
            back,
        };
        self.levels.push(level);
        Ok(())
    }
}

impl Level {
    /// Cells of the tensors of all images.
    pub fn cells(&self) -> usize {
        self.place.len() * (self.back.sites.images() / self.before)
    }
}

impl Way {
    // Microseconds of an image, from a cut until so many stages are done.
    fn time(&self, cut: &Cut, end: usize) -> f64 {
        let earliest = &self.cuts[0];
        let regroups = self.back.layers.iter().filter(|row| row.kernel == REGROUP);
        let regroup: f64 = regroups.filter_map(|row| row.microseconds).sum();
        let stages = cut.stages - earliest.stages..end - earliest.stages;
        let counted = if stages.start == 0 { regroup } else { 0.0 };
        let moved = regroup * cut.place.len() as f64 / earliest.place.len().max(1) as f64;
        (self.back.time(stages) - counted + moved) / self.back.sites.images() as f64
    }
}

// By level, the way and the stages before; none where that brings nothing.
fn best(one: &Plan, stages: usize, ways: &[Way]) -> Vec<(usize, usize)> {
    let levels = || {
        let cuts = |(way, of): (usize, &'_ Way)| (0..of.cuts.len()).map(move |cut| (way, cut));
        ways.iter().enumerate().flat_map(cuts)
    };
    let of = |(way, cut): (usize, usize)| (&ways[way], &ways[way].cuts[cut]);
    let alone = levels().map(|level| vec![level]).collect();
    let both = levels().flat_map(|first| {
        let (few, cut) = of(first);
        let after = levels().filter(move |&second| {
            let (many, later) = of(second);
            few.back.sites.images() < many.back.sites.images() && cut.stages < later.stages
        });
        after.map(move |second| vec![first, second])
    });
    let cost = |chain: &[(usize, usize)]| {
        let begin = |&level: &(usize, usize)| of(level).1.stages;
        let ends = chain[1..].iter().map(begin).chain([stages]);
        let levels = chain.iter().zip(ends).map(|(&level, end)| {
            let (way, cut) = of(level);
            way.time(cut, end)
        });
        one.time(0..begin(&chain[0])) + levels.sum::<f64>()
    };
    let mut least = one.time(0..stages);
    let mut chosen = Vec::new();
    // A second level must be worth it, too.
    let both: Vec<Vec<(usize, usize)>> = both.collect();
    for chains in [alone, both] {
        let costs = chains.into_iter().map(|chain| (cost(&chain), chain));
        let best = costs.min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((cost, chain)) = best.filter(|(cost, _)| *cost < (1.0 - GAIN) * least) {
            (least, chosen) = (cost, chain);
        }
    }
    let chosen = chosen.into_iter();
    chosen.map(|level| (level.0, of(level).1.stages)).collect()
}

// One step, in which each thread makes tensors of so many cells for its share of them.
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

// Bytes of a stage's operands and result, of all images.
fn bytes(model: &Network, stage: &Stage<'_>, sites: Sites) -> usize {
    let values = stage.inputs.iter().copied();
    let cells = values.chain([Value::Node(stage.output)]).map(|value| {
        let shape = Shape::of(model, value);
        shape.map_or(0, |shape| {
            shape.channels.div_ceil(shape.kind.unit()) * shape.rows * shape.columns
        })
    });
    cells
        .sum::<usize>()
        .saturating_mul(Cell::BYTES / Cell::SITES * sites.images())
}

/// A place between two stages over which one tensor goes.
#[derive(Debug, Clone)]
struct Cut {
    stages: usize,
    /// How images go together behind it.
    sites: Sites,
    value: Value,
    place: Range<usize>,
    layout: Layout,
}

impl Cut {
    // What runs behind it, measured. `tried`: what was tried for its layers before, which are the last
    // ones; `known`: their kernels.
    fn back(
        &self,
        setting: Setting<'_>,
        known: &[Kept],
        tried: &[LayerRow],
    ) -> Result<Plan, EngineError> {
        let Setting { part, kernels, .. } = setting;
        let chooser = Chooser::new(setting.choice, setting.part.stages, known);
        let part = Part {
            stages: &part.stages[self.stages..],
            sites: self.sites,
            begin: Some(Begin {
                value: self.value,
                layout: self.layout,
            }),
            ..part
        };
        let mut back = Plan::new(part, kernels, setting.threads, chooser)?;
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
    // Where one tensor alone goes on.
    fn cuts(self, part: Part<'_>, sites: Sites) -> Vec<Cut> {
        let Part { model, stages, .. } = part;
        // Until which stage a value is needed.
        let mut last: HashMap<Value, usize> = HashMap::new();
        for (index, stage) in stages.iter().enumerate() {
            for &input in stage.inputs.iter().filter(|input| input.is_activation()) {
                last.insert(input, index);
            }
        }
        last.insert(model.output(), stages.len());
        let mut cuts = Vec::new();
        for cut in self.stages + 1..stages.len() {
            let made = stages[..cut].iter().map(|stage| Value::Node(stage.output));
            let mut across = made
                .chain([Value::Input])
                .filter(|value| last.get(value).is_some_and(|&last| last >= cut));
            let (Some(value), None) = (across.next(), across.next()) else {
                continue;
            };
            // Where those who need it read a copy, it may be gone; and one of a plain step may be packed for
            // them only.
            let operations = self.plan.ends[cut - self.stages - 1];
            let there = |own: &&Own| own.value == value && own.is_there(operations);
            // Maps of sites have 32 bits.
            let most = i32::MAX as usize / Cell::SITES / sites.images();
            let counted = |own: &&Own| own.place.len() <= most;
            if let Some(own) = self.plan.owns.iter().filter(counted).find(there) {
                cuts.push(Cut {
                    stages: cut,
                    sites,
                    value,
                    place: own.place.clone(),
                    layout: own.layout,
                });
            }
        }
        cuts
    }
}

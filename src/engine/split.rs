//! Images whose first layers run one by one, in tiles, and whose later ones run together: sixteen, one in
//! each lane, or four, in a quarter of the tiles each.
//!
//! The first layers are large: sixteen images of them do not stay in a cache. The later ones have few
//! positions, of which many tiles waste some, and many weights, which are read once for all images.

use std::collections::HashMap;
use std::ops::Range;

use super::build::Begin;
use super::choices::Chooser;
use super::layout::{Layout, Sites};
use super::plan::{Own, Part, Plan};
use super::stage::{Shape, Stage, StageWork};
use super::{Choice, Choices, EngineError, LayerRow};
use crate::graph::Value;
use crate::graph::integer::IntegerModel;
use crate::kernel::{Access, Cell, KernelError, Kernels, Steps};

/// How images may go together, and the most bytes that a layer's operands and result take then.
const WAYS: [(Sites, usize); 2] = [(Sites::Images, 8 << 20), (Sites::Quarters, 4 << 20)];

/// What it must bring, as a share of all time: it moves each image's tensor, and holds weights twice.
const GAIN: f64 = 0.05;

#[derive(Debug)]
pub(super) struct Split {
    /// Stages before it.
    pub cut: usize,
    /// What runs of the plan of one image, and where that leaves its tensor.
    pub first: Steps,
    pub place: Range<usize>,
    /// Makes the tensors of all images: the images of each thread, and of one alone.
    pub shared: (Steps, Vec<Range<usize>>),
    pub alone: (Steps, Vec<Range<usize>>),
    pub back: Plan,
    pub layers: Vec<LayerRow>,
}

impl Split {
    /// The best one; none where it brings nothing.
    pub fn find(
        part: Part<'_>,
        one: &Plan,
        kernels: Kernels,
        threads: usize,
        choice: Choice,
        known: Option<&Choices>,
    ) -> Result<Option<Self>, EngineError> {
        let Part { model, stages, .. } = part;
        let at = |cut: &Cut, chooser, tried: &[LayerRow]| {
            let back = cut.back(part, kernels, threads, chooser, tried)?;
            Self::new(one, cut, back, threads)
        };
        if let Some(known) = known {
            let mut ways = WAYS.into_iter().map(|(sites, _)| sites);
            let Some(sites) = ways.find(|sites| known.together == Some(sites.images())) else {
                return Ok(None);
            };
            let mut cuts = cuts(model, stages, one, sites).into_iter();
            let cut = cuts.find(|cut| Some(cut.stages) == known.cut);
            let chooser = Chooser::new(choice, &known.many);
            return cut.map(|cut| at(&cut, chooser, &[])).transpose();
        }
        let mut found = None;
        let mut least = (1.0 - GAIN) * one.time(0..stages.len());
        for (sites, near) in WAYS {
            let large = |stage: &Stage<'_>| bytes(model, stage, sites) > near;
            let first = stages.iter().rposition(large).map_or(0, |last| last + 1);
            let mut cuts = cuts(model, stages, one, sites).into_iter();
            let Some(earliest) = cuts.find(|cut| cut.stages >= first) else {
                continue;
            };
            let split = at(&earliest, Chooser::new(choice, &[]), &[])?;
            if choice == Choice::Estimated {
                return Ok(Some(split));
            }
            // Of each cut: the operations before it, of each image, and those after it, of all together.
            let cost = |cut: usize| {
                let back = split
                    .back
                    .time(cut - earliest.stages..split.back.ends.len());
                one.time(0..cut) + back / sites.images() as f64
            };
            let all = std::iter::once(earliest.clone()).chain(cuts);
            let best = all.min_by(|a, b| cost(a.stages).total_cmp(&cost(b.stages)));
            if let Some(best) = best.filter(|best| cost(best.stages) < least) {
                least = cost(best.stages);
                found = Some((split, earliest.stages, best));
            }
        }
        match found {
            Some((split, earliest, best)) if best.stages > earliest => {
                // The same kernels, from a later layer on.
                let skipped = stages[earliest..best.stages].iter();
                let products = skipped.filter(|stage| matches!(stage.work, StageWork::Product(_)));
                let kept = &split.back.kept[products.count()..];
                let chooser = Chooser::new(choice, kept);
                Ok(Some(at(&best, chooser, &split.back.layers)?))
            }
            found => Ok(found.map(|(split, ..)| split)),
        }
    }

    fn new(one: &Plan, cut: &Cut, back: Plan, threads: usize) -> Result<Self, EngineError> {
        let operations = one.ends[cut.stages - 1];
        let layers = one.layers[..operations].iter().chain(&back.layers);
        Ok(Self {
            cut: cut.stages,
            first: one.first(operations),
            place: cut.place.clone(),
            shared: images(threads, back.sites, cut.place.len())?,
            alone: images(1, back.sites, cut.place.len())?,
            layers: layers.cloned().collect(),
            back,
        })
    }

    /// Cells of the tensors of all images.
    pub fn cells(&self) -> usize {
        self.place.len() * self.back.sites.images()
    }
}

// One step, in which each thread makes tensors of so many cells for its share of the images.
fn images(
    threads: usize,
    sites: Sites,
    each: usize,
) -> Result<(Steps, Vec<Range<usize>>), KernelError> {
    let start = |thread: usize| sites.images() * thread / threads;
    let shares: Vec<_> = (0..threads)
        .map(|thread| start(thread)..start(thread + 1))
        .collect();
    let writes = shares.iter().map(|of| of.start * each..of.end * each);
    let access = Access {
        parts: Vec::new(),
        reads: Vec::new(),
        writes: writes.collect(),
    };
    let steps = Steps::new(vec![access], sites.images() * each, threads)?;
    Ok((steps, shares))
}

// Bytes of a stage's operands and result, of all images.
fn bytes(model: &IntegerModel, stage: &Stage<'_>, sites: Sites) -> usize {
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
    // ones.
    fn back(
        &self,
        part: Part<'_>,
        kernels: Kernels,
        threads: usize,
        chooser: Chooser<'_>,
        tried: &[LayerRow],
    ) -> Result<Plan, EngineError> {
        let part = Part {
            stages: &part.stages[self.stages..],
            sites: self.sites,
            begin: Some(Begin {
                value: self.value,
                layout: self.layout,
            }),
            ..part
        };
        let mut back = Plan::new(part, kernels, threads, chooser)?;
        for (row, known) in back.layers.iter_mut().rev().zip(tried.iter().rev()) {
            if (&row.layer, &row.kernel) == (&known.layer, &known.kernel) {
                *row = known.clone();
            }
        }
        back.measure(part.model, kernels)?;
        Ok(back)
    }
}

fn cuts(model: &IntegerModel, stages: &[Stage<'_>], one: &Plan, sites: Sites) -> Vec<Cut> {
    // Until which stage a value is needed.
    let mut last: HashMap<Value, usize> = HashMap::new();
    for (index, stage) in stages.iter().enumerate() {
        for &input in stage.inputs.iter().filter(|input| input.is_activation()) {
            last.insert(input, index);
        }
    }
    last.insert(model.output(), stages.len());
    let mut cuts = Vec::new();
    for cut in 1..stages.len() {
        let made = stages[..cut].iter().map(|stage| Value::Node(stage.output));
        let mut across = made
            .chain([Value::Input])
            .filter(|value| last.get(value).is_some_and(|&last| last >= cut));
        let (Some(value), None) = (across.next(), across.next()) else {
            continue;
        };
        // Where those who need it read a copy, it may be gone.
        let there = |own: &&Own| own.value == value && own.last >= one.ends[cut - 1];
        // Maps of sites have 32 bits.
        let most = i32::MAX as usize / Cell::SITES / sites.images();
        let counted = |own: &&Own| own.place.len() <= most;
        if let Some(own) = one.owns.iter().filter(counted).find(there) {
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

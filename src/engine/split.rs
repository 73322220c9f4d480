//! Sixteen images whose first layers run one by one, in tiles, and whose later ones run together, an
//! image in each lane.
//!
//! The first layers are large: sixteen images of them do not stay in a cache. The later ones have few
//! positions, of which tiles waste some, and many weights, which are read once for all sixteen.

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

/// The most bytes that a layer's operands and result take together, of sixteen images.
const NEAR: usize = 8 << 20;

/// What it must bring, as a share of all time: it moves each image's tensor, and holds weights twice.
const GAIN: f64 = 0.1;

#[derive(Debug)]
pub(super) struct Split {
    /// Stages before it.
    pub cut: usize,
    /// What runs of the plan of one image, and where that leaves its tensor.
    pub first: Steps,
    pub place: Range<usize>,
    /// Makes the tensors of sixteen images: the images of each thread, and of one alone.
    pub shared: (Steps, Vec<Range<usize>>),
    pub alone: (Steps, Vec<Range<usize>>),
    pub back: Plan,
    pub layers: Vec<LayerRow>,
}

impl Split {
    /// The best one; none where it brings nothing.
    pub fn find(
        model: &IntegerModel,
        stages: &[Stage<'_>],
        one: &Plan,
        kernels: Kernels,
        threads: usize,
        choice: Choice,
        known: Option<&Choices>,
    ) -> Result<Option<Self>, EngineError> {
        let cuts = cuts(model, stages, one);
        let at = |cut: &Cut, chooser, tried: &[LayerRow]| {
            let back = cut.back(model, stages, kernels, threads, chooser, tried)?;
            Self::new(one, cut, back, threads)
        };
        if let Some(known) = known {
            let cut = cuts.iter().find(|cut| Some(cut.stages) == known.cut);
            let chooser = Chooser::new(choice, &known.sixteen);
            return cut.map(|cut| at(cut, chooser, &[])).transpose();
        }
        let large = |stage: &Stage<'_>| bytes(model, stage) > NEAR;
        let first = stages.iter().rposition(large).map_or(0, |last| last + 1);
        let mut cuts = cuts.into_iter().filter(|cut| cut.stages >= first);
        let Some(earliest) = cuts.next() else {
            return Ok(None);
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
            one.time(0..cut) + back / Cell::SITES as f64
        };
        let none = one.time(0..stages.len());
        let all = std::iter::once(earliest.clone()).chain(cuts);
        let best = all.min_by(|a, b| cost(a.stages).total_cmp(&cost(b.stages)));
        let best = best.filter(|best| cost(best.stages) < (1.0 - GAIN) * none);
        match best {
            Some(best) if best.stages > earliest.stages => {
                // The same kernels, from a later layer on.
                let skipped = stages[earliest.stages..best.stages].iter();
                let products = skipped.filter(|stage| matches!(stage.work, StageWork::Product(_)));
                let kept = &split.back.kept[products.count()..];
                let chooser = Chooser::new(choice, kept);
                Ok(Some(at(&best, chooser, &split.back.layers)?))
            }
            best => Ok(best.map(|_| split)),
        }
    }

    fn new(one: &Plan, cut: &Cut, back: Plan, threads: usize) -> Result<Self, EngineError> {
        let operations = one.ends[cut.stages - 1];
        let layers = one.layers[..operations].iter().chain(&back.layers);
        Ok(Self {
            cut: cut.stages,
            first: one.first(operations),
            place: cut.place.clone(),
            shared: images(threads, cut.place.len())?,
            alone: images(1, cut.place.len())?,
            layers: layers.cloned().collect(),
            back,
        })
    }

    /// Cells of the tensors of sixteen images.
    pub fn cells(&self) -> usize {
        self.place.len() * Cell::SITES
    }
}

// One step, in which each thread makes tensors of so many cells for its share of sixteen images.
fn images(threads: usize, each: usize) -> Result<(Steps, Vec<Range<usize>>), KernelError> {
    let start = |thread: usize| Cell::SITES * thread / threads;
    let shares: Vec<_> = (0..threads)
        .map(|thread| start(thread)..start(thread + 1))
        .collect();
    let writes = shares.iter().map(|of| of.start * each..of.end * each);
    let access = Access {
        reads: Vec::new(),
        writes: writes.collect(),
    };
    let steps = Steps::new(vec![access], Cell::SITES * each, threads)?;
    Ok((steps, shares))
}

// Bytes of a stage's operands and result, of sixteen images.
fn bytes(model: &IntegerModel, stage: &Stage<'_>) -> usize {
    let values = stage.inputs.iter().copied();
    let cells = values.chain([Value::Node(stage.output)]).map(|value| {
        let shape = Shape::of(model, value);
        shape.map_or(0, |shape| {
            shape.channels.div_ceil(shape.kind.unit()) * shape.rows * shape.columns
        })
    });
    cells.sum::<usize>().saturating_mul(Cell::BYTES)
}

/// A place between two stages over which one tensor goes.
#[derive(Debug, Clone)]
struct Cut {
    stages: usize,
    value: Value,
    place: Range<usize>,
    layout: Layout,
}

impl Cut {
    // What runs behind it, measured. `tried`: what was tried for its layers before, which are the last
    // ones.
    fn back(
        &self,
        model: &IntegerModel,
        stages: &[Stage<'_>],
        kernels: Kernels,
        threads: usize,
        chooser: Chooser<'_>,
        tried: &[LayerRow],
    ) -> Result<Plan, EngineError> {
        let part = Part {
            model,
            stages: &stages[self.stages..],
            sites: Sites::Images,
            begin: Some(Begin {
                value: self.value,
                layout: self.layout,
            }),
        };
        let mut back = Plan::new(part, kernels, threads, chooser)?;
        for (row, known) in back.layers.iter_mut().rev().zip(tried.iter().rev()) {
            if (&row.layer, &row.kernel) == (&known.layer, &known.kernel) {
                *row = known.clone();
            }
        }
        back.measure(model, kernels)?;
        Ok(back)
    }
}

fn cuts(model: &IntegerModel, stages: &[Stage<'_>], one: &Plan) -> Vec<Cut> {
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
        if let Some(own) = one.owns.iter().find(there) {
            cuts.push(Cut {
                stages: cut,
                value,
                place: own.place.clone(),
                layout: own.layout,
            });
        }
    }
    cuts
}

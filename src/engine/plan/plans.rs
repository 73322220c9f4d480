//! The plans of a model.

use super::Plan;
use super::stages::{Setting, Split};
use crate::engine::layout::lanes::Sites;
use crate::engine::layout::part::Part;
use crate::engine::lower;
use crate::engine::lower::reorder::{Order, reorder};
use crate::engine::lower::same::share_packed;
use crate::engine::tune::cache::Together;
use crate::engine::tune::tuner::Chooser;
use crate::engine::{Choice, Choices, EngineError, LayerRow};
use crate::kernel::{Cell, Kernels};
use crate::network::Network;

#[derive(Debug)]
pub(in crate::engine) struct Plans {
    pub one: Plan,
    /// None where images run faster one by one.
    pub many: Option<Many>,
    pub orders: Vec<Order>,
}

/// How several images run together.
#[derive(Debug)]
pub(in crate::engine) enum Many {
    /// Sixteen in the lanes from the first operation on.
    Whole(Box<Plan>),
    /// One by one as long as they are large.
    Split(Split),
}

/// Bytes of sixteen images' tensors that live together: more, and each layer waits for memory.
const NEAR: usize = 6 << 20;

impl Plans {
    pub fn new(
        model: &Network,
        kernels: Kernels,
        threads: usize,
        choice: Choice,
        known: Option<&Choices>,
    ) -> Result<Option<Self>, EngineError> {
        let mut stages = lower::stages(model);
        let orders = reorder(&mut stages, known.map_or(&[], |known| &known.orders));
        share_packed(&mut stages);
        let known = known.filter(|known| known.isa == kernels.isa());
        let part = |sites| Part {
            model,
            stages: &stages,
            sites,
            begin: None,
        };
        let kept = known.map_or(&[][..], |known| &known.one);
        let chooser = Chooser::new(choice, &stages, kept);
        let mut one = match Plan::new(part(Sites::Tiles), kernels, threads, chooser) {
            Ok(one) => one,
            Err(EngineError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        one.measure_tried(model, kernels)?;
        let each = one.cells * Cell::BYTES;
        let many = match each.saturating_mul(Cell::SITES) <= NEAR {
            true => {
                let kept = known.and_then(|known| known.many.first());
                let chooser = Chooser::new(choice, &stages, kept.map_or(&[], |kept| &kept.kernels));
                let mut plan = Plan::new(part(Sites::Images), kernels, threads, chooser)?;
                plan.measure_tried(model, kernels)?;
                Some(Many::Whole(Box::new(plan)))
            }
            false => {
                let options = (kernels, threads, choice);
                let again = match known {
                    Some(known) => {
                        let setting = Setting::new(part(Sites::Tiles), &one, options);
                        Split::again(setting, &known.many)?
                    }
                    None => None,
                };
                let split = match again {
                    Some(split) => split,
                    None => {
                        // Where its kernels are known, its times are not.
                        let is_timed = one.layers.iter().all(|row| row.microseconds.is_some());
                        if choice == Choice::Measured && !is_timed {
                            one.measure(model, kernels)?;
                        }
                        Split::find(Setting::new(part(Sites::Tiles), &one, options))?
                    }
                };
                (!split.levels.is_empty()).then_some(Many::Split(split))
            }
        };
        Ok(Some(Self { one, many, orders }))
    }

    /// What runs the layers of a batch.
    pub fn layers(&self, batch: usize) -> &[LayerRow] {
        match &self.many {
            Some(Many::Whole(plan)) if batch >= plan.sites.images() => &plan.layers,
            Some(Many::Split(split)) => {
                let levels = split.levels.iter().rev();
                let mut levels = levels.filter(|level| batch >= level.back.sites.images());
                levels
                    .next()
                    .map_or(&self.one.layers, |level| &level.layers)
            }
            _ => &self.one.layers,
        }
    }

    /// How images go together, to be kept.
    pub fn together(&self) -> Vec<Together> {
        let of = |plan: &Plan, cut| Together {
            images: plan.sites.images(),
            cut,
            kernels: plan.kept.clone(),
        };
        match &self.many {
            None => Vec::new(),
            Some(Many::Whole(plan)) => vec![of(plan, 0)],
            Some(Many::Split(split)) => {
                let levels = split.levels.iter();
                levels.map(|level| of(&level.back, level.cut)).collect()
            }
        }
    }
}

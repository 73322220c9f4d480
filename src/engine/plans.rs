//! The plans of a model.

use super::choices::Chooser;
use super::layout::Sites;
use super::lower;
use super::plan::{Part, Plan};
use super::reorder::{Order, reorder};
use super::split::Split;
use super::{Choice, Choices, EngineError, LayerRow};
use crate::graph::integer::IntegerModel;
use crate::kernel::{Cell, Kernels};

#[derive(Debug)]
pub(super) struct Plans {
    pub one: Plan,
    /// None where images run faster one by one.
    pub many: Option<Many>,
    pub orders: Vec<Order>,
}

/// How several images run together.
#[derive(Debug)]
pub(super) enum Many {
    /// Sixteen in the lanes from the first operation on.
    Whole(Box<Plan>),
    /// One by one as long as they are large.
    Split(Box<Split>),
}

impl Many {
    pub fn plan(&self) -> &Plan {
        match self {
            Self::Whole(plan) => plan,
            Self::Split(split) => &split.back,
        }
    }
}

/// Bytes of sixteen images' tensors that live together: more, and each layer waits for memory.
const NEAR: usize = 6 << 20;

impl Plans {
    pub fn new(
        model: &IntegerModel,
        kernels: Kernels,
        threads: usize,
        choice: Choice,
        known: Option<&Choices>,
    ) -> Result<Option<Self>, EngineError> {
        let mut stages = lower::stages(model);
        let orders = reorder(&mut stages, known.map_or(&[], |known| &known.orders));
        let known = known.filter(|known| known.isa == kernels.isa());
        let part = |sites| Part {
            model,
            stages: &stages,
            sites,
            begin: None,
        };
        let kept = known.map_or(&[][..], |known| &known.one);
        let chooser = Chooser::new(choice, kept);
        let mut one = match Plan::new(part(Sites::Tiles), kernels, threads, chooser) {
            Ok(one) => one,
            Err(EngineError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        one.measure(model, kernels)?;
        let each = one.cells * Cell::BYTES;
        let many = match each.saturating_mul(Cell::SITES) <= NEAR {
            true => {
                let kept = known.map_or(&[][..], |known| &known.many);
                let chooser = Chooser::new(choice, kept);
                let mut plan = Plan::new(part(Sites::Images), kernels, threads, chooser)?;
                plan.measure(model, kernels)?;
                Some(Many::Whole(Box::new(plan)))
            }
            false => {
                let split = Split::find(part(Sites::Tiles), &one, kernels, threads, choice, known)?;
                split.map(|split| Many::Split(Box::new(split)))
            }
        };
        Ok(Some(Self { one, many, orders }))
    }

    /// What runs the layers of a batch.
    pub fn layers(&self, batch: usize) -> &[LayerRow] {
        let many = self.many.as_ref();
        match many.filter(|many| batch >= many.plan().sites.images()) {
            None => &self.one.layers,
            Some(Many::Whole(plan)) => &plan.layers,
            Some(Many::Split(split)) => &split.layers,
        }
    }
}

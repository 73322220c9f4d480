//! The plans of a model.

use super::choices::Chooser;
use super::layout::Sites;
use super::lower;
use super::plan::Plan;
use super::reorder::{Order, reorder};
use super::{Choice, Choices, EngineError};
use crate::graph::integer::IntegerModel;
use crate::kernel::{Cell, Kernels};

#[derive(Debug)]
pub(super) struct Plans {
    pub one: Plan,
    // None where sixteen images do not stay near: then they run faster one by one.
    pub sixteen: Option<Plan>,
    pub orders: Vec<Order>,
}

/// Cells of sixteen images' tensors that live together: more, and each layer waits for memory.
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
        let plan = |sites| {
            let known = known.map_or(&[][..], |known| match sites {
                Sites::Tiles => &known.one,
                Sites::Images => &known.sixteen,
            });
            let chooser = Chooser::new(choice, known);
            Plan::new(model, &stages, sites, kernels, threads, chooser)
        };
        let one = match plan(Sites::Tiles) {
            Ok(plan) => plan,
            Err(EngineError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let each = one.cells * Cell::BYTES;
        let sixteen = match each.saturating_mul(Cell::SITES) <= NEAR {
            true => Some(plan(Sites::Images)?),
            false => None,
        };
        Ok(Some(Self {
            one,
            sixteen,
            orders,
        }))
    }

    pub fn for_batch(&self, batch: usize) -> &Plan {
        match &self.sixteen {
            Some(sixteen) if batch >= Cell::SITES => sixteen,
            _ => &self.one,
        }
    }
}

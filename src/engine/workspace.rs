//! The memory of runs, which those to come take over.

use std::sync::{Mutex, MutexGuard, TryLockError};

use super::EngineError;
use super::plans::Many;
use super::runner::Inner;
use super::split::Level;
use crate::kernel::{Cells, lock};

/// What a run needs.
#[derive(Debug)]
pub(super) struct Workspace {
    // One for each thread.
    pub memories: Vec<Mutex<Memory>>,
    pub padded: Vec<f32>,
    // What the plan before the last one made of the images of a pass that threads share.
    pub made: Cells,
}

/// What a thread needs.
#[derive(Debug)]
pub(super) struct Memory {
    pub cells: Cells,
    // By level, what the plan before it made of the images of a pass.
    pub made: Vec<Cells>,
    pub result: Option<Result<bool, EngineError>>,
}

impl Inner {
    pub fn workspace(&self) -> Workspace {
        let many = self.plans.as_ref().and_then(|plans| plans.many.as_ref());
        let one = self.plans.as_ref().map_or(0, |plans| plans.one.cells);
        let levels = match many {
            Some(Many::Split(split)) => &split.levels[..],
            _ => &[],
        };
        let backs = levels.iter().map(|level| level.back.cells);
        let cells = match many {
            Some(Many::Whole(plan)) => one.max(plan.cells),
            _ => backs.fold(one, usize::max),
        };
        let memory = |_| {
            Mutex::new(Memory {
                cells: Cells::new(cells),
                made: levels
                    .iter()
                    .map(|level| Cells::new(level.cells()))
                    .collect(),
                result: None,
            })
        };
        let made = levels.iter().map(Level::cells).max();
        Workspace {
            memories: (0..self.team.threads()).map(memory).collect(),
            padded: Vec::new(),
            made: Cells::new(made.unwrap_or(0)),
        }
    }

    pub fn take(&self) -> Workspace {
        let free = self.free().and_then(|mut free| free.pop());
        free.unwrap_or_else(|| self.workspace())
    }

    pub fn give_back(&self, workspace: Workspace) {
        if let Some(mut free) = self.free() {
            free.push(workspace);
        }
    }

    // None where it is held: in a forked process maybe by a thread that is not there, for ever.
    fn free(&self) -> Option<MutexGuard<'_, Vec<Workspace>>> {
        if self.team.is_here() {
            return Some(lock(&self.free));
        }
        match self.free.try_lock() {
            Ok(free) => Some(free),
            Err(TryLockError::Poisoned(free)) => Some(free.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

//! The memory of runs, which those to come take over.

use std::sync::Mutex;

use crate::engine::EngineError;
use crate::engine::plan::plans::{Many, Plans};
use crate::engine::plan::stages::Level;
use crate::kernel::Cells;

/// What a run needs.
#[derive(Debug)]
pub(in crate::engine) struct Workspace {
    // One for each thread.
    pub memories: Vec<Mutex<Memory>>,
    pub padded: Vec<f32>,
    // What the plan before the last one made of the images of a pass that threads share.
    pub made: Cells,
}

/// What a thread needs.
#[derive(Debug)]
pub(in crate::engine) struct Memory {
    pub cells: Cells,
    // By level, what the plan before it made of the images of a pass.
    pub made: Vec<Cells>,
    pub result: Option<Result<bool, EngineError>>,
}

impl Workspace {
    /// Memory for the plans of a network on so many threads.
    pub fn new(plans: Option<&Plans>, threads: usize) -> Self {
        let many = plans.and_then(|plans| plans.many.as_ref());
        let one = plans.map_or(0, |plans| plans.one.cells);
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
        Self {
            memories: (0..threads).map(memory).collect(),
            padded: Vec::new(),
            made: Cells::new(made.unwrap_or(0)),
        }
    }
}

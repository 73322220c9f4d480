//! The memory of runs, which those to come take over.

use std::sync::Mutex;

use crate::engine::EngineError;
use crate::engine::plan::batch::BatchStage;
use crate::engine::plan::plans::{Many, Plans};
use crate::kernel::{VectorBlocks, lock};

/// What a run needs.
#[derive(Debug)]
pub(in crate::engine) struct Workspace {
    // One for each thread.
    pub memories: Vec<Mutex<Memory>>,
    pub padded: Vec<f32>,
    // What the plan before the last one made of the samples of a pass that threads share.
    pub made: VectorBlocks,
}

/// What a thread needs.
#[derive(Debug)]
pub(in crate::engine) struct Memory {
    pub blocks: VectorBlocks,
    // By batch stage, what the plan before it made of the samples of a pass.
    pub made: Vec<VectorBlocks>,
    pub result: Option<Result<bool, EngineError>>,
}

impl Workspace {
    /// Memory for the plans of a network on so many threads.
    pub fn new(plans: Option<&Plans>, threads: usize) -> Self {
        let many = plans.and_then(|plans| plans.many.as_ref());
        let one = plans.map_or(0, |plans| plans.one.blocks);
        let stages = match many {
            Some(Many::Staged(staged)) => &staged.stages[..],
            _ => &[],
        };
        let backs = stages.iter().map(|stage| stage.back.blocks);
        let blocks = match many {
            Some(Many::Whole(plan)) => one.max(plan.blocks),
            _ => backs.fold(one, usize::max),
        };
        let memory = |_| {
            Mutex::new(Memory {
                blocks: VectorBlocks::new(blocks),
                made: stages
                    .iter()
                    .map(|stage| VectorBlocks::new(stage.blocks()))
                    .collect(),
                result: None,
            })
        };
        let made = stages.iter().map(BatchStage::blocks).max();
        Self {
            memories: (0..threads).map(memory).collect(),
            padded: Vec::new(),
            made: VectorBlocks::new(made.unwrap_or(0)),
        }
    }
    /// Vector blocks of all.
    pub fn blocks(&self) -> usize {
        let of = |memory: &Mutex<Memory>| {
            let memory = lock(memory);
            memory.blocks.len() + memory.made.iter().map(|made| made.len()).sum::<usize>()
        };
        self.memories.iter().map(of).sum::<usize>() + self.made.len()
    }
}

//! The bytes of a program.

use std::collections::HashMap;
use std::sync::Arc;

use super::Program;
use super::plan::operation::OperationWork;
use super::plan::plans::Plans;
use crate::kernel::{PackedWeights, VectorBlock, VectorBlocks};
use crate::network::{Codes, Network};

/// Bytes that a program keeps in memory. Its layouts, epilogues and schedule are small beside them, and are
/// not counted.
///
/// ```
/// # use burn_compress::engine::{Options, Program};
/// # fn show(program: &Program) {
/// let memory = program.memory();
/// println!("{} kB of weights, {} kB of tensors", memory.weights / 1000, memory.arena / 1000);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramMemory {
    /// Weights and constants of the [`Network`], which [`Program::save`] writes and plain steps read. Weights
    /// that several layers or networks share are counted once.
    pub network: usize,
    /// Weights and constants as kernels read them, of all plans.
    pub weights: usize,
    /// Tensors while a pass of one sample runs, on one thread.
    pub one_sample: usize,
    /// Tensors of a run: what is allocated once, for each thread and for the largest pass. Runs at the same
    /// time have one each.
    pub arena: usize,
}

impl Program {
    /// The bytes of its weights and of its tensors.
    pub fn memory(&self) -> ProgramMemory {
        let inner = &self.inner;
        let plans = inner.plans.as_ref();
        ProgramMemory {
            network: network(&inner.model),
            weights: plans.map_or(0, packed),
            one_sample: plans.map_or(0, |plans| plans.one.blocks * VectorBlock::BYTES),
            arena: inner.workspace_blocks() * VectorBlock::BYTES,
        }
    }
}

// Memory that several own, by its address.
type Seen = HashMap<usize, usize>;

fn network(model: &Network) -> usize {
    let mut seen = Seen::new();
    for codes in model.steps().iter().filter_map(|step| step.op.weights()) {
        let (place, bytes) = match &codes.codes {
            Codes::I8(codes) => (Arc::as_ptr(codes) as usize, size_of_val(&codes[..])),
            Codes::I16(codes) => (Arc::as_ptr(codes) as usize, size_of_val(&codes[..])),
            Codes::I32(codes) => (Arc::as_ptr(codes) as usize, size_of_val(&codes[..])),
        };
        seen.insert(place, bytes);
    }
    let constants = model.constants().iter();
    let constants = constants.map(|constant| size_of_val(&constant.values[..]));
    seen.into_values().chain(constants).sum()
}

fn packed(plans: &Plans) -> usize {
    let mut seen = Seen::new();
    let constant = |blocks: &VectorBlocks| (blocks.as_ptr() as usize, size_of_val(&blocks[..]));
    let operations = plans.all().flat_map(|plan| &plan.operations);
    seen.extend(operations.filter_map(|operation| match &operation.work {
        OperationWork::Product(product) => Some(entries(product.entries())),
        OperationWork::InterleavedProduct(lines) => Some(entries(lines.product.entries())),
        OperationWork::Constant(blocks) => Some(constant(blocks)),
        OperationWork::Elementwise { constant: of, .. } => of.as_ref().map(constant),
        _ => None,
    }));
    seen.into_values().sum()
}

fn entries(weights: &PackedWeights) -> (usize, usize) {
    let place = match weights {
        PackedWeights::Filter { entries, .. } => entries.as_ptr() as usize,
        PackedWeights::Shared { entries, .. } => entries.as_ptr() as usize,
        PackedWeights::Tiles { weights, .. } => weights.as_ptr() as usize,
        PackedWeights::Depthwise { entries, .. } => entries.as_ptr() as usize,
        PackedWeights::Winograd { weights, .. } => weights.as_ptr() as usize,
    };
    (place, weights.bytes())
}

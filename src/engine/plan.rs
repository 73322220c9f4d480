//! A plan: the operations of a pass of sixteen images, or of one, and the memory they share.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::EngineError;
use super::build::Builder;
use super::choices::{Chooser, Kept};
use super::demand::Tensors;
use super::layout::Sites;
use super::memory::{self, Buffer};
use super::operation::{Context, Operation};
use super::prepare::prepare;
use super::stage::Stage;
use super::table::LayerRow;
use crate::graph::integer::IntegerModel;
use crate::kernel::{Access, Cell, KernelError, Kernels, Steps, Team};

/// Steps, and the units of each operation for each thread.
type Shared = (Steps, Vec<Vec<Range<usize>>>);

#[derive(Debug)]
pub(super) struct Plan {
    pub sites: Sites,
    pub operations: Vec<Operation>,
    /// Shared out to the threads, and on one alone.
    shared: Shared,
    alone: Shared,
    pub cells: usize,
    /// Where the output lies, as floats.
    output: usize,
    /// Whether a plain operation reads the input of a whole pass.
    pub whole_input: bool,
    pub layers: Vec<LayerRow>,
    pub kept: Vec<Kept>,
}

impl Plan {
    pub fn new(
        model: &IntegerModel,
        stages: &[Stage],
        sites: Sites,
        kernels: Kernels,
        threads: usize,
        chooser: Chooser<'_>,
    ) -> Result<Self, EngineError> {
        let tensors = Tensors::of(model, stages, sites);
        let prepared = prepare((model, stages, sites), &tensors, kernels, threads, &chooser)?;
        let builder = Builder::new(model, sites, kernels, chooser, tensors).with(prepared);
        let built = builder.build(stages)?;
        let count = built.operations.len();
        let mut buffers: Vec<Buffer> = built
            .buffers
            .iter()
            .map(|&cells| Buffer {
                cells,
                first: usize::MAX,
                last: 0,
            })
            .collect();
        for (index, operation) in built.operations.iter().enumerate() {
            let write = &mut buffers[operation.write];
            write.first = write.first.min(index);
            write.last = write.last.max(index);
            for &read in &operation.reads {
                buffers[read].last = index;
            }
        }
        buffers[built.output].last = count;
        let (places, cells) = memory::place(&buffers);
        let too_large = || EngineError::TooLarge {
            layer: "the model".to_string(),
            images: sites.images(),
        };
        if cells > (u32::MAX as usize) / Cell::BYTES {
            return Err(too_large());
        }
        let steps = |threads: usize| -> Result<_, KernelError> {
            let mut accesses = Vec::new();
            let mut all = Vec::new();
            for operation in &built.operations {
                let start = places[operation.write].start;
                let shares = operation.shares(threads);
                let writes = shares.iter().map(|units| {
                    start + units.start * operation.unit..start + units.end * operation.unit
                });
                accesses.push(Access {
                    reads: operation
                        .reads
                        .iter()
                        .map(|&read| places[read].clone())
                        .collect(),
                    writes: writes.collect(),
                });
                all.push(shares);
            }
            Ok((Steps::new(accesses, cells, threads)?, all))
        };
        Ok(Self {
            sites,
            shared: steps(threads)?,
            alone: steps(1)?,
            cells,
            output: places[built.output].start,
            whole_input: built.whole_input,
            layers: built.layers,
            kept: built.kept,
            operations: built.operations,
        })
    }

    /// Runs a pass on all threads of a team, or on this one alone; tells whether the input was finite.
    pub fn run(
        &self,
        alone: bool,
        team: &Team,
        context: &Context<'_>,
        memory: &mut [Cell],
    ) -> Result<bool, EngineError> {
        let finite = AtomicBool::new(true);
        let (steps, shares) = if alone { &self.alone } else { &self.shared };
        let work = |index: usize, thread: usize, reads: &[&[Cell]], write: &mut [Cell]| {
            let units = shares[index][thread].clone();
            if !self.operations[index].run_named(context, units, reads, write)? {
                finite.store(false, Ordering::Relaxed);
            }
            Ok::<(), EngineError>(())
        };
        steps.run(team, &mut memory[..self.cells], &work)?;
        Ok(finite.into_inner())
    }

    /// The output of a pass.
    pub fn output<'a>(&self, memory: &'a [Cell], numbers: usize) -> &'a [f32] {
        &Cell::floats(&memory[self.output..])[..numbers]
    }
}

impl Operation {
    // An error names the layer.
    fn run_named(
        &self,
        context: &Context<'_>,
        units: Range<usize>,
        reads: &[&[Cell]],
        write: &mut [Cell],
    ) -> Result<bool, EngineError> {
        self.run(context, units, reads, write)
            .map_err(|error| match error {
                EngineError::Kernel { source, .. } => EngineError::Kernel {
                    layer: self.layer.clone(),
                    source,
                },
                error => error,
            })
    }
}

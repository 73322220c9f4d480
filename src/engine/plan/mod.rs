//! A plan: the operations of a pass of several samples, or of one, and the memory they share.

pub(super) mod batch;
pub(super) mod boundary;
pub(super) mod build;
pub(super) mod gathered;
pub(super) mod interleaved;
pub(super) mod memory;
pub(super) mod operation;
pub(super) mod plans;
pub(super) mod rows;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::engine::EngineError;
use crate::engine::layout::Layout;
use crate::engine::layout::demand::Tensors;
use crate::engine::layout::interleave;
use crate::engine::layout::lanes::LaneMapping;
use crate::engine::layout::part::{Begin, Part};
use crate::engine::table::LayerProfile;
use crate::engine::tune::cache::TunedKernel;
use crate::engine::tune::prepare::prepare;
use crate::engine::tune::tuner::Tuner;
use crate::kernel::{Access, KernelError, Kernels, Steps, Team, VectorBlock, VectorBlocks};
use crate::network::{Grid, Network, Value};
use build::Builder;
use memory::Buffer;
use operation::{Context, ScheduledOperation};

/// Steps, and the units of each operation for each thread.
type Shared = (Steps, Vec<Vec<Range<usize>>>);

#[derive(Debug)]
pub(in crate::engine) struct Plan {
    pub lanes: LaneMapping,
    pub operations: Vec<ScheduledOperation>,
    /// Shared out to the threads, and on one alone.
    shared: Shared,
    alone: Shared,
    pub blocks: usize,
    /// Where the output lies, as floats; of a grid, as its codes.
    output: usize,
    output_grid: Option<Grid>,
    /// Whether a plain operation reads the input of a whole pass.
    pub whole_input: bool,
    pub layers: Vec<LayerProfile>,
    pub tuned: Vec<TunedKernel>,
    /// How many operations there are after each node.
    pub ends: Vec<usize>,
    pub owns: Vec<Own>,
    /// Vector blocks that another plan makes before.
    made: usize,
}

/// A tensor as its node makes it: how and where it lies.
#[derive(Debug)]
pub(in crate::engine) struct Own {
    pub value: Value,
    pub layout: Layout,
    pub place: Range<usize>,
    /// The operation that makes it there, and the last one that needs it. What a plain step gives is packed
    /// into vector blocks before its first reader only.
    first: usize,
    last: usize,
}

impl Own {
    /// Whether it lies there after so many operations.
    pub fn is_there(&self, operations: usize) -> bool {
        (self.first + 1..=self.last).contains(&operations)
    }
}

impl Plan {
    pub fn new(
        part: Part<'_>,
        kernels: Kernels,
        threads: usize,
        tuner: Tuner<'_>,
    ) -> Result<Self, EngineError> {
        let Part { lanes, begin, .. } = part;
        let mut tensors = Tensors::of(part);
        interleave::lay(&mut tensors, part, threads);
        let prepared = prepare(part, &tensors, threads, &tuner)?;
        let builder = Builder::new(part, kernels, tuner, tensors, prepared);
        let built = builder.build(part.nodes)?;
        let count = built.operations.len();
        let mut buffers: Vec<Buffer> = built
            .buffers
            .iter()
            .map(|&blocks| Buffer {
                blocks,
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
        let (places, blocks) = memory::place(&buffers);
        let too_large = || EngineError::TooLarge {
            layer: "the model".to_string(),
            samples: lanes.samples(),
        };
        if blocks > (u32::MAX as usize) / VectorBlock::BYTES {
            return Err(too_large());
        }
        let steps = |threads: usize| -> Result<_, KernelError> {
            let mut accesses = Vec::new();
            let mut all = Vec::new();
            for operation in &built.operations {
                let start = places[operation.write].start;
                let shares = operation.shares(threads);
                let part = |units: &Range<usize>| {
                    start + units.start * operation.unit..start + units.end * operation.unit
                };
                let mut reads = operation.reads.iter().map(|&of| places[of].clone());
                let of_first = shares.iter().map(|units| operation.part(units));
                let of_first: Option<Vec<_>> = of_first.collect();
                let first = of_first.and_then(|parts| Some((parts, reads.next()?.start)));
                let parts = first.map_or(Vec::new(), |(parts, first)| {
                    let at = |part: Range<usize>| first + part.start..first + part.end;
                    parts.into_iter().map(at).collect()
                });
                let between = operation.between(threads);
                accesses.push(Access {
                    parts,
                    reads: reads.chain(between.as_ref().map(part)).collect(),
                    writes: shares.iter().map(part).collect(),
                });
                all.push(shares);
            }
            Ok((Steps::new(accesses, blocks, threads)?, all))
        };
        Ok(Self {
            lanes,
            shared: steps(threads)?,
            alone: steps(1)?,
            blocks,
            output: places[built.output].start,
            output_grid: part.model.grid(part.model.output()),
            whole_input: built.whole_input,
            layers: built.layers,
            tuned: built.tuned,
            ends: built.ends,
            owns: (built.owns.into_iter())
                .map(|(value, buffer, layout)| Own {
                    value,
                    layout,
                    place: places[buffer].clone(),
                    first: buffers[buffer].first,
                    last: buffers[buffer].last,
                })
                .collect(),
            made: begin.map_or(0, |Begin { layout, .. }| {
                layout.blocks() * (lanes.samples() / layout.lanes.samples())
            }),
            operations: built.operations,
        })
    }

    /// Runs a pass on all threads of a team, or on this one alone; tells whether the input was finite.
    pub fn run(
        &self,
        alone: bool,
        team: &Team,
        context: &Context<'_>,
        memory: &mut [VectorBlock],
    ) -> Result<bool, EngineError> {
        let (steps, shares) = if alone { &self.alone } else { &self.shared };
        self.run_steps(steps, shares, team, context, memory)
    }

    /// Takes the time of each operation, where a kernel was tried.
    pub fn measure_tried(&mut self, model: &Network, kernels: Kernels) -> Result<(), EngineError> {
        match self.layers.iter().any(|row| row.tried.is_some()) {
            true => self.measure(model, kernels),
            false => Ok(()),
        }
    }

    /// Takes the time of each operation in passes on one thread: one after the other they find other
    /// data in the caches than each kernel alone.
    pub fn measure(&mut self, model: &Network, kernels: Kernels) -> Result<(), EngineError> {
        self.layers = self.profile(model, kernels)?;
        Ok(())
    }

    /// What runs each layer, with times taken so now.
    pub fn profile(
        &self,
        model: &Network,
        kernels: Kernels,
    ) -> Result<Vec<LayerProfile>, EngineError> {
        const PASSES: usize = 3;
        // After which no further pass is made.
        const ENOUGH: Duration = Duration::from_millis(200);
        let each: usize = model.input().iter().map(|dim| dim.at(1)).product();
        let samples = self.lanes.samples();
        let input = vec![0.0; if self.made > 0 { 0 } else { each * samples }];
        let made = VectorBlocks::new(self.made);
        let context = Context {
            model,
            kernels,
            input: &input,
            samples,
            made: &made,
        };
        let (steps, shares) = &self.alone;
        // Written, so that the first pass finds memory there.
        let mut memory = VectorBlocks::new(self.blocks);
        memory.fill(VectorBlock::of_bytes(0));
        let none = |_: &ScheduledOperation| AtomicU64::new(u64::MAX);
        let least: Vec<AtomicU64> = self.operations.iter().map(none).collect();
        let work = |index: usize, _: usize, reads: &[&[VectorBlock]], write: &mut [VectorBlock]| {
            let started = Instant::now();
            self.operations[index].run_named(&context, shares[index][0].clone(), reads, write)?;
            let time = started.elapsed().as_nanos() as u64;
            least[index].fetch_min(time, Ordering::Relaxed);
            Ok::<(), EngineError>(())
        };
        let team = Team::new(1);
        let begun = Instant::now();
        for pass in 0..PASSES {
            if pass == 0 || begun.elapsed() < ENOUGH {
                steps.run(&team, &mut memory, &work)?;
            }
        }
        let mut rows = self.layers.clone();
        for (row, least) in rows.iter_mut().zip(least) {
            row.microseconds = Some(least.into_inner() as f64 / 1e3);
        }
        Ok(rows)
    }

    /// Microseconds of the operations of some nodes, where they were measured.
    pub fn time(&self, nodes: Range<usize>) -> f64 {
        let end = |nodes: usize| nodes.checked_sub(1).map_or(0, |last| self.ends[last]);
        let rows = &self.layers[end(nodes.start)..end(nodes.end)];
        rows.iter().filter_map(|row| row.microseconds).sum()
    }

    /// The first operations of a pass, on one thread.
    pub fn first(&self, operations: usize) -> Steps {
        self.alone.0.first(operations)
    }

    /// Runs [`first`](Self::first) operations on this thread; tells whether the input was finite.
    pub fn run_first(
        &self,
        first: &Steps,
        team: &Team,
        context: &Context<'_>,
        memory: &mut [VectorBlock],
    ) -> Result<bool, EngineError> {
        self.run_steps(first, &self.alone.1, team, context, memory)
    }

    fn run_steps(
        &self,
        steps: &Steps,
        shares: &[Vec<Range<usize>>],
        team: &Team,
        context: &Context<'_>,
        memory: &mut [VectorBlock],
    ) -> Result<bool, EngineError> {
        let finite = AtomicBool::new(true);
        let work =
            |index: usize, thread: usize, reads: &[&[VectorBlock]], write: &mut [VectorBlock]| {
                let units = shares[index][thread].clone();
                if !self.operations[index].run_named(context, units, reads, write)? {
                    finite.store(false, Ordering::Relaxed);
                }
                Ok::<(), EngineError>(())
            };
        steps.run(team, &mut memory[..self.blocks], &work)?;
        Ok(finite.into_inner())
    }

    /// Writes the output of a pass.
    pub fn write_output(&self, memory: &[VectorBlock], to: &mut [f32]) {
        let from = &memory[self.output..];
        match self.output_grid {
            None => to.copy_from_slice(&VectorBlock::floats(from)[..to.len()]),
            Some(grid) => {
                for (to, &code) in to.iter_mut().zip(VectorBlock::integers(from)) {
                    *to = grid.dequantize(code);
                }
            }
        }
    }
}

impl ScheduledOperation {
    // An error names the layer.
    fn run_named(
        &self,
        context: &Context<'_>,
        units: Range<usize>,
        reads: &[&[VectorBlock]],
        write: &mut [VectorBlock],
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

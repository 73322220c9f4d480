//! Runs of a program: which samples are a pass, and whose threads make it.

mod workspace;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::engine::plan::Plan;
use crate::engine::plan::batch::BatchStage;
use crate::engine::plan::operation::Context;
use crate::engine::plan::plans::{Many, Plans};
use crate::engine::{EngineError, TuningCache};
use crate::kernel::{KernelError, Kernels, Team, VectorBlock, VectorBlocks, lock};
use crate::network::Network;
use crate::network::NetworkError;
use workspace::{Memory, Workspace};

#[derive(Debug)]
pub(in crate::engine) struct Inner {
    pub model: Network,
    /// The network of the plans, where it is another one with the same results.
    pub rewritten: Option<Network>,
    pub kernels: Kernels,
    pub team: Team,
    // None where samples mix, or vector blocks cannot hold the model.
    pub plans: Option<Plans>,
    pub cache: TuningCache,
    // Memory of runs that ended, for those to come.
    pub free: Mutex<Vec<Workspace>>,
    pub each: (usize, usize),
}

/// A pass on samples and memory of its own; tells whether the samples were finite.
type Pass<'a> = dyn Fn(&[f32], &mut Memory) -> Result<bool, EngineError> + Sync + 'a;

/// The plan of one sample and the batch stages behind it, the last of which runs to the end.
type Chain<'a> = (&'a Plan, &'a [BatchStage]);

impl Inner {
    pub fn run(&self, input: &[f32], output: &mut [f32]) -> Result<(), EngineError> {
        let (each, made) = self.each;
        let batch = input.len() / each.max(1);
        let Some(plans) = &self.plans else {
            let run = self.model.run_with(input, batch, self.team.threads());
            let (values, _) = run.map_err(as_engine)?;
            output.copy_from_slice(&values);
            return Ok(());
        };
        let mut workspace = self.take();
        let memory = &mut workspace;
        let few = match &plans.many {
            None => Ok((input, output)),
            Some(Many::Whole(plan)) => {
                // Sixteen in one pass cost about as much as ten one by one.
                let together = match batch % plan.lanes.samples() {
                    rest if rest > 10 => batch,
                    rest => batch - rest,
                };
                let (input, few) = input.split_at(together * each);
                let (output, of_few) = output.split_at_mut(together * made);
                let many = self.passes(plan, false, memory, input, output);
                many.map(|()| (few, of_few))
            }
            Some(Many::Staged(staged)) => {
                let stages = (1..=staged.stages.len()).rev();
                let chains = stages.map(|last| (&plans.one, &staged.stages[..last]));
                chains
                    .into_iter()
                    .try_fold((input, output), |(input, output), chain| {
                        self.chain_passes(chain, memory, input, output)
                    })
            }
        };
        let alone = self.cache.alone;
        let result =
            few.and_then(|(input, output)| self.passes(&plans.one, alone, memory, input, output));
        self.give_back(workspace);
        result.map_err(|error| self.place(error, input))
    }

    // Where the first number is that is not finite.
    fn place(&self, error: EngineError, input: &[f32]) -> EngineError {
        let each = self.each.0.max(1);
        match (&error, input.iter().position(|x| !x.is_finite())) {
            (EngineError::NotFinite { .. }, Some(place)) => EngineError::NotFinite {
                sample: place / each,
                element: place % each,
                value: input[place],
            },
            _ => error,
        }
    }

    // All samples in passes of a plan: each thread one of its own while there are enough, then all
    // threads on one, or one alone.
    fn passes(
        &self,
        plan: &Plan,
        alone: bool,
        workspace: &mut Workspace,
        mut input: &[f32],
        mut output: &mut [f32],
    ) -> Result<(), EngineError> {
        let (each, made) = self.each;
        let samples = plan.lanes.samples();
        if !plan.whole_input {
            let run = |input: &[f32], memory: &mut Memory| {
                let context = self.context(input, samples);
                plan.run(true, &self.team, &context, &mut memory.blocks)
            };
            let memories = &mut workspace.memories;
            (input, output) = self.one_each(plan, memories, (input, output), &run)?;
        }
        while !input.is_empty() {
            let now = (input.len() / each).min(samples);
            let (here, after) = input.split_at(now * each);
            let (to, later) = output.split_at_mut(now * made);
            let Workspace {
                memories, padded, ..
            } = &mut *workspace;
            let memory = memories[0]
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            let (here, now) = match plan.whole_input && now < samples {
                true => {
                    padded.clear();
                    padded.extend_from_slice(here);
                    padded.resize(samples * each, 0.0);
                    (&padded[..], samples)
                }
                false => (here, now),
            };
            let context = self.context(here, now);
            let mut run = |alone| plan.run(alone, &self.team, &context, &mut memory.blocks);
            finite(if alone { run(true) } else { or_alone(run) }?)?;
            if plan.whole_input {
                finite(here.iter().all(|x| x.is_finite()))?;
            }
            plan.write_output(&memory.blocks, to);
            (input, output) = (after, later);
        }
        Ok(())
    }

    // Passes of a plan, one for each thread, as long as there are so many; what is left.
    fn one_each<'a, 'b>(
        &self,
        plan: &Plan,
        memories: &mut [Mutex<Memory>],
        (mut input, mut output): (&'a [f32], &'b mut [f32]),
        run: &Pass<'_>,
    ) -> Result<(&'a [f32], &'b mut [f32]), EngineError> {
        let threads = self.team.threads();
        let samples = plan.lanes.samples();
        let (each, made) = (self.each.0 * samples, self.each.1 * samples);
        while threads > 1 && input.len() >= threads * each {
            let (now, after) = input.split_at(threads * each);
            let (to, later) = output.split_at_mut(threads * made);
            let work = |thread: usize| {
                if let Some(memory) = memories.get(thread) {
                    let mut memory = lock(memory);
                    let result = run(&now[thread * each..][..each], &mut memory);
                    memory.result = Some(result);
                }
            };
            if !self.team.try_share(&work) {
                (0..threads).for_each(work);
            }
            for (memory, to) in memories.iter_mut().zip(to.chunks_mut(made)) {
                let memory = memory.get_mut().unwrap_or_else(PoisonError::into_inner);
                match memory.result.take() {
                    Some(result) => finite(result?)?,
                    None => continue,
                }
                plan.write_output(&memory.blocks, to);
            }
            (input, output) = (after, later);
        }
        Ok((input, output))
    }

    // Samples in passes of the last of some batch stages, as many as that takes; what is left.
    fn chain_passes<'a, 'b>(
        &self,
        chain: Chain<'_>,
        workspace: &mut Workspace,
        input: &'a [f32],
        output: &'b mut [f32],
    ) -> Result<(&'a [f32], &'b mut [f32]), EngineError> {
        let Some((stage, before)) = chain.1.split_last() else {
            return Ok((input, output));
        };
        let samples = stage.back.lanes.samples();
        let (each, one_made) = (self.each.0 * samples, self.each.1 * samples);
        let Workspace { memories, made, .. } = workspace;
        let run = |input: &[f32], memory: &mut Memory| {
            let Memory { blocks, made, .. } = memory;
            let (earlier, made) = made.split_at_mut(before.len());
            let finite = self.tensors(chain, input, blocks, earlier, &mut made[0])?;
            Ok(finite && self.back(stage, true, &made[0], blocks)?)
        };
        let (mut input, mut output) =
            self.one_each(&stage.back, memories, (input, output), &run)?;
        let tensors = &mut made[..stage.blocks()];
        while input.len() >= each {
            let (now, after) = input.split_at(each);
            let (to, later) = output.split_at_mut(one_made);
            let all_finite = AtomicBool::new(true);
            let front = |alone: bool, tensors: &mut [VectorBlock]| {
                let (steps, shares) = if alone { &stage.alone } else { &stage.shared };
                let work =
                    |_: usize, thread: usize, _: &[&[VectorBlock]], write: &mut [VectorBlock]| {
                        let mut memory = lock(&memories[thread]);
                        let Memory { blocks, made, .. } = &mut *memory;
                        let size = self.each.0 * stage.before;
                        let share = &shares[thread];
                        let input = &now[share.start * size..share.end * size];
                        let earlier = &mut made[..before.len()];
                        if !self.tensors(chain, input, blocks, earlier, write)? {
                            all_finite.store(false, Ordering::Relaxed);
                        }
                        Ok(())
                    };
                steps.run::<EngineError>(&self.team, tensors, &work)
            };
            or_alone(|alone| front(alone, &mut *tensors))?;
            finite(all_finite.into_inner())?;
            let memory = memories[0]
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            or_alone(|alone| self.back(stage, alone, tensors, &mut memory.blocks))?;
            stage.back.write_output(&memory.blocks, to);
            (input, output) = (after, later);
        }
        Ok((input, output))
    }

    // What the plan before the last batch stage makes of some samples, tensor after tensor, on this thread;
    // tells whether they were finite. `made`: room for those of the batch stages before.
    fn tensors(
        &self,
        (one, stages): Chain<'_>,
        input: &[f32],
        blocks: &mut VectorBlocks,
        made: &mut [VectorBlocks],
        tensors: &mut [VectorBlock],
    ) -> Result<bool, EngineError> {
        let Some((stage, before)) = stages.split_last() else {
            return Ok(true);
        };
        let inputs = input.chunks(self.each.0 * stage.before);
        for (input, tensor) in inputs.zip(tensors.chunks_mut(stage.place.len())) {
            let (plan, context) = match (before.last(), made.split_last_mut()) {
                (Some(last), Some((made, earlier))) => {
                    if !self.tensors((one, before), input, blocks, earlier, made)? {
                        return Ok(false);
                    }
                    let context = Context {
                        made,
                        ..self.context(&[], stage.before)
                    };
                    (&last.back, context)
                }
                _ => (one, self.context(input, 1)),
            };
            // What reads the whole input loads none of it.
            let finite = !plan.whole_input || input.iter().all(|x| x.is_finite());
            if !plan.run_first(&stage.first, &self.team, &context, blocks)? || !finite {
                return Ok(false);
            }
            tensor.copy_from_slice(&blocks[stage.place.clone()]);
        }
        Ok(true)
    }

    // The layers after those.
    fn back(
        &self,
        stage: &BatchStage,
        alone: bool,
        made: &[VectorBlock],
        blocks: &mut VectorBlocks,
    ) -> Result<bool, EngineError> {
        let context = Context {
            made,
            ..self.context(&[], stage.back.lanes.samples())
        };
        stage.back.run(alone, &self.team, &context, blocks)
    }

    // Tries one sample on one thread and on all.
    pub fn is_faster_alone(&self) -> Result<bool, EngineError> {
        const RUNS: usize = 20;
        const ENOUGH: Duration = Duration::from_millis(50);
        // What looks no faster on all threads is tried on and on, so many times as long: another program
        // may have had their processors.
        const UNSURE: u32 = 3;
        // What the threads must bring: less, and a busy machine makes them slower than one.
        const GAIN: f64 = 1.15;
        let Some(plans) = self.plans.as_ref().filter(|_| self.team.threads() > 1) else {
            return Ok(true);
        };
        let mut memory = VectorBlocks::new(plans.one.blocks);
        let input = vec![0.0; self.each.0];
        let context = self.context(&input, 1);
        let mut least = [f64::INFINITY; 2];
        let begun = Instant::now();
        for run in 0.. {
            let sure = run > 0 && least[0] >= GAIN * least[1];
            let enough = if sure { ENOUGH } else { UNSURE * ENOUGH };
            if run > 0 && (sure && run >= RUNS || begun.elapsed() > enough) {
                break;
            }
            let started = Instant::now();
            plans.one.run(true, &self.team, &context, &mut memory)?;
            least[0] = least[0].min(started.elapsed().as_secs_f64());
            let started = Instant::now();
            plans.one.run(false, &self.team, &context, &mut memory)?;
            least[1] = least[1].min(started.elapsed().as_secs_f64());
        }
        Ok(least[0] < GAIN * least[1])
    }

    pub fn workspace(&self) -> Workspace {
        Workspace::new(self.plans.as_ref(), self.team.threads())
    }

    /// Vector blocks that a run needs.
    pub fn workspace_blocks(&self) -> usize {
        let workspace = self.take();
        let blocks = workspace.blocks();
        self.give_back(workspace);
        blocks
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

    pub fn context<'a>(&'a self, input: &'a [f32], samples: usize) -> Context<'a> {
        Context {
            model: self.rewritten.as_ref().unwrap_or(&self.model),
            kernels: self.kernels,
            input,
            samples,
            made: &[],
        }
    }
}

// On all threads; on this one where another run has them.
fn or_alone<T>(mut run: impl FnMut(bool) -> Result<T, EngineError>) -> Result<T, EngineError> {
    match run(false) {
        Err(EngineError::Kernel {
            source: KernelError::Team,
            ..
        }) => run(true),
        result => result,
    }
}

// The same error whatever runs the model.
fn as_engine(error: NetworkError) -> EngineError {
    match error {
        NetworkError::NotFinite {
            sample,
            element,
            value,
        } => EngineError::NotFinite {
            sample,
            element,
            value,
        },
        error => error.into(),
    }
}

fn finite(finite: bool) -> Result<(), EngineError> {
    match finite {
        true => Ok(()),
        false => Err(EngineError::NotFinite {
            sample: 0,
            element: 0,
            value: f32::NAN,
        }),
    }
}

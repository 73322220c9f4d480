//! Runs of a program: which images are a pass, and whose threads make it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::operation::Context;
use super::plan::Plan;
use super::plans::Plans;
use super::{Choices, EngineError};
use crate::graph::integer::IntegerModel;
use crate::kernel::{Cell, Kernels, Team};

#[derive(Debug)]
pub(super) struct Inner {
    pub model: IntegerModel,
    pub kernels: Kernels,
    pub team: Team,
    // None where images mix, or cells cannot hold the model.
    pub plans: Option<Plans>,
    pub choices: Choices,
    // Memory of runs that ended, for those to come.
    pub free: Mutex<Vec<Workspace>>,
    pub each: (usize, usize),
}

#[derive(Debug)]
pub(super) struct Workspace {
    // One for each thread.
    memories: Vec<Mutex<Memory>>,
    padded: Vec<f32>,
}

#[derive(Debug)]
struct Memory {
    cells: Vec<Cell>,
    result: Option<Result<bool, EngineError>>,
}

impl Inner {
    pub fn run(&self, input: &[f32], output: &mut [f32]) -> Result<(), EngineError> {
        let (each, made) = self.each;
        let batch = input.len() / each.max(1);
        let Some(plans) = &self.plans else {
            let (values, _) = self.model.run_with(input, batch, self.team.threads())?;
            output.copy_from_slice(&values);
            return Ok(());
        };
        let mut workspace = self.take();
        let whole = batch / Cell::SITES * Cell::SITES;
        // Sixteen in one pass cost about as much as ten one by one.
        let rest = batch - whole;
        let split = match plans.sixteen {
            None => 0,
            Some(_) if rest > 10 => batch,
            Some(_) => whole,
        };
        let (input_many, input_few) = input.split_at(split * each);
        let (output_many, output_few) = output.split_at_mut(split * made);
        let many = match &plans.sixteen {
            Some(plan) => self.passes(plan, false, &mut workspace, input_many, output_many),
            None => Ok(()),
        };
        let result = many.and_then(|()| {
            let one = &plans.one;
            self.passes(
                one,
                self.choices.alone,
                &mut workspace,
                input_few,
                output_few,
            )
        });
        self.give_back(workspace);
        result.map_err(|error| self.place(error, input))
    }

    // Where the first number is that is not finite.
    fn place(&self, error: EngineError, input: &[f32]) -> EngineError {
        match (&error, input.iter().position(|x| !x.is_finite())) {
            (EngineError::NotFinite { .. }, Some(place)) => EngineError::NotFinite {
                place,
                value: input[place],
            },
            _ => error,
        }
    }

    // All images in passes of a plan: each thread one of its own while there are enough, then all
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
        let images = plan.sites.images();
        let threads = self.team.threads();
        let finite = |finite: bool| match finite {
            true => Ok(()),
            false => Err(EngineError::NotFinite {
                place: 0,
                value: f32::NAN,
            }),
        };
        while !input.is_empty() {
            let left = input.len() / each;
            if threads > 1 && left >= images * threads && !plan.whole_input {
                let (now, after) = input.split_at(images * threads * each);
                let (to, later) = output.split_at_mut(images * threads * made);
                let work = |thread: usize| {
                    let Some(memory) = workspace.memories.get(thread) else {
                        return;
                    };
                    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                    let input = &now[thread * images * each..(thread + 1) * images * each];
                    let context = self.context(input, images);
                    let result = plan.run(true, &self.team, &context, &mut memory.cells);
                    memory.result = Some(result);
                };
                if !self.team.try_run(&work) {
                    (0..threads).for_each(work);
                }
                for (memory, to) in workspace
                    .memories
                    .iter_mut()
                    .zip(to.chunks_mut(images * made))
                {
                    let memory = memory.get_mut().unwrap_or_else(PoisonError::into_inner);
                    match memory.result.take() {
                        Some(result) => finite(result?)?,
                        None => continue,
                    }
                    to.copy_from_slice(plan.output(&memory.cells, to.len()));
                }
                (input, output) = (after, later);
                continue;
            }
            let now = left.min(images);
            let (here, after) = input.split_at(now * each);
            let (to, later) = output.split_at_mut(now * made);
            let Workspace { memories, padded } = &mut *workspace;
            let memory = memories[0]
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            let (here, now) = match plan.whole_input && now < images {
                true => {
                    padded.clear();
                    padded.extend_from_slice(here);
                    padded.resize(images * each, 0.0);
                    (&padded[..], images)
                }
                false => (here, now),
            };
            let context = self.context(here, now);
            let result = match plan.run(alone, &self.team, &context, &mut memory.cells) {
                // Another run has the team.
                Err(EngineError::Kernel {
                    source: crate::kernel::KernelError::Team,
                    ..
                }) => plan.run(true, &self.team, &context, &mut memory.cells),
                result => result,
            };
            finite(result?)?;
            if plan.whole_input {
                finite(here.iter().all(|x| x.is_finite()))?;
            }
            to.copy_from_slice(plan.output(&memory.cells, to.len()));
            (input, output) = (after, later);
        }
        Ok(())
    }

    // Tries one image on one thread and on all.
    pub fn is_faster_alone(&self) -> Result<bool, EngineError> {
        const RUNS: usize = 20;
        // What the threads must bring: less, and a busy machine makes them slower than one.
        const GAIN: f64 = 1.3;
        let Some(plans) = self.plans.as_ref().filter(|_| self.team.threads() > 1) else {
            return Ok(true);
        };
        let mut memory = vec![Cell::default(); plans.one.cells];
        let input = vec![0.0; self.each.0];
        let context = self.context(&input, 1);
        let mut least = [f64::INFINITY; 2];
        for _ in 0..RUNS {
            let started = Instant::now();
            plans.one.run(true, &self.team, &context, &mut memory)?;
            least[0] = least[0].min(started.elapsed().as_secs_f64());
            let started = Instant::now();
            plans.one.run(false, &self.team, &context, &mut memory)?;
            least[1] = least[1].min(started.elapsed().as_secs_f64());
        }
        Ok(least[0] < GAIN * least[1])
    }

    pub fn context<'a>(&'a self, input: &'a [f32], images: usize) -> Context<'a> {
        Context {
            model: &self.model,
            kernels: self.kernels,
            input,
            images,
        }
    }

    pub fn workspace(&self) -> Workspace {
        let plans = self.plans.iter();
        let plans = plans.flat_map(|plans| plans.sixteen.iter().chain([&plans.one]));
        let cells = plans.map(|plan| plan.cells).max().unwrap_or(0);
        let memory = |_| {
            Mutex::new(Memory {
                cells: vec![Cell::default(); cells],
                result: None,
            })
        };
        Workspace {
            memories: (0..self.team.threads()).map(memory).collect(),
            padded: Vec::new(),
        }
    }

    fn take(&self) -> Workspace {
        let free = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        free.unwrap_or_else(|| self.workspace())
    }

    pub fn give_back(&self, workspace: Workspace) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(workspace);
    }
}

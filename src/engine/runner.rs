//! Runs of a program: which images are a pass, and whose threads make it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::operation::Context;
use super::plan::Plan;
use super::plans::{Many, Plans};
use super::split::Split;
use super::{Choices, EngineError};
use crate::graph::integer::IntegerModel;
use crate::kernel::{Cell, Cells, KernelError, Kernels, Team, lock};

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
    // What the first layers made of the images of a pass; one for each thread.
    made: Vec<Mutex<Cells>>,
}

/// A pass on a thread of this number, on images and memory of its own; tells whether the images were finite.
type Pass<'a> = dyn Fn(usize, &[f32], &mut Cells) -> Result<bool, EngineError> + Sync + 'a;

#[derive(Debug)]
struct Memory {
    cells: Cells,
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
        let images = plans
            .many
            .as_ref()
            .map_or(1, |many| many.plan().sites.images());
        // Sixteen in one pass cost about as much as ten one by one.
        let rest = batch % images;
        let together = match plans.many {
            None => 0,
            Some(Many::Whole(_)) if rest > 10 => batch,
            Some(_) => batch - rest,
        };
        let (input_many, input_few) = input.split_at(together * each);
        let (output_many, output_few) = output.split_at_mut(together * made);
        let many = match &plans.many {
            Some(Many::Whole(plan)) => {
                self.passes(plan, false, &mut workspace, input_many, output_many)
            }
            Some(Many::Split(split)) => {
                self.split_passes((&plans.one, split), &mut workspace, input_many, output_many)
            }
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
        if !plan.whole_input {
            let run = |_: usize, input: &[f32], cells: &mut Cells| {
                let context = self.context(input, images);
                plan.run(true, &self.team, &context, cells)
            };
            let memories = &mut workspace.memories;
            (input, output) = self.one_each(plan, memories, (input, output), &run)?;
        }
        while !input.is_empty() {
            let now = (input.len() / each).min(images);
            let (here, after) = input.split_at(now * each);
            let (to, later) = output.split_at_mut(now * made);
            let Workspace {
                memories, padded, ..
            } = &mut *workspace;
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
            let mut run = |alone| plan.run(alone, &self.team, &context, &mut memory.cells);
            finite(if alone { run(true) } else { or_alone(run) }?)?;
            if plan.whole_input {
                finite(here.iter().all(|x| x.is_finite()))?;
            }
            to.copy_from_slice(plan.output(&memory.cells, to.len()));
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
        let images = plan.sites.images();
        let (each, made) = (self.each.0 * images, self.each.1 * images);
        while threads > 1 && input.len() >= threads * each {
            let (now, after) = input.split_at(threads * each);
            let (to, later) = output.split_at_mut(threads * made);
            let work = |thread: usize| {
                if let Some(memory) = memories.get(thread) {
                    let mut memory = lock(memory);
                    let result = run(thread, &now[thread * each..][..each], &mut memory.cells);
                    memory.result = Some(result);
                }
            };
            if !self.team.try_run(&work) {
                (0..threads).for_each(work);
            }
            for (memory, to) in memories.iter_mut().zip(to.chunks_mut(made)) {
                let memory = memory.get_mut().unwrap_or_else(PoisonError::into_inner);
                match memory.result.take() {
                    Some(result) => finite(result?)?,
                    None => continue,
                }
                to.copy_from_slice(plan.output(&memory.cells, to.len()));
            }
            (input, output) = (after, later);
        }
        Ok((input, output))
    }

    // All images, some at a time: first layers one by one, the others together.
    fn split_passes(
        &self,
        (one, split): (&Plan, &Split),
        workspace: &mut Workspace,
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), EngineError> {
        let (each, images) = (self.each.0, split.back.sites.images());
        let Workspace { memories, made, .. } = workspace;
        let run = |thread: usize, input: &[f32], cells: &mut Cells| {
            let mut made = lock(&made[thread]);
            for (input, tensor) in input.chunks(each).zip(made.chunks_mut(split.place.len())) {
                if !self.first((one, split), input, cells, tensor)? {
                    return Ok(false);
                }
            }
            self.back(split, true, &made, cells)
        };
        let (input, output) = self.one_each(&split.back, memories, (input, output), &run)?;
        let tensors: &mut [Cell] = made[0].get_mut().unwrap_or_else(PoisonError::into_inner);
        let passes = input.chunks_exact(images * each);
        for (input, output) in passes.zip(output.chunks_exact_mut(images * self.each.1)) {
            let all_finite = AtomicBool::new(true);
            let front = |alone: bool, tensors: &mut [Cell]| {
                let (steps, shares) = if alone { &split.alone } else { &split.shared };
                let work = |_: usize, thread: usize, _: &[&[Cell]], write: &mut [Cell]| {
                    let mut memory = lock(&memories[thread]);
                    let tensors = write.chunks_exact_mut(split.place.len());
                    for (image, tensor) in shares[thread].clone().zip(tensors) {
                        let input = &input[image * each..][..each];
                        if !self.first((one, split), input, &mut memory.cells, tensor)? {
                            all_finite.store(false, Ordering::Relaxed);
                        }
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
            or_alone(|alone| self.back(split, alone, tensors, &mut memory.cells))?;
            output.copy_from_slice(split.back.output(&memory.cells, output.len()));
        }
        Ok(())
    }

    // The first layers of an image; tells whether it was finite.
    fn first(
        &self,
        (one, split): (&Plan, &Split),
        input: &[f32],
        cells: &mut Cells,
        tensor: &mut [Cell],
    ) -> Result<bool, EngineError> {
        let context = self.context(input, 1);
        let finite = one.run_first(&split.first, &self.team, &context, cells)?;
        tensor.copy_from_slice(&cells[split.place.clone()]);
        Ok(finite)
    }

    // The layers after those.
    fn back(
        &self,
        split: &Split,
        alone: bool,
        made: &[Cell],
        cells: &mut Cells,
    ) -> Result<bool, EngineError> {
        let context = Context {
            made,
            ..self.context(&[], split.back.sites.images())
        };
        split.back.run(alone, &self.team, &context, cells)
    }

    // Tries one image on one thread and on all.
    pub fn is_faster_alone(&self) -> Result<bool, EngineError> {
        const RUNS: usize = 20;
        const ENOUGH: Duration = Duration::from_millis(50);
        // What looks no faster on all threads is tried so many times as long: another program may have
        // had their processors.
        const UNSURE: u32 = 3;
        // What the threads must bring: less, and a busy machine makes them slower than one.
        const GAIN: f64 = 1.15;
        let Some(plans) = self.plans.as_ref().filter(|_| self.team.threads() > 1) else {
            return Ok(true);
        };
        let mut memory = Cells::new(plans.one.cells);
        let input = vec![0.0; self.each.0];
        let context = self.context(&input, 1);
        let mut least = [f64::INFINITY; 2];
        let begun = Instant::now();
        for run in 0..RUNS * UNSURE as usize {
            let sure = run > 0 && least[0] >= GAIN * least[1];
            let enough = if sure { ENOUGH } else { UNSURE * ENOUGH };
            if sure && run >= RUNS || run > 2 && begun.elapsed() > enough {
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

    pub fn context<'a>(&'a self, input: &'a [f32], images: usize) -> Context<'a> {
        Context {
            model: &self.model,
            kernels: self.kernels,
            input,
            images,
            made: &[],
        }
    }

    pub fn workspace(&self) -> Workspace {
        let many = self.plans.as_ref().and_then(|plans| plans.many.as_ref());
        let one = self.plans.as_ref().map_or(0, |plans| plans.one.cells);
        // Those of a pass, and of tensors between two plans.
        let (cells, made) = match many {
            None => (one, 0),
            Some(Many::Whole(plan)) => (one.max(plan.cells), 0),
            Some(Many::Split(split)) => (one.max(split.back.cells), split.cells()),
        };
        let memory = |_| {
            Mutex::new(Memory {
                cells: Cells::new(cells),
                result: None,
            })
        };
        let threads = 0..self.team.threads();
        Workspace {
            memories: threads.clone().map(memory).collect(),
            padded: Vec::new(),
            made: threads.map(|_| Mutex::new(Cells::new(made))).collect(),
        }
    }

    fn take(&self) -> Workspace {
        let free = lock(&self.free).pop();
        free.unwrap_or_else(|| self.workspace())
    }

    pub fn give_back(&self, workspace: Workspace) {
        lock(&self.free).push(workspace);
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

fn finite(finite: bool) -> Result<(), EngineError> {
    match finite {
        true => Ok(()),
        false => Err(EngineError::NotFinite {
            place: 0,
            value: f32::NAN,
        }),
    }
}

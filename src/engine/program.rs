use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::choices::Chooser;
use super::layout::Sites;
use super::lower;
use super::operation::Context;
use super::plan::Plan;
use super::reorder::reorder;
use super::{Choice, Choices, EngineError, LayerRow, Options};
use crate::graph::integer::IntegerModel;
use crate::kernel::{Cell, Isa, Kernels, Team};

/// A model that is ready to run: on this machine's kernels, in memory that was planned once.
///
/// It is cheap to clone, and can be run from several threads at once. Its outputs are those of the
/// [`IntegerModel`] it was compiled from, bit for bit where that computes in whole numbers.
///
/// ```
/// use burn_compress::engine::{Options, Program};
/// use burn_compress::format::{Granularity, Mapping, Scheme};
/// use burn_compress::graph::integer::{Grid, IntegerModel, IntegerOp, Rescale, Step, Weights};
/// use burn_compress::graph::{Dim, Value};
///
/// let affine = Scheme::new(8, Mapping::Affine, Granularity::Tensor)?;
/// let quantize = Step {
///     op: IntegerOp::Quantize,
///     inputs: vec![Value::Input],
///     grid: Some(Grid::new(affine, 0.5, 128)?),
///     dims: vec![Dim::Batch(1), Dim::Fixed(3)],
///     layer: "input".into(),
/// };
/// let linear = Step {
///     op: IntegerOp::Linear {
///         weights: Weights { dims: vec![3, 2], codes: vec![1, 0, -7, 3, 0, 2].into() },
///         rescale: Rescale::by(0.05),
///     },
///     inputs: vec![Value::Node(0)],
///     grid: None,
///     dims: vec![Dim::Batch(1), Dim::Fixed(2)],
///     layer: "fc".into(),
/// };
/// let input = vec![Dim::Batch(1), Dim::Fixed(3)];
/// let model = IntegerModel::new(input, vec![], vec![quantize, linear], Value::Node(1))?;
///
/// let program = Program::compile(&model, Options::default())?;
/// let images = [1.0, -0.25, 3.2];
/// assert_eq!(program.run(&images, 1)?, model.run(&images, 1)?.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Program {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    model: IntegerModel,
    kernels: Kernels,
    team: Team,
    // None where images mix, or cells cannot hold the model.
    plans: Option<Plans>,
    choices: Choices,
    // Memory of runs that ended, for those to come.
    free: Mutex<Vec<Workspace>>,
    each: (usize, usize),
}

#[derive(Debug)]
struct Plans {
    one: Plan,
    // None where sixteen images do not stay near: then they run faster one by one.
    sixteen: Option<Plan>,
}

/// Cells of sixteen images' tensors that live together: more, and each layer waits for memory.
const NEAR: usize = 6 << 20;

impl Plans {
    fn new(
        model: &IntegerModel,
        kernels: Kernels,
        threads: usize,
        choice: Choice,
        known: Option<&Choices>,
    ) -> Result<Option<Self>, EngineError> {
        let mut stages = lower::stages(model);
        reorder(&mut stages);
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
        Ok(Some(Self { one, sixteen }))
    }

    fn for_batch(&self, batch: usize) -> &Plan {
        match &self.sixteen {
            Some(sixteen) if batch >= Cell::SITES => sixteen,
            _ => &self.one,
        }
    }
}

#[derive(Debug)]
struct Workspace {
    // One for each thread.
    memories: Vec<Mutex<Memory>>,
    padded: Vec<f32>,
}

#[derive(Debug)]
struct Memory {
    cells: Vec<Cell>,
    result: Option<Result<bool, EngineError>>,
}

impl Program {
    /// Compiles a model, in whole numbers or in floats.
    ///
    /// Fails with [`EngineError::Threads`] and [`EngineError::Isa`] for options that the machine cannot
    /// meet.
    pub fn compile(model: &IntegerModel, options: Options) -> Result<Self, EngineError> {
        Self::compile_with(model, options, None)
    }

    /// The same with kernels that were chosen before. Where another instruction set is used now, or the
    /// model has other layers, they are chosen as the options say.
    pub fn compile_as(
        model: &IntegerModel,
        options: Options,
        choices: &Choices,
    ) -> Result<Self, EngineError> {
        Self::compile_with(model, options, Some(choices))
    }

    /// Reads a file of an [`IntegerModel`], and compiles it. Fails as [`IntegerModel::load`] and
    /// [`compile`](Self::compile) do.
    pub fn load(path: impl AsRef<Path>, options: Options) -> Result<Self, EngineError> {
        Self::compile(&IntegerModel::load(path)?, options)
    }

    /// The same from a file's bytes, which may be mapped memory.
    pub fn from_bytes(bytes: &[u8], options: Options) -> Result<Self, EngineError> {
        Self::compile(&IntegerModel::from_bytes(bytes)?, options)
    }

    /// Writes the model's file, which any machine can compile; returns its size in bytes. Fails as
    /// [`IntegerModel::save`] does.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<u64, EngineError> {
        Ok(self.inner.model.save(path)?)
    }

    fn compile_with(
        model: &IntegerModel,
        options: Options,
        known: Option<&Choices>,
    ) -> Result<Self, EngineError> {
        let kernels = match options.isa {
            None => Kernels::detect(),
            Some(isa) => Kernels::of(isa).ok_or(EngineError::Isa { isa })?,
        };
        let here = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = options.threads.unwrap_or(here);
        if threads == 0 {
            return Err(EngineError::Threads);
        }
        let team = Team::new(threads);
        let plans = match model.keeps_images_apart() {
            true => Plans::new(model, kernels, team.threads(), options.choice, known)?,
            false => None,
        };
        let kept = |plan: Option<&Plan>| plan.map_or(Vec::new(), |plan| plan.kept.clone());
        let choices = Choices {
            isa: kernels.isa(),
            one: kept(plans.as_ref().map(|plans| &plans.one)),
            sixteen: kept(plans.as_ref().and_then(|plans| plans.sixteen.as_ref())),
        };
        let count = |dims: &[crate::graph::Dim]| dims.iter().map(|dim| dim.at(1)).product();
        let each = (count(model.input()), count(&model.output_dims()));
        let program = Self {
            inner: Arc::new(Inner {
                model: model.clone(),
                kernels,
                team,
                plans,
                choices,
                free: Mutex::new(Vec::new()),
                each,
            }),
        };
        let workspace = program.inner.workspace();
        program.inner.give_back(workspace);
        Ok(program)
    }

    /// The model.
    pub fn model(&self) -> &IntegerModel {
        &self.inner.model
    }

    /// The kernels that were chosen.
    pub fn choices(&self) -> &Choices {
        &self.inner.choices
    }

    /// The instruction set it runs on.
    pub fn isa(&self) -> Isa {
        self.inner.kernels.isa()
    }

    /// Threads of a run.
    pub fn threads(&self) -> usize {
        self.inner.team.threads()
    }

    /// What runs each layer of a pass of one image, or of sixteen where the batch has as many.
    pub fn layers(&self, batch: usize) -> &[LayerRow] {
        match &self.inner.plans {
            Some(plans) => &plans.for_batch(batch).layers,
            None => &[],
        }
    }

    /// [`layers`](Self::layers) as a table.
    pub fn table(&self, batch: usize) -> String {
        super::table::table(self.layers(batch))
    }

    /// The output for a batch of images, each after the other, the last axis fastest.
    ///
    /// Fails with [`EngineError::Input`] for another number of elements and
    /// [`EngineError::NotFinite`] for NaN or an infinite number.
    pub fn run(&self, input: &[f32], batch: usize) -> Result<Vec<f32>, EngineError> {
        let mut output = vec![
            0.0;
            self.inner
                .each
                .1
                .saturating_mul(batch.min(input.len().max(1)))
        ];
        self.run_into(input, batch, &mut output)?;
        Ok(output)
    }

    /// The same, into the caller's memory: a run of layers on cells allocates nothing. Fails also with
    /// [`EngineError::Output`] for room of another size.
    pub fn run_into(
        &self,
        input: &[f32],
        batch: usize,
        output: &mut [f32],
    ) -> Result<(), EngineError> {
        let (each, made) = self.inner.each;
        let expected = each.saturating_mul(batch);
        if input.len() != expected || batch == 0 {
            return Err(EngineError::Input {
                found: input.len(),
                batch,
                each,
                expected,
            });
        }
        if output.len() != made * batch {
            return Err(EngineError::Output {
                found: output.len(),
                expected: made * batch,
            });
        }
        self.inner.run(input, output)
    }
}

impl Inner {
    fn run(&self, input: &[f32], output: &mut [f32]) -> Result<(), EngineError> {
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
            Some(plan) => self.passes(plan, &mut workspace, input_many, output_many),
            None => Ok(()),
        };
        let result =
            many.and_then(|()| self.passes(&plans.one, &mut workspace, input_few, output_few));
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
    // threads on one.
    fn passes(
        &self,
        plan: &Plan,
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
                    let result = plan.run_alone(&self.team, &context, &mut memory.cells);
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
            let result = match plan.run_shared(&self.team, &context, &mut memory.cells) {
                // Another run has the team.
                Err(EngineError::Kernel {
                    source: crate::kernel::KernelError::Team,
                    ..
                }) => plan.run_alone(&self.team, &context, &mut memory.cells),
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

    fn context<'a>(&'a self, input: &'a [f32], images: usize) -> Context<'a> {
        Context {
            model: &self.model,
            kernels: self.kernels,
            input,
            images,
        }
    }

    fn workspace(&self) -> Workspace {
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

    fn give_back(&self, workspace: Workspace) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(workspace);
    }
}

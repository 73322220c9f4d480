use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{EngineError, LayerProfile, Options, Tuning, TuningCache, warn};
use crate::Warning;
use crate::engine::plan::plans::Plans;
use crate::engine::rewrite::rewritten;
use crate::engine::run::Inner;
use crate::kernel::{HAS_CLOCK, Isa, Kernels, Team};
use crate::network::Network;

/// A model that is ready to run: on this machine's kernels, in memory that was planned once.
///
/// It is cheap to clone, and can be run from several threads at once. Its outputs are those of the
/// [`Network`] it was compiled from, bit for bit where that computes in whole numbers.
///
/// ```
/// use burn_compress::engine::{Options, Program};
/// use burn_compress::format::{Granularity, Mapping, Scheme};
/// use burn_compress::network::{Grid, Network, Op, StepOp, Rescale, Step, Weights};
/// use burn_compress::network::{Dim, Value};
///
/// let affine = Scheme::new(8, Mapping::Affine, Granularity::Tensor)?;
/// let quantize = Step {
///     op: StepOp::Quantize,
///     inputs: vec![Value::Input],
///     grid: Some(Grid::new(affine, 0.5, 128)?),
///     dims: vec![Dim::Batch(1), Dim::Fixed(3)],
///     layer: "input".into(),
/// };
/// let linear = Step {
///     op: StepOp::Product {
///         op: Op::Linear,
///         weights: Some(Weights { dims: vec![3, 2], codes: vec![1, 0, -7, 3, 0, 2].into() }),
///         rescale: Rescale::by(0.05),
///     },
///     inputs: vec![Value::Node(0)],
///     grid: None,
///     dims: vec![Dim::Batch(1), Dim::Fixed(2)],
///     layer: "fc".into(),
/// };
/// let input = vec![Dim::Batch(1), Dim::Fixed(3)];
/// let model = Network::new(input, vec![], vec![quantize, linear], Value::Node(1))?;
///
/// let program = Program::compile(&model, Options::default())?;
/// let samples = [1.0, -0.25, 3.2];
/// assert_eq!(program.run(&samples, 1)?, model.run(&samples, 1)?.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Program {
    pub(super) inner: Arc<Inner>,
}

impl Program {
    /// Compiles a model, in whole numbers or in floats.
    ///
    /// Fails with [`EngineError::Threads`] and [`EngineError::Isa`] for options that the machine cannot
    /// meet.
    pub fn compile(model: &Network, options: Options) -> Result<Self, EngineError> {
        Self::build(model.clone(), options, None)
    }

    /// The same with kernels that were chosen before. Whatever of it does not fit is chosen as the options
    /// say: all of it on another instruction set; else the kernel of a layer that has changed, or one that
    /// this version does not know, how samples go together in another model, and whether one sample runs alone
    /// with other threads.
    pub fn compile_with(
        model: &Network,
        options: Options,
        cache: &TuningCache,
    ) -> Result<Self, EngineError> {
        Self::build(model.clone(), options, Some(cache))
    }

    /// Reads a file of an [`Network`], and compiles it. Fails as [`Network::load`] and
    /// [`compile`](Self::compile) do.
    pub fn load(path: impl AsRef<Path>, options: Options) -> Result<Self, EngineError> {
        Self::build(Network::load(path)?, options, None)
    }

    /// The same from a file's bytes, which may be mapped memory.
    pub fn from_bytes(bytes: &[u8], options: Options) -> Result<Self, EngineError> {
        Self::build(Network::from_bytes(bytes)?, options, None)
    }

    /// [`load`](Self::load) with kernels that were chosen before, as
    /// [`compile_with`](Self::compile_with): nothing is timed.
    ///
    /// ```
    /// # use burn_compress::engine::{TuningCache, Options, Program};
    /// # fn again(cache: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let cache: TuningCache = serde_json::from_str(cache)?;
    /// let program = Program::load_with("model.bcm", Options::default(), &cache)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load_with(
        path: impl AsRef<Path>,
        options: Options,
        cache: &TuningCache,
    ) -> Result<Self, EngineError> {
        Self::build(Network::load(path)?, options, Some(cache))
    }

    /// Writes the model's file, which any machine can compile; returns its size in bytes. Fails as
    /// [`Network::save`] does.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<u64, EngineError> {
        Ok(self.inner.model.save(path)?)
    }

    fn build(
        model: Network,
        options: Options,
        known: Option<&TuningCache>,
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
        let tuning = match HAS_CLOCK {
            true => options.tuning,
            false => Tuning::Estimated,
        };
        let team = Team::new(threads);
        let apart = model.keeps_samples_apart();
        let mut rewritten = apart.then(|| rewritten(&model)).flatten();
        let of = rewritten.as_ref().unwrap_or(&model);
        let plans = match apart {
            true => Plans::new(of, kernels, team.threads(), tuning, known)?,
            false => None,
        };
        if let (Some(network), Some(plans)) = (&mut rewritten, &plans) {
            network.keep_constants(&plans.constants());
        }
        let plans_of = plans.as_ref();
        let cache = TuningCache {
            isa: kernels.isa(),
            threads: team.threads(),
            alone: false,
            one: plans_of.map_or(Vec::new(), |plans| plans.one.tuned.clone()),
            many: plans_of.map_or(Vec::new(), Plans::tuned_stages),
            orders: plans_of.map_or(Vec::new(), |plans| plans.orders.clone()),
        };
        let count = |dims: &[crate::network::Dim]| dims.iter().map(|dim| dim.at(1)).product();
        let each = (count(model.input()), count(&model.output_dims()));
        let mut inner = Inner {
            model,
            rewritten,
            kernels,
            team,
            plans,
            cache,
            free: Mutex::new(Vec::new()),
            each,
        };
        inner.cache.alone = match (known, tuning) {
            (Some(known), _) if known.fits(&inner.cache) => known.alone,
            (_, Tuning::Measured) => inner.is_faster_alone()?,
            (_, Tuning::Estimated) => false,
        };
        let workspace = inner.workspace();
        inner.give_back(workspace);
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The model.
    pub fn model(&self) -> &Network {
        &self.inner.model
    }

    /// The kernels that were chosen.
    pub fn tuning_cache(&self) -> &TuningCache {
        &self.inner.cache
    }

    /// The instruction set it runs on.
    pub fn isa(&self) -> Isa {
        self.inner.kernels.isa()
    }

    /// Threads of a run.
    pub fn threads(&self) -> usize {
        self.inner.team.threads()
    }

    /// What runs each layer of a pass of one sample, or of several where the batch has as many.
    pub fn layers(&self, batch: usize) -> &[LayerProfile] {
        match &self.inner.plans {
            Some(plans) => plans.layers(batch),
            None => &[],
        }
    }

    /// [`layers`](Self::layers) with times taken now, in a few passes on one thread, however kernels were
    /// chosen. No rows where the reference's own code runs the whole model. Fails as [`run`](Self::run)
    /// does where a kernel does.
    ///
    /// ```
    /// # use burn_compress::engine::{EngineError, Program};
    /// # fn time(program: &Program) -> Result<f64, EngineError> {
    /// let rows = program.profile(16)?;
    /// let times = rows.iter().filter_map(|row| row.microseconds);
    /// # Ok(times.sum())
    /// # }
    /// ```
    pub fn profile(&self, batch: usize) -> Result<Vec<LayerProfile>, EngineError> {
        let Some(plans) = &self.inner.plans else {
            return Ok(Vec::new());
        };
        let context = self.inner.context(&[], 1);
        plans.profile(context.model, context.kernels, batch)
    }

    /// [`layers`](Self::layers) as a table.
    #[cfg(feature = "compress")]
    pub fn table(&self, batch: usize) -> String {
        super::table::table(self.layers(batch))
    }

    /// What of a pass for a batch should be known: steps that the reference's own code runs, and steps in
    /// floats of a model in whole numbers, with their shares of the time where that was measured (less
    /// than a hundredth is left out).
    ///
    /// ```
    /// # use burn_compress::engine::Program;
    /// # fn show(program: &Program) {
    /// for warning in program.warnings(16) {
    ///     println!("{warning}");
    /// }
    /// # }
    /// ```
    pub fn warnings(&self, batch: usize) -> Vec<Warning> {
        match &self.inner.plans {
            Some(plans) => warn::layers(&self.inner.model, plans.layers(batch)),
            None => warn::without_plan(),
        }
    }

    /// The output for a batch of samples, each after the other, the last axis fastest.
    ///
    /// Fails with [`EngineError::EmptyBatch`] for no sample, with [`EngineError::Input`] for another
    /// number of elements and with [`EngineError::NotFinite`] for NaN or an infinite number.
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

    /// The same, into the caller's memory: a run of layers on vector blocks allocates nothing. Fails also with
    /// [`EngineError::Output`] for room of another size.
    pub fn run_into(
        &self,
        input: &[f32],
        batch: usize,
        output: &mut [f32],
    ) -> Result<(), EngineError> {
        let (each, made) = self.inner.each;
        if batch == 0 {
            return Err(EngineError::EmptyBatch);
        }
        let expected = each.saturating_mul(batch);
        if input.len() != expected {
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

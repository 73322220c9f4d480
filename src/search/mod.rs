//! Compression chosen by measured time: which layers are pruned and quantized how far, so that a network
//! loses least within a budget.
//!
//! A [`Search`] times each [`Candidate`] in each layer within passes of the network, takes the damage that
//! it does to the layer's output, and chooses one for each layer by dynamic programming (Frantar and
//! Alistarh 2022, "SPDY: Accurate Pruning with Speedup Guarantees"). The best plans are reconstructed,
//! compiled, timed and scored: what it reports was run.

mod bench;
mod budget;
mod candidate;
mod error;
mod measure;
mod measurements;
mod options;
mod outcome;
mod progress;
mod report;
mod run;
mod solve;
mod store;
mod tables;

pub use budget::{Budget, Excess, Limit, TimeLimit};
pub use candidate::{Candidate, LayerChoice};
pub use error::SearchError;
pub use measurements::{Damage, MeasuredLayer, Measurements, Timing};
pub use options::SearchOptions;
pub use progress::{SearchActivity, SearchProgress};
pub use report::{LeftOut, Origin, SearchReport, SearchedModel};

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::compress::{archive, layers, unpack};
use crate::engine::Program;
use crate::format::FormatError;
use crate::graph::{Fallback, Graph};
use crate::kernel::Kernels;
use crate::macs;
use crate::network::Network;
use crate::reconstruct::{ReconstructError, Reconstruction};
use bench::Bench;
use progress::{Clock, OnProgress};
use run::Runner;
use store::{Setup, Store};

/// An error of the user's own.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

type OnScore<'a> = Box<dyn FnMut(&Program) -> Result<f64, BoxError> + 'a>;

/// Which compression does each layer get, within a [`Budget`]?
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Distribution, Tensor}};
/// use burn_compress::search::{Candidate, SearchOptions};
/// use burn_compress::{Budget, Options, Search, engine::Tuning};
///
/// let device = Device::default();
/// let model = LinearConfig::new(16, 4).init(&device); // a trained module
/// let inputs = [Tensor::<2>::random([64, 16], Distribution::Default, &device)];
/// let found = Search::new(Budget::of_batch(16).bytes(600))
///     .options(SearchOptions {
///         candidates: vec![Candidate::dense(8), Candidate::dense(4)],
///         engine: Options { tuning: Tuning::Estimated, ..Options::default() },
///         ..SearchOptions::default()
///     })
///     .run(model, |model: &Linear, x: Tensor<2>| model.forward(x), inputs)?;
/// println!("{}", found.report());
/// let best = found.network(found.report().best)?; // what a program is compiled of
/// # assert!(found.report().models.len() >= 3 && best.run(&[0.5; 16], 1).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Search<'a> {
    budget: Budget,
    options: SearchOptions,
    measured: Option<Measurements>,
    folder: Option<PathBuf>,
    score: Option<OnScore<'a>>,
    on_progress: Option<OnProgress<'a>>,
}

impl<'a> Search<'a> {
    /// A search within a budget, of [`SearchOptions::default`].
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            ..Self::default()
        }
    }

    /// Candidates and all else that is data.
    pub fn options(mut self, options: SearchOptions) -> Self {
        self.options = options;
        self
    }

    /// Scores each model by what its program gives: more is better.
    ///
    /// ```
    /// use burn_compress::{Budget, Program, Search};
    /// # fn right(program: &Program) -> Result<f64, burn_compress::engine::EngineError> { Ok(1.0) }
    /// let search = Search::new(Budget::share(0.6, 16).points(1.0))
    ///     .score(|program| Ok(right(program)?)); // per cent of the test set, say
    /// # let _ = search;
    /// ```
    pub fn score(mut self, score: impl FnMut(&Program) -> Result<f64, BoxError> + 'a) -> Self {
        self.score = Some(Box::new(score));
        self
    }

    /// Goes on with what was measured before; fails later with [`SearchError::OtherMeasurements`] where
    /// that is of another model. Times of another machine are taken again.
    pub fn measured(mut self, measurements: Measurements) -> Self {
        self.measured = Some(measurements);
        self
    }

    /// Keeps measurements and models in this folder, and goes on with what is there. Under another budget,
    /// too; not of another model.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Calls this before each step. An error that it returns stops the search.
    pub fn on_progress(
        mut self,
        callback: impl FnMut(&SearchProgress<'_>) -> Result<(), BoxError> + 'a,
    ) -> Self {
        self.on_progress = Some(Box::new(callback));
        self
    }

    /// Takes times and damages alone: for [`measured`](Self::measured), or to look at.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn measure<M: Module, const D: usize, const E: usize>(
        self,
        module: M,
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
        inputs: impl IntoIterator<Item = Tensor<D>>,
    ) -> Result<Measurements, SearchError> {
        let mut runner = self.runner(&module, forward, inputs)?;
        runner.times()?;
        runner.damages()?;
        Ok(runner.found)
    }

    /// Searches. `forward` is the module's forward pass; what it computes must not depend on the values of
    /// tensors. `inputs` are batches without labels, as those of a [`Reconstruction`]. The module itself is
    /// not changed.
    ///
    /// A budget that no model keeps is no error: [`SearchReport::excess`] says by how much the nearest
    /// exceeds it.
    ///
    /// # Errors
    ///
    /// [`SearchError`] names the number, the layer or the model: for a budget or options that make no sense,
    /// for inputs that a reconstruction refuses, for a score that is not finite;
    /// [`SearchError::Stopped`] where the callback says so.
    pub fn run<M: Module, const D: usize, const E: usize>(
        self,
        module: M,
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
        inputs: impl IntoIterator<Item = Tensor<D>>,
    ) -> Result<Found<M>, SearchError> {
        self.budget.check()?;
        if self.budget.points.is_some() && self.score.is_none() {
            return Err(SearchError::NoScore);
        }
        let mut runner = self.runner(&module, forward, inputs)?;
        runner.times()?;
        runner.damages()?;
        runner.models()?;
        Ok(Found {
            report: runner.report()?,
            measurements: runner.found,
            module: runner.bench.module,
            store: runner.store,
        })
    }

    fn runner<M: Module, const D: usize, const E: usize>(
        self,
        module: &M,
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
        inputs: impl IntoIterator<Item = Tensor<D>>,
    ) -> Result<Runner<'a, M, D>, SearchError> {
        let (budget, options) = (self.budget, self.options);
        budget.check()?;
        options.check()?;
        let module = module.valid();
        let device = module.devices().into_iter().next().unwrap_or_default();
        let inputs = inputs.into_iter();
        let inputs = inputs.map(|batch| batch.without_autodiff().to_device(&device));
        let batches: Vec<Tensor<D>> = inputs.collect();
        let least = Reconstruction::LEAST_INPUTS;
        let found = batches.iter().map(|batch| batch.dims()[0]).sum();
        let shape = batches.first().map(Tensor::dims);
        let shape = shape.filter(|_| found >= least);
        let shape = shape.ok_or(ReconstructError::Inputs { found, least })?;
        let graph = Graph::capture_with(&module, shape, Fallback::Float, &forward)?.simplify();
        for batch in &batches {
            graph.batch(&batch.dims())?;
        }
        let of_one: [usize; D] =
            std::array::from_fn(|axis| if axis == 0 { 1 } else { shape[axis] });
        let macs = macs::measure(&module, |module, device| {
            forward(module, Tensor::<D>::zeros(of_one, device))
        })?;
        let layers = options.selection.select(&layers(&module)?)?;
        let (checksum, samples) = checksum(&module, &options, &batches, budget.batch)?;
        let threads = options.engine.threads;
        let here = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let setup = Setup {
            of: checksum,
            machine: format!(
                "{:?}, {} threads, {} samples",
                options
                    .engine
                    .isa
                    .unwrap_or_else(|| Kernels::detect().isa()),
                threads.unwrap_or_else(here),
                budget.batch
            ),
        };
        let store = Store::open(self.folder, &setup)?;
        let found = match (self.measured, store.measurements()?) {
            (Some(measured), _) if measured.of != setup.of => {
                return Err(SearchError::OtherMeasurements);
            }
            (Some(measured), _) | (None, Some(measured)) => measured,
            (None, None) => Measurements {
                layers: layers
                    .iter()
                    .map(|layer| MeasuredLayer {
                        layer: layer.path.clone(),
                        uses: macs.uses(&layer.path).unwrap_or(0),
                        damages: Vec::new(),
                    })
                    .collect(),
                ..Measurements::default()
            },
        };
        let found = match found.machine == setup.machine {
            true => found,
            false => Measurements {
                of: setup.of,
                machine: setup.machine,
                timings: Vec::new(),
                warnings: Vec::new(),
                ..found
            },
        };
        let candidates = options.candidates.len();
        let uniform = if options.uniform { candidates } else { 0 };
        let clock = Clock {
            callback: self.on_progress,
            done: 0,
            of: candidates + layers.len() + 1 + uniform + options.plans,
        };
        let batch = budget.batch;
        Ok(Runner {
            budget,
            options,
            bench: Bench {
                module,
                graph,
                batches,
                samples,
                batch,
                layers,
                macs,
            },
            found,
            store,
            clock,
            score: self.score,
            models: Vec::new(),
            left_out: Vec::new(),
        })
    }
}

// What measurements are of, and the samples of a call.
fn checksum<M: Module, const D: usize>(
    module: &M,
    options: &SearchOptions,
    batches: &[Tensor<D>],
    batch: usize,
) -> Result<(String, Vec<f32>), SearchError> {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&archive(module)?.to_bytes()?);
    // Candidates may be added, and models, repeats and the machine do not matter.
    let of = SearchOptions {
        candidates: Vec::new(),
        plans: 1,
        uniform: true,
        repeats: 1,
        engine: Default::default(),
        ..options.clone()
    };
    let text = serde_json::to_vec(&of).map_err(|error| FormatError::corrupt(error.to_string()))?;
    hash.update(&text);
    let mut samples: Vec<f32> = Vec::new();
    let mut each = 1;
    for tensor in batches {
        let dims = tensor.dims();
        each = dims[1..].iter().product::<usize>();
        let values = tensor.clone().try_into_vec_as::<f32>();
        let values = values.map_err(|error| FormatError::corrupt(error.to_string()))?;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        hash.update(&bytes);
        let wanted = (each * batch).saturating_sub(samples.len());
        samples.extend(values.iter().take(wanted));
    }
    let wanted = each * batch;
    let length = samples.len().max(1);
    for place in samples.len()..wanted {
        samples.push(samples.get(place % length).copied().unwrap_or(0.0));
    }
    Ok((format!("{:08x}", hash.finalize()), samples))
}

/// What a search found: the report, and the network of each of its models.
///
/// ```no_run
/// # use burn::nn::Linear;
/// # use burn_compress::search::{Found, SearchError};
/// # fn example(found: Found<Linear>) -> Result<(), SearchError> {
/// let best = found.report().best;
/// found.network(best)?.save("model.bcm")?; // for `Program::load`
/// let module = found.model(best)?; // the Burn module; its activations are floats
/// # Ok(())
/// # }
/// ```
pub struct Found<M> {
    report: SearchReport,
    measurements: Measurements,
    module: M,
    store: Store,
}

impl<M: Module> Found<M> {
    /// The models that were run.
    pub fn report(&self) -> &SearchReport {
        &self.report
    }

    /// What was measured of layers.
    pub fn measurements(&self) -> &Measurements {
        &self.measurements
    }

    /// The network of a model, by its index in the report. Fails with [`SearchError::NoModel`].
    pub fn network(&self, index: usize) -> Result<Network, SearchError> {
        self.store.network(&self.model_of(index)?.choices)
    }

    /// The Burn module of a model, by its index in the report: its weights are compressed, its activations
    /// floats. Fails with [`SearchError::NoModel`].
    pub fn model(&self, index: usize) -> Result<M, SearchError> {
        let archive = self.store.archive(&self.model_of(index)?.choices)?;
        Ok(unpack(archive, self.module.valid())?)
    }

    fn model_of(&self, index: usize) -> Result<&SearchedModel, SearchError> {
        let models = self.report.models.len();
        let found = self.report.models.get(index);
        found.ok_or(SearchError::NoModel { index, models })
    }
}

//! The whole method as one call: every level post-training, reconstructed and aware, refine-tuned, the
//! best ones combined, and all of it measured.

mod error;
mod evaluator;
mod outcome;
mod progress;
mod reconstructed;
mod run;
mod sensitivity;
mod steer;
mod store;
mod strategy;
mod timing;
mod trial;

pub use error::StudyError;
pub use outcome::Outcome;
pub use progress::{Activity, Progress};
pub use trial::Trial;

use std::path::PathBuf;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::compress::{self, Plan, Pruning};
use crate::graph::{Activations, Fallback, Graph, GraphError};
use crate::macs::{self, MacCount};
use crate::prune::Pruner;
use crate::quantize::Quantizer;
use crate::recipe::{
    ActivationLevels, Criterion, PruneLevels, QuantizeLevels, RangeMethod, Recipe, RecipeError,
};
use crate::reconstruct::Reconstruction;
use crate::report::Report;
use crate::train::{QuantizedWorkload, Workload, observed};
use evaluator::Evaluator;
use progress::{Clock, OnProgress};
use reconstructed::{Reconstructor, inputs};
use run::Runner;
use store::Store;
use strategy::{Integers, Strategy, Weights, samples};
use timing::Deployment;

/// Which compression does this model bear? Tries every level of a [`Recipe`] and measures what became
/// of the model.
///
/// ```no_run
/// # use burn::{nn::Linear, tensor::Tensor};
/// # use burn_compress::train::Workload;
/// # fn example<W>(model: Linear, workload: &mut W) -> Result<(), Box<dyn std::error::Error>>
/// # where W: Workload<Linear, Input = Tensor<2>, Output = Tensor<2>> {
/// use burn_compress::Study;
///
/// let outcome = Study::new()
///     .prune([0.5, 0.7, 0.8, 0.9, 0.95])
///     .quantize([8, 6, 4, 3, 2])
///     .max_drop(0.5)
///     .epochs(5, 2)
///     .learning_rate(0.01)
///     .folder("target/study") // finished trials are kept: an interrupted study goes on
///     .on_progress(|progress| println!("{:.0} %", progress.share * 100.0))
///     .run(model, workload)?;
/// println!("{}", outcome.report());
/// outcome.save_best("model.bcm")?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Study<'a> {
    recipe: Recipe,
    criterion: Option<Arc<dyn Pruner>>,
    quantizer: Option<Arc<dyn Quantizer>>,
    folder: Option<PathBuf>,
    score_name: Option<String>,
    on_progress: Option<OnProgress<'a>>,
}

impl<'a> Study<'a> {
    /// A study without levels, of [`Recipe::default`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A study of this recipe.
    pub fn of(recipe: Recipe) -> Self {
        Self {
            recipe,
            ..Self::default()
        }
    }

    /// Studies these pruning levels.
    pub fn prune(mut self, levels: impl Into<PruneLevels>) -> Self {
        self.recipe.prune = Some(levels.into());
        self
    }

    /// Prunes by a criterion of the application's own.
    pub fn criterion(mut self, criterion: impl Pruner + 'static) -> Self {
        let name = criterion.name().to_string();
        let prune = self.recipe.prune.get_or_insert_default();
        prune.criterion = Criterion::Custom(name);
        self.criterion = Some(Arc::new(criterion));
        self
    }

    /// Studies these numbers of bits.
    pub fn quantize(mut self, levels: impl Into<QuantizeLevels>) -> Self {
        self.recipe.quantize = Some(levels.into());
        self
    }

    /// Picks ranges by a quantizer of the application's own.
    pub fn quantizer(mut self, quantizer: impl Quantizer + 'static) -> Self {
        let name = quantizer.name().to_string();
        let quantize = self.recipe.quantize.get_or_insert_default();
        quantize.ranges = RangeMethod::Custom(name);
        self.quantizer = Some(Arc::new(quantizer));
        self
    }

    /// Also compresses without training, at each level: on the inputs of
    /// [`Workload::inputs`], without labels.
    ///
    /// ```
    /// use burn_compress::{Reconstruction, Study};
    /// let study = Study::new().quantize([4]).reconstruct(Reconstruction::default());
    /// assert!(study.recipe().reconstruct.is_some());
    /// ```
    pub fn reconstruct(mut self, what: Reconstruction) -> Self {
        self.recipe.reconstruct = Some(what);
        self
    }

    /// Points of the score that may be lost.
    pub fn max_drop(mut self, points: f64) -> Self {
        self.recipe.max_drop = points;
        self
    }

    /// The original learning rate; refine-tune takes a tenth of it.
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.recipe.learning_rate = learning_rate;
        self
    }

    /// Epochs of aware training and of refine-tune.
    pub fn epochs(mut self, aware: usize, refine: usize) -> Self {
        self.recipe.epochs = aware;
        self.recipe.refine_epochs = refine;
        self
    }

    /// Repeats all training with each of these seeds.
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = u64>) -> Self {
        self.recipe.seeds = seeds.into_iter().collect();
        self
    }

    /// Compresses these parameters only.
    pub fn select(mut self, selection: compress::Selection) -> Self {
        self.recipe.selection = selection;
        self
    }

    /// Keeps each finished trial in this folder, and goes on with what is there.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// What the score is called in the report, with its unit.
    pub fn score_name(mut self, name: impl Into<String>) -> Self {
        self.score_name = Some(name.into());
        self
    }

    /// Calls this often, with the stage, the step and the time left.
    pub fn on_progress(mut self, callback: impl FnMut(&Progress) + 'a) -> Self {
        self.on_progress = Some(Box::new(callback));
        self
    }

    /// The recipe as it stands.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Quantizes activations too, at each number of bits of the weights: for
    /// [`run_quantized`](Self::run_quantized).
    pub fn activations(mut self, levels: ActivationLevels) -> Self {
        let quantize = self.recipe.quantize.get_or_insert_default();
        quantize.activations = Some(levels);
        self
    }

    /// Runs the study on a trained model. The model itself is not changed.
    ///
    /// Run-times are those of the [engine](crate::engine), on all processors of this machine
    /// ([`Timed::Engine`](crate::report::Timed::Engine)); a forward pass that has no graph is timed as
    /// [`run_module`](Self::run_module) does.
    ///
    /// Fails with [`StudyError::Activations`] where the recipe quantizes activations:
    /// [`run_quantized`](Self::run_quantized) does. Where it [reconstructs](Self::reconstruct), fails with
    /// [`StudyError::NoInputs`] if the workload gives none, and with [`StudyError::Graph`] if the forward pass
    /// has no graph.
    pub fn run<M, W, const I: usize, const O: usize>(
        self,
        model: M,
        workload: &mut W,
    ) -> Result<Outcome<M>, StudyError>
    where
        M: Module,
        W: Workload<M, Input = Tensor<I>, Output = Tensor<O>>,
    {
        self.of_weights_alone()?;
        let (graph, example) = captured(&model, workload, Fallback::Float);
        let (graph, reconstructor) = match (graph.map(Graph::simplify), self.recipe.reconstruct) {
            (graph, None) => (graph.ok(), None),
            (graph, Some(what)) => {
                let graph = graph?;
                let batches = inputs::<M, W, I>(workload, &example.device(), "reconstructs")?;
                let reconstructor = Reconstructor::new(what, graph.clone(), batches);
                (Some(graph), Some(reconstructor))
            }
        };
        let graph = graph.filter(|graph| graph.to_float_model(&model.valid()).is_ok());
        let deployment = graph.map(|graph| Deployment::new(graph, example));
        let deployment = deployment.transpose()?;
        self.run_under(model, workload, &Weights, deployment, reconstructor)
    }

    /// The same for a forward pass that takes or gives anything, not one tensor of floats. Run-times are
    /// those of the Burn module on its device, which computes densely
    /// ([`Timed::Module`](crate::report::Timed::Module)).
    ///
    /// Fails with [`StudyError::WithoutGraph`] where the recipe [reconstructs](Self::reconstruct).
    pub fn run_module<M: Module, W: Workload<M>>(
        self,
        model: M,
        workload: &mut W,
    ) -> Result<Outcome<M>, StudyError> {
        self.of_weights_alone()?;
        if self.recipe.reconstruct.is_some() {
            return Err(StudyError::WithoutGraph);
        }
        self.run_under(model, workload, &Weights, None, None)
    }

    /// Runs the study on a trained model whose activations are quantized where its weights are, if the
    /// recipe says so: such trials are trained and scored as [`Quantized`](crate::graph::Quantized)
    /// graphs, and saved in integer form too ([`Outcome::integers`]). Else as [`run`](Self::run).
    ///
    /// Run-times are those of the engine.
    ///
    /// Fails with [`StudyError::Graph`] where activations are quantized and the model's forward pass has
    /// no graph.
    pub fn run_quantized<M, W, const I: usize, const O: usize>(
        self,
        model: M,
        workload: &mut W,
    ) -> Result<Outcome<M>, StudyError>
    where
        M: Module,
        W: QuantizedWorkload<M, I, O>,
    {
        let Some(activations) = self.activations_of_recipe()? else {
            return self.run(model, workload);
        };
        let levels = self.recipe.quantize.as_ref();
        let levels = levels.and_then(|quantize| quantize.activations.as_ref());
        let fallback = levels.map_or(Fallback::Float, |levels| levels.fallback);
        let (graph, example) = captured(&model, workload, fallback);
        let graph = graph?.simplify();
        let device = example.device();
        let batches = inputs::<M, W, I>(workload, &device, "quantizes activations")?;
        let reconstructor = self.recipe.reconstruct;
        let reconstructor =
            reconstructor.map(|what| Reconstructor::new(what, graph.clone(), batches.clone()));
        let deployment = Deployment::new(graph.clone(), example)?;
        let macs = macs::measure(&model.valid(), |module, device| {
            Workload::<M>::forward(workload, module, Workload::<M>::example(workload, device))
        });
        let macs = macs.map_or(0, |macs| macs.total(|_| None));
        let samples = samples(&batches, macs)?;
        let strategy = Integers {
            graph,
            activations,
            freeze_after: levels.map_or(0, |levels| levels.freeze_after),
            corrects: (self.recipe.reconstruct).is_some_and(|what| what.statistics),
            batches,
            samples,
        };
        self.run_under(model, workload, &strategy, Some(deployment), reconstructor)
    }

    // None where the recipe leaves them in float.
    fn activations_of_recipe(&self) -> Result<Option<Activations>, StudyError> {
        self.recipe.check()?;
        Ok(self.recipe.activations().map_err(RecipeError::from)?)
    }

    fn of_weights_alone(&self) -> Result<(), StudyError> {
        match self.activations_of_recipe()? {
            Some(_) => Err(StudyError::Activations),
            None => Ok(()),
        }
    }

    fn run_under<M, W, T>(
        self,
        model: M,
        workload: &mut W,
        strategy: &T,
        deployment: Option<Deployment>,
        reconstructor: Option<Reconstructor<M>>,
    ) -> Result<Outcome<M>, StudyError>
    where
        M: Module,
        T: Strategy<M>,
        W: Workload<M> + Workload<T::Model>,
    {
        let recipe = self.recipe;
        let prune = recipe.prune.clone().unwrap_or_default();
        let quantize = recipe.quantize.clone().unwrap_or_default();
        let criterion = prune.criterion.build(self.criterion.as_ref())?;
        let quantizer = quantize.ranges.build(self.quantizer.as_ref())?;
        let module = model.valid();
        let layers = recipe.selection.select(&compress::layers(&module)?)?;
        let mut notes = Vec::new();
        let macs = macs::measure(&module, |module, device| {
            Workload::<M>::forward(workload, module, Workload::<M>::example(workload, device))
        });
        let macs = macs.unwrap_or_else(|error| {
            notes.push(format!("Multiply-adds are not counted: {error}."));
            MacCount::default()
        });
        let graph = deployment
            .as_ref()
            .map(|deployment| deployment.graph.clone());
        let evaluator = Evaluator::new(&module, &layers, macs, recipe.timed_passes, deployment)?;
        let pruning = Pruning::to(0.0).by_shared(criterion.clone());
        let seen = Plan::new().select(recipe.selection.clone()).prune(pruning);
        let seen = observed::<M, W>(workload, &model, seen.observations(&module)?)?;
        let store = Store::open(self.folder, &recipe)?;
        let clock = Clock::new(self.on_progress, trial::extent(&recipe));
        let mut runner = Runner {
            recipe: &recipe,
            criterion,
            quantizer,
            module,
            layers,
            seen,
            workload,
            evaluator,
            store,
            clock,
            rows: Vec::new(),
            reconstructor,
            notes,
            strategy,
        };
        runner.run()?;
        let sensitivity = match recipe.sensitivity {
            true => runner.sensitivity()?,
            false => Vec::new(),
        };
        let (module, store, rows, notes) = runner.into_parts();
        let report = Report::new(rows, recipe.max_drop)?;
        let mut report = report.with_sensitivity(sensitivity);
        let json = serde_json::to_value(&recipe).map_err(store::unfit)?;
        report = report.with_recipe(json);
        if let Some(name) = self.score_name {
            report = report.with_score_name(name);
        }
        for note in notes {
            report = report.with_note(note);
        }
        Ok(Outcome::new(report, recipe, module, store, graph))
    }
}

// The graph of a model's forward pass, and the input that it was captured with.
fn captured<M, W, const I: usize, const O: usize>(
    model: &M,
    workload: &W,
    fallback: Fallback,
) -> (Result<Graph, GraphError>, Tensor<I>)
where
    M: Module,
    W: Workload<M, Input = Tensor<I>, Output = Tensor<O>>,
{
    let module = model.valid();
    let device = module.devices().into_iter().next().unwrap_or_default();
    let example = workload.example(&device);
    let graph = Graph::capture_with(&module, example.dims(), fallback, |module, input| {
        workload.forward(module, input)
    });
    (graph, example)
}

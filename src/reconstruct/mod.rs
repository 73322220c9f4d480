//! Compression without training: from weights and a thousand unlabelled inputs.
//!
//! A [`Plan`] says what is done to which weights; [`Plan::reconstruct`] does it layer by
//! layer along the captured graph. Each layer sees its inputs as the compressed network gives them, and
//! aims at the original's output. See [`Reconstruction`] for the two parts, and what each does.
//!
//! [`Plan::reconstruct`]: crate::compress::Plan::reconstruct

mod channels;
mod cholesky;
mod codes;
mod counts;
mod damage;
mod eliminate;
mod error;
mod inputs;
mod layer;
mod levels;
mod moments;
mod networks;
mod put_back;
mod run;
mod see;
mod threads;
mod units;

pub(crate) use damage::{Inquiry, Trial, damages};
pub use error::ReconstructError;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::compress::{Compressed, Observations, Plan};
use crate::graph::{Fallback, Graph};

/// An error of the user's own.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a plan is carried out without training.
///
/// - `weights`: by second order. Masks and remaining weights are found together, so that each layer's
///   output changes least (Frantar and Alistarh 2022, "Optimal Brain Compression"); codes by the same
///   measure (Frantar et al. 2023, "GPTQ"), each range by the error of the layer's output. Under
///   [`Scope::Global`](crate::prune::Scope::Global) the level is spent where it costs the outputs least. The
///   criterion and the quantizer of the plan play no part. Without it, the plan is applied as
///   [`Plan::apply`] does.
/// - `statistics`: mean and variance of each channel are put back to the original's on the same inputs,
///   in batch norm or bias. They are never estimated anew.
///
/// ```
/// use burn_compress::reconstruct::Reconstruction;
/// let both = Reconstruction::default();
/// assert!(both.weights && both.statistics);
/// let text = serde_json::to_string(&both)?;
/// assert_eq!(serde_json::from_str::<Reconstruction>(&text)?, both);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reconstruction {
    /// Weights by second order.
    pub weights: bool,
    /// Mean and variance of each channel.
    pub statistics: bool,
}

impl Default for Reconstruction {
    /// Both.
    fn default() -> Self {
        Self {
            weights: true,
            statistics: true,
        }
    }
}

/// How far a reconstruction is.
///
/// ```
/// # use burn_compress::reconstruct::Progress;
/// fn show(progress: &Progress<'_>) -> String {
///     format!("{} of {}: {}", progress.done, progress.of, progress.layer)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The layer that comes next.
    pub layer: &'a str,
    /// Steps that are done: each layer is looked at once for its weights, and once before for its level,
    /// where that is one of all layers together.
    pub done: usize,
    /// All steps.
    pub of: usize,
}

impl Reconstruction {
    /// The fewest inputs.
    pub const LEAST_INPUTS: usize = 16;

    /// Carries out a plan. `forward` is the module's forward pass; what it computes must not depend on the
    /// values of tensors. `batches` are inputs without labels, at least [`LEAST_INPUTS`](Self::LEAST_INPUTS)
    /// and better a thousand; all of them and what the network makes of them at one place are held on the
    /// module's device. `on_progress` is called before each step; an error that it returns stops the run.
    ///
    /// ```
    /// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Distribution, Tensor}};
    /// use burn_compress::{Plan, Pruning, Reconstruction};
    /// let device = Device::default();
    /// let model = LinearConfig::new(16, 4).init(&device);
    /// let batches = [Tensor::<2>::random([64, 16], Distribution::Default, &device)];
    /// let compressed = Reconstruction::default().run(
    ///     &Plan::new().prune(Pruning::to(0.5)),
    ///     model,
    ///     |model: &Linear, x: Tensor<2>| model.forward(x),
    ///     batches,
    ///     |progress| {
    ///         println!("{}", progress.layer);
    ///         Ok(()) // or an error, to stop
    ///     },
    /// )?;
    /// assert_eq!(compressed.layers()[0].removed, 32);
    /// # Ok::<(), burn_compress::reconstruct::ReconstructError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReconstructError`] names the layer and the way out: for too few inputs, for inputs that are all the
    /// same or not finite, for a layer that they do not reach, and for a level that a layer does not bear;
    /// [`ReconstructError::Stopped`] where `on_progress` says so.
    pub fn run<M: Module, const D: usize, const E: usize>(
        self,
        plan: &Plan,
        module: M,
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
        batches: impl IntoIterator<Item = Tensor<D>>,
        on_progress: impl FnMut(&Progress<'_>) -> Result<(), BoxError>,
    ) -> Result<Compressed<M>, ReconstructError> {
        let capture = |module: &M, shape: [usize; D]| {
            let graph = Graph::capture_with(module, shape, Fallback::Float, forward)?;
            Ok(graph.simplify())
        };
        let seen = Observations::default();
        run::run(self, plan, &seen, module, capture, batches, on_progress)
    }

    /// The same along a graph that was captured and simplified before, with what the criterion has seen.
    pub(crate) fn run_along<M: Module, const D: usize>(
        self,
        plan: &Plan,
        seen: &Observations,
        module: M,
        graph: &Graph,
        batches: impl IntoIterator<Item = Tensor<D>>,
        on_progress: impl FnMut(&Progress<'_>) -> Result<(), BoxError>,
    ) -> Result<Compressed<M>, ReconstructError> {
        let known = |_: &M, _| Ok(graph.clone());
        run::run(self, plan, seen, module, known, batches, on_progress)
    }
}

impl Plan {
    /// Compresses a trained module without training: as [`apply`](Self::apply) does, but so that the
    /// outputs of its layers change least on these inputs without labels. See [`Reconstruction`], which also
    /// reports progress.
    ///
    /// ```
    /// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Distribution, Tensor}};
    /// use burn_compress::{Plan, Pruning};
    /// let device = Device::default();
    /// let model = LinearConfig::new(16, 4).init(&device);
    /// let batches = [Tensor::<2>::random([64, 16], Distribution::Default, &device)];
    /// let forward = |model: &Linear, x: Tensor<2>| model.forward(x);
    /// let compressed = Plan::new().prune(Pruning::to(0.5)).reconstruct(model, forward, batches)?;
    /// assert_eq!(compressed.layers()[0].removed, 32);
    /// # Ok::<(), burn_compress::reconstruct::ReconstructError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`Reconstruction::run`].
    pub fn reconstruct<M: Module, const D: usize, const E: usize>(
        &self,
        module: M,
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
        batches: impl IntoIterator<Item = Tensor<D>>,
    ) -> Result<Compressed<M>, ReconstructError> {
        Reconstruction::default().run(self, module, forward, batches, |_| Ok(()))
    }
}

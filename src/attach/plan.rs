use std::fmt;
use std::sync::Arc;

use burn::module::Module;
use serde::{Deserialize, Serialize};

use super::{AttachError, Compressed, Compression, Layer, Selection};
use crate::format::Scheme;
use crate::prune::{Magnitude, Pattern, Pruner, Scope};
use crate::quantize::{MinMax, Quantizer};
use crate::schedule::{Curve, Schedule};

/// Whether a removed weight may come back while masks are still moving.
///
/// ```
/// use burn_compress::attach::{Pruning, Regrowth};
/// let pruning = Pruning::to(0.8).regrowth(Regrowth::Never);
/// # let _ = pruning;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regrowth {
    /// Each mask is computed afresh from the stored weights; a removed weight is zero in every
    /// forward pass but keeps its stored value until the masks freeze.
    #[default]
    UntilFrozen,
    /// Once removed, always removed; the stored value is cleared at once.
    Never,
}

/// What is removed, and when.
///
/// ```
/// use burn_compress::{attach::Pruning, prune::{Pattern, Random, Scope}, schedule::Curve};
/// let at_once = Pruning::to(0.8).pattern(Pattern::Block { channels: 4 });
/// let gradual = Pruning::along(Curve::Cubic { from: 0.0, to: 0.8, start: 0, end: 1000 })
///     .by(Random { seed: 7 })
///     .scope(Scope::Layer)
///     .every(50);
/// # let _ = (at_once, gradual);
/// ```
#[derive(Clone)]
pub struct Pruning {
    pub(super) criterion: Arc<dyn Pruner>,
    pub(super) pattern: Pattern,
    pub(super) scope: Scope,
    pub(super) schedule: Arc<dyn Schedule>,
    pub(super) every: usize,
    pub(super) regrowth: Regrowth,
    pub(super) existing: bool,
}

impl Pruning {
    /// Removes this share of the weights, 0 to below 1, at once: smallest first, under one threshold
    /// for all layers.
    pub fn to(level: f64) -> Self {
        Self::along(Curve::Constant { value: level })
    }

    /// Removes the share that the schedule gives for each step; masks freeze where the schedule ends.
    pub fn along(schedule: impl Schedule + 'static) -> Self {
        Self::along_shared(Arc::new(schedule))
    }

    /// [`along`](Self::along) a schedule that is held elsewhere too.
    pub fn along_shared(schedule: Arc<dyn Schedule>) -> Self {
        Self {
            criterion: Arc::new(Magnitude),
            pattern: Pattern::default(),
            scope: Scope::default(),
            schedule,
            every: 1,
            regrowth: Regrowth::default(),
            existing: false,
        }
    }

    /// Keeps the zeros that the weights already have, frozen: for a model that was pruned before, here
    /// or elsewhere, and is to be trained on or quantized.
    pub fn existing() -> Self {
        Self {
            existing: true,
            ..Self::to(0.0)
        }
    }

    /// By this criterion instead of magnitude.
    pub fn by(self, criterion: impl Pruner + 'static) -> Self {
        self.by_shared(Arc::new(criterion))
    }

    /// [`by`](Self::by) a criterion that is held elsewhere too.
    pub fn by_shared(mut self, criterion: Arc<dyn Pruner>) -> Self {
        self.criterion = criterion;
        self
    }

    /// In blocks instead of single weights. Attaching fails with [`AttachError::EmptyBlock`] where a
    /// block has no channel.
    pub fn pattern(mut self, pattern: Pattern) -> Self {
        self.pattern = pattern;
        self
    }

    /// In each layer, or in all together.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Recomputes moving masks only at every n-th step (at least 1).
    pub fn every(mut self, steps: usize) -> Self {
        self.every = steps.max(1);
        self
    }

    /// Whether removed weights may come back before the masks freeze.
    pub fn regrowth(mut self, regrowth: Regrowth) -> Self {
        self.regrowth = regrowth;
        self
    }
}

impl fmt::Debug for Pruning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pruning")
            .field("criterion", &self.criterion.name())
            .field("pattern", &self.pattern)
            .field("scope", &self.scope)
            .field("every", &self.every)
            .field("regrowth", &self.regrowth)
            .finish_non_exhaustive()
    }
}

/// How weights become codes.
///
/// ```
/// use burn_compress::{attach::Quantization, format::Scheme, quantize::LeastSquares};
/// let quantization = Quantization::to(Scheme::symmetric(4)?).by(LeastSquares).every(10);
/// # let _ = quantization;
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Clone)]
pub struct Quantization {
    pub(super) quantizer: Arc<dyn Quantizer>,
    pub(super) scheme: Scheme,
    pub(super) every: usize,
}

impl Quantization {
    /// Codes of this scheme, over the whole range of the weights.
    pub fn to(scheme: Scheme) -> Self {
        Self {
            quantizer: Arc::new(MinMax),
            scheme,
            every: 1,
        }
    }

    /// With ranges picked by this quantizer.
    pub fn by(self, quantizer: impl Quantizer + 'static) -> Self {
        self.by_shared(Arc::new(quantizer))
    }

    /// [`by`](Self::by) a quantizer that is held elsewhere too.
    pub fn by_shared(mut self, quantizer: Arc<dyn Quantizer>) -> Self {
        self.quantizer = quantizer;
        self
    }

    /// Lets the scales follow the weights only at every n-th step (at least 1). Scales that are learned
    /// ([`LearnedStep`](crate::quantize::LearnedStep)) are the optimizer's at every step.
    pub fn every(mut self, steps: usize) -> Self {
        self.every = steps.max(1);
        self
    }
}

impl fmt::Debug for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quantization")
            .field("quantizer", &self.quantizer.name())
            .field("scheme", &self.scheme)
            .field("every", &self.every)
            .finish()
    }
}

/// What to do to which layers of a model: one plan for post-training ([`apply`](Self::apply)) and
/// for aware training ([`attach`](Self::attach)).
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::attach::{Plan, Pruning, Quantization};
/// use burn_compress::format::Scheme;
///
/// let model = LinearConfig::new(64, 10).init(&Device::default());
/// let compressed = Plan::new()
///     .prune(Pruning::to(0.9))
///     .quantize(Quantization::to(Scheme::symmetric(4)?))
///     .apply(model)?;
/// assert_eq!(compressed.layers()[0].removed, 576);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub(super) selection: Selection,
    pub(super) pruning: Option<Pruning>,
    pub(super) quantization: Option<Quantization>,
}

impl Plan {
    /// A plan that does nothing yet, to all convolution and linear weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// To these parameters only.
    pub fn select(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Prunes.
    pub fn prune(mut self, pruning: Pruning) -> Self {
        self.pruning = Some(pruning);
        self
    }

    /// Quantizes.
    pub fn quantize(mut self, quantization: Quantization) -> Self {
        self.quantization = Some(quantization);
        self
    }

    /// Post-training compression in one call: prunes to the level at which the schedule ends,
    /// quantizes, and gives the plain module back with its compressed weights in place.
    pub fn apply<M: Module>(&self, module: M) -> Result<Compressed<M>, AttachError> {
        let layers = self.layers(&module)?;
        Compression::apply(self.clone(), layers, module)
    }

    /// Attaches the plan to a module that is going to be trained. The module keeps its type; call
    /// [`Compression::step`] after each step of the optimizer.
    pub fn attach<M: Module>(&self, module: M) -> Result<(M, Compression), AttachError> {
        let layers = self.layers(&module)?;
        Compression::attach(self.clone(), layers, module)
    }

    fn layers<M: Module>(&self, module: &M) -> Result<Vec<Layer>, AttachError> {
        if self.pruning.is_none() && self.quantization.is_none() {
            return Err(AttachError::EmptyPlan);
        }
        self.selection.select(&super::layers(module)?)
    }
}

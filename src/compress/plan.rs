use std::fmt;
use std::sync::Arc;

use burn::module::Module;

use super::assign::Assigned;
use super::masks::checked_level;
use super::{
    CompressError, Compressed, Compression, Masks, Observations, Quantization, Regrowth, Selection,
};
use crate::prune::{AtLeast, Magnitude, Need, Pattern, Pruner, Scope};
use crate::schedule::{Curve, Schedule};

/// What is removed, and when.
///
/// Zeros that the weights have already count as removed: they go first, and stay, whatever the schedule
/// begins with ([`keep_zeros`](Self::keep_zeros)). Layers that require no gradient are left out
/// ([`prune_frozen`](Self::prune_frozen)), and each other layer keeps some of its weights
/// ([`at_least`](Self::at_least)).
///
/// ```
/// use burn_compress::{compress::Pruning, prune::{Pattern, Random, Scope}, schedule::Curve};
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
    pub(super) at_least: AtLeast,
    pub(super) keeps_zeros: bool,
    pub(super) frozen: bool,
    pub(super) zeros: Option<Arc<Masks>>,
    pub(super) selection: Option<Selection>,
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
            at_least: AtLeast::default(),
            keeps_zeros: true,
            frozen: false,
            zeros: None,
            selection: None,
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

    /// In these layers, whatever [`Plan::select`] says: for a plan of several prunings. One that selects
    /// none holds for what is left. Levels of all layers together
    /// ([`Scope::Global`]) are those of this pruning's layers.
    ///
    /// ```
    /// use burn_compress::{compress::{Plan, Pruning, Selection}, prune::Pattern};
    /// let blocks = Pruning::to(0.9).pattern(Pattern::Block { channels: 4 });
    /// let plan = Plan::new()
    ///     .prune(Pruning::to(0.5)) // all others
    ///     .prune(blocks.select(Selection::only(["layer3"])));
    /// # let _ = plan;
    /// ```
    pub fn select(mut self, selection: Selection) -> Self {
        self.selection = Some(selection);
        self
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

    /// In this pattern instead of single weights. Attaching fails with [`CompressError::PruningPattern`]
    /// where its numbers make none, and where the level is above the one that it fixes.
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

    /// So many weights stay in each layer, whatever the others are; by default one in a hundred, and no
    /// fewer than one. Attaching fails with [`CompressError::AtLeast`] for a share outside 0 to 1.
    ///
    /// [`LayerSummary::guarded`](super::LayerSummary::guarded) tells which layers came down to it.
    ///
    /// ```
    /// use burn_compress::{compress::Pruning, prune::AtLeast};
    /// let careful = Pruning::to(0.9).at_least(AtLeast::Share(0.05));
    /// let without = Pruning::to(0.9).at_least(AtLeast::Weights(0));
    /// # let _ = (careful, without);
    /// ```
    pub fn at_least(mut self, at_least: AtLeast) -> Self {
        self.at_least = at_least;
        self
    }

    /// Whether weights that are zero already stay so (the default) or may come back like any other. A
    /// schedule that begins below their share then begins at it.
    ///
    /// A layer of zeros alone was not pruned but not trained yet, and counts like any other.
    pub fn keep_zeros(mut self, keep: bool) -> Self {
        self.keeps_zeros = keep;
        self
    }

    /// Whether parameters that require no gradient are pruned, too. By default they are left out (their
    /// zeros stay), and the level is a share of the others. Where no selected parameter requires one, as
    /// in a module for inference, all take part.
    ///
    /// [`LayerSummary::frozen`](super::LayerSummary::frozen) tells which layers were left out.
    pub fn prune_frozen(mut self, prune: bool) -> Self {
        self.frozen = prune;
        self
    }

    /// Makes those weights zero first that are zero in another model of the same structure; they count as
    /// zeros of this one from there on. Attaching fails with [`CompressError::Masks`] where they do not fit.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::Device};
    /// use burn_compress::{compress::{Masks, Pruning}, schedule::Curve};
    /// let sparse = LinearConfig::new(8, 2).init(&Device::default());
    /// let masks = Masks::of(&sparse)?;
    /// let as_it_was = Pruning::existing().zeros_of(masks.clone());
    /// let further = Curve::Linear { from: 0.5, to: 0.9, start: 0, end: 100 };
    /// let further = Pruning::along(further).zeros_of(masks);
    /// # let _ = (as_it_was, further);
    /// # Ok::<(), burn_compress::compress::CompressError>(())
    /// ```
    pub fn zeros_of(mut self, masks: Masks) -> Self {
        self.zeros = Some(Arc::new(masks));
        self
    }

    // What has to be observed of layers.
    pub(super) fn needs(&self) -> Vec<Need> {
        let mut needs = self.criterion.needs().to_vec();
        if let Regrowth::ByGradient { .. } = self.regrowth {
            needs.push(Need::Gradient);
        }
        needs
    }

    // The level that a schedule gives, if the pattern comes to it.
    pub(super) fn checked_level(&self, level: f64) -> Result<f64, CompressError> {
        self.pattern.check_level(checked_level(level)?)?;
        Ok(level)
    }

    // The share of the weights left that goes and comes back at a step.
    pub(super) fn regrown(&self, step: usize) -> Option<f64> {
        let Regrowth::ByGradient { share } = self.regrowth else {
            return None;
        };
        let end = self.schedule.end().filter(|end| *end > 0);
        let done = end.map_or(0.0, |end| (step as f64 / end as f64).min(1.0));
        Some(share / 2.0 * (1.0 + (done * std::f64::consts::PI).cos()))
    }

    // Fails where an option makes no sense.
    pub(super) fn check(&self) -> Result<(), CompressError> {
        if let Regrowth::ByGradient { share } = self.regrowth
            && !(0.0..=1.0).contains(&share)
        {
            return Err(CompressError::Regrowth { share });
        }
        self.pattern.check()?;
        if let Some(end) = self.schedule.end() {
            self.pattern.check_level(self.schedule.at(end))?;
        }
        match self.at_least {
            AtLeast::Share(share) if !(0.0..=1.0).contains(&share) => {
                Err(CompressError::AtLeast { share })
            }
            _ => Ok(()),
        }
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
            .field("at_least", &self.at_least)
            .field("keeps_zeros", &self.keeps_zeros)
            .field("frozen", &self.frozen)
            .field("selection", &self.selection)
            .finish_non_exhaustive()
    }
}

/// What to do to which layers of a model: one plan for post-training ([`apply`](Self::apply)) and
/// for aware training ([`attach`](Self::attach)).
///
/// Mostly one pruning and one quantization, of all selected layers. A plan that differs by layer has
/// several, each with layers of its own ([`Pruning::select`], [`Quantization::select`]). A layer in two of
/// a kind fails with [`CompressError::Claimed`]; one in none is left as it is.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::compress::{Plan, Pruning, Quantization};
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
    pub(super) prunings: Vec<Pruning>,
    pub(super) quantizations: Vec<Quantization>,
}

impl Plan {
    /// A plan that does nothing yet, to all convolution and linear weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// To these parameters only; but for prunings and quantizations that select their own.
    pub fn select(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Prunes; once more where the pruning selects other layers.
    pub fn prune(mut self, pruning: Pruning) -> Self {
        self.prunings.push(pruning);
        self
    }

    /// Quantizes; once more where the quantization selects other layers.
    pub fn quantize(mut self, quantization: Quantization) -> Self {
        self.quantizations.push(quantization);
        self
    }

    /// Post-training compression in one call: prunes to the level at which the schedule ends,
    /// quantizes, and gives the plain module back with its compressed weights in place.
    pub fn apply<M: Module>(&self, module: M) -> Result<Compressed<M>, CompressError> {
        self.apply_with(module, &Observations::default())
    }

    /// [`apply`](Self::apply) by a criterion that asks for more than weights, with what was observed.
    pub fn apply_with<M: Module>(
        &self,
        module: M,
        observations: &Observations,
    ) -> Result<Compressed<M>, CompressError> {
        let layers = self.layers(&module)?;
        Compression::apply(self.clone(), layers, module, observations)
    }

    /// Attaches the plan to a module that is going to be trained. The module keeps its type; call
    /// [`Compression::step`] after each step of the optimizer.
    pub fn attach<M: Module>(&self, module: M) -> Result<(M, Compression), CompressError> {
        self.attach_with(module, &Observations::default())
    }

    /// [`attach`](Self::attach) with what was observed before: for a schedule that begins above zero, and
    /// for criteria that look at inputs.
    pub fn attach_with<M: Module>(
        &self,
        module: M,
        observations: &Observations,
    ) -> Result<(M, Compression), CompressError> {
        let layers = self.layers(&module)?;
        Compression::attach(self.clone(), layers, module, observations)
    }

    /// What the plan's criterion asks to see of this module, with nothing seen yet.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::Device};
    /// use burn_compress::{compress::{Plan, Pruning}, prune::{Need, Wanda}};
    /// let model = LinearConfig::new(4, 2).init(&Device::default());
    /// let plan = Plan::new().prune(Pruning::to(0.5).by(Wanda));
    /// assert_eq!(plan.observations(&model)?.needs(), [Need::InputNorms]);
    /// # Ok::<(), burn_compress::compress::CompressError>(())
    /// ```
    pub fn observations<M: Module>(&self, module: &M) -> Result<Observations, CompressError> {
        Ok(Observations::new(self, &self.layers(module)?))
    }

    pub(super) fn layers<M: Module>(&self, module: &M) -> Result<Assigned, CompressError> {
        if self.prunings.is_empty() && self.quantizations.is_empty() {
            return Err(CompressError::EmptyPlan);
        }
        Assigned::new(self, &super::layers(module)?)
    }
}

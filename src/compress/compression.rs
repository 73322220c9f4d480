use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Tensor};

use super::assign::Entries;
use super::edit::{Change, Parts, read, write};
use super::masks::{Known, Search, checked_level, masks};
use super::reparameterization::effective;
use super::snapshot::snapshot;
use super::{
    CompressError, Compressed, Layer, Observations, Plan, Pruning, Quantization, Regrowth, State,
};
use crate::format::{Granularity, Scheme};
use crate::quantize::Parameters;

/// A plan in force on a module: moves masks and scales as training goes on.
///
/// ```
/// use burn::{nn::LinearConfig, optim::{GradientsParams, ModuleOptimizer, SgdConfig}};
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::{compress::{Plan, Pruning}, schedule::Curve};
///
/// let device = Device::default().autodiff();
/// let model = LinearConfig::new(16, 4).init(&device);
/// let mut optimizer: ModuleOptimizer = SgdConfig::new().init().into();
/// let schedule = Curve::Cubic { from: 0.0, to: 0.5, start: 0, end: 3 };
/// let (mut model, mut compression) = Plan::new().prune(Pruning::along(schedule)).attach(model)?;
/// for _ in 0..4 {
///     let input = Tensor::<2>::ones([2, 16], &device);
///     let gradients = model.forward(input).sum().backward();
///     let gradients = GradientsParams::from_grads(gradients, &model);
///     model = optimizer.step(0.1, model, gradients);
///     model = compression.step(model)?; // the one line to add
/// }
/// let compressed = compression.finish(model)?;
/// assert_eq!(compressed.layers()[0].removed, 32);
/// # Ok::<(), burn_compress::compress::CompressError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Compression {
    pub(super) plan: Plan,
    pub(super) layers: Vec<Layer>,
    pub(super) entries: Vec<Entries>,
    pub(super) state: State,
    pub(super) seen: Observations,
}

impl Compression {
    /// To be called before each step of the optimizer, where the criterion looks at gradients: adds those
    /// of this batch to what it will see when masks move next. Does nothing for other criteria, and once
    /// masks are frozen. Copies nothing from the device.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, optim::{GradientsParams, ModuleOptimizer, SgdConfig}};
    /// use burn::tensor::{Device, Tensor};
    /// use burn_compress::{compress::{Plan, Pruning}, prune::Taylor, schedule::Curve};
    ///
    /// let device = Device::default().autodiff();
    /// let model = LinearConfig::new(16, 4).init(&device);
    /// let mut optimizer: ModuleOptimizer = SgdConfig::new().init().into();
    /// let schedule = Curve::Cubic { from: 0.0, to: 0.5, start: 0, end: 6 };
    /// let pruning = Pruning::along(schedule).by(Taylor::default()).every(3);
    /// let (mut model, mut compression) = Plan::new().prune(pruning).attach(model)?;
    /// for _ in 0..6 {
    ///     let gradients = model.forward(Tensor::<2>::ones([2, 16], &device)).sum().backward();
    ///     let gradients = GradientsParams::from_grads(gradients, &model);
    ///     compression.observe(&gradients, &model)?;
    ///     model = optimizer.step(0.1, model, gradients);
    ///     model = compression.step(model)?;
    /// }
    /// assert_eq!(compression.finish(model)?.layers()[0].removed, 32);
    /// # Ok::<(), burn_compress::compress::CompressError>(())
    /// ```
    pub fn observe<M: Module>(
        &mut self,
        gradients: &GradientsParams,
        module: &M,
    ) -> Result<(), CompressError> {
        self.observe_all(&[gradients], module)
    }

    pub(crate) fn observe_all<M: Module>(
        &mut self,
        gradients: &[&GradientsParams],
        module: &M,
    ) -> Result<(), CompressError> {
        match self.state.frozen {
            true => Ok(()),
            false => self.seen.gradients_of_all(gradients, module),
        }
    }

    /// What was observed since masks moved last: for [`Graph::observe`](crate::graph::Graph::observe) to
    /// add inputs to.
    pub fn observations(&mut self) -> &mut Observations {
        &mut self.seen
    }

    pub(crate) fn seen(&self) -> &Observations {
        &self.seen
    }

    /// To be called after each step of the optimizer: moves the masks along the schedule until they
    /// freeze, lets the scales follow the weights (unless they are learned), and clears what momentum or weight decay put into
    /// removed weights. Nothing is copied from the device.
    pub fn step<M: Module>(&mut self, module: M) -> Result<M, CompressError> {
        let before = self.state.step;
        let step = before + 1;
        self.state.step = step;
        let mut moves = Vec::new();
        for (at, pruning) in self.plan.prunings.iter().enumerate() {
            if !self.is_frozen(at, before)
                && (step.is_multiple_of(pruning.every) || self.ends(at, step))
            {
                moves.push((at, self.level_of(at)?));
            }
        }
        let moved = |entries: &Entries| moves.iter().any(|(at, _)| entries.pruning == Some(*at));
        let rescaled = (self.plan.quantizations.iter().enumerate()).filter(|(at, quantization)| {
            let mut entries = self.entries.iter();
            let mut of = entries.by_ref().filter(|of| of.quantization == Some(*at));
            !quantization.quantizer.is_learned()
                && (step.is_multiple_of(quantization.every) || of.any(moved))
        });
        let rescaled: Vec<usize> = rescaled.map(|(at, _)| at).collect();
        if moves.is_empty() && rescaled.is_empty() && !self.clears_any() {
            return Ok(module);
        }
        // The masks that stay are found with checked scores.
        let search = match moves.iter().any(|(at, _)| self.ends(*at, step)) {
            true => Search::Host,
            false => Search::Device,
        };
        let module = self.update(module, &moves, &rescaled, search)?;
        for (at, _) in moves {
            self.end_window(at);
        }
        self.state.frozen |= self.all_end();
        Ok(module)
    }

    /// Prunes to this level now, and holds it in place of the schedule until another is set: what a
    /// steered threshold does. Fails where masks are frozen, as those of a schedule are that ends
    /// above zero: attach with `Pruning::to(0.0)`. Fails for a plan of several prunings, too.
    pub fn prune_to<M: Module>(&mut self, module: M, level: f64) -> Result<M, CompressError> {
        let level = self.checked_level(level)?;
        let reason = match &self.plan.prunings[..] {
            [] => Some("the plan does not prune"),
            [_, _, ..] => Some("the plan has several prunings, and a level is that of one"),
            [pruning] if pruning.existing => Some("they keep the zeros that were there"),
            [_] if self.state.frozen => Some("they are frozen; attach with `Pruning::to(0.0)`"),
            [_] => None,
        };
        if let Some(reason) = reason {
            return Err(CompressError::Fixed { reason });
        }
        self.state.level = Some(level);
        let rescaled = self.plan.quantizations.iter().enumerate();
        let rescaled = rescaled.filter(|(_, quantization)| !quantization.quantizer.is_learned());
        let rescaled: Vec<usize> = rescaled.map(|(at, _)| at).collect();
        let module = self.update(module, &[(0, level)], &rescaled, Search::Host)?;
        if level > 0.0 {
            self.end_window(0);
        }
        Ok(module)
    }

    /// Freezes the masks as they are and clears the stored values of removed weights: from here on
    /// nothing can bring them back.
    pub fn freeze<M: Module>(&mut self, module: M) -> Result<M, CompressError> {
        self.state.frozen = true;
        self.update(module, &[], &[], Search::Device)
    }

    /// The plain module, its compressed weights in place and nothing attached.
    pub fn strip<M: Module>(&self, module: M) -> M {
        module.materialize()
    }

    /// Freezes, and gives the plain module, in validation mode, together with its packed weights, ready
    /// to be saved. Shares nothing with the module passed in, which may train on.
    pub fn finish<M: Module>(mut self, module: M) -> Result<Compressed<M>, CompressError> {
        // Not `clone`: clones of a module share the running statistics of its batch norms, and
        // mapping or training one changes them in all.
        self.state.frozen = true;
        Compressed::of_attached(&self, module.valid())
    }

    /// A copy of a module that shares nothing with it, in the same mode. (Clones of a Burn module share
    /// the running statistics of batch norms: training one changes the other.)
    pub fn snapshot<M: Module>(module: &M) -> M {
        snapshot(module)
    }

    /// The share of the weights that are pruned that the schedule, or [`prune_to`](Self::prune_to), asks
    /// for at the present step: of several prunings together. 0 where nothing is pruned.
    pub fn level(&self) -> Result<f64, CompressError> {
        let levels = (0..self.plan.prunings.len()).map(|at| {
            let weights = self.places(at).map(|place| self.layers[place].view.len());
            Ok((self.level_of(at)?, weights.sum::<usize>() as f64))
        });
        let levels = levels.collect::<Result<Vec<_>, CompressError>>()?;
        if let [(level, _)] = levels[..] {
            return Ok(level);
        }
        let all: f64 = levels.iter().map(|(_, weights)| weights).sum();
        let gone: f64 = levels.iter().map(|(level, weights)| level * weights).sum();
        Ok(if all > 0.0 { gone / all } else { 0.0 })
    }

    /// The selected layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What has to be saved beside the module's record.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Goes on from a saved state, on a module whose record was loaded.
    pub fn restore(&mut self, state: State) -> Result<(), CompressError> {
        if let Some(level) = state.level {
            self.checked_level(level)?;
        }
        self.state = state;
        Ok(())
    }

    /// The pruning of a layer, by the layer's place.
    pub(super) fn pruning(&self, place: usize) -> Option<&Pruning> {
        Some(&self.plan.prunings[self.entries[place].pruning?])
    }

    pub(super) fn quantization(&self, place: usize) -> Option<&Quantization> {
        Some(&self.plan.quantizations[self.entries[place].quantization?])
    }

    pub(super) fn scheme(&self, place: usize) -> Option<Scheme> {
        Some(self.quantization(place)?.scheme)
    }

    /// The places of a pruning's layers.
    pub(super) fn places(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(move |(place, of)| (of.pruning == Some(at)).then_some(place))
    }

    /// Whether a layer of the plan requires a gradient.
    pub(super) fn trains(&self) -> bool {
        self.layers.iter().any(|layer| layer.trains)
    }

    pub(super) fn effective(&self, place: usize, parts: &Parts) -> Tensor<2> {
        let scheme = self.scheme(place);
        let quantizer = scheme.as_ref().zip(parts.parameters.as_ref());
        effective(parts.base.clone(), parts.removed.clone(), quantizer)
    }

    fn checked_level(&self, level: f64) -> Result<f64, CompressError> {
        match self.plan.prunings.first() {
            Some(pruning) => pruning.checked_level(level),
            None => checked_level(level),
        }
    }

    // The level of a pruning at the present step.
    pub(super) fn level_of(&self, at: usize) -> Result<f64, CompressError> {
        let pruning = &self.plan.prunings[at];
        match self.state.level {
            Some(level) => Ok(level),
            None => pruning.checked_level(pruning.schedule.at(self.state.step)),
        }
    }

    // Whether a pruning's schedule has ended at a step, so that its masks stay.
    fn ends(&self, at: usize, step: usize) -> bool {
        let pruning = &self.plan.prunings[at];
        // Where nothing was removed nothing has to be held, and a steered threshold may begin.
        let removes = pruning.existing || pruning.schedule.at(step) > 0.0;
        let ended = pruning.schedule.end().is_some_and(|end| step >= end);
        self.state.level.is_none() && ended && removes
    }

    fn is_frozen(&self, at: usize, step: usize) -> bool {
        self.state.frozen || self.ends(at, step)
    }

    // Whether the masks of all prunings stay from the present step on.
    pub(super) fn all_end(&self) -> bool {
        let mut prunings = 0..self.plan.prunings.len();
        !prunings.is_empty() && prunings.all(|at| self.ends(at, self.state.step))
    }

    // Whether stored values of a pruning's removed weights are to be zero.
    fn clears(&self, at: usize) -> bool {
        let pruning = &self.plan.prunings[at];
        self.is_frozen(at, self.state.step) || pruning.regrowth != Regrowth::UntilFrozen
    }

    pub(super) fn clears_any(&self) -> bool {
        (0..self.plan.prunings.len()).any(|at| self.clears(at))
    }

    pub(super) fn learns_scales(&self, place: usize) -> bool {
        let quantization = self.quantization(place);
        quantization.is_some_and(|quantization| quantization.quantizer.is_learned())
    }

    // Masks of a pruning moved.
    pub(super) fn end_window(&mut self, at: usize) {
        let entries = self.entries.iter().zip(&self.layers);
        let moved = entries.filter(|(of, _)| of.pruning == Some(at));
        let moved: Vec<&Layer> = moved.map(|(_, layer)| layer).collect();
        self.seen.end_window(&moved);
    }

    // Scale and zero point for the weights that are left.
    pub(super) fn parameters(&self, place: usize, parts: &Parts) -> Option<Parameters> {
        let quantization = self.quantization(place)?;
        let scheme = quantization.scheme;
        let rows = effective(parts.base.clone(), parts.removed.clone(), None);
        let [height, width] = rows.dims();
        // That groups divide was checked when attaching.
        let shape = match scheme.granularity() {
            Granularity::Tensor => [1, height * width],
            Granularity::Channel => [height, width],
            Granularity::Group(group) => [height * width / group, group],
        };
        let quantizer = &quantization.quantizer;
        Some(quantizer.parameters(rows.reshape(shape), &scheme))
    }

    // What is attached to each layer; fails where that is less than the plan attaches.
    pub(super) fn parts<M: Module>(&self, module: &M) -> Result<Vec<Parts>, CompressError> {
        let parts = read(module, &self.layers)?;
        for (place, parts) in parts.iter().enumerate() {
            let Entries {
                pruning,
                quantization,
            } = self.entries[place];
            if (pruning.is_some() && parts.removed.is_none())
                || (quantization.is_some() && parts.parameters.is_none())
            {
                return Err(CompressError::Detached {
                    layer: self.layers[place].path.clone(),
                });
            }
        }
        Ok(parts)
    }

    // The new masks of a pruning's layers, by the layers' places.
    pub(super) fn masks(
        &self,
        at: usize,
        level: f64,
        parts: &[Parts],
        step: Option<usize>,
        search: Search,
    ) -> Result<Vec<(usize, Tensor<2, Bool>)>, CompressError> {
        let places: Vec<usize> = self.places(at).collect();
        let layers = places
            .iter()
            .map(|place| (&self.layers[*place], &parts[*place]));
        let layers: Vec<_> = layers.collect();
        let known = Known {
            untrained: &self.state.untrained,
            seen: &self.seen,
            step,
            trains: self.trains(),
        };
        let masks = masks(&self.plan.prunings[at], level, &layers, known, search)?;
        Ok(places.into_iter().zip(masks).collect())
    }

    // Moves the masks of some prunings to their levels, and picks the scales of some quantizations anew.
    pub(super) fn update<M: Module>(
        &self,
        module: M,
        moves: &[(usize, f64)],
        rescaled: &[usize],
        search: Search,
    ) -> Result<M, CompressError> {
        let mut parts = self.parts(&module)?;
        let mut moved = vec![false; parts.len()];
        for (at, level) in moves {
            for (place, mask) in self.masks(*at, *level, &parts, Some(self.state.step), search)? {
                parts[place].removed = Some(mask);
                moved[place] = true;
            }
        }
        let changes = parts.iter().zip(moved).enumerate();
        let changes = changes.map(|(place, (parts, moved))| {
            let Entries {
                pruning,
                quantization,
            } = self.entries[place];
            let clears = pruning.is_some_and(|at| self.clears(at));
            let rescales = quantization.is_some_and(|at| rescaled.contains(&at));
            Change {
                clear: parts.removed.clone().filter(|_| clears),
                removed: parts.removed.clone().filter(|_| moved),
                parameters: match rescales {
                    true => self.parameters(place, parts),
                    false => None,
                },
            }
        });
        let changes = changes.collect();
        Ok(write(module, &self.layers, changes))
    }
}

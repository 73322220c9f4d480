use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::edit::{Change, Parts, read, write};
use super::masks::{Known, Search, checked_level, masks};
use super::reparameterization::effective;
use super::snapshot::snapshot;
use super::{CompressError, Compressed, Layer, Observations, Plan, Regrowth, State};
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
        self.state.step += 1;
        let step = self.state.step;
        let move_masks = match &self.plan.pruning {
            Some(pruning) if !self.state.frozen => {
                step.is_multiple_of(pruning.every) || self.ends_at(step)
            }
            _ => false,
        };
        let move_scales = match &self.plan.quantization {
            Some(quantization) if self.moves_scales() => {
                move_masks || step.is_multiple_of(quantization.every)
            }
            _ => false,
        };
        if !move_masks && !move_scales && !self.clears() {
            return Ok(module);
        }
        let level = if move_masks {
            Some(self.level()?)
        } else {
            None
        };
        let ends = self.ends_at(step);
        // The masks that stay are found with checked scores.
        let search = if ends { Search::Host } else { Search::Device };
        let module = self.update(module, level, move_scales, search)?;
        if move_masks {
            self.seen.end_window();
        }
        match ends {
            true => self.freeze(module),
            false => Ok(module),
        }
    }

    /// Prunes to this level now, and holds it in place of the schedule until another is set: what a
    /// steered threshold does. Fails where masks are frozen, as those of a schedule are that ends
    /// above zero: attach with `Pruning::to(0.0)`.
    pub fn prune_to<M: Module>(&mut self, module: M, level: f64) -> Result<M, CompressError> {
        let level = self.checked_level(level)?;
        let reason = match &self.plan.pruning {
            None => Some("the plan does not prune"),
            Some(pruning) if pruning.existing => Some("they keep the zeros that were there"),
            Some(_) if self.state.frozen => Some("they are frozen; attach with `Pruning::to(0.0)`"),
            Some(_) => None,
        };
        if let Some(reason) = reason {
            return Err(CompressError::Fixed { reason });
        }
        self.state.level = Some(level);
        let module = self.update(module, Some(level), self.moves_scales(), Search::Host)?;
        if level > 0.0 {
            self.seen.end_window();
        }
        Ok(module)
    }

    /// Freezes the masks as they are and clears the stored values of removed weights: from here on
    /// nothing can bring them back.
    pub fn freeze<M: Module>(&mut self, module: M) -> Result<M, CompressError> {
        self.state.frozen = true;
        self.update(module, None, false, Search::Device)
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

    /// The share of the selected weights that the schedule, or [`prune_to`](Self::prune_to), asks
    /// for at the present step; 0 where nothing is pruned.
    pub fn level(&self) -> Result<f64, CompressError> {
        match (self.state.level, &self.plan.pruning) {
            (Some(level), _) => Ok(level),
            (None, Some(pruning)) => pruning.checked_level(pruning.schedule.at(self.state.step)),
            (None, None) => Ok(0.0),
        }
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

    pub(super) fn scheme(&self) -> Option<Scheme> {
        self.plan.quantization.as_ref().map(|q| q.scheme)
    }

    pub(super) fn prunes(&self) -> bool {
        self.plan.pruning.is_some()
    }

    pub(super) fn effective(&self, parts: &Parts) -> Tensor<2> {
        let scheme = self.scheme();
        let quantizer = scheme.as_ref().zip(parts.parameters.as_ref());
        effective(parts.base.clone(), parts.removed.clone(), quantizer)
    }

    fn checked_level(&self, level: f64) -> Result<f64, CompressError> {
        match &self.plan.pruning {
            Some(pruning) => pruning.checked_level(level),
            None => checked_level(level),
        }
    }

    pub(super) fn ends_at(&self, step: usize) -> bool {
        let Some(pruning) = &self.plan.pruning else {
            return false;
        };
        // Where nothing was removed nothing has to be held, and a steered threshold may begin.
        let removes = pruning.existing || pruning.schedule.at(step) > 0.0;
        let ended = pruning.schedule.end().is_some_and(|end| step >= end);
        !self.state.frozen && self.state.level.is_none() && ended && removes
    }

    // Whether stored values of removed weights are to be zero.
    pub(super) fn clears(&self) -> bool {
        match &self.plan.pruning {
            Some(pruning) => self.state.frozen || pruning.regrowth != Regrowth::UntilFrozen,
            None => false,
        }
    }

    pub(super) fn learns_scales(&self) -> bool {
        let quantization = self.plan.quantization.as_ref();
        quantization.is_some_and(|quantization| quantization.quantizer.is_learned())
    }

    // Whether scales are picked anew as weights move.
    fn moves_scales(&self) -> bool {
        self.plan.quantization.is_some() && !self.learns_scales()
    }

    // Scale and zero point for the weights that are left.
    pub(super) fn parameters(&self, parts: &Parts) -> Option<Parameters> {
        let quantization = self.plan.quantization.as_ref()?;
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
        let detached = |(layer, parts): (&Layer, &Parts)| {
            let missing = (self.plan.pruning.is_some() && parts.removed.is_none())
                || (self.plan.quantization.is_some() && parts.parameters.is_none());
            missing.then(|| CompressError::Detached {
                layer: layer.path.clone(),
            })
        };
        match self.layers.iter().zip(&parts).find_map(detached) {
            Some(error) => Err(error),
            None => Ok(parts),
        }
    }

    pub(super) fn update<M: Module>(
        &self,
        module: M,
        level: Option<f64>,
        move_scales: bool,
        search: Search,
    ) -> Result<M, CompressError> {
        let mut parts = self.parts(&module)?;
        let new_masks = match (level, &self.plan.pruning) {
            (Some(level), Some(pruning)) => Some(masks(
                pruning,
                level,
                &self.layers,
                &parts,
                Known {
                    untrained: &self.state.untrained,
                    seen: &self.seen,
                    step: Some(self.state.step),
                },
                search,
            )?),
            _ => None,
        };
        let moved = new_masks.is_some();
        for (parts, mask) in parts.iter_mut().zip(new_masks.into_iter().flatten()) {
            parts.removed = Some(mask);
        }
        let changes = parts.iter().map(|parts| Change {
            clear: parts.removed.clone().filter(|_| self.clears()),
            removed: parts.removed.clone().filter(|_| moved),
            parameters: match move_scales {
                true => self.parameters(parts),
                false => None,
            },
        });
        let changes = changes.collect();
        Ok(write(module, &self.layers, changes))
    }
}

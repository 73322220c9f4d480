use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, Reparameterizer};
use burn::tensor::{Bool, GradientCheckpointingStrategy, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::edit::{Change, Parts, read, write};
use super::reparameterization::{CompressedWeight, effective};
use super::{AttachError, Compressed, Layer, Plan, Pruning, Regrowth};
use crate::format::{Granularity, Scheme};
use crate::prune::{Scope, Weight, lowest, lowest_on_device, share_of};
use crate::quantize::Parameters;

/// What a layer came to.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::attach::{Plan, Pruning};
/// let model = LinearConfig::new(8, 2).init(&Device::default());
/// let compressed = Plan::new().prune(Pruning::to(0.75)).apply(model)?;
/// let layer = &compressed.layers()[0];
/// assert_eq!((layer.weights, layer.removed, layer.bits), (16, 12, 32));
/// # Ok::<(), burn_compress::attach::AttachError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// Path of the parameter.
    pub path: String,
    /// Number of weights.
    pub weights: usize,
    /// Weights that are exactly zero.
    pub removed: usize,
    /// Bits of a code; 32 where the layer is not quantized.
    pub bits: u32,
}

/// What of a compression is not in the module's own record: saved with it, it lets training go on
/// where it was.
///
/// ```
/// let state = burn_compress::attach::State { step: 10, frozen: false, level: None };
/// let text = serde_json::to_string(&state)?;
/// assert_eq!(serde_json::from_str::<burn_compress::attach::State>(&text)?, state);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps of the optimizer so far.
    pub step: usize,
    /// Whether the masks are frozen.
    pub frozen: bool,
    /// The level that overrides the schedule, if one was set.
    pub level: Option<f64>,
}

/// A plan in force on a module: moves masks and scales as training goes on.
///
/// ```
/// use burn::{nn::LinearConfig, optim::{GradientsParams, ModuleOptimizer, SgdConfig}};
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::{attach::{Plan, Pruning}, schedule::Curve};
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
/// # Ok::<(), burn_compress::attach::AttachError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Compression {
    plan: Plan,
    layers: Vec<Layer>,
    state: State,
}

// Where the threshold is looked for.
#[derive(Clone, Copy)]
enum Search {
    // Linear time, and checks the scores; reads them from the device.
    Host,
    // Never waits for the device.
    Device,
}

impl Compression {
    // The weights, and the masks that the plan asks for at a step.
    fn begin<M: Module>(
        plan: Plan,
        layers: Vec<Layer>,
        module: &M,
        step: usize,
    ) -> Result<(Self, Vec<Parts>), AttachError> {
        let mut parts = read(module, &layers)?;
        for (layer, parts) in layers.iter().zip(&parts) {
            let pruned_before = plan.pruning.as_ref().is_some_and(|p| p.existing);
            check_weights(layer, &parts.base, pruned_before)?;
            if let Some(quantization) = &plan.quantization {
                let groups = quantization.scheme.groups(&layer.view);
                groups.map_err(|source| AttachError::Format {
                    layer: layer.path.clone(),
                    source,
                })?;
            }
        }
        if let Some(pruning) = &plan.pruning {
            let level = checked_level(pruning.schedule.at(step))?;
            let masks = masks(pruning, level, &layers, &parts, Search::Host)?;
            for (parts, mask) in parts.iter_mut().zip(masks) {
                parts.removed = Some(mask);
            }
        }
        let compression = Self {
            state: State {
                step: 0,
                frozen: false,
                level: None,
            },
            plan,
            layers,
        };
        Ok((compression, parts))
    }

    pub(super) fn apply<M: Module>(
        plan: Plan,
        layers: Vec<Layer>,
        module: M,
    ) -> Result<Compressed<M>, AttachError> {
        // Shares nothing with the module passed in, as in `finish`.
        let module = module.valid();
        let (compression, mut parts) = Self::begin(plan, layers, &module, usize::MAX)?;
        for parts in &mut parts {
            if let Some(removed) = parts.removed.take() {
                parts.base = parts.base.clone().mask_fill(removed, 0.0);
            }
            parts.parameters = compression.parameters(parts);
        }
        Compressed::of_plain(&compression, module, parts)
    }

    pub(super) fn attach<M: Module>(
        plan: Plan,
        layers: Vec<Layer>,
        module: M,
    ) -> Result<(M, Self), AttachError> {
        let (mut compression, parts) = Self::begin(plan, layers, &module, 0)?;
        let scheme = compression.scheme();
        let attached = compression.layers.iter().zip(parts).map(|(layer, parts)| {
            let quantizer = scheme.zip(compression.parameters(&parts));
            let weight = CompressedWeight::new(layer.view.clone(), parts.removed, quantizer);
            (layer.path.clone(), weight)
        });
        let module = module.apply_reparameterization(Attach(attached.collect()));
        let module = match compression.ends_at(0) {
            true => compression.freeze(module)?,
            false if compression.clears() => {
                compression.update(module, None, false, Search::Device)?
            }
            false => module,
        };
        Ok((module, compression))
    }

    /// To be called after each step of the optimizer: moves the masks along the schedule until they
    /// freeze, lets the scales follow the weights, and clears what momentum or weight decay put into
    /// removed weights. Nothing is copied from the device.
    pub fn step<M: Module>(&mut self, module: M) -> Result<M, AttachError> {
        self.state.step += 1;
        let step = self.state.step;
        let move_masks = match &self.plan.pruning {
            Some(pruning) if !self.state.frozen => {
                step.is_multiple_of(pruning.every) || self.ends_at(step)
            }
            _ => false,
        };
        let move_scales = match &self.plan.quantization {
            Some(quantization) => move_masks || step.is_multiple_of(quantization.every),
            None => false,
        };
        if !move_masks && !move_scales && !self.clears() {
            return Ok(module);
        }
        let level = if move_masks {
            Some(self.level()?)
        } else {
            None
        };
        if !self.ends_at(step) {
            return self.update(module, level, move_scales, Search::Device);
        }
        // The masks that stay are found with checked scores.
        let module = self.update(module, level, move_scales, Search::Host)?;
        self.freeze(module)
    }

    /// Prunes to this level now, and holds it in place of the schedule until another is set: what a
    /// steered threshold does. Fails where masks are frozen, as those of a schedule are that ends
    /// above zero: attach with `Pruning::to(0.0)`.
    pub fn prune_to<M: Module>(&mut self, module: M, level: f64) -> Result<M, AttachError> {
        let level = checked_level(level)?;
        let reason = match &self.plan.pruning {
            None => Some("the plan does not prune"),
            Some(pruning) if pruning.existing => Some("they keep the zeros that were there"),
            Some(_) if self.state.frozen => Some("they are frozen; attach with `Pruning::to(0.0)`"),
            Some(_) => None,
        };
        if let Some(reason) = reason {
            return Err(AttachError::Fixed { reason });
        }
        self.state.level = Some(level);
        self.update(
            module,
            Some(level),
            self.plan.quantization.is_some(),
            Search::Host,
        )
    }

    /// Freezes the masks as they are and clears the stored values of removed weights: from here on
    /// nothing can bring them back.
    pub fn freeze<M: Module>(&mut self, module: M) -> Result<M, AttachError> {
        self.state.frozen = true;
        self.update(module, None, false, Search::Device)
    }

    /// The plain module, its compressed weights in place and nothing attached.
    pub fn strip<M: Module>(&self, module: M) -> M {
        module.materialize()
    }

    /// Freezes, and gives the plain module, in validation mode, together with its packed weights, ready
    /// to be saved. Shares nothing with the module passed in, which may train on.
    pub fn finish<M: Module>(mut self, module: M) -> Result<Compressed<M>, AttachError> {
        // Not `clone`: clones of a module share the running statistics of its batch norms, and
        // mapping or training one changes them in all.
        self.state.frozen = true;
        Compressed::of_attached(&self, module.valid())
    }

    /// A copy of a module that shares nothing with it, in the same mode. (Clones of a Burn module share
    /// the running statistics of batch norms: training one changes the other.)
    pub fn snapshot<M: Module>(module: &M) -> M {
        let mut tracked = Tracked::default();
        module.visit(&mut tracked);
        match tracked.strategy {
            None => module.valid(),
            Some(GradientCheckpointingStrategy::Disabled) => module.valid().train(),
            Some(_) => module.valid().train().map(&mut tracked),
        }
    }

    /// The share of the selected weights that the schedule, or [`prune_to`](Self::prune_to), asks
    /// for at the present step; 0 where nothing is pruned.
    pub fn level(&self) -> Result<f64, AttachError> {
        match (self.state.level, &self.plan.pruning) {
            (Some(level), _) => Ok(level),
            (None, Some(pruning)) => checked_level(pruning.schedule.at(self.state.step)),
            (None, None) => Ok(0.0),
        }
    }

    /// What each selected layer holds now. Reads from the device.
    pub fn summary<M: Module>(&self, module: &M) -> Result<Vec<LayerSummary>, AttachError> {
        let bits = self.scheme().map_or(32, |scheme| scheme.bits());
        let parts = self.parts(module)?;
        let summaries = self.layers.iter().zip(parts).map(|(layer, parts)| {
            let values = host(layer, self.effective(&parts))?;
            Ok(LayerSummary {
                path: layer.path.clone(),
                weights: values.len(),
                removed: values.iter().filter(|value| **value == 0.0).count(),
                bits,
            })
        });
        summaries.collect()
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
    pub fn restore(&mut self, state: State) -> Result<(), AttachError> {
        if let Some(level) = state.level {
            checked_level(level)?;
        }
        self.state = state;
        Ok(())
    }

    pub(super) fn scheme(&self) -> Option<Scheme> {
        self.plan.quantization.as_ref().map(|q| q.scheme)
    }

    pub(super) fn effective(&self, parts: &Parts) -> Tensor<2> {
        let scheme = self.scheme();
        let quantizer = scheme.as_ref().zip(parts.parameters.as_ref());
        effective(parts.base.clone(), parts.removed.clone(), quantizer)
    }

    fn ends_at(&self, step: usize) -> bool {
        let Some(pruning) = &self.plan.pruning else {
            return false;
        };
        // Where nothing was removed nothing has to be held, and a steered threshold may begin.
        let removes = pruning.existing || pruning.schedule.at(step) > 0.0;
        let ended = pruning.schedule.end().is_some_and(|end| step >= end);
        !self.state.frozen && self.state.level.is_none() && ended && removes
    }

    // Whether stored values of removed weights are to be zero.
    fn clears(&self) -> bool {
        match &self.plan.pruning {
            Some(pruning) => self.state.frozen || pruning.regrowth == Regrowth::Never,
            None => false,
        }
    }

    // Scale and zero point for the weights that are left.
    fn parameters(&self, parts: &Parts) -> Option<Parameters> {
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
    pub(super) fn parts<M: Module>(&self, module: &M) -> Result<Vec<Parts>, AttachError> {
        let parts = read(module, &self.layers)?;
        let detached = |(layer, parts): (&Layer, &Parts)| {
            let missing = (self.plan.pruning.is_some() && parts.removed.is_none())
                || (self.plan.quantization.is_some() && parts.parameters.is_none());
            missing.then(|| AttachError::Detached {
                layer: layer.path.clone(),
            })
        };
        match self.layers.iter().zip(&parts).find_map(detached) {
            Some(error) => Err(error),
            None => Ok(parts),
        }
    }

    fn update<M: Module>(
        &self,
        module: M,
        level: Option<f64>,
        move_scales: bool,
        search: Search,
    ) -> Result<M, AttachError> {
        let mut parts = self.parts(&module)?;
        let new_masks = match (level, &self.plan.pruning) {
            (Some(level), Some(pruning)) => {
                Some(masks(pruning, level, &self.layers, &parts, search)?)
            }
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

// How a module in training trades memory for time; mode changes lose it.
#[derive(Default)]
struct Tracked {
    strategy: Option<GradientCheckpointingStrategy>,
}

impl ModuleVisitor for Tracked {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.strategy = self
            .strategy
            .or_else(|| param.base().gradient_checkpointing_strategy());
    }
}

impl ModuleMapper for Tracked {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(strategy) = self.strategy else {
            return param;
        };
        param.map(|tensor| {
            let require_grad = tensor.is_require_grad();
            let tensor = tensor
                .detach()
                .with_gradient_checkpointing_strategy(strategy);
            tensor.set_require_grad(require_grad)
        })
    }
}

struct Attach(std::collections::HashMap<String, CompressedWeight>);

impl Reparameterizer for Attach {
    type Reparam = CompressedWeight;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<CompressedWeight>) {
        (param, self.0.remove(path))
    }
}

// The new mask of each layer.
fn masks(
    pruning: &Pruning,
    level: f64,
    layers: &[Layer],
    parts: &[Parts],
    search: Search,
) -> Result<Vec<Tensor<2, Bool>>, AttachError> {
    if pruning.existing {
        let zeros = parts.iter().map(|parts| parts.base.clone().equal_elem(0.0));
        return Ok(zeros.collect());
    }
    let scores = layers.iter().zip(parts).map(|(layer, parts)| {
        let weight = Weight {
            path: &layer.path,
            values: parts.base.clone(),
        };
        let scores = pruning.criterion.score(weight);
        if scores.dims() != parts.base.dims() {
            return Err(AttachError::Score {
                criterion: pruning.criterion.name().to_string(),
                layer: layer.path.clone(),
                value: format!("shape {:?}", scores.dims()),
            });
        }
        Ok(scores.reshape([layer.view.len()]))
    });
    let mut scores = scores.collect::<Result<Vec<Tensor<1>>, _>>()?;
    let never_back = pruning.regrowth == Regrowth::Never;
    if never_back && let Some(below) = below_all(&scores) {
        for (scores, parts) in scores.iter_mut().zip(parts) {
            if let Some(removed) = &parts.removed {
                let shape = scores.dims();
                let below = below.clone().to_device(&scores.device()).expand(shape);
                *scores = scores
                    .clone()
                    .mask_where(removed.clone().reshape(shape), below);
            }
        }
    }
    let flat: Vec<Tensor<1, Bool>> = match pruning.scope {
        Scope::Layer => {
            let marked = layers.iter().zip(scores).map(|(layer, scores)| {
                let count = share_of(level, layer.view.len());
                mark(
                    pruning,
                    std::slice::from_ref(layer),
                    vec![scores],
                    count,
                    search,
                )
            });
            let marked = marked.collect::<Result<Vec<_>, _>>()?;
            marked.into_iter().flatten().collect()
        }
        Scope::Global => {
            let total = layers.iter().map(|layer| layer.view.len()).sum();
            mark(pruning, layers, scores, share_of(level, total), search)?
        }
    };
    let shaped = layers.iter().zip(flat).zip(parts);
    let shaped = shaped.map(|((layer, mask), parts)| {
        let mask = mask.reshape([layer.view.rows(), layer.view.columns()]);
        match &parts.removed {
            // Also where the level falls.
            Some(removed) if never_back => mask.bool_or(removed.clone()),
            _ => mask,
        }
    });
    Ok(shaped.collect())
}

// Marks the `count` lowest scores of these layers together.
fn mark(
    pruning: &Pruning,
    layers: &[Layer],
    scores: Vec<Tensor<1>>,
    count: usize,
    search: Search,
) -> Result<Vec<Tensor<1, Bool>>, AttachError> {
    let sizes: Vec<usize> = layers.iter().map(|layer| layer.view.len()).collect();
    if let Search::Device = search {
        let marked = lowest_on_device(Tensor::cat(scores, 0), count);
        return Ok(marked.split_with_sizes(sizes, 0));
    }
    let devices: Vec<_> = scores.iter().map(Tensor::device).collect();
    let mut all = Vec::new();
    for (layer, scores) in layers.iter().zip(scores) {
        let scores = host(layer, scores)?;
        if let Some(score) = scores.iter().find(|score| !score.is_finite()) {
            return Err(AttachError::Score {
                criterion: pruning.criterion.name().to_string(),
                layer: layer.path.clone(),
                value: score.to_string(),
            });
        }
        match all.is_empty() {
            true => all = scores,
            false => all.extend(scores),
        }
    }
    let mut marked = lowest(&all, count);
    let masks = sizes.iter().zip(devices).map(|(&size, device)| {
        let rest = marked.split_off(size);
        let mask = std::mem::replace(&mut marked, rest);
        Tensor::from_data(TensorData::new(mask, [size]), &device)
    });
    Ok(masks.collect())
}

// A score below those of all layers, for the weights that are gone already.
fn below_all(scores: &[Tensor<1>]) -> Option<Tensor<1>> {
    let sizes = scores.iter().map(|scores| scores.clone().abs().max());
    let greatest = sizes.reduce(|one, other| {
        let other = other.to_device(&one.device());
        one.max_pair(other)
    });
    greatest.map(|greatest| greatest * -2.0 - 1.0)
}

fn checked_level(level: f64) -> Result<f64, AttachError> {
    match (0.0..1.0).contains(&level) {
        true => Ok(level),
        false => Err(AttachError::Level { level }),
    }
}

fn check_weights(layer: &Layer, rows: &Tensor<2>, pruned_before: bool) -> Result<(), AttachError> {
    let path = || layer.path.clone();
    if layer.view.is_empty() {
        return Err(AttachError::EmptyLayer {
            layer: path(),
            dims: layer.view.dims().to_vec(),
        });
    }
    let count = layer.view.len();
    let flat = rows.clone().reshape([count]);
    let mut first = None;
    let mut constant = count > 1;
    // Piece by piece: new memory for all of a large layer takes longer than the check.
    for start in (0..count).step_by(PIECE) {
        let piece = flat.clone().narrow(0, start, PIECE.min(count - start));
        for value in host(layer, piece)? {
            if !value.is_finite() {
                return Err(AttachError::NotFinite {
                    layer: path(),
                    value,
                });
            }
            constant &= value == *first.get_or_insert(value);
        }
    }
    match first {
        // Pruning under one threshold may have emptied a layer of small weights.
        Some(value) if constant && !(pruned_before && value == 0.0) => {
            Err(AttachError::ConstantLayer {
                layer: path(),
                value,
            })
        }
        _ => Ok(()),
    }
}

const PIECE: usize = 1 << 19;

/// The stored weights of these layers, each in rows (`[out, in * kernel]`). Reads from the device.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::attach::{layers, weights};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let layers = layers(&model)?;
/// assert_eq!(weights(&model, &layers[..1])?[0].len(), 8);
/// # Ok::<(), burn_compress::attach::AttachError>(())
/// ```
pub fn weights<M: Module>(module: &M, layers: &[Layer]) -> Result<Vec<Vec<f32>>, AttachError> {
    let parts = layers.iter().zip(read(module, layers)?);
    parts
        .map(|(layer, parts)| host(layer, parts.base))
        .collect()
}

// A layer's values in the processor's memory.
pub(super) fn host<const D: usize>(
    layer: &Layer,
    tensor: Tensor<D>,
) -> Result<Vec<f32>, AttachError> {
    tensor
        .try_into_vec_as::<f32>()
        .map_err(|error| AttachError::Device {
            layer: layer.path.clone(),
            reason: error.to_string(),
        })
}

//! The start of a compression: a plan put on a module.

use std::collections::HashMap;

use burn::module::{Module, Param, Reparameterizer};
use burn::tensor::Tensor;

use super::assign::Assigned;
use super::edit::{Change, Parts, read, write};
use super::masks::Search;
use super::reparameterization::CompressedWeight;
use super::weights::check_weights;
use super::{CompressError, Compressed, Compression, Observations, Plan, State};

impl Compression {
    // The module with the zeros that it is to have, its weights, and the masks that the plan asks for at
    // a step.
    pub(super) fn begin<M: Module>(
        plan: Plan,
        assigned: Assigned,
        module: M,
        step: usize,
        seen: &Observations,
    ) -> Result<(M, Self, Vec<Parts>), CompressError> {
        let seen = Observations::new(&plan, &assigned).with_sums_of(seen);
        let Assigned { layers, entries } = assigned;
        let mut parts = read(&module, &layers)?;
        let mut untrained = Vec::new();
        for ((layer, entries), parts) in layers.iter().zip(&entries).zip(&parts) {
            if !check_weights(layer, &parts.base)? {
                untrained.push(layer.path.clone());
            }
            if let Some(at) = entries.quantization {
                let groups = plan.quantizations[at].scheme.groups(&layer.view);
                groups.map_err(|source| CompressError::Format {
                    layer: layer.path.clone(),
                    source,
                })?;
            }
        }
        let mut compression = Self {
            state: State {
                step: 0,
                frozen: false,
                level: None,
                untrained,
            },
            plan,
            layers,
            entries,
            seen,
        };
        let module = compression.clear_zeros(module, &mut parts)?;
        for at in 0..compression.plan.prunings.len() {
            let pruning = &compression.plan.prunings[at];
            pruning.check()?;
            let level = pruning.checked_level(pruning.schedule.at(step))?;
            let masks = compression.masks(at, level, &parts, None, Search::Host)?;
            for (place, mask) in masks {
                parts[place].removed = Some(mask);
            }
            if level > 0.0 {
                compression.end_window(at);
            }
        }
        Ok((module, compression, parts))
    }

    // Clears the weights that are zero in another model.
    fn clear_zeros<M: Module>(&self, module: M, parts: &mut [Parts]) -> Result<M, CompressError> {
        let mut cleared = Vec::new();
        for (place, parts) in parts.iter_mut().enumerate() {
            let mut change = Change::default();
            let pruning = self.pruning(place);
            if let Some(zeros) = pruning.and_then(|pruning| pruning.zeros.as_ref()) {
                let zeros = zeros.rows(&self.layers[place], &parts.base)?;
                parts.base = parts.base.clone().mask_fill(zeros.clone(), 0.0);
                parts.removed = Some(zeros.clone());
                change.clear = Some(zeros);
            }
            cleared.push(change);
        }
        match cleared.iter().any(|change| change.clear.is_some()) {
            true => Ok(write(module, &self.layers, cleared)),
            false => Ok(module),
        }
    }

    pub(super) fn apply<M: Module>(
        plan: Plan,
        assigned: Assigned,
        module: M,
        seen: &Observations,
    ) -> Result<Compressed<M>, CompressError> {
        // Shares nothing with the module passed in, as in `finish`.
        let (module, end) = (module.valid(), usize::MAX);
        let (module, mut compression, mut parts) = Self::begin(plan, assigned, module, end, seen)?;
        compression.state.step = end;
        for (place, parts) in parts.iter_mut().enumerate() {
            if let Some(removed) = parts.removed.clone() {
                parts.base = parts.base.clone().mask_fill(removed, 0.0);
            }
            parts.parameters = compression.parameters(place, parts);
        }
        Compressed::of_plain(&compression, module, parts)
    }

    pub(super) fn attach<M: Module>(
        plan: Plan,
        assigned: Assigned,
        module: M,
        seen: &Observations,
    ) -> Result<(M, Self), CompressError> {
        let (module, mut compression, parts) = Self::begin(plan, assigned, module, 0, seen)?;
        let attached = parts.into_iter().enumerate().map(|(place, parts)| {
            let layer = &compression.layers[place];
            let dense = compression.pruning(place);
            let dense = dense.is_some_and(|pruning| pruning.regrown(0).is_some());
            let quantizer = compression.scheme(place);
            let quantizer = quantizer.zip(compression.parameters(place, &parts));
            let weight = CompressedWeight::new(layer.view.clone(), parts.removed, quantizer);
            let weight = weight.with_dense_gradient(dense);
            let learned = compression.learns_scales(place);
            (layer.path.clone(), (weight, learned))
        });
        let weights = attached.collect();
        let module = module.apply_reparameterization(Attach { weights });
        compression.state.frozen = compression.all_end();
        match compression.clears_any() {
            true => {
                let module = compression.update(module, &[], &[], Search::Device)?;
                Ok((module, compression))
            }
            false => Ok((module, compression)),
        }
    }
}

struct Attach {
    // Each with whether its scale is learned.
    weights: HashMap<String, (CompressedWeight, bool)>,
}

impl Reparameterizer for Attach {
    type Reparam = CompressedWeight;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<CompressedWeight>) {
        let weight = self.weights.remove(path);
        let weight = weight.map(|(weight, learned)| match learned {
            true => weight.with_learned_scale(&param),
            false => weight,
        });
        (param, weight)
    }
}

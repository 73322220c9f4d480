//! The start of a compression: a plan put on a module.

use std::collections::HashMap;

use burn::module::{Module, Param, Reparameterizer};
use burn::tensor::Tensor;

use super::edit::{Change, Parts, read, write};
use super::masks::{Known, Search, masks};
use super::reparameterization::CompressedWeight;
use super::weights::check_weights;
use super::{CompressError, Compressed, Compression, Layer, Observations, Plan, State};

impl Compression {
    // The module with the zeros that it is to have, its weights, and the masks that the plan asks for at
    // a step.
    pub(super) fn begin<M: Module>(
        plan: Plan,
        layers: Vec<Layer>,
        module: M,
        step: usize,
        seen: &Observations,
    ) -> Result<(M, Self, Vec<Parts>), CompressError> {
        let mut seen = Observations::new(&plan, &layers).with_sums_of(seen);
        let mut parts = read(&module, &layers)?;
        let mut untrained = Vec::new();
        for (layer, parts) in layers.iter().zip(&parts) {
            if !check_weights(layer, &parts.base)? {
                untrained.push(layer.path.clone());
            }
            if let Some(quantization) = &plan.quantization {
                let groups = quantization.scheme.groups(&layer.view);
                groups.map_err(|source| CompressError::Format {
                    layer: layer.path.clone(),
                    source,
                })?;
            }
        }
        let mut module = module;
        if let Some(pruning) = &plan.pruning {
            pruning.check()?;
            let level = pruning.checked_level(pruning.schedule.at(step))?;
            if let Some(zeros_of) = &pruning.zeros {
                let zeros = layers.iter().zip(&parts);
                let zeros = zeros.map(|(layer, parts)| zeros_of.rows(layer, &parts.base));
                let zeros = zeros.collect::<Result<Vec<_>, _>>()?;
                for (parts, zeros) in parts.iter_mut().zip(&zeros) {
                    parts.base = parts.base.clone().mask_fill(zeros.clone(), 0.0);
                    parts.removed = Some(zeros.clone());
                }
                let cleared = zeros.into_iter().map(|zeros| Change {
                    clear: Some(zeros),
                    ..Change::default()
                });
                module = write(module, &layers, cleared.collect());
            }
            let known = Known {
                untrained: &untrained,
                seen: &seen,
                step: None,
            };
            let masks = masks(pruning, level, &layers, &parts, known, Search::Host)?;
            if level > 0.0 {
                seen.end_window();
            }
            for (parts, mask) in parts.iter_mut().zip(masks) {
                parts.removed = Some(mask);
            }
        }
        let compression = Self {
            state: State {
                step: 0,
                frozen: false,
                level: None,
                untrained,
            },
            plan,
            layers,
            seen,
        };
        Ok((module, compression, parts))
    }

    pub(super) fn apply<M: Module>(
        plan: Plan,
        layers: Vec<Layer>,
        module: M,
        seen: &Observations,
    ) -> Result<Compressed<M>, CompressError> {
        // Shares nothing with the module passed in, as in `finish`.
        let (module, end) = (module.valid(), usize::MAX);
        let (module, mut compression, mut parts) = Self::begin(plan, layers, module, end, seen)?;
        compression.state.step = end;
        for parts in &mut parts {
            if let Some(removed) = parts.removed.clone() {
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
        seen: &Observations,
    ) -> Result<(M, Self), CompressError> {
        let (module, mut compression, parts) = Self::begin(plan, layers, module, 0, seen)?;
        let scheme = compression.scheme();
        let pruning = compression.plan.pruning.as_ref();
        let dense = pruning.is_some_and(|pruning| pruning.regrown(0).is_some());
        let attached = compression.layers.iter().zip(parts).map(|(layer, parts)| {
            let quantizer = scheme.zip(compression.parameters(&parts));
            let weight = CompressedWeight::new(layer.view.clone(), parts.removed, quantizer);
            let weight = weight.with_dense_gradient(dense);
            (layer.path.clone(), weight)
        });
        let module = module.apply_reparameterization(Attach {
            weights: attached.collect(),
            learned: compression.learns_scales(),
        });
        let module = match compression.ends_at(0) {
            true => compression.freeze(module)?,
            false if compression.clears() => {
                compression.update(module, None, false, Search::Device)?
            }
            false => module,
        };
        Ok((module, compression))
    }
}

struct Attach {
    weights: HashMap<String, CompressedWeight>,
    learned: bool,
}

impl Reparameterizer for Attach {
    type Reparam = CompressedWeight;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<CompressedWeight>) {
        let weight = self.weights.remove(path).map(|weight| match self.learned {
            true => weight.with_learned_scale(&param),
            false => weight,
        });
        (param, weight)
    }
}

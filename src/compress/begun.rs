//! A plan that another stage carries out: what it begins with, and what is made of its result.

use burn::module::Module;
use burn::tensor::{Bool, Tensor, TensorData};

use super::edit::Parts;
use super::load::Apply;
use super::masks::takes_part;
use super::weights::host;
use super::{CompressError, Compressed, Compression, Layer, Observations, Plan};
use crate::format::Scheme;
use crate::prune::{AtLeast, Pattern, Scope};
use crate::quantize::Parameters;
use crate::schedule::Curve;

/// What a pruning removes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removal {
    /// The place of the pruning in the plan.
    pub entry: usize,
    pub level: f64,
    pub pattern: Pattern,
    pub scope: Scope,
    pub at_least: AtLeast,
}

/// The weights of a layer in rows, on the host.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub layer: Layer,
    pub values: Vec<f32>,
    /// Of a layer that is pruned.
    pub removed: Option<Vec<bool>>,
    /// Scale and zero point of each group, of a layer that is quantized.
    pub ranges: Option<(Vec<f32>, Vec<f32>)>,
    /// What pruning may take of it.
    pub removal: Option<Removal>,
    /// Of its codes.
    pub scheme: Option<Scheme>,
}

/// A plan on its way.
pub(crate) struct Begun {
    compression: Compression,
}

impl Begun {
    /// The compressed module of weights that were found.
    pub fn finish<M: Module>(
        self,
        module: M,
        rows: Vec<Rows>,
    ) -> Result<Compressed<M>, CompressError> {
        let device = module.devices().into_iter().next().unwrap_or_default();
        let floats = |values: Vec<f32>| {
            let count = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [count]), &device)
        };
        let parts = rows.into_iter().map(|rows| {
            let shape = [rows.layer.view.rows(), rows.layer.view.columns()];
            Parts {
                base: Tensor::from_data(TensorData::new(rows.values, shape), &device),
                removed: (rows.removed).map(|removed| {
                    Tensor::<2, Bool>::from_data(TensorData::new(removed, shape), &device)
                }),
                parameters: rows.ranges.map(|(scale, zero_point)| Parameters {
                    scale: floats(scale),
                    zero_point: floats(zero_point),
                }),
            }
        });
        let parts = parts.collect();
        Compressed::of_plain(&self.compression, module, parts)
    }
}

impl Plan {
    /// The module for inference and its weights before anything is removed but what is gone already
    /// (`chosen` false), or as the plan compresses them.
    pub(crate) fn begun<M: Module>(
        &self,
        module: M,
        chosen: bool,
        seen: &Observations,
    ) -> Result<(M, Begun, Vec<Rows>), CompressError> {
        let assigned = self.layers(&module)?;
        let mut plan = self.clone();
        let mut removals = Vec::new();
        for (entry, pruning) in plan.prunings.iter_mut().enumerate() {
            pruning.check()?;
            let level = pruning.checked_level(pruning.schedule.at(usize::MAX))?;
            let removal = Removal {
                entry,
                level,
                pattern: pruning.pattern,
                scope: pruning.scope,
                at_least: pruning.at_least,
            };
            removals.push(Some(removal).filter(|_| !pruning.existing && level > 0.0));
            if !chosen {
                pruning.schedule = std::sync::Arc::new(Curve::Constant { value: 0.0 });
            }
        }
        let (module, mut compression, parts) =
            Compression::begin(plan, assigned, module.valid(), usize::MAX, seen)?;
        compression.state.step = usize::MAX;
        let rows = parts.into_iter().enumerate().map(|(place, mut parts)| {
            let layer = &compression.layers[place];
            if let Some(removed) = parts.removed.clone() {
                parts.base = parts.base.clone().mask_fill(removed, 0.0);
            }
            let ranges = match chosen {
                true => compression.parameters(place, &parts),
                false => None,
            };
            parts.parameters = ranges.clone();
            let ranges = match ranges {
                Some(ranges) => Some((host(layer, ranges.scale)?, host(layer, ranges.zero_point)?)),
                None => None,
            };
            let removed = parts.removed.clone();
            let removed = removed.map(|removed| host(layer, removed.float()));
            let removed: Option<Vec<f32>> = removed.transpose()?;
            let pruning = compression.pruning(place);
            let trains = compression.trains();
            let may_go = pruning.is_some_and(|pruning| takes_part(pruning, trains, layer));
            let removal = compression.entries[place]
                .pruning
                .and_then(|at| removals[at]);
            Ok(Rows {
                values: host(layer, compression.effective(place, &parts))?,
                removed: removed.map(|removed| removed.into_iter().map(|r| r > 0.5).collect()),
                ranges,
                removal: removal.filter(|_| may_go),
                scheme: compression.scheme(place),
                layer: layer.clone(),
            })
        });
        let rows = rows.collect::<Result<_, CompressError>>()?;
        compression.plan = self.clone();
        Ok((module, Begun { compression }, rows))
    }
}

/// A module with other values in these parameters.
pub(crate) fn with_values<M: Module>(
    module: M,
    values: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>,
) -> M {
    let ready = values.into_iter();
    let ready = ready.map(|(path, dims, values)| (path, TensorData::new(values, dims)));
    let mut apply = Apply::new(&module, ready.collect());
    module.map(&mut apply)
}

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use super::assign::{Assigned, Entries};
use super::edit::{Change, read, write};
use super::{CompressError, Compressed, Compression, Observations, Plan, Pruning, Quantization};
use crate::format::{Payload, Scheme};
use crate::quantize::Parameters;

impl<M: Module> Compressed<M> {
    /// The most bits of a weight that has codes; none where all are floats.
    pub(crate) fn bits(&self) -> Option<u32> {
        let schemes = self.schemes.iter().flatten();
        schemes.map(|scheme| scheme.bits()).max()
    }

    /// The module with its compression attached again: the same zeros, and codes of the same scales.
    pub(crate) fn attached(&self) -> Result<(M, Compression), CompressError> {
        let mut plan = Plan::new().prune(Pruning::existing());
        let mut schemes: Vec<Scheme> = Vec::new();
        for scheme in self.schemes.iter().flatten() {
            if !schemes.contains(scheme) {
                schemes.push(*scheme);
                plan = plan.quantize(Quantization::to(*scheme));
            }
        }
        let entries = self.schemes.iter().map(|own| Entries {
            pruning: Some(0),
            quantization: own.and_then(|own| schemes.iter().position(|scheme| *scheme == own)),
        });
        let assigned = Assigned {
            layers: self.selected.clone(),
            entries: entries.collect(),
        };
        let module = Compression::snapshot(&self.module);
        let seen = Observations::default();
        let (module, compression) = Compression::attach(plan, assigned, module, &seen)?;
        let parts = read(&module, &self.selected)?;
        let changes = self.selected.iter().zip(parts).map(|(layer, parts)| {
            let device = parts.base.device();
            let floats = |values: Vec<f32>| {
                let count = values.len();
                Tensor::<1>::from_data(TensorData::new(values, [count]), &device)
            };
            let parameters = match self.archive().content(&layer.path) {
                Some(Payload::Quantized(quantized)) => Some(Parameters {
                    scale: floats(quantized.scales().to_vec()),
                    zero_point: floats(quantized.zero_points().iter().map(|p| *p as f32).collect()),
                }),
                _ => None,
            };
            Change {
                parameters,
                ..Change::default()
            }
        });
        let changes = changes.collect();
        Ok((write(module, &self.selected, changes), compression))
    }
}

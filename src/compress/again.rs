use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use super::edit::{Change, read, write};
use super::{CompressError, Compressed, Compression, Observations, Plan, Pruning, Quantization};
use crate::format::{Payload, Scheme};
use crate::quantize::Parameters;

impl<M: Module> Compressed<M> {
    /// The codes of the weights; none where they are floats.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// The module with its compression attached again: the same zeros, and codes of the same scales.
    pub(crate) fn attached(&self) -> Result<(M, Compression), CompressError> {
        let mut plan = Plan::new().prune(Pruning::existing());
        if let Some(scheme) = self.scheme {
            plan = plan.quantize(Quantization::to(scheme));
        }
        let module = Compression::snapshot(&self.module);
        let (module, compression) = Compression::attach(
            plan,
            self.selected.clone(),
            module,
            &Observations::default(),
        )?;
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

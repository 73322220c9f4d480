use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::super::CompressError;
use super::super::weights::host_of;
use super::Observations;
use super::sum::Sum;
use crate::format::FormatError;
use crate::prune::Need;

/// A sum, but for its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedSum {
    layer: String,
    need: Need,
    dims: Vec<usize>,
    batches: usize,
    used: bool,
}

impl Observations {
    /// All sums, and their values one after another, little-endian.
    pub(crate) fn save(&self) -> Result<(Vec<SavedSum>, Vec<u8>), CompressError> {
        let mut bytes = Vec::new();
        let sums = self.sums.iter().map(|((layer, need), sum)| {
            let values = host_of(layer, sum.values.clone())?;
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            Ok(SavedSum {
                layer: layer.clone(),
                need: *need,
                dims: sum.dims.clone(),
                batches: sum.batches,
                used: sum.used,
            })
        });
        let sums = sums.collect::<Result<_, CompressError>>()?;
        Ok((sums, bytes))
    }

    /// Puts saved sums in place of those that are there.
    pub(crate) fn restore(
        &mut self,
        saved: Vec<SavedSum>,
        bytes: &[u8],
        device: &Device,
    ) -> Result<(), CompressError> {
        let wrong = |what: &str| FormatError::corrupt(format!("observations: {what}"));
        let (values, rest) = bytes.as_chunks::<4>();
        let mut values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let mut sums = std::collections::BTreeMap::new();
        for one in saved {
            if !self.layers.iter().any(|layer| layer.path == one.layer) {
                return Err(CompressError::Detached { layer: one.layer });
            }
            let length = one.dims.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
            let length = length.filter(|length| *length <= values.len());
            let length = length.ok_or_else(|| wrong("fewer values than announced"))?;
            let of_one: Vec<f32> = values.by_ref().take(length).collect();
            let sum = Sum {
                values: Tensor::from_data(TensorData::new(of_one, [length]), device),
                dims: one.dims,
                batches: one.batches,
                used: one.used,
            };
            sums.insert((one.layer, one.need), sum);
        }
        if values.len() > 0 || !rest.is_empty() {
            return Err(wrong("more values than announced").into());
        }
        self.sums = sums;
        Ok(())
    }

    // The sums of gradients that are asked for, seen or not, in one order.
    #[cfg(feature = "learner")]
    fn gradient_keys(&self) -> Vec<((String, Need), [usize; 2])> {
        let needs = self.needs.iter().filter(|need| need.is_gradient());
        let keys = self.layers.iter().flat_map(|layer| {
            let dims = [layer.view.rows(), layer.view.columns()];
            let key = move |need: &Need| ((layer.path.clone(), *need), dims);
            needs.clone().map(key)
        });
        keys.collect()
    }

    /// All sums of gradients one after another, zeros where none were seen; none where none are asked
    /// for.
    #[cfg(feature = "learner")]
    pub(crate) fn gradient_sums(&self, device: &Device) -> Option<Tensor<1>> {
        let keys = self.gradient_keys().into_iter();
        let sums = keys.map(|(key, [rows, columns])| match self.sums.get(&key) {
            Some(sum) => sum.values.clone().to_device(device),
            None => Tensor::zeros([rows * columns], device),
        });
        let sums: Vec<Tensor<1>> = sums.collect();
        (!sums.is_empty()).then(|| Tensor::cat(sums, 0))
    }

    /// The batches of each sum of gradients.
    #[cfg(feature = "learner")]
    pub(crate) fn gradient_batches(&self) -> Vec<usize> {
        let keys = self.gradient_keys().into_iter();
        keys.map(|(key, _)| self.sums.get(&key).map_or(0, |sum| sum.batches))
            .collect()
    }

    /// Puts sums of gradients in place of those that are there.
    #[cfg(feature = "learner")]
    pub(crate) fn restore_gradient_sums(&mut self, sums: &Tensor<1>, batches: &[usize]) {
        let keys = self.gradient_keys();
        let length: usize = keys.iter().map(|(_, [rows, columns])| rows * columns).sum();
        // A record of other sums is none of this compression; Burn has refused it.
        if sums.dims() != [length] || batches.len() != keys.len() {
            return;
        }
        let mut start = 0;
        for ((key, dims), &batches) in keys.into_iter().zip(batches) {
            let length = dims[0] * dims[1];
            let values = sums.clone().narrow(0, start, length);
            start += length;
            self.sums.remove(&key);
            if batches > 0 {
                let sum = Sum {
                    values,
                    dims: dims.to_vec(),
                    batches,
                    used: false,
                };
                self.sums.insert(key, sum);
            }
        }
    }
}

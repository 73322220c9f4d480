use burn::tensor::{Device, Tensor};

use crate::format::WeightView;

/// A sum over batches.
#[derive(Debug, Clone)]
pub(super) struct Sum {
    /// Flat.
    pub values: Tensor<1>,
    pub dims: Vec<usize>,
    pub batches: usize,
    /// Whether masks moved by it, so that the next batch begins a new one.
    pub used: bool,
}

impl Sum {
    pub fn of<const D: usize>(values: Tensor<D>) -> Self {
        let dims = values.dims().to_vec();
        let length: usize = dims.iter().product();
        Self {
            values: values.without_autodiff().reshape([length]),
            dims,
            batches: 1,
            used: false,
        }
    }

    pub fn add<const D: usize>(&mut self, values: Tensor<D>) {
        let new = Self::of(values);
        // Another batch shows other groups only of another graph, whose sum is then the only one known.
        if self.used || self.dims != new.dims {
            *self = new;
            return;
        }
        let values = new.values.to_device(&self.values.device());
        self.values = self.values.clone() + values;
        self.batches += 1;
    }

    /// Of a batch; none where it has other dimensions.
    pub fn mean<const D: usize>(&self, dims: [usize; D], device: &Device) -> Option<Tensor<D>> {
        (self.dims == dims).then_some(())?;
        let sum = self.values.clone().to_device(device).reshape(dims);
        Some(sum / self.batches as f64)
    }

    /// The root of the sum of squares of the channel that each weight multiplies; none where a layer has
    /// other channels.
    pub fn norms(&self, view: &WeightView, device: &Device) -> Option<Tensor<2>> {
        let taps = view.taps().max(1);
        let (rows, inputs) = (view.rows(), view.columns() / taps);
        let groups = self.groups(self.dims.first()?, inputs, rows)?;
        let norms = self.values.clone().to_device(device).sqrt();
        let norms =
            norms
                .reshape([groups, 1, inputs, 1])
                .expand([groups, rows / groups, inputs, taps]);
        Some(norms.reshape([rows, inputs * taps]))
    }

    /// The matrix of each group; none where a layer has others.
    pub fn gram(&self, view: &WeightView, device: &Device) -> Option<Tensor<3>> {
        let columns = view.columns();
        let [groups, height, width] = self.dims[..] else {
            return None;
        };
        let fits = [height, width] == [columns; 2] && groups > 0;
        (fits && view.rows().is_multiple_of(groups)).then_some(())?;
        let sum = self.values.clone().to_device(device);
        Some(sum.reshape([groups, columns, columns]))
    }

    fn groups(&self, channels: &usize, of_group: usize, rows: usize) -> Option<usize> {
        let groups = channels.checked_div(of_group)?;
        let fits = groups > 0 && groups * of_group == *channels && rows.is_multiple_of(groups);
        (fits && self.dims.len() == 1).then_some(groups)
    }
}

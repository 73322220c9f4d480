//! The zeros of one model, for another one.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Tensor, TensorData};

use super::weights::host_of;
use super::{CompressError, Layer, attached_part};

/// Which weights of a model are exactly zero, by the paths of its parameters: to be zero in another model
/// of the same structure, too. [`Pruning::zeros_of`](super::Pruning::zeros_of) puts them there.
///
/// It is what carries a mask past whatever fills the zeros up: merging a LoRA adapter, training that knew
/// nothing of them, another program.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::compress::{Masks, Plan, Pruning};
/// let device = Device::default();
/// let dense = LinearConfig::new(8, 2).init(&device);
/// let sparse = Plan::new().prune(Pruning::to(0.75)).apply(dense)?.module;
///
/// let masks = Masks::of(&sparse)?;
/// assert_eq!(masks.removed("weight").unwrap().iter().filter(|removed| **removed).count(), 12);
///
/// let other = LinearConfig::new(8, 2).init(&device); // stands for the one whose zeros are gone
/// let pruned = Plan::new().prune(Pruning::existing().zeros_of(masks)).apply(other)?;
/// assert_eq!(pruned.layers()[0].removed, 12);
/// # Ok::<(), burn_compress::compress::CompressError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masks {
    layers: HashMap<String, Mask>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mask {
    dims: Vec<usize>,
    /// In the parameter's own order.
    removed: Vec<bool>,
}

impl Masks {
    /// The zeros of a module's float parameters as its layers use them: what a compression that it
    /// carries removes, and zeros that codes round to, count as well. Reads them from the device.
    pub fn of<M: Module>(module: &M) -> Result<Self, CompressError> {
        let mut reader = Reader::default();
        module.visit(&mut reader);
        match reader.error {
            Some(error) => Err(error),
            None => Ok(Self {
                layers: reader.layers,
            }),
        }
    }

    /// Which weights of the parameter at this path are zero, in the parameter's own order; none where
    /// there is no such parameter.
    pub fn removed(&self, path: &str) -> Option<&[bool]> {
        Some(&self.layers.get(path)?.removed)
    }

    /// In rows, on a device.
    pub(super) fn rows(
        &self,
        layer: &Layer,
        base: &Tensor<2>,
    ) -> Result<Tensor<2, Bool>, CompressError> {
        let wrong = |what: String| CompressError::Masks {
            layer: layer.path.clone(),
            what,
        };
        let mask = self.layers.get(&layer.path);
        let mask = mask.ok_or_else(|| wrong("they have no such parameter".into()))?;
        if mask.dims != layer.view.dims() {
            let (one, other) = (&mask.dims, layer.view.dims());
            return Err(wrong(format!("they are of {one:?}, it is of {other:?}")));
        }
        let rows = layer.view.to_rows(&mask.removed);
        let data = TensorData::new(rows, base.dims());
        Ok(Tensor::from_data(data, &base.device()))
    }
}

#[derive(Default)]
struct Reader {
    path: Vec<String>,
    layers: HashMap<String, Mask>,
    error: Option<CompressError>,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if D == 0 || attached_part(&path).is_some() {
            return;
        }
        let values = param.val().without_autodiff();
        let dims = values.dims().to_vec();
        match host_of(&path, values) {
            Ok(values) => {
                let removed = values.iter().map(|value| *value == 0.0).collect();
                self.layers.insert(path, Mask { dims, removed });
            }
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }
}

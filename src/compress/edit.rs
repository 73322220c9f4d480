//! Reads what is attached to a module, and writes it back changed.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Tensor};

use super::layer::attached_part;
use super::rows::{from_rows, to_rows};
use super::{CompressError, Layer};
use crate::quantize::Parameters;

/// A layer's stored weights and what is attached to them, without gradients.
#[derive(Clone)]
pub(super) struct Parts {
    /// Stored weights in rows.
    pub base: Tensor<2>,
    pub removed: Option<Tensor<2, Bool>>,
    pub parameters: Option<Parameters>,
}

/// The parts of each layer, in the layers' order.
pub(super) fn read<M: Module>(module: &M, layers: &[Layer]) -> Result<Vec<Parts>, CompressError> {
    let mut reader = Reader {
        path: Vec::new(),
        layers: layers.iter().map(|l| (l.path.as_str(), l)).collect(),
        base: HashMap::new(),
        removed: HashMap::new(),
        scale: HashMap::new(),
        zero_point: HashMap::new(),
    };
    module.visit(&mut reader);
    layers
        .iter()
        .map(|layer| {
            let path = layer.path.as_str();
            let base = reader.base.remove(path);
            let base = base.ok_or_else(|| CompressError::Detached {
                layer: layer.path.clone(),
            })?;
            let scale = reader.scale.remove(path);
            let zero_point = reader.zero_point.remove(path);
            Ok(Parts {
                base,
                removed: reader.removed.remove(path),
                parameters: scale
                    .zip(zero_point)
                    .map(|(scale, zero_point)| Parameters::stored(scale, zero_point)),
            })
        })
        .collect()
}

struct Reader<'a> {
    path: Vec<String>,
    layers: HashMap<&'a str, &'a Layer>,
    base: HashMap<String, Tensor<2>>,
    removed: HashMap<String, Tensor<2, Bool>>,
    scale: HashMap<String, Tensor<1>>,
    zero_point: HashMap<String, Tensor<1>>,
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if let Some(layer) = self.layers.get(path.as_str()) {
            if param.shape().as_slice() == layer.view.dims() {
                let rows = to_rows(param.base().without_autodiff(), &layer.view);
                self.base.insert(path, rows);
            }
            return;
        }
        let Some((layer, part)) = attached_part(&path) else {
            return;
        };
        let values = || {
            let length = param.lazy_shape().num_elements();
            param.base().without_autodiff().reshape([length])
        };
        match part {
            "scale" => self.scale.insert(layer.to_string(), values()),
            "zero_point" => self.zero_point.insert(layer.to_string(), values()),
            _ => None,
        };
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let path = self.path.join(".");
        if let Some((layer, "removed")) = attached_part(&path)
            && let Some(known) = self.layers.get(layer)
        {
            let mask = param.val().without_autodiff();
            let rows = mask.reshape([known.view.rows(), known.view.columns()]);
            self.removed.insert(layer.to_string(), rows);
        }
    }
}

/// What changes in a layer; the rest stays.
#[derive(Default)]
pub(super) struct Change {
    /// Stored weights become exactly zero here.
    pub clear: Option<Tensor<2, Bool>>,
    pub removed: Option<Tensor<2, Bool>>,
    pub parameters: Option<Parameters>,
}

/// The module with a change made in each layer.
pub(super) fn write<M: Module>(module: M, layers: &[Layer], changes: Vec<Change>) -> M {
    let changes = layers.iter().zip(changes);
    module.map(&mut Writer {
        path: Vec::new(),
        changes: changes
            .map(|(layer, change)| (layer.path.as_str(), (layer, change)))
            .collect(),
    })
}

struct Writer<'a> {
    path: Vec<String>,
    changes: HashMap<&'a str, (&'a Layer, Change)>,
}

// A leaf of the graph stays a leaf, with the same gradient requirement.
pub(crate) fn replace<const D: usize>(
    param: Param<Tensor<D>>,
    change: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Param<Tensor<D>> {
    param.map(|tensor| {
        if !tensor.is_autodiff() {
            return change(tensor);
        }
        let strategy = tensor.gradient_checkpointing_strategy();
        let require_grad = tensor.is_require_grad();
        let mut changed = Tensor::from_inner(change(tensor.without_autodiff()));
        if let Some(strategy) = strategy {
            changed = changed.with_gradient_checkpointing_strategy(strategy);
        }
        changed.set_require_grad(require_grad)
    })
}

impl ModuleMapper for Writer<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        if let Some((layer, change)) = self.changes.get(path.as_str()) {
            let Some(clear) = change.clear.clone() else {
                return param;
            };
            return replace(param, |weight| {
                let rows = to_rows(weight, &layer.view).mask_fill(clear, 0.0);
                from_rows(rows, &layer.view)
            });
        }
        let Some((layer, part)) = attached_part(&path) else {
            return param;
        };
        let parameters = self.changes.get(layer);
        let Some(parameters) = parameters.and_then(|(_, change)| change.parameters.clone()) else {
            return param;
        };
        match part {
            "scale" => replace(param, |old| parameters.scale.reshape(old.dims())),
            "zero_point" => replace(param, |old| parameters.zero_point.reshape(old.dims())),
            _ => param,
        }
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        let path = self.path.join(".");
        let Some((layer, "removed")) = attached_part(&path) else {
            return param;
        };
        let mask = self.changes.get(layer);
        match mask.and_then(|(_, change)| change.removed.clone()) {
            None => param,
            Some(mask) => param.map(|old| {
                let new = mask.reshape(old.dims());
                match old.is_autodiff() {
                    true => Tensor::from_inner(new),
                    false => new,
                }
            }),
        }
    }
}

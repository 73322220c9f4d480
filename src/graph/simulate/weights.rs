use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Device, Tensor};

use super::super::tensor::{AnyTensor, map_rank};
use super::super::{Graph, GraphError, Parameter};
use super::packed_codes::PackedCodes;
use crate::attach::{Attached, attached_part, effective, effective_codes};
use crate::format::WeightView;
use crate::quantize::{Parameters, step};

/// A parameter as the graph computes with it, gradients included.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    stored: Stored,
    /// Of each output channel, or one; of integers alone.
    scale: Option<Tensor<1>>,
    /// Whether it is read as integers: as the weight of an integer product.
    as_integers: bool,
}

#[derive(Debug, Clone)]
enum Stored {
    /// Integers, or values: removed ones zero, the others quantized.
    Whole(AnyTensor),
    /// Integers in few bits.
    Packed(PackedCodes),
}

impl Weight {
    /// Its values; of the weight of an integer product, which nothing reads so, its integers.
    pub fn values(&self) -> AnyTensor {
        match (&self.stored, &self.scale) {
            (Stored::Whole(tensor), _) => tensor.clone(),
            (Stored::Packed(codes), Some(scale)) if !self.as_integers => codes.values(scale),
            (Stored::Packed(codes), _) => codes.codes(),
        }
    }

    /// Integers; none of another than the weight of an integer product.
    pub fn codes(&self) -> Option<AnyTensor> {
        self.as_integers.then(|| self.values())
    }

    /// The scale of its integers.
    pub fn scale(&self) -> Option<&Tensor<1>> {
        self.scale.as_ref()
    }

    /// Where it is.
    pub fn device(&self) -> Device {
        match &self.stored {
            Stored::Whole(tensor) => tensor.device(),
            Stored::Packed(codes) => codes.device(),
        }
    }

    /// Whether it is on a device that can track gradients.
    pub fn is_autodiff(&self) -> bool {
        match &self.stored {
            Stored::Whole(tensor) => tensor.is_autodiff(),
            Stored::Packed(_) => false,
        }
    }

    /// The same on a device that tracks gradients, if it must be.
    pub fn tracked(self, autodiff: bool) -> Self {
        let stored = match self.stored {
            Stored::Whole(tensor) => Stored::Whole(tensor.tracked(autodiff)),
            packed => packed,
        };
        Self { stored, ..self }
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        let floats = |dims: &[usize]| 4 * dims.iter().product::<usize>();
        let stored = match &self.stored {
            Stored::Whole(tensor) => floats(&tensor.dims()),
            Stored::Packed(codes) => codes.bytes(),
        };
        stored + self.scale.as_ref().map_or(0, |scale| floats(&scale.dims()))
    }

    /// The same on another device.
    pub fn moved(self, device: &Device) -> Self {
        Self {
            stored: match self.stored {
                Stored::Whole(tensor) => {
                    Stored::Whole(map_rank!(tensor, tensor => tensor.to_device(device)))
                }
                Stored::Packed(codes) => Stored::Packed(codes.moved(device)),
            },
            scale: self.scale.map(|scale| scale.to_device(device)),
            ..self
        }
    }

    // Without gradients; integers in as many bits as they take.
    fn packed(
        self,
        parameter: &Parameter,
        view: Option<&WeightView>,
        as_integers: bool,
    ) -> Result<Self, GraphError> {
        let tensor = self.values();
        let tensor = map_rank!(tensor, tensor => tensor.without_autodiff());
        let stored = match view.filter(|_| self.as_integers) {
            None => Stored::Whole(tensor),
            Some(view) => {
                // In the parameter's own layout again.
                let codes = as_read(tensor, parameter.transposed);
                Stored::Packed(PackedCodes::new(codes, view.clone(), parameter)?)
            }
        };
        Ok(Self {
            as_integers: as_integers && self.as_integers,
            stored,
            scale: self.scale.map(Tensor::without_autodiff),
        })
    }
}

/// The graph's parameters for inference, those that are quantized in as many bits as their codes take.
/// Reads all of these from the device.
pub(crate) fn packed_weights<M: Module>(
    graph: &Graph,
    module: &M,
    attached: &Attached,
    integers: impl Fn(usize) -> bool,
) -> Result<Vec<Weight>, GraphError> {
    let weights = weights(graph, module, attached, |_| true)?;
    let weights = graph.parameters.iter().zip(weights).enumerate();
    weights
        .map(|(index, (parameter, weight))| {
            let view = attached.view(&parameter.path);
            weight.packed(parameter, view, integers(index))
        })
        .collect()
}

/// The graph's parameters, from a module that may carry a compression.
pub(crate) fn weights<M: Module>(
    graph: &Graph,
    module: &M,
    attached: &Attached,
    integers: impl Fn(usize) -> bool,
) -> Result<Vec<Weight>, GraphError> {
    let count = module.devices().len();
    if count > 1 {
        return Err(GraphError::Devices { count });
    }
    let mut reader = Reader::default();
    module.visit(&mut reader);
    let parameters = graph.parameters.iter().enumerate();
    parameters
        .map(|(index, parameter)| {
            let path = &parameter.path;
            let wrong = |what: String| GraphError::Parameter {
                path: path.clone(),
                what,
            };
            let base = reader.base.get(path).cloned();
            let base = base.ok_or_else(|| {
                wrong("the module has none of that path; capture the graph of this module".into())
            })?;
            if base.dims() != parameter.dims {
                let found = base.dims();
                return Err(wrong(format!(
                    "{found:?}, not {:?} as recorded",
                    parameter.dims
                )));
            }
            let whole = |tensor: AnyTensor, scale: Option<Tensor<1>>| Weight {
                stored: Stored::Whole(as_read(tensor, parameter.transposed)),
                as_integers: scale.is_some(),
                scale,
            };
            let removed = reader.removed.get(path).cloned();
            let scale = reader.part(path, "scale");
            let scale = scale.zip(reader.part(path, "zero_point"));
            let Some(view) = attached.view(path) else {
                return match removed.is_some() || scale.is_some() {
                    true => Err(wrong(
                        "it carries a compression: use `forward_under`, or `materialize` the module"
                            .into(),
                    )),
                    false => Ok(whole(base, None)),
                };
            };
            let parameters = scale.map(|(scale, zero_point)| Parameters::stored(scale, zero_point));
            if attached.scheme().is_some() && parameters.is_none() {
                return Err(wrong("its scale is gone".into()));
            }
            let removed = removed.map(|mask| mask.reshape([view.rows(), view.columns()]));
            let quantizer = attached.scheme();
            let quantizer = quantizer.as_ref().zip(parameters.as_ref());
            if let Some((scheme, parameters)) = quantizer
                && integers(index)
            {
                let codes = map_rank!(base, base => {
                    effective_codes(base, view, removed, (scheme, parameters))
                });
                let [groups] = parameters.scale.dims();
                let scale = match parameters.scale.is_tracked() {
                    true => step(parameters, scheme, view.len() / groups.max(1)),
                    false => parameters.scale.clone().detach(),
                };
                return Ok(whole(codes, Some(scale)));
            }
            let values = map_rank!(base, base => effective(base, view, removed, quantizer));
            Ok(whole(values, None))
        })
        .collect()
}

/// As the forward pass reads it; or back.
pub(super) fn as_read(tensor: AnyTensor, transposed: bool) -> AnyTensor {
    match transposed {
        true => tensor.permute(&[1, 0]),
        false => tensor,
    }
}

#[derive(Default)]
struct Reader {
    path: Vec<String>,
    base: HashMap<String, AnyTensor>,
    removed: HashMap<String, Tensor<2, Bool>>,
    parts: HashMap<(String, String), Tensor<1>>,
}

impl Reader {
    fn part(&self, path: &str, part: &str) -> Option<Tensor<1>> {
        self.parts
            .get(&(path.to_string(), part.to_string()))
            .cloned()
    }
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
        if let Some((layer, part)) = attached_part(&path) {
            let values = param.base();
            let values = values.reshape([param.shape().num_elements()]);
            self.parts
                .insert((layer.to_string(), part.to_string()), values);
            return;
        }
        if let Some(tensor) = AnyTensor::of(param.base()) {
            self.base.insert(path, tensor);
        }
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let path = self.path.join(".");
        if let Some((layer, "removed")) = attached_part(&path) {
            let mask = param.val();
            let rows = mask.dims().first().copied().unwrap_or(1).max(1);
            let columns = mask.shape().num_elements() / rows;
            self.removed
                .insert(layer.to_string(), mask.reshape([rows, columns]));
        }
    }
}

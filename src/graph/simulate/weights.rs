use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Device, Tensor};

use super::super::tensor::{AnyTensor, map_rank};
use super::super::{Graph, GraphError, Parameter};
use super::packed_codes::PackedCodes;
use crate::attach::{Attached, attached_part, effective, effective_codes};
use crate::format::{Scheme, WeightView};
use crate::quantize::{Parameters, step};

/// A parameter as the graph computes with it, gradients included.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    stored: Stored,
    /// Of codes: of each output channel, or one.
    scale: Option<Tensor<1>>,
}

#[derive(Debug, Clone)]
enum Stored {
    /// Removed ones zero, the others quantized.
    Values(AnyTensor),
    /// Integers: of the weight of an integer product.
    Codes(AnyTensor),
    /// The same in few bits.
    PackedCodes(PackedCodes),
    /// Integers in few bits, whose values are read.
    PackedValues(PackedCodes),
}

impl Weight {
    /// Its values; of the weight of an integer product, which nothing reads so, its codes.
    pub fn values(&self) -> AnyTensor {
        match (&self.stored, &self.scale) {
            (Stored::Values(values) | Stored::Codes(values), _) => values.clone(),
            (Stored::PackedValues(codes), Some(scale)) => codes.values(scale),
            (Stored::PackedCodes(codes) | Stored::PackedValues(codes), _) => codes.codes(),
        }
    }

    /// Integers; none of another than the weight of an integer product.
    pub fn codes(&self) -> Option<AnyTensor> {
        match &self.stored {
            Stored::Codes(codes) => Some(codes.clone()),
            Stored::PackedCodes(codes) => Some(codes.codes()),
            _ => None,
        }
    }

    /// The scale of its integers.
    pub fn scale(&self) -> Option<&Tensor<1>> {
        self.scale.as_ref()
    }

    /// Where it is.
    pub fn device(&self) -> Device {
        match &self.stored {
            Stored::Values(tensor) | Stored::Codes(tensor) => tensor.device(),
            Stored::PackedCodes(codes) | Stored::PackedValues(codes) => codes.device(),
        }
    }

    /// Whether it is on a device that can track gradients.
    pub fn is_autodiff(&self) -> bool {
        match &self.stored {
            Stored::Values(tensor) | Stored::Codes(tensor) => tensor.is_autodiff(),
            Stored::PackedCodes(_) | Stored::PackedValues(_) => false,
        }
    }

    /// The same on a device that tracks gradients, if it must be.
    pub fn tracked(self, autodiff: bool) -> Self {
        let stored = match self.stored {
            Stored::Values(tensor) => Stored::Values(tensor.tracked(autodiff)),
            stored => stored,
        };
        Self { stored, ..self }
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        let floats = |dims: &[usize]| 4 * dims.iter().product::<usize>();
        let stored = match &self.stored {
            Stored::Values(tensor) | Stored::Codes(tensor) => floats(&tensor.dims()),
            Stored::PackedCodes(codes) | Stored::PackedValues(codes) => codes.bytes(),
        };
        stored + self.scale.as_ref().map_or(0, |scale| floats(&scale.dims()))
    }

    /// The same on another device.
    pub fn moved(self, device: &Device) -> Self {
        let moved = |tensor: AnyTensor| map_rank!(tensor, tensor => tensor.to_device(device));
        Self {
            stored: match self.stored {
                Stored::Values(tensor) => Stored::Values(moved(tensor)),
                Stored::Codes(tensor) => Stored::Codes(moved(tensor)),
                Stored::PackedCodes(codes) => Stored::PackedCodes(codes.moved(device)),
                Stored::PackedValues(codes) => Stored::PackedValues(codes.moved(device)),
            },
            scale: self.scale.map(|scale| scale.to_device(device)),
        }
    }
}

/// The graph's parameters, from a module that may carry a compression.
pub(crate) fn weights<M: Module>(
    graph: &Graph,
    module: &M,
    attached: &Attached,
    integers: impl Fn(usize) -> bool,
) -> Result<Vec<Weight>, GraphError> {
    let found = found(graph, module, attached)?;
    let weight = |(index, found): (usize, Found<'_>)| found.weight(integers(index));
    Ok(found.into_iter().enumerate().map(weight).collect())
}

/// The same for inference: those that are quantized in as many bits as their codes take. Reads all of
/// them from the device.
pub(crate) fn packed_weights<M: Module>(
    graph: &Graph,
    module: &M,
    attached: &Attached,
    integers: impl Fn(usize) -> bool,
) -> Result<Vec<Weight>, GraphError> {
    let found = found(graph, module, attached)?;
    let weight = |(index, found): (usize, Found<'_>)| found.packed(integers(index));
    found.into_iter().enumerate().map(weight).collect()
}

// A parameter of the graph in a module, with what is attached to it.
struct Found<'a> {
    parameter: &'a Parameter,
    base: AnyTensor,
    view: Option<&'a WeightView>,
    removed: Option<Tensor<2, Bool>>,
    quantizer: Option<(Scheme, Parameters)>,
}

fn found<'a, M: Module>(
    graph: &'a Graph,
    module: &M,
    attached: &'a Attached,
) -> Result<Vec<Found<'a>>, GraphError> {
    let count = module.devices().len();
    if count > 1 {
        return Err(GraphError::Devices { count });
    }
    let mut reader = Reader::default();
    module.visit(&mut reader);
    let parameters = graph.parameters.iter();
    parameters
        .map(|parameter| {
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
            let removed = reader.removed.get(path).cloned();
            let scale = reader.part(path, "scale");
            let scale = scale.zip(reader.part(path, "zero_point"));
            let view = attached.view(path);
            if view.is_none() && (removed.is_some() || scale.is_some()) {
                return Err(wrong(
                    "it carries a compression: use `forward_under`, or `materialize` the module"
                        .into(),
                ));
            }
            let parameters = scale.map(|(scale, zero_point)| Parameters::stored(scale, zero_point));
            let scheme = attached.scheme().filter(|_| view.is_some());
            if scheme.is_some() && parameters.is_none() {
                return Err(wrong("its scale is gone".into()));
            }
            let rows = |view: &WeightView| [view.rows(), view.columns()];
            Ok(Found {
                parameter,
                base,
                view,
                removed: removed
                    .zip(view)
                    .map(|(mask, view)| mask.reshape(rows(view))),
                quantizer: scheme.zip(parameters),
            })
        })
        .collect()
}

impl Found<'_> {
    fn weight(self, as_integers: bool) -> Weight {
        let transposed = self.parameter.transposed;
        let values = |values| Weight {
            stored: Stored::Values(as_read(values, transposed)),
            scale: None,
        };
        let Some(view) = self.view else {
            return values(self.base);
        };
        match &self.quantizer {
            Some((scheme, parameters)) if as_integers => {
                let [groups] = parameters.scale.dims();
                let scale = match parameters.scale.is_tracked() {
                    true => step(parameters, scheme, view.len() / groups.max(1)),
                    false => parameters.scale.clone().detach(),
                };
                let codes = map_rank!(self.base, base => {
                    effective_codes(base, view, self.removed, (scheme, parameters))
                });
                Weight {
                    stored: Stored::Codes(as_read(codes, transposed)),
                    scale: Some(scale),
                }
            }
            quantizer => {
                let quantizer = quantizer.as_ref().map(|(scheme, of)| (scheme, of));
                values(map_rank!(self.base, base => effective(base, view, self.removed, quantizer)))
            }
        }
    }

    fn packed(self, as_integers: bool) -> Result<Weight, GraphError> {
        let (Some(view), Some((_, parameters))) = (self.view, &self.quantizer) else {
            let values = self.weight(as_integers).values();
            return Ok(Weight {
                stored: Stored::Values(plain(values)),
                scale: None,
            });
        };
        let scale = parameters.scale.clone().without_autodiff();
        let (view, parameter) = (view.clone(), self.parameter);
        // In the parameter's own layout again.
        let codes = as_read(self.weight(true).values(), parameter.transposed);
        let codes = PackedCodes::new(plain(codes), view, parameter)?;
        let stored = match as_integers {
            true => Stored::PackedCodes(codes),
            false => Stored::PackedValues(codes),
        };
        Ok(Weight {
            stored,
            scale: Some(scale),
        })
    }
}

fn plain(tensor: AnyTensor) -> AnyTensor {
    map_rank!(tensor, tensor => tensor.without_autodiff())
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

use std::collections::{HashMap, HashSet};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Device, Tensor};

use super::super::tensor::{AnyTensor, map_rank};
use super::super::{Graph, GraphError, Parameter};
use super::channels::as_read;
use super::packed_codes::PackedCodes;
use super::reads::Reads;
use crate::compress::{Attached, attached_part, effective, effective_codes};
use crate::format::WeightView;
use crate::network::Binary;
use crate::quantize::{Parameters, step};

/// A parameter as the graph computes with it, gradients included.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    stored: Stored,
    /// Of each output channel, or one; of integers alone.
    scale: Option<Tensor<1>>,
    /// The sum of each output channel before it was quantized, where that is read.
    sums: Option<Tensor<1>>,
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
    /// A parameter of these values, as the forward pass reads it.
    pub fn of(values: AnyTensor) -> Self {
        Self {
            stored: Stored::Whole(values),
            scale: None,
            sums: None,
            as_integers: false,
        }
    }

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

    /// The sum of each output channel's weights, removed ones zero, before they were quantized.
    pub fn sums(&self) -> Option<&Tensor<1>> {
        self.sums.as_ref()
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
        let others = self.scale.iter().chain(&self.sums);
        stored + others.map(|numbers| floats(&numbers.dims())).sum::<usize>()
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
            sums: self.sums.map(|sums| sums.to_device(device)),
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
            sums: self.sums.map(Tensor::without_autodiff),
        })
    }
}

/// The graph's parameters for inference, those that are quantized in as many bits as their codes take.
/// Reads all of these from the device.
pub(crate) fn packed_weights<M: Module>(
    graph: &Graph,
    module: &M,
    attached: &Attached,
    reads: &Reads,
) -> Result<Vec<Weight>, GraphError> {
    let count = graph.parameters.len();
    let weights = weights(graph, module, attached, &reads.all_as_integers(count))?;
    let weights = graph.parameters.iter().zip(weights).enumerate();
    weights
        .map(|(index, (parameter, weight))| {
            let view = attached.view(&parameter.path);
            weight.packed(parameter, view, reads.of(index).integers)
        })
        .collect()
}

/// The graph's parameters, from a module that may carry a compression.
pub(crate) fn weights<M: Module>(
    graph: &Graph,
    module: &M,
    attached: &Attached,
    reads: &Reads,
) -> Result<Vec<Weight>, GraphError> {
    let count = module.devices().len();
    if count > 1 {
        return Err(GraphError::Devices { count });
    }
    let mut reader = Reader {
        asked: graph.numbers.iter().map(|(path, _)| path.clone()).collect(),
        ..Reader::default()
    };
    module.visit(&mut reader);
    let numbers = reader.numbers();
    for (path, number) in &graph.numbers {
        let found = numbers.get(path);
        if found.is_none_or(|found| found.to_bits() != number.to_bits()) {
            return Err(GraphError::Parameter {
                path: path.clone(),
                what: format!(
                    "the graph holds it as the number {number}, and it is {}: capture the graph again",
                    found.map_or("gone".to_string(), f32::to_string)
                ),
            });
        }
    }
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
            let read = reads.of(index);
            let whole = |tensor: AnyTensor, scale: Option<Tensor<1>>| Weight {
                stored: Stored::Whole(as_read(tensor, parameter.transposed)),
                as_integers: scale.is_some(),
                scale,
                sums: None,
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
            let quantizer = attached.scheme(path);
            if quantizer.is_some() && parameters.is_none() {
                return Err(wrong("its scale is gone".into()));
            }
            let removed = removed.map(|mask| mask.reshape([view.rows(), view.columns()]));
            let sums = read.sums.map(|axis| {
                let removed = removed.clone();
                let exact = map_rank!(base.clone(), base => effective(base, view, removed, None));
                sums(as_read(exact, parameter.transposed), axis)
            });
            let quantizer = quantizer.as_ref().zip(parameters.as_ref());
            if let Some((scheme, parameters)) = quantizer
                && read.integers
            {
                let [groups] = parameters.scale.dims();
                let mut scale = match parameters.scale.is_tracked() {
                    true => step(parameters, scheme, view.len() / groups.max(1)),
                    false => parameters.scale.clone().detach(),
                };
                let mut parameters = parameters.clone();
                let base = match &read.fold {
                    None => base,
                    Some(fold) => {
                        let device = base.device();
                        let factors = AnyTensor::from_values(&fold.inputs, &fold.dims, &device);
                        let factors = as_read(factors, parameter.transposed);
                        let scales = Tensor::<1>::from_data(fold.scales.as_slice(), &device);
                        parameters.scale = parameters.scale * scales.clone();
                        let zero_points = fold.zero_points.as_slice();
                        parameters.zero_point = Tensor::from_data(zero_points, &device);
                        scale = scale * scales;
                        base.binary(factors, Binary::Multiply)
                    }
                };
                let codes = map_rank!(base, base => {
                    effective_codes(base, view, removed, (scheme, &parameters))
                });
                let weight = whole(codes, Some(scale));
                return Ok(Weight { sums, ..weight });
            }
            let values = map_rank!(base, base => effective(base, view, removed, quantizer));
            let weight = whole(values, None);
            Ok(Weight { sums, ..weight })
        })
        .collect()
}

// The sums of all elements of each place on an axis.
fn sums(tensor: AnyTensor, axis: usize) -> Tensor<1> {
    let dims = tensor.dims();
    let length = |dims: &[usize]| -> usize { dims.iter().product() };
    let shape = [length(&dims[..axis]), dims[axis], length(&dims[axis + 1..])];
    let rows: Tensor<3> = tensor.reshape(&shape).rank();
    rows.sum_dim(2).sum_dim(0).reshape([dims[axis]])
}

#[derive(Default)]
struct Reader {
    path: Vec<String>,
    base: HashMap<String, AnyTensor>,
    removed: HashMap<String, Tensor<2, Bool>>,
    parts: HashMap<(String, String), Tensor<1>>,
    /// Parameters whose number is wanted, and a tensor of one element for each.
    asked: HashSet<String>,
    paths: Vec<String>,
    ones: Vec<Tensor<1>>,
}

impl Reader {
    fn part(&self, path: &str, part: &str) -> Option<Tensor<1>> {
        self.parts
            .get(&(path.to_string(), part.to_string()))
            .cloned()
    }

    // All of them in one transfer from the device.
    fn numbers(&mut self) -> HashMap<String, f32> {
        if self.ones.is_empty() {
            return HashMap::new();
        }
        let all = Tensor::cat(std::mem::take(&mut self.ones), 0).into_data();
        self.paths.drain(..).zip(all.iter::<f32>()).collect()
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
        if self.asked.contains(&path) && param.shape().num_elements() == 1 {
            self.paths.push(path.clone());
            self.ones.push(param.val().without_autodiff().reshape([1]));
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

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Tensor};

use super::super::tensor::{AnyTensor, map_rank};
use super::super::{Graph, GraphError};
use crate::attach::{Attached, attached_part, effective, effective_codes};
use crate::quantize::{Parameters, step};

/// A parameter as the graph computes with it, gradients included.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    /// Its values: removed ones zero, the others quantized.
    pub values: AnyTensor,
    /// Integers, and the scale of each output channel (or one): of the weight of an integer product.
    pub codes: Option<(AnyTensor, Tensor<1>)>,
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
            let base = base.ok_or_else(|| wrong("the module has none of that path; capture the graph of this module".into()))?;
            if base.dims() != parameter.dims {
                let found = base.dims();
                return Err(wrong(format!(
                    "{found:?}, not {:?} as recorded",
                    parameter.dims
                )));
            }
            let as_read = |tensor: AnyTensor| match parameter.transposed {
                true => tensor.permute(&[1, 0]),
                false => tensor,
            };
            let removed = reader.removed.get(path).cloned();
            let scale = reader.part(path, "scale");
            let scale = scale.zip(reader.part(path, "zero_point"));
            let Some(view) = attached.view(path) else {
                return match removed.is_some() || scale.is_some() {
                    true => Err(wrong(
                        "it carries a compression: use `forward_under`, or `materialize` the module".into(),
                    )),
                    false => Ok(Weight {
                        values: as_read(base),
                        codes: None,
                    }),
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
                let codes = as_read(codes);
                let [groups] = parameters.scale.dims();
                let scale = match parameters.scale.is_tracked() {
                    true => step(parameters, scheme, view.len() / groups.max(1)),
                    false => parameters.scale.clone().detach(),
                };
                return Ok(Weight {
                    // Nothing reads the values of such a weight.
                    values: codes.clone(),
                    codes: Some((codes, scale)),
                });
            }
            let values = map_rank!(base, base => effective(base, view, removed, quantizer));
            Ok(Weight {
                values: as_read(values),
                codes: None,
            })
        })
        .collect()
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

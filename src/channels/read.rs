//! A module's parameters, as far as the removal of channels needs to know them.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, Int, Tensor};

use super::ChannelError;
use crate::compress::layers;

pub(super) struct Parameter {
    pub path: String,
    pub id: ParamId,
    pub dims: Vec<usize>,
    /// Running statistics: no parameter that trains, and nothing to be masked.
    pub statistic: bool,
    pub trains: bool,
    /// Whether it is the weight of a convolution or a linear layer.
    pub is_weight: bool,
    /// Values; none where they were not asked for.
    pub values: Vec<f32>,
}

/// All float parameters. Fails where one carries a reparameterization, and where a value is not finite.
pub(super) fn read<M: Module>(module: &M, values: bool) -> Result<Vec<Parameter>, ChannelError> {
    let known = layers(module)?;
    let known: HashMap<_, _> = known
        .iter()
        .map(|layer| (layer.path.as_str(), layer))
        .collect();
    let mut reader = Reader {
        values,
        ..Reader::default()
    };
    module.visit(&mut reader);
    if let Some(error) = reader.error {
        return Err(error);
    }
    for parameter in &mut reader.found {
        if let Some(layer) = known.get(parameter.path.as_str()) {
            parameter.trains = layer.trains && !parameter.statistic;
            parameter.is_weight = layer.is_weight;
        }
    }
    Ok(reader.found)
}

#[derive(Default)]
struct Reader {
    values: bool,
    path: Vec<String>,
    containers: Vec<String>,
    found: Vec<Parameter>,
    error: Option<ChannelError>,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_string());
        self.containers.push(container_type.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let mut values = Vec::new();
        if self.values {
            match param.val().try_into_vec_as::<f32>() {
                Ok(read) => values = read,
                Err(error) => {
                    let reason = error.to_string();
                    let layer = path.clone();
                    self.error
                        .get_or_insert(ChannelError::Device { layer, reason });
                }
            }
            if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
                let layer = path.clone();
                self.error
                    .get_or_insert(ChannelError::NotFinite { layer, value });
            }
        }
        let container = self.containers.last().map_or("", String::as_str);
        self.found.push(Parameter {
            statistic: statistic(container, self.path.last()),
            path,
            id: param.id,
            dims: param.shape().as_slice().to_vec(),
            trains: false,
            is_weight: false,
            values,
        });
    }

    fn visit_int<const D: usize>(&mut self, _param: &Param<Tensor<D, Int>>) {}

    fn visit_bool<const D: usize>(&mut self, _param: &Param<Tensor<D, Bool>>) {}
}

/// Whether a parameter of this name, in what holds it, is a running statistic.
pub(super) fn statistic(container: &str, name: Option<&String>) -> bool {
    container.ends_with(":BatchNorm") && name.is_some_and(|name| name.starts_with("running"))
}

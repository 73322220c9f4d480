//! A module's parameters for a graph.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

use super::tensor::AnyTensor;
use super::{Graph, GraphError};

/// The graph's parameters and constants on the module's device (the default one where it has no
/// parameters), in the graph's order. Gradients reach the module's own parameters.
pub(crate) fn bind<M: Module>(
    graph: &Graph,
    module: &M,
) -> Result<(Vec<AnyTensor>, Vec<AnyTensor>), GraphError> {
    let parameters = read(graph, module)?;
    let device = match parameters.first() {
        Some(parameter) => parameter.device(),
        None => module.devices().first().cloned().unwrap_or_default(),
    };
    let constants = place(graph, &device);
    Ok((parameters, constants))
}

fn place(graph: &Graph, device: &Device) -> Vec<AnyTensor> {
    let constants = graph.constants.iter();
    constants
        .map(|constant| AnyTensor::from_values(&constant.values, &constant.dims, device))
        .collect()
}

fn read<M: Module>(graph: &Graph, module: &M) -> Result<Vec<AnyTensor>, GraphError> {
    let devices = module.devices();
    if devices.len() > 1 {
        let count = devices.len();
        return Err(GraphError::Devices { count });
    }
    let mut reader = Reader {
        path: Vec::new(),
        values: graph
            .parameters
            .iter()
            .map(|parameter| (parameter.path.as_str(), None))
            .collect(),
        attached: None,
    };
    module.visit(&mut reader);
    if let Some(path) = reader.attached {
        let what = "is changed by what is attached to it; call `materialize` on the module";
        let what = what.to_string();
        return Err(GraphError::Parameter { path, what });
    }
    let parameters = graph.parameters.iter().map(|parameter| {
        let failed = |what: String| GraphError::Parameter {
            path: parameter.path.clone(),
            what,
        };
        let value = reader.values.get(parameter.path.as_str());
        let value = value.cloned().flatten();
        let value = value.ok_or_else(|| failed("is not in the module".to_string()))?;
        let dims = value.dims();
        if dims != parameter.dims {
            let expected = &parameter.dims;
            return Err(failed(format!("is {dims:?}, not {expected:?}")));
        }
        Ok(value)
    });
    parameters.collect()
}

impl Graph {
    /// What the graph computes with a module's parameters, in floats: the same as the pass that was
    /// captured. The module is the one captured or another of its type; where it trains (on a device with
    /// gradients), gradients reach its parameters. Batch norms normalize by their running statistics.
    ///
    /// Fails with [`GraphError::Input`] for an input of other dimensions, [`GraphError::Parameter`] for
    /// another module or one with something attached, and [`GraphError::Devices`] where input and module are on several devices.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
    /// use burn_compress::graph::Graph;
    /// let device = Device::default();
    /// let model = LinearConfig::new(4, 2).init(&device);
    /// let graph = Graph::capture(&model, [1, 4], |model, x| model.forward(x))?;
    /// let output: Tensor<2> = graph.forward(&model, Tensor::<2>::ones([5, 4], &device))?;
    /// assert_eq!(output.dims(), [5, 2]);
    /// # Ok::<(), burn_compress::graph::GraphError>(())
    /// ```
    pub fn forward<M: Module, const D: usize, const E: usize>(
        &self,
        module: &M,
        input: Tensor<D>,
    ) -> Result<Tensor<E>, GraphError> {
        let rank = self.dims(self.output).len();
        if D != self.input.len() || E != rank {
            return Err(GraphError::Input {
                found: input.dims().to_vec(),
                expected: format!(
                    "{} and gives a tensor of {rank} axes, not {E}",
                    self.expected_input()
                ),
            });
        }
        // Of the graph's rank, which is one of those.
        let found = input.dims().to_vec();
        let expected = self.expected_input();
        let input = AnyTensor::of(input).ok_or(GraphError::Input { found, expected })?;
        let (mut parameters, mut constants) = bind(self, module)?;
        if parameters.is_empty() {
            constants = place(self, &input.device());
        }
        let known = parameters.first();
        if known.is_some_and(|known| known.device() != input.device()) {
            return Err(GraphError::Devices { count: 2 });
        }
        // An input without gradients through parameters with them, and the other way round.
        let tracked = |tensor: &AnyTensor| tensor.device().is_autodiff();
        let autodiff = tracked(&input) || parameters.iter().any(tracked);
        for tensor in parameters.iter_mut().chain(&mut constants) {
            *tensor = tensor.clone().tracked(autodiff);
        }
        let output = self.run(&parameters, &constants, input.tracked(autodiff))?;
        Ok(output.rank())
    }
}

struct Reader<'a> {
    path: Vec<String>,
    values: HashMap<&'a str, Option<AnyTensor>>,
    /// A parameter of the graph that computes with other values than it stores.
    attached: Option<String>,
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        let path = self.path.join(".");
        if container_type == "Reparameterization" && self.values.contains_key(path.as_str()) {
            self.attached = Some(path);
        }
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(value) = self.values.get_mut(self.path.join(".").as_str()) {
            *value = AnyTensor::of(param.val());
        }
    }
}

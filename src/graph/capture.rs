//! Records an unmodified module's forward pass, at two batch sizes.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_ir::{NumericOperationIr, OperationIr, TensorId};

use super::recorded::{BATCHES, Fallback, Recorded, Recording};
use super::{Graph, GraphError, one_sample, resolve};
use crate::network::{MAX_RANK, NetworkError};
use crate::recording;

impl Graph {
    /// Captures what `forward` computes with a module, at inputs of this shape. Axis 0 is the batch; the
    /// graph runs at any batch size, whatever its length here. The module is not changed, and may be in
    /// training: what is captured is the pass of [`valid`](Module::valid). It may be compressed by this
    /// crate: captured is the pass with its effective weights.
    ///
    /// A pass may be fixed to one sample, as of a file that was exported so. Its graph runs at any batch
    /// size all the same; it is compared with the pass on two samples.
    ///
    /// Fails with [`GraphError::Capture`] where the pass panics or asks for the value of a tensor,
    /// [`GraphError::Varies`] where it does something else for another batch size,
    /// [`GraphError::Unsupported`] for operations that are no [`Op`](crate::network::Op) or have no integer form
    /// ([`capture_with`](Self::capture_with) lets those stay in float), and [`GraphError::Devices`] for a
    /// module on several devices.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, activation::relu}};
    /// use burn_compress::graph::Graph;
    /// let model = LinearConfig::new(4, 2).init(&Device::default());
    /// let graph = Graph::capture(&model, [1, 4], |model, x| relu(model.forward(x)))?;
    /// let names: Vec<_> = graph.nodes().iter().map(|node| node.op.name()).collect();
    /// assert_eq!(names, ["linear", "relu"]);
    /// assert_eq!(graph.parameters()[0].path, "weight");
    /// # Ok::<(), burn_compress::graph::GraphError>(())
    /// ```
    pub fn capture<M: Module, const D: usize, const E: usize>(
        module: &M,
        shape: [usize; D],
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    ) -> Result<Self, GraphError> {
        Self::capture_with(module, shape, Fallback::Refuse, forward)
    }

    /// The same, with a choice of what becomes of operations that have no integer form.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
    /// use burn_compress::graph::{Fallback, Graph};
    /// let model = LinearConfig::new(4, 2).init(&Device::default());
    /// let forward = |model: &burn::nn::Linear, x: Tensor<2>| model.forward(x.cumsum(1));
    /// let error = Graph::capture(&model, [1, 4], forward).unwrap_err();
    /// assert!(error.to_string().starts_with("CumSum (operation 0, at input) is not supported"));
    ///
    /// let graph = Graph::capture_with(&model, [1, 4], Fallback::Float, forward)?;
    /// let names: Vec<_> = graph.nodes().iter().map(|node| node.op.name()).collect();
    /// assert_eq!(names, ["cumulative_sum", "linear"]);
    /// # Ok::<(), burn_compress::graph::GraphError>(())
    /// ```
    pub fn capture_with<M: Module, const D: usize, const E: usize>(
        module: &M,
        shape: [usize; D],
        fallback: Fallback,
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    ) -> Result<Self, GraphError> {
        if D > MAX_RANK || E > MAX_RANK {
            return Err(NetworkError::Input {
                found: shape.to_vec(),
                expected: format!("and gives tensors of at most {MAX_RANK} axes"),
            }
            .into());
        }
        let count = module.devices().len();
        if count > 1 {
            return Err(GraphError::Devices { count });
        }
        let [first, second] = BATCHES.map(|batch| record(module, of(shape, batch), &forward));
        match (first, second) {
            (Ok(first), Ok(second)) => resolve::resolve(&first, &second, fallback),
            (Err(error), _) | (_, Err(error)) => {
                Self::of_one_sample(module, of(shape, 1), fallback, forward, error)
            }
        }
    }

    // Of a pass that takes one sample alone; the error is that of more samples.
    fn of_one_sample<M: Module, const D: usize, const E: usize>(
        module: &M,
        shape: [usize; D],
        fallback: Fallback,
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
        error: GraphError,
    ) -> Result<Self, GraphError> {
        let Ok(one) = record(module, shape, &forward) else {
            return Err(error);
        };
        let [first, second] = BATCHES.map(|batch| one_sample::repeated(&one, batch));
        let graph = resolve::resolve(&first?, &second?, fallback)?;
        match one_sample::agrees(&graph, module, shape, &forward) {
            true => Ok(graph),
            false => Err(GraphError::Capture {
                reason: "the batch is fixed at 1, and repeated for two samples the pass gives \
                         something else: leave the batch free"
                    .to_string(),
            }),
        }
    }
}

fn of<const D: usize>(mut shape: [usize; D], batch: usize) -> [usize; D] {
    if let Some(axis) = shape.first_mut() {
        *axis = batch;
    }
    shape
}

// Burn tells the ids of tensors only to backend extensions. So each tensor that must be found again is
// the operand of a negation: input and parameters before the pass, its output after it.
fn record<M: Module, const D: usize, const E: usize>(
    module: &M,
    shape: [usize; D],
    forward: &impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> Result<Recording, GraphError> {
    let mut markers = Markers::default();
    let mut numbers = Numbers::default();
    module.visit(&mut numbers);
    let captured = recording::record(|device, scope| {
        let input = Tensor::<D>::ones(shape, device);
        // Running statistics are shared between clones of a module, but not with this copy.
        let module = module.valid().materialize().to_device(device);
        let _ = input.clone().neg();
        module.visit(&mut markers);
        let output = forward(&module, input);
        let _ = output.clone().neg();
        let completed = scope.complete([], []);
        drop((output, module));
        completed
    });
    let captured = captured.map_err(failed)?;
    let mut operations = captured.graph.operations;
    let last = operations.pop();
    let output = last.as_ref().and_then(negated);
    let input = operations
        .first()
        .and_then(|op| op.outputs().next().map(|tensor| tensor.id));
    let start = operations.iter().position(|op| negated(op) == input);
    let (Some(output), Some(input), Some(start)) = (output, input, start) else {
        return Err(failed("no marks in Burn's recording".to_string()));
    };
    let begin = start + 1 + markers.parameters.len();
    let marks = operations.get(start + 1..begin).unwrap_or_default();
    let parameters: Vec<_> = marks
        .iter()
        .zip(markers.parameters)
        .filter_map(|(mark, (path, dims))| {
            let (id, number) = (negated(mark)?, numbers.found.get(&path).copied());
            Some(Recorded {
                path,
                dims,
                id,
                number,
            })
        })
        .collect();
    if start + 1 + parameters.len() != begin {
        return Err(failed("a parameter is not in Burn's recording".to_string()));
    }
    Ok(Recording {
        operations: resolve::restore(operations.split_off(begin), output),
        values: captured.values,
        shape: shape.to_vec(),
        input,
        output,
        parameters,
    })
}

fn failed(reason: String) -> GraphError {
    GraphError::Capture { reason }
}

fn negated(operation: &OperationIr) -> Option<TensorId> {
    match operation {
        OperationIr::NumericFloat(_, NumericOperationIr::Neg(op)) => Some(op.input.id),
        _ => None,
    }
}

// Negates each float parameter, and keeps its path.
#[derive(Default)]
struct Markers {
    path: Vec<String>,
    parameters: Vec<(String, Vec<usize>)>,
}

impl ModuleVisitor for Markers {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        self.parameters
            .push((self.path.join("."), value.dims().to_vec()));
        let _ = value.neg();
    }
}

// Parameters of one element that no gradient is asked for, by path. Not the statistics of norms, which change
// without gradients.
#[derive(Default)]
struct Numbers {
    path: Vec<String>,
    containers: Vec<String>,
    found: BTreeMap<String, f32>,
}

impl ModuleVisitor for Numbers {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_string());
        self.containers.push(container_type.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let norm = |container: &String| container.ends_with(":BatchNorm");
        if param.shape().num_elements() != 1 || self.containers.iter().any(norm) {
            return;
        }
        // As it is in training: in validation nothing has gradients.
        let trained = param.valid().train().val().is_require_grad();
        let value = param.val().into_data().iter::<f32>().next();
        if let (false, Some(value)) = (trained, value) {
            self.found.insert(self.path.join("."), value);
        }
    }
}

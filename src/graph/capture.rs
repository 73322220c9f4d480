use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_ir::{OperationIr, TensorId};

use super::resolve::resolve;
use super::{Graph, GraphError};

/// The operations of a forward pass, as Burn recorded them.
pub(super) struct Recording {
    pub operations: Vec<OperationIr>,
    pub input: TensorId,
    pub output: TensorId,
    /// Path, for each parameter that is one of floats.
    pub parameters: Vec<(TensorId, String)>,
    /// All other tensors that the pass brought along.
    pub constants: Vec<(TensorId, TensorData)>,
}

impl Graph {
    /// What `forward` does to the module's input, whose dimensions are `shape`, the batch first: the
    /// pass is recorded twice, for batches of two and of three, to find what depends on the batch. Of
    /// the module itself only paths and dimensions stay in the graph.
    ///
    /// Fails with [`GraphError::Capture`] where the pass panics or depends on the values of tensors,
    /// with [`GraphError::Varies`] where it does something else for another batch, with
    /// [`GraphError::Unsupported`] for an operation that is not in [`Op`](super::Op), and with
    /// [`GraphError::Devices`] for a module on several devices.
    ///
    /// ```
    /// use burn::{nn::conv::Conv2dConfig, tensor::{Device, Tensor}};
    /// use burn_compress::graph::Graph;
    /// let model = Conv2dConfig::new([3, 8], [3, 3]).init(&Device::default());
    /// let graph = Graph::capture(&model, [1, 3, 32, 32], |model, input: Tensor<4>| {
    ///     burn::tensor::activation::relu(model.forward(input))
    /// })?;
    /// let names: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
    /// assert_eq!(names, ["convolution", "relu"]);
    /// # Ok::<(), burn_compress::graph::GraphError>(())
    /// ```
    pub fn capture<M: Module, const D: usize, const E: usize>(
        module: &M,
        shape: [usize; D],
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    ) -> Result<Self, GraphError> {
        let count = module.devices().len();
        if count > 1 {
            return Err(GraphError::Devices { count });
        }
        let module = module.valid().materialize();
        let at = |batch: usize| {
            let mut shape = shape;
            if let Some(first) = shape.first_mut() {
                *first = batch;
            }
            record(&module, shape, &forward)
        };
        resolve(&at(2)?, &at(3)?)
    }
}

fn record<M: Module, const D: usize, const E: usize>(
    module: &M,
    shape: [usize; D],
    forward: &impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> Result<Recording, GraphError> {
    let mut paths = Paths::default();
    module.visit(&mut paths);
    let device = Device::capture();
    // Burn panics where a pass asks for the value of a recorded tensor.
    let recorded = catch_unwind(AssertUnwindSafe(|| {
        device.capture_scope(|scope| {
            // In this order: what goes to the device is listed in the order in which it does.
            let input = Tensor::<D>::from_data(TensorData::zeros::<f32, _>(shape), &device);
            let module = module.valid().to_device(&device);
            let output = forward(&module, input.clone());
            // Marks the output: the last operation's operand.
            let marked = output.clone().neg();
            let completed = scope.complete([], []);
            drop((input, output, marked, module));
            completed
        })
    }));
    let failed = |reason: String| GraphError::Capture { reason };
    let captured = match recorded {
        Ok(Ok(captured)) => captured,
        Ok(Err(error)) => return Err(failed(format!("{error:?}"))),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            return Err(failed(text.unwrap_or("it panicked").to_string()));
        }
    };
    let mut operations = captured.graph.operations;
    operations
        .retain(|operation| !matches!(operation, OperationIr::Drop(_) | OperationIr::Init(_)));
    let output = operations.pop();
    let output = output.and_then(|marker| marker.inputs().next().map(|tensor| tensor.id));
    let output = output.ok_or_else(|| failed("it has no output".to_string()))?;
    let mut values = captured.values.into_iter();
    let (input, _) = values
        .next()
        .ok_or_else(|| failed("its input was not recorded".to_string()))?;
    let mut parameters = Vec::new();
    for parameter in paths.found {
        let value = values.next();
        let same = value.filter(|(_, data)| data.shape().as_slice() == parameter.dims);
        let Some((id, _)) = same else {
            return Err(failed(format!(
                "parameter {} is not among the recorded tensors",
                parameter.path
            )));
        };
        if parameter.is_float {
            parameters.push((id, parameter.path));
        }
    }
    Ok(Recording {
        operations,
        input,
        output,
        parameters,
        constants: values.collect(),
    })
}

struct Found {
    path: String,
    dims: Vec<usize>,
    is_float: bool,
}

// All tensors of a module, in the order in which it moves them to a device.
#[derive(Default)]
struct Paths {
    path: Vec<String>,
    found: Vec<Found>,
}

impl Paths {
    fn push(&mut self, dims: &[usize], is_float: bool) {
        self.found.push(Found {
            path: self.path.join("."),
            dims: dims.to_vec(),
            is_float,
        });
    }
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.push(param.shape().as_slice(), true);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.push(param.shape().as_slice(), false);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.push(param.shape().as_slice(), false);
    }
}

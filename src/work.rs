//! How much a forward pass computes: how often it uses each weight.
//!
//! Read off the operations that Burn records of an unmodified forward pass.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use burn_ir::{
    BaseOperationIr, FloatOperationIr, ModuleOperationIr, OperationIr, TensorId, TensorIr,
};

/// How often one forward pass on an input uses each weight of a parameter.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let work = burn_compress::work::measure(&model, |model, device| {
///     model.forward(Tensor::<2>::ones([3, 4], device))
/// })?;
/// assert_eq!(work.uses("weight"), Some(3)); // three rows of input
/// assert_eq!(work.total(|_| None), 24);
/// # Ok::<(), burn_compress::work::WorkError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Layer {
    path: String,
    weights: u64,
    uses: u64,
}

/// The forward pass could not be recorded.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let result = burn_compress::work::measure(&model, |model, device| {
///     let output = model.forward(Tensor::<2>::ones([3, 4], device));
///     output.sum().into_scalar::<f32>() > 0.0 // depends on data
/// });
/// assert!(result.is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the forward pass cannot be recorded, so that its multiply-adds are unknown: {reason}")]
pub struct WorkError {
    reason: String,
}

impl Work {
    /// Uses of each weight of this parameter; none if the pass does not multiply by it.
    pub fn uses(&self, path: &str) -> Option<u64> {
        let layer = self.layers.iter().find(|layer| layer.path == path);
        layer.map(|layer| layer.uses)
    }

    /// Multiply-adds of the pass, where `left` gives the number of weights of a parameter that are not
    /// zero (none: all of them).
    pub fn total(&self, left: impl Fn(&str) -> Option<u64>) -> u64 {
        let layers = self.layers.iter();
        layers
            .map(|layer| left(&layer.path).unwrap_or(layer.weights) * layer.uses)
            .sum()
    }
}

/// Records a forward pass of a plain module (nothing attached). The closure gets the module and makes
/// its input on the device it is given, where operations are recorded and not carried out.
pub fn measure<M: Module, T>(
    module: &M,
    forward: impl FnOnce(&M, &Device) -> T,
) -> Result<Work, WorkError> {
    let mut parameters = Parameters::default();
    module.visit(&mut parameters);
    let device = Device::capture();
    // Burn panics where a pass asks for the value of a recorded tensor.
    let recorded = catch_unwind(AssertUnwindSafe(|| {
        device.capture_scope(|scope| {
            let module = module.valid().to_device(&device);
            let output = forward(&module, &device);
            let completed = scope.complete([], []);
            drop((output, module));
            completed
        })
    }));
    let graph = match recorded {
        Ok(Ok(graph)) => graph,
        Ok(Err(error)) => {
            return Err(WorkError {
                reason: format!("{error:?}"),
            });
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            return Err(WorkError {
                reason: text.unwrap_or("it panicked").to_string(),
            });
        }
    };
    let mut origin: HashMap<TensorId, TensorId> = HashMap::new();
    let mut uses: HashMap<TensorId, u64> = HashMap::new();
    for operation in &graph.graph.operations {
        if let Some((from, to)) = moved(operation) {
            let first = origin.get(&from).copied().unwrap_or(from);
            origin.insert(to, first);
        }
        for (weight, count) in weight_uses(operation) {
            let weight = origin.get(&weight).copied().unwrap_or(weight);
            *uses.entry(weight).or_default() += count;
        }
    }
    let mut uses: Vec<_> = uses.into_iter().collect();
    // The order of creation is the order of the module's parameters: it tells equal ones apart.
    uses.sort_by_key(|(id, _)| *id);
    let mut layers = Vec::new();
    for (id, uses) in uses {
        let Some(value) = graph.values.get(&id) else {
            continue; // a product of two activations
        };
        if let Some(path) = parameters.take(value) {
            layers.push(Layer {
                path,
                weights: value.num_elements() as u64,
                uses,
            });
        }
    }
    Ok(Work { layers })
}

// The tensor that an operation only rearranges, and the result.
fn moved(operation: &OperationIr) -> Option<(TensorId, TensorId)> {
    let OperationIr::BaseFloat(base) = operation else {
        return None;
    };
    match base {
        BaseOperationIr::Reshape(op) | BaseOperationIr::Expand(op) => {
            Some((op.input.id, op.out.id))
        }
        BaseOperationIr::SwapDims(op) => Some((op.input.id, op.out.id)),
        BaseOperationIr::Permute(op) => Some((op.input.id, op.out.id)),
        _ => None,
    }
}

// The tensors that an operation may use as weights, and how often it uses each of their elements.
fn weight_uses(operation: &OperationIr) -> Vec<(TensorId, u64)> {
    use ModuleOperationIr as Op;
    let convolution = |weight: &TensorIr, out: &TensorIr| {
        vec![(weight.id, elements(out) / channels(out))] // output positions
    };
    let transposed = |weight: &TensorIr, x: &TensorIr| vec![(weight.id, elements(x) / channels(x))];
    match operation {
        OperationIr::Module(Op::Conv1d(op)) => convolution(&op.weight, &op.out),
        OperationIr::Module(Op::Conv2d(op)) => convolution(&op.weight, &op.out),
        OperationIr::Module(Op::Conv3d(op)) => convolution(&op.weight, &op.out),
        OperationIr::Module(Op::ConvTranspose1d(op)) => transposed(&op.weight, &op.x),
        OperationIr::Module(Op::ConvTranspose2d(op)) => transposed(&op.weight, &op.x),
        OperationIr::Module(Op::ConvTranspose3d(op)) => transposed(&op.weight, &op.x),
        OperationIr::Module(Op::Linear(op)) => {
            vec![(op.weight.id, elements(&op.x) / last(&op.x))]
        }
        OperationIr::Float(_, FloatOperationIr::Matmul(op)) => {
            let multiplied = elements(&op.out) * last(&op.lhs);
            [&op.lhs, &op.rhs]
                .map(|side| (side.id, multiplied / elements(side)))
                .to_vec()
        }
        _ => Vec::new(),
    }
}

fn elements(tensor: &TensorIr) -> u64 {
    (tensor.shape.num_elements() as u64).max(1)
}

fn channels(tensor: &TensorIr) -> u64 {
    tensor
        .shape
        .as_slice()
        .get(1)
        .map_or(1, |&n| n as u64)
        .max(1)
}

fn last(tensor: &TensorIr) -> u64 {
    tensor
        .shape
        .as_slice()
        .last()
        .map_or(1, |&n| n as u64)
        .max(1)
}

#[derive(Default)]
struct Parameters {
    path: Vec<String>,
    values: Vec<(String, TensorData)>,
}

impl Parameters {
    // The path of the first parameter left that holds just this.
    fn take(&mut self, value: &TensorData) -> Option<String> {
        let same = |(_, data): &(String, TensorData)| {
            data.shape() == value.shape() && data.as_bytes() == value.as_bytes()
        };
        let index = self.values.iter().position(same)?;
        Some(self.values.remove(index).0)
    }
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D > 1
            && let Ok(data) = param.val().try_into_data()
        {
            self.values.push((self.path.join("."), data));
        }
    }
}

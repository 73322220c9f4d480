//! How much a forward pass computes: how often it uses each weight.
//!
//! Read off the operations that Burn records of an unmodified forward pass: convolutions of any kind,
//! linear layers and matrix products. What has no weights of rank 2 or more (norms, activations,
//! attention scores, products of two activations) counts nothing.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use burn_ir::{
    BaseOperationIr, FloatOperationIr, ModuleOperationIr, OperationIr, TensorId, TensorIr,
};

use crate::recording::record;

/// How often one forward pass on an input uses each weight of a parameter.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let macs = burn_compress::macs::measure(&model, |model, device| {
///     model.forward(Tensor::<2>::ones([3, 4], device))
/// })?;
/// assert_eq!(macs.uses("weight"), Some(3)); // three rows of input
/// assert_eq!(macs.total(|_| None), 24);
/// assert_eq!(macs.total(|path| (path == "weight").then_some(2)), 6); // two of eight weights left
/// # Ok::<(), burn_compress::macs::MacError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MacCount {
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
/// let result = burn_compress::macs::measure(&model, |model, device| {
///     let output = model.forward(Tensor::<2>::ones([3, 4], device));
///     output.sum().into_scalar::<f32>() > 0.0 // depends on data
/// });
/// assert!(result.is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the forward pass cannot be recorded, so that its multiply-adds are unknown: {reason}")]
pub struct MacError {
    reason: String,
}

impl MacCount {
    /// Uses of each weight of the parameter at this path, in the whole pass (for all inputs of the
    /// batch); none if the pass does not multiply by it. Where some of its weights are used more often
    /// than others, their mean, rounded down.
    ///
    /// A convolution uses a weight once for each position of its output, in the padding too; a
    /// transposed one once for each position of its input.
    pub fn uses(&self, path: &str) -> Option<u64> {
        let layer = self.layers.iter().find(|layer| layer.path == path);
        layer.map(|layer| layer.uses)
    }

    /// Multiply-adds of the whole pass, where `left` gives the number of weights of the parameter at a
    /// path that are not zero (none: all of them).
    pub fn total(&self, left: impl Fn(&str) -> Option<u64>) -> u64 {
        let layers = self.layers.iter();
        layers
            .map(|layer| left(&layer.path).unwrap_or(layer.weights) * layer.uses)
            .sum()
    }
}

/// Records a forward pass of a plain module (nothing attached). The closure gets the module and makes
/// its input on the device it is given, where operations are recorded and not carried out.
///
/// Fails with [`MacError`] where the pass panics or asks for the value of a tensor that is only
/// recorded.
///
/// ```
/// use burn::{nn::conv::Conv2dConfig, tensor::{Device, Tensor}};
/// let model = Conv2dConfig::new([3, 8], [5, 5]).init(&Device::default());
/// let macs = burn_compress::macs::measure(&model, |model, device| {
///     model.forward(Tensor::<4>::ones([1, 3, 32, 32], device))
/// })?;
/// assert_eq!(macs.total(|_| None), 28 * 28 * 8 * 3 * 5 * 5);
/// # Ok::<(), burn_compress::macs::MacError>(())
/// ```
pub fn measure<M: Module, T>(
    module: &M,
    forward: impl FnOnce(&M, &Device) -> T,
) -> Result<MacCount, MacError> {
    let mut parameters = Parameters::default();
    module.visit(&mut parameters);
    let graph = record(|device, scope| {
        let module = module.valid().to_device(device);
        let output = forward(&module, device);
        let completed = scope.complete([], []);
        drop((output, module));
        completed
    });
    let graph = graph.map_err(|reason| MacError { reason })?;
    // Which tensor each rearranged one came from.
    let mut origin: HashMap<TensorId, TensorId> = HashMap::new();
    let mut products: HashMap<TensorId, u64> = HashMap::new();
    for operation in &graph.graph.operations {
        if let Some((from, to)) = moved(operation) {
            let first = origin.get(&from).copied().unwrap_or(from);
            origin.insert(to, first);
        }
        for (weight, count) in multiply_adds(operation) {
            let weight = origin.get(&weight).copied().unwrap_or(weight);
            *products.entry(weight).or_default() += count;
        }
    }
    // All values that went to the device, in the order in which they did: the module's parameters, in
    // its own order, are among them, used or not. That tells equal ones apart.
    let mut layers = Vec::new();
    for (id, value) in &graph.values {
        let Some(path) = parameters.take(value) else {
            continue; // an input, a vector or a constant
        };
        if let Some(products) = products.get(id) {
            let weights = value.num_elements() as u64;
            layers.push(Layer {
                path,
                weights,
                uses: products.checked_div(weights).unwrap_or(0),
            });
        }
    }
    Ok(MacCount { layers })
}

// The tensor that an operation only rearranges, repeats or takes a part of, and the result.
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
        BaseOperationIr::Slice(op) => Some((op.tensor.id, op.out.id)),
        _ => None,
    }
}

// The tensors that an operation may use as weights, and how often it multiplies by their elements.
fn multiply_adds(operation: &OperationIr) -> Vec<(TensorId, u64)> {
    use ModuleOperationIr as Op;
    // Each weight is used once for each position of the output (of a transposed convolution: input).
    let at_each = |weight: &TensorIr, positions: &TensorIr| {
        let positions = elements(positions) / channels(positions);
        vec![(weight.id, elements(weight) * positions)]
    };
    match operation {
        OperationIr::Module(Op::Conv1d(op)) => at_each(&op.weight, &op.out),
        OperationIr::Module(Op::Conv2d(op)) => at_each(&op.weight, &op.out),
        OperationIr::Module(Op::Conv3d(op)) => at_each(&op.weight, &op.out),
        OperationIr::Module(Op::DeformableConv2d(op)) => at_each(&op.weight, &op.out),
        OperationIr::Module(Op::ConvTranspose1d(op)) => at_each(&op.weight, &op.x),
        OperationIr::Module(Op::ConvTranspose2d(op)) => at_each(&op.weight, &op.x),
        OperationIr::Module(Op::ConvTranspose3d(op)) => at_each(&op.weight, &op.x),
        OperationIr::Module(Op::Linear(op)) => {
            let rows = elements(&op.x) / last(&op.x);
            vec![(op.weight.id, elements(&op.weight) * rows)]
        }
        OperationIr::Float(_, FloatOperationIr::Matmul(op)) => {
            // Of two activations too: they are told from weights afterwards.
            let count = elements(&op.out) * last(&op.lhs);
            vec![(op.lhs.id, count), (op.rhs.id, count)]
        }
        _ => Vec::new(),
    }
}

fn elements(tensor: &TensorIr) -> u64 {
    tensor.shape.num_elements() as u64
}

// At least 1: they divide.

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

//! From Burn's recorded operations to a graph.

mod assembled;
mod base;
mod batch_first;
mod compare;
mod constant;
mod float_only;
mod fold;
mod layers;
mod linear;
mod mask;
mod matching;
mod norms;
mod numeric;
mod patterns;
mod rewrite;
mod whole;

use std::collections::HashMap;

use burn_ir::{BaseOperationIr, OperationIr, TensorId, TensorIr};

use super::node::{Epilogue, Graph, Node, Parameter};
use super::recorded::Recording;
use super::{Fallback, GraphError};
use crate::network::MAX_RANK;
use crate::network::Op;
use crate::network::{Dim, Value};
use compare::Comparison;
use constant::ConstantValue;
pub(super) use linear::restore;

/// The graph that two recordings agree on.
pub(super) fn resolve(
    first: &Recording,
    second: &Recording,
    fallback: Fallback,
) -> Result<Graph, GraphError> {
    let mut resolver = Resolver::new(first, second, fallback);
    let pairs = first.operations.iter().zip(&second.operations);
    for (place, (one, other)) in pairs.enumerate() {
        resolver.place = place;
        resolver.layer = resolver.locate(one);
        resolver.compare(one, other)?;
        resolver.lower(one, other)?;
    }
    let (one, other) = (first.operations.len(), second.operations.len());
    if one != other {
        resolver.place = one.min(other);
        return Err(resolver.varies(format!("{one} operations or {other}")));
    }
    resolver.layer = resolver.after();
    let output = resolver.value_of(first.output)?;
    resolver.graph.output = output;
    let mut graph = resolver.graph;
    patterns::apply(&mut graph);
    Ok(graph)
}

// What a recorded tensor is in the graph.
#[derive(Clone)]
enum Known {
    Value(Value),
    /// Made by the pass, and not yet part of the graph.
    Constant(ConstantValue),
    /// A comparison with a number that is not yet part of the graph.
    Mask(mask::Mask),
    /// Filled part by part.
    Assembled(assembled::Assembled),
    /// Whole numbers, as the activation that they were.
    Whole(Value),
}

struct Resolver<'a> {
    first: &'a Recording,
    second: &'a Recording,
    fallback: Fallback,
    comparison: Comparison,
    known: HashMap<TensorId, Known>,
    /// Parameters that are numbers.
    numbers: HashMap<TensorId, ConstantValue>,
    /// Constants that are in the graph.
    placed: HashMap<TensorId, Value>,
    graph: Graph,
    /// For nodes of parameters alone: their layer.
    of_parameters: HashMap<Value, String>,
    /// The last layer that had a parameter.
    last: Option<String>,
    /// Name of the layer and number of the operation that is lowered.
    layer: String,
    place: usize,
}

impl<'a> Resolver<'a> {
    fn new(first: &'a Recording, second: &'a Recording, fallback: Fallback) -> Self {
        let ids = |recording: &Recording| {
            let parameters = recording.parameters.iter().map(|parameter| parameter.id);
            let mut ids = vec![recording.input];
            ids.extend(parameters);
            ids
        };
        let grows_along_first = |(axis, length): (usize, &usize)| match axis {
            0 => Dim::Batch(1),
            _ => Dim::Fixed(*length),
        };
        let mut resolver = Self {
            first,
            second,
            fallback,
            comparison: Comparison::new(&ids(first), &ids(second)),
            known: HashMap::from([(first.input, Known::Value(Value::Input))]),
            numbers: HashMap::new(),
            placed: HashMap::new(),
            graph: Graph {
                nodes: Vec::new(),
                input: first
                    .shape
                    .iter()
                    .enumerate()
                    .map(grows_along_first)
                    .collect(),
                output: Value::Input,
                parameters: Vec::new(),
                constants: Vec::new(),
                numbers: Vec::new(),
            },
            of_parameters: HashMap::new(),
            last: None,
            layer: "input".to_string(),
            place: 0,
        };
        for (index, parameter) in first.parameters.iter().enumerate() {
            resolver.graph.parameters.push(Parameter {
                path: parameter.path.clone(),
                dims: parameter.dims.clone(),
                transposed: false,
            });
            if let Some(number) = parameter.number {
                let dims = parameter.dims.iter().copied().map(Dim::Fixed).collect();
                let held = ConstantValue::uniform(f64::from(number), dims);
                resolver.numbers.insert(parameter.id, held);
                resolver
                    .graph
                    .numbers
                    .push((parameter.path.clone(), number));
            }
            let value = Value::Parameter(index);
            resolver.known.insert(parameter.id, Known::Value(value));
            resolver
                .of_parameters
                .insert(value, layer_of(&parameter.path));
        }
        resolver
    }

    fn lower(&mut self, one: &OperationIr, other: &OperationIr) -> Result<(), GraphError> {
        let lowered = match one {
            OperationIr::Init(op) => {
                let held = self.given(&op.out)?;
                self.known.insert(op.out.id, Known::Constant(held));
                true
            }
            _ if self.fold(one)? || self.masks(one)? || self.whole(one)? => true,
            OperationIr::BaseFloat(BaseOperationIr::SliceAssign(op)) => self.assigned(op)?,
            OperationIr::BaseFloat(op) => self.base(op, other)?,
            OperationIr::NumericFloat(_, op) => self.numeric(op)?,
            OperationIr::Float(_, op) => self.float(op)?,
            OperationIr::Activation(op) => self.activation(op)?,
            OperationIr::Module(op) => self.module(op)?,
            _ => false,
        };
        match lowered || self.float_only(one, other)? {
            true => Ok(()),
            false => Err(self.unsupported(compare::name(one))),
        }
    }

    /// A tensor as an operand that must have its full dimensions.
    fn value(&mut self, tensor: &TensorIr) -> Result<Value, GraphError> {
        self.value_of(tensor.id)
    }

    fn value_of(&mut self, id: TensorId) -> Result<Value, GraphError> {
        match self.known.get(&id) {
            Some(Known::Value(value)) => Ok(*value),
            Some(Known::Constant(held)) => {
                let held = held.clone();
                self.place_full(id, held)
            }
            Some(Known::Mask(mask)) => {
                let mask = mask.clone();
                let value = self.place_mask(mask)?;
                self.known.insert(id, Known::Value(value));
                Ok(value)
            }
            Some(Known::Assembled(known)) => {
                let known = known.clone();
                self.place_assembled(id, known)
            }
            Some(Known::Whole(_)) => {
                Err(self.unsupported("whole numbers of the input".to_string()))
            }
            None => match self.late(id)? {
                // Made before the pass began, as a module's plain tensors are.
                Some(held) => {
                    self.known.insert(id, Known::Constant(held.clone()));
                    self.place_full(id, held)
                }
                None => Err(self.unsupported("a tensor of unknown origin".to_string())),
            },
        }
    }

    fn dims(&self, tensor: &TensorIr) -> Vec<Dim> {
        self.comparison.dims(tensor.id)
    }

    /// Binds a recorded tensor to a value of the graph.
    fn bind(&mut self, out: &TensorIr, value: Value) {
        self.known.insert(out.id, Known::Value(value));
    }

    /// Adds a node whose result is the recorded tensor.
    fn node(&mut self, op: Op, inputs: Vec<Value>, out: &TensorIr) -> Result<(), GraphError> {
        self.node_with(op, inputs, Epilogue::default(), out)
    }

    fn node_with(
        &mut self,
        op: Op,
        inputs: Vec<Value>,
        epilogue: Epilogue,
        out: &TensorIr,
    ) -> Result<(), GraphError> {
        let dims = self.dims(out);
        let value = self.push(op, inputs, epilogue, dims)?;
        self.bind(out, value);
        Ok(())
    }

    fn push(
        &mut self,
        op: Op,
        inputs: Vec<Value>,
        epilogue: Epilogue,
        dims: Vec<Dim>,
    ) -> Result<Value, GraphError> {
        if dims.is_empty() || dims.len() > MAX_RANK {
            return Err(self.unsupported(format!("a tensor of {} axes", dims.len())));
        }
        let node = Node {
            op,
            inputs,
            epilogue,
            dims,
            layer: self.layer.clone(),
        };
        let value = Value::Node(self.graph.nodes.len());
        let fixed = |operand| {
            matches!(operand, Value::Constant(_)) || self.of_parameters.contains_key(&operand)
        };
        if node.operands().all(fixed) {
            let mut layers = node.operands().filter_map(|v| self.of_parameters.get(&v));
            let layer = layers.next().cloned().unwrap_or_else(|| self.layer.clone());
            self.of_parameters.insert(value, layer);
        }
        self.graph.nodes.push(node);
        Ok(value)
    }

    // The layer of an operation: that of its first parameter, or the one before.
    fn locate(&mut self, operation: &OperationIr) -> String {
        let layer = operation.inputs().find_map(|tensor| {
            let Some(Known::Value(value)) = self.known.get(&tensor.id) else {
                return None;
            };
            self.of_parameters.get(value).cloned()
        });
        match layer {
            Some(layer) => {
                self.last = Some(layer.clone());
                layer
            }
            None => self.after(),
        }
    }

    fn after(&self) -> String {
        match &self.last {
            Some(layer) => format!("after {layer}"),
            None => "input".to_string(),
        }
    }

    fn unsupported(&self, op: String) -> GraphError {
        GraphError::Unsupported {
            op,
            layer: self.layer.clone(),
            place: self.place,
            in_float: false,
        }
    }

    fn varies(&self, what: String) -> GraphError {
        GraphError::Varies {
            place: self.place,
            layer: self.layer.clone(),
            what,
        }
    }
}

// A layer's path is that of its parameter without the last part; a parameter of no layer is its own.
fn layer_of(path: &str) -> String {
    path.rsplit_once('.')
        .map_or(path, |(layer, _)| layer)
        .to_string()
}

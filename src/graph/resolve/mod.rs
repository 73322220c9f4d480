//! Turns Burn's recorded operations into those of a graph.

mod operations;
mod patterns;
mod scalars;

use std::collections::HashMap;

use burn_ir::{OperationIr, TensorId, TensorIr};

use super::capture::Recording;
use super::{Constant, Dim, Epilogue, Graph, GraphError, Node, Op, Parameter, Value};

/// The graph of one pass that was recorded for batches of two and of three.
pub(super) fn resolve(two: &Recording, three: &Recording) -> Result<Graph, GraphError> {
    let mut resolver = Resolver {
        graph: Graph {
            nodes: Vec::new(),
            input: Vec::new(),
            output: Value::Input,
            parameters: Vec::new(),
            constants: Vec::new(),
        },
        values: HashMap::new(),
        paths: two.parameters.iter().cloned().collect(),
        two,
        three,
        layer: "input".to_string(),
        named: false,
        place: 0,
    };
    if two.operations.len() != three.operations.len() {
        return Err(resolver.varies(format!(
            "{} operations for two images, {} for three",
            two.operations.len(),
            three.operations.len()
        )));
    }
    resolver.values.insert(two.input, Value::Input);
    for (place, (a, b)) in two.operations.iter().zip(&three.operations).enumerate() {
        resolver.place = place;
        resolver.operation(a, b)?;
    }
    resolver.graph.output = resolver.known(two.output)?;
    if resolver.graph.input.is_empty() {
        return Err(GraphError::Capture {
            reason: "its output does not depend on its input".to_string(),
        });
    }
    Ok(patterns::recognize(resolver.graph))
}

pub(super) struct Resolver<'a> {
    graph: Graph,
    values: HashMap<TensorId, Value>,
    paths: HashMap<TensorId, String>,
    two: &'a Recording,
    three: &'a Recording,
    /// The layer of the last parameter used.
    layer: String,
    /// Whether the present operation uses a parameter.
    named: bool,
    place: usize,
}

impl Resolver<'_> {
    fn varies(&self, what: String) -> GraphError {
        GraphError::Varies {
            place: self.place,
            layer: self.layer.clone(),
            what,
        }
    }

    fn unsupported(&self, op: impl Into<String>) -> GraphError {
        GraphError::Unsupported {
            op: op.into(),
            layer: self.layer.clone(),
            place: self.place,
        }
    }

    fn operation(&mut self, a: &OperationIr, b: &OperationIr) -> Result<(), GraphError> {
        if std::mem::discriminant(a) != std::mem::discriminant(b) {
            let (a, b) = (operations::name(a), operations::name(b));
            return Err(self.varies(format!("{a} for two images, {b} for three")));
        }
        self.named = false;
        operations::lower(self, a, b)
    }

    /// The dimensions of a tensor in both recordings.
    fn dims(&self, a: &TensorIr, b: &TensorIr) -> Result<Vec<Dim>, GraphError> {
        let (two, three) = (a.shape.as_slice(), b.shape.as_slice());
        let axis = |(two, three): (&usize, &usize)| match (*two, *three) {
            (two, three) if two == three => Some(Dim::Fixed(two)),
            (two, three) if two % 2 == 0 && two / 2 * 3 == three => Some(Dim::Batch(two / 2)),
            _ => None,
        };
        let dims: Option<Vec<Dim>> = match two.len() == three.len() {
            true => two.iter().zip(three).map(axis).collect(),
            false => None,
        };
        let dims = dims
            .ok_or_else(|| self.varies(format!("{two:?} for two images, {three:?} for three")))?;
        match dims.len() {
            1..=super::tensor::MAX_RANK => Ok(dims),
            rank => Err(self.unsupported(format!("a tensor of {rank} axes"))),
        }
    }

    fn known(&self, id: TensorId) -> Result<Value, GraphError> {
        let value = self.values.get(&id).copied();
        value.ok_or_else(|| GraphError::Capture {
            reason: "its output is a tensor that no operation made".to_string(),
        })
    }

    /// An operand: what a node made, a parameter, or a constant.
    fn operand(&mut self, a: &TensorIr, b: &TensorIr) -> Result<Value, GraphError> {
        if !a.dtype.is_float() {
            return Err(self.unsupported(format!("a tensor of {:?}", a.dtype)));
        }
        if a.id == self.two.input {
            self.graph.input = self.dims(a, b)?;
            return Ok(Value::Input);
        }
        if let Some(path) = self.paths.get(&a.id).cloned() {
            if !self.named {
                self.named = true;
                let layer = path.rsplit_once('.').map_or("", |(layer, _)| layer);
                self.layer = layer.to_string();
            }
            if let Some(value) = self.values.get(&a.id) {
                return Ok(*value);
            }
            let value = Value::Parameter(self.graph.parameters.len());
            let dims = a.shape.as_slice().to_vec();
            self.graph.parameters.push(Parameter { path, dims });
            self.values.insert(a.id, value);
            return Ok(value);
        }
        if let Some(value) = self.values.get(&a.id) {
            return Ok(*value);
        }
        let constant = self.constant(a, b)?;
        Ok(self.add_constant(a.id, constant))
    }

    fn add_constant(&mut self, id: TensorId, constant: Constant) -> Value {
        let value = Value::Constant(self.graph.constants.len());
        self.graph.constants.push(constant);
        self.values.insert(id, value);
        value
    }

    // A tensor that the pass brought along: the same for any batch, or one row repeated.
    fn constant(&self, a: &TensorIr, b: &TensorIr) -> Result<Constant, GraphError> {
        let values = |recording: &Recording, tensor: &TensorIr| {
            let found = recording.constants.iter().find(|(id, _)| *id == tensor.id);
            found.and_then(|(_, data)| data.clone().convert::<f32>().to_vec::<f32>().ok())
        };
        let unknown = || self.unsupported("a tensor of unknown origin");
        let two = values(self.two, a).ok_or_else(unknown)?;
        let three = values(self.three, b).ok_or_else(unknown)?;
        let mut dims = a.shape.as_slice().to_vec();
        if two == three {
            return Ok(Constant { dims, values: two });
        }
        let first = dims.first().copied().unwrap_or(0);
        let row = two.len() / first.max(1);
        let repeats =
            |values: &[f32]| row > 0 && values.chunks(row).all(|each| each == &two[..row]);
        if first == 2 && b.shape.as_slice().first() == Some(&3) && repeats(&two) && repeats(&three)
        {
            dims[0] = 1;
            return Ok(Constant {
                dims,
                values: two[..row].to_vec(),
            });
        }
        Err(self.varies("a constant whose values differ".to_string()))
    }

    /// Adds a node for the result of the present operation.
    fn push(
        &mut self,
        op: Op,
        inputs: Vec<Value>,
        bias: Option<Value>,
        out: (&TensorIr, &TensorIr),
    ) -> Result<(), GraphError> {
        let dims = self.dims(out.0, out.1)?;
        let layer = match self.named {
            true => self.layer.clone(),
            false if self.layer == "input" => self.layer.clone(),
            false => format!("after {}", self.layer),
        };
        let value = Value::Node(self.graph.nodes.len());
        self.graph.nodes.push(Node {
            op,
            inputs,
            epilogue: Epilogue {
                bias,
                ..Epilogue::default()
            },
            dims,
            layer,
        });
        self.values.insert(out.0.id, value);
        Ok(())
    }
}

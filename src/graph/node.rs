use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::GraphError;
use crate::format::WeightView;
use crate::network::{Constant, Dim, NetworkError, Op, Unary, Value};

/// Batch norm folded into the product before it.
///
/// ```
/// use burn_compress::graph::Norm;
/// use burn_compress::network::Value;
/// let [gamma, beta, mean, variance] = [0, 1, 2, 3].map(Value::Parameter);
/// let norm = Norm { gamma, beta, mean, variance, epsilon: 1e-5 };
/// assert_eq!(norm.operands()[3], variance);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the letters of the paper (Ioffe and Szegedy 2015)
pub struct Norm {
    pub gamma: Value,
    pub beta: Value,
    pub mean: Value,
    pub variance: Value,
    /// Added to the variance.
    pub epsilon: f32,
}

impl Norm {
    /// Gamma, beta, mean and variance.
    pub fn operands(&self) -> [Value; 4] {
        [self.gamma, self.beta, self.mean, self.variance]
    }
}

/// What a node does to its result before anyone sees it, in this order: adds a bias, normalizes, adds
/// another activation, applies a function. Quantized once, at its end.
///
/// ```
/// let epilogue = burn_compress::graph::Epilogue::default();
/// assert_eq!(epilogue.operands().count(), 0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Epilogue {
    /// A number for each output channel, of a convolution or a linear layer.
    pub bias: Option<Value>,
    /// A batch norm that was folded in.
    pub norm: Option<Norm>,
    /// An activation of the same dimensions, such as a residual.
    pub add: Option<Value>,
    /// ReLU or a clamp.
    pub activation: Option<Unary>,
}

impl Epilogue {
    /// All tensors that it needs.
    pub fn operands(&self) -> impl Iterator<Item = Value> + '_ {
        let norm = self.norm.iter().flat_map(Norm::operands);
        self.bias.into_iter().chain(norm).chain(self.add)
    }

    pub(crate) fn map(self, mut change: impl FnMut(Value) -> Value) -> Self {
        Self {
            bias: self.bias.map(&mut change),
            norm: self.norm.map(|norm| Norm {
                gamma: change(norm.gamma),
                beta: change(norm.beta),
                mean: change(norm.mean),
                variance: change(norm.variance),
                epsilon: norm.epsilon,
            }),
            add: self.add.map(change),
            activation: self.activation,
        }
    }
}

/// One step of the pass, with its operands.
///
/// ```
/// use burn_compress::graph::{Epilogue, Node};
/// use burn_compress::network::{Dim, Op, Unary, Value};
/// let node = Node {
///     op: Op::Unary(Unary::Relu),
///     inputs: vec![Value::Input],
///     epilogue: Epilogue::default(),
///     dims: vec![Dim::Batch(1), Dim::Fixed(10)],
///     layer: "relu".to_string(),
/// };
/// assert_eq!(node.operands().count(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Its operands, as [`Op`] lists them.
    pub inputs: Vec<Value>,
    /// What is done to the result.
    pub epilogue: Epilogue,
    /// Dimensions of the result.
    pub dims: Vec<Dim>,
    /// Path of the layer (the first parameter's, without its last part), or what it follows: unique
    /// enough to find the place.
    pub layer: String,
}

impl Node {
    /// The parameters of a batch norm; none of another operation.
    pub(crate) fn batch_norm(&self) -> Option<Norm> {
        match (&self.op, self.inputs.as_slice()) {
            (Op::BatchNorm { epsilon }, [_, gamma, beta, mean, variance]) => Some(Norm {
                gamma: *gamma,
                beta: *beta,
                mean: *mean,
                variance: *variance,
                epsilon: *epsilon,
            }),
            _ => None,
        }
    }

    /// All tensors that it needs, those of the epilogue last.
    pub fn operands(&self) -> impl Iterator<Item = Value> + '_ {
        self.inputs.iter().copied().chain(self.epilogue.operands())
    }
}

/// A parameter of the user's module, by its path.
///
/// ```
/// use burn_compress::graph::Parameter;
/// let parameter = Parameter { path: "head".into(), dims: vec![10, 64], transposed: true };
/// assert_eq!(parameter.read_dims(), [64, 10]); // `x.matmul(head.transpose())`
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Path in the module, such as `layer1.0.conv1.weight`.
    pub path: String,
    /// Its dimensions in the module.
    pub dims: Vec<usize>,
    /// Whether the pass reads a matrix with its axes swapped, as `x.matmul(w.transpose())` does with
    /// weights of `[out, in]`.
    #[serde(default)]
    pub transposed: bool,
}

impl Parameter {
    /// Its dimensions as the pass reads it.
    pub fn read_dims(&self) -> Vec<usize> {
        match (self.transposed, self.dims.as_slice()) {
            (true, &[rows, columns]) => vec![columns, rows],
            _ => self.dims.clone(),
        }
    }

    /// Where the channels of a product lie in it, as the module holds it; none where it is no weight.
    pub(crate) fn layout(&self, op: &Op) -> Option<WeightView> {
        let read = op.weight_layout(&self.read_dims())?;
        match self.transposed {
            true => WeightView::new(self.dims.clone(), 1 - read.output_axis()).ok(),
            false => Some(read),
        }
    }
}

/// What a model's forward pass computes.
///
/// Nodes are in an order in which they can be computed: each uses only those before it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) input: Vec<Dim>,
    pub(crate) output: Value,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) constants: Vec<Constant>,
    /// Parameters of one element that are read as numbers, by path: they must stay as they are.
    pub(crate) numbers: Vec<(String, f32)>,
}

impl Graph {
    /// The nodes, each after those it uses.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Dimensions of the input.
    pub fn input(&self) -> &[Dim] {
        &self.input
    }

    /// Where the output comes from.
    pub fn output(&self) -> Value {
        self.output
    }

    /// The parameters that it uses.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The groups of each transposed convolution whose weight is a parameter, by that parameter's path:
    /// what [`Selection::groups`](crate::compress::Selection::groups) takes where a module does not show
    /// them.
    ///
    /// ```
    /// use burn::{nn::conv::{ConvTranspose1d, ConvTranspose1dConfig}, tensor::{Device, Tensor}};
    /// use burn_compress::graph::Graph;
    /// let model = ConvTranspose1dConfig::new([4, 6], 2).with_groups(2).init(&Device::default());
    /// let forward = |model: &ConvTranspose1d, x: Tensor<3>| model.forward(x);
    /// let graph = Graph::capture(&model, [1, 4, 5], forward)?;
    /// assert_eq!(graph.groups()["weight"], 2);
    /// # Ok::<(), burn_compress::graph::GraphError>(())
    /// ```
    pub fn groups(&self) -> BTreeMap<String, usize> {
        let nodes = self.nodes.iter();
        let groups = nodes.filter_map(|node| match (&node.op, node.inputs.get(1)) {
            (Op::TransposedConvolution { groups, .. }, Some(Value::Parameter(index))) => {
                Some((self.parameters[*index].path.clone(), *groups))
            }
            _ => None,
        });
        groups.collect()
    }

    /// The constants that it uses.
    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// Dimensions of a tensor.
    pub fn dims(&self, value: Value) -> Vec<Dim> {
        let fixed = |dims: &[usize]| dims.iter().copied().map(Dim::Fixed).collect();
        match value {
            Value::Input => self.input.clone(),
            Value::Node(index) => self.nodes[index].dims.clone(),
            Value::Parameter(index) => fixed(&self.parameters[index].read_dims()),
            Value::Constant(index) => fixed(&self.constants[index].dims),
        }
    }

    /// The place of an activation among the nodes' results and, after them, the input; none of a parameter
    /// or a constant.
    pub(crate) fn slot(&self, value: Value) -> Option<usize> {
        match value {
            Value::Node(index) => Some(index),
            Value::Input => Some(self.nodes.len()),
            _ => None,
        }
    }

    /// The last node that reads each node's result; the last entry is the input's. None where nobody
    /// does, or where it is the graph's output.
    pub(crate) fn last_uses(&self) -> Vec<Option<usize>> {
        let mut last = vec![None; self.nodes.len() + 1];
        for (index, node) in self.nodes.iter().enumerate() {
            for slot in node.operands().filter_map(|value| self.slot(value)) {
                last[slot] = Some(index);
            }
        }
        if let Some(slot) = self.slot(self.output) {
            last[slot] = None;
        }
        last
    }

    /// The images in an input of these dimensions. Fails with [`NetworkError::Input`] where they are not
    /// the graph's.
    pub(crate) fn batch(&self, found: &[usize]) -> Result<usize, GraphError> {
        let batch = found.first().copied().unwrap_or(0);
        let same = found.len() == self.input.len()
            && batch > 0
            && self
                .input
                .iter()
                .zip(found)
                .all(|(dim, found)| dim.at(batch) == *found);
        match same {
            true => Ok(batch),
            false => Err(NetworkError::Input {
                found: found.to_vec(),
                expected: format_dims(&self.input),
            }
            .into()),
        }
    }

    /// Whether each node's result depends on the input, and not on parameters and constants alone.
    pub(crate) fn depend_on_input(&self) -> Vec<bool> {
        let mut depend: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let depends = node.operands().any(|operand| match operand {
                Value::Input => true,
                Value::Node(index) => depend[index],
                _ => false,
            });
            depend.push(depends);
        }
        depend
    }

    /// The indices of the nodes that use each node's result, or the input's (the last entry).
    pub(crate) fn users(&self) -> Vec<Vec<usize>> {
        let mut users = vec![Vec::new(); self.nodes.len() + 1];
        for (index, node) in self.nodes.iter().enumerate() {
            for slot in node.operands().filter_map(|value| self.slot(value)) {
                users[slot].push(index);
            }
        }
        users
    }
}

/// Dimensions as they print: `[N, 3, 32, 32]`.
pub(crate) fn format_dims(dims: &[Dim]) -> String {
    let axis = |dim: &Dim| match dim {
        Dim::Fixed(length) => length.to_string(),
        Dim::Batch(1) => "N".to_string(),
        Dim::Batch(each) => format!("{each}N"),
    };
    let axes: Vec<String> = dims.iter().map(axis).collect();
    format!("[{}]", axes.join(", "))
}

//! A graph as text: for people, and for the tools that draw.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter, Write};

use super::{Dim, Graph, Node, Op, Unary, Value, Window};

/// A line for each node: its number, its operation, operands, what is done to the result, dimensions
/// and layer. `N` is the batch.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor, activation::relu}};
/// use burn_compress::graph::Graph;
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let graph = Graph::capture(&model, [1, 4], |model, x: Tensor<2>| relu(model.forward(x)))?;
/// assert_eq!(
///     graph.simplify().to_string(),
///     "input [N, 4]\n\
///      %0 = linear(input, weight) + bias, relu -> [N, 2]\n\
///      output %0\n"
/// );
/// # Ok::<(), burn_compress::graph::GraphError>(())
/// ```
impl Display for Graph {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "input {}", Dims(&self.input))?;
        for (index, node) in self.nodes.iter().enumerate() {
            let inputs = node.inputs.iter().map(|&value| self.name(value));
            let inputs: Vec<_> = inputs.collect();
            write!(f, "%{index} = {}({})", node.op.name(), inputs.join(", "))?;
            let attributes = attributes(node);
            if !attributes.is_empty() {
                write!(f, " {{{attributes}}}")?;
            }
            for part in epilogue(node, |value| self.name(value)) {
                f.write_str(&part)?;
            }
            write!(f, " -> {}", Dims(&node.dims))?;
            match node.layer.is_empty() {
                true => writeln!(f)?,
                false => writeln!(f, "  # {}", one_line(&node.layer))?,
            }
        }
        writeln!(f, "output {}", self.name(self.output))
    }
}

impl Graph {
    /// A flow chart for [Mermaid](https://mermaid.js.org), which many pages and editors draw.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
    /// use burn_compress::graph::Graph;
    /// let model = LinearConfig::new(4, 2).init(&Device::default());
    /// let graph = Graph::capture(&model, [1, 4], |model, x: Tensor<2>| model.forward(x))?;
    /// assert!(graph.to_mermaid().starts_with("flowchart TD\n"));
    /// # Ok::<(), burn_compress::graph::GraphError>(())
    /// ```
    pub fn to_mermaid(&self) -> String {
        // In its quoted labels, a number stands for any character.
        let label = |lines: &[String]| {
            let lines = lines.iter().map(|line| {
                let special = |c: char| matches!(c, '"' | '#' | '&' | '<' | '>' | '`' | '\\');
                escaped(line, |c| special(c).then(|| format!("#{};", u32::from(c))))
            });
            lines.collect::<Vec<_>>().join("<br/>")
        };
        let mut text = String::from("flowchart TD\n");
        for (id, lines) in self.boxes() {
            text += &format!("  {id}[\"{}\"]\n", label(&lines));
        }
        for Edge { from, to, note } in self.edges() {
            text += &match note {
                Some(note) => format!("  {from} -->|{note}| {to}\n"),
                None => format!("  {from} --> {to}\n"),
            };
        }
        text
    }

    /// A directed graph for [Graphviz](https://graphviz.org).
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
    /// use burn_compress::graph::Graph;
    /// let model = LinearConfig::new(4, 2).init(&Device::default());
    /// let graph = Graph::capture(&model, [1, 4], |model, x: Tensor<2>| model.forward(x))?;
    /// assert!(graph.to_dot().starts_with("digraph {\n"));
    /// # Ok::<(), burn_compress::graph::GraphError>(())
    /// ```
    pub fn to_dot(&self) -> String {
        let label = |lines: &[String]| {
            let lines = lines
                .iter()
                .map(|line| escaped(line, |c| matches!(c, '"' | '\\').then(|| format!("\\{c}"))));
            lines.collect::<Vec<_>>().join("\\n")
        };
        let mut text = String::from("digraph {\n  node [shape=box];\n");
        for (id, lines) in self.boxes() {
            text += &format!("  {id} [label=\"{}\"];\n", label(&lines));
        }
        for Edge { from, to, note } in self.edges() {
            text += &match note {
                Some(note) => format!("  {from} -> {to} [label=\"{note}\"];\n"),
                None => format!("  {from} -> {to};\n"),
            };
        }
        text + "}\n"
    }

    // A box for the input, each node and the output: its name in the drawing, and what it says.
    fn boxes(&self) -> impl Iterator<Item = (String, Vec<String>)> + '_ {
        let input = vec!["input".to_string(), Dims(&self.input).to_string()];
        let nodes = self.nodes.iter().enumerate().map(|(index, node)| {
            let mut does = node.op.name().to_string();
            // Edges show which activation is added.
            for part in epilogue(node, |_| String::new()) {
                does += part.trim_end();
            }
            let lines = [
                does,
                attributes(node),
                node.layer.clone(),
                Dims(&node.dims).to_string(),
            ];
            let lines = lines.into_iter().filter(|line| !line.is_empty());
            (format!("node{index}"), lines.collect())
        });
        let output = (String::from("output_"), vec!["output".to_string()]);
        [(String::from("input_"), input)]
            .into_iter()
            .chain(nodes)
            .chain([output])
    }

    // Activations alone: the rest is in the boxes.
    fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        let id = |value| match value {
            Value::Input => Some("input_".to_string()),
            Value::Node(index) => Some(format!("node{index}")),
            _ => None,
        };
        let edge = move |from, to: &str, note| {
            Some(Edge {
                from: id(from)?,
                to: to.to_string(),
                note,
            })
        };
        let between = self
            .nodes
            .iter()
            .enumerate()
            .flat_map(move |(index, node)| {
                let to = format!("node{index}");
                let inputs = node.inputs.iter().map(|&from| (from, None));
                let added = node.epilogue.add.map(|from| (from, Some("add")));
                let all = inputs.chain(added);
                all.filter_map(move |(from, note)| edge(from, &to, note))
            });
        between.chain(edge(self.output, "output_", None))
    }

    // How a tensor is called where it is used.
    fn name(&self, value: Value) -> String {
        match value {
            Value::Input => "input".into(),
            Value::Node(index) => format!("%{index}"),
            Value::Parameter(index) => match self.parameters.get(index) {
                Some(parameter) => one_line(&parameter.path).into_owned(),
                None => format!("parameter {index}"),
            },
            Value::Constant(index) => match self.constants.get(index) {
                Some(constant) => match constant.values[..] {
                    [number] => format!("{number}"),
                    _ => format!("constant{:?}", constant.dims),
                },
                None => format!("constant {index}"),
            },
        }
    }
}

struct Edge {
    from: String,
    to: String,
    note: Option<&'static str>,
}

struct Dims<'a>(&'a [Dim]);

impl Display for Dims<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (axis, dim) in self.0.iter().enumerate() {
            f.write_str(if axis > 0 { ", " } else { "" })?;
            match dim {
                Dim::Fixed(length) => write!(f, "{length}")?,
                Dim::Batch(1) => f.write_char('N')?,
                Dim::Batch(each) => write!(f, "{each}N")?,
            }
        }
        f.write_char(']')
    }
}

// What is done to the result, in order.
fn epilogue(node: &Node, name: impl Fn(Value) -> String) -> Vec<String> {
    let epilogue = &node.epilogue;
    let bias = epilogue.bias.map(|bias| match name(bias) {
        name if name.is_empty() => " + bias".to_string(),
        name => format!(" + {name}"),
    });
    let norm = epilogue.norm.map(|_| ", batch_norm".to_string());
    let add = epilogue.add.map(|value| match name(value) {
        name if name.is_empty() => ", add".to_string(),
        name => format!(", add {name}"),
    });
    let activation = epilogue.activation.map(|unary| {
        let numbers = numbers(unary);
        let open = if numbers.is_empty() { "" } else { " " };
        format!(", {}{open}{numbers}", Op::Unary(unary).name())
    });
    [bias, norm, add, activation]
        .into_iter()
        .flatten()
        .collect()
}

// What the name of the operation leaves open.
fn attributes(node: &Node) -> String {
    match &node.op {
        Op::Convolution {
            rank,
            window,
            groups,
        } => listed([placed(*rank, window), in_groups(*groups)]),
        Op::TransposedConvolution {
            rank,
            window,
            output_padding,
            groups,
        } => {
            let more = output_padding[2 - rank..].to_vec();
            let more = match more.iter().all(|&length| length == 0) {
                true => String::new(),
                false => format!("output padding {}", times(more)),
            };
            listed([placed(*rank, window), more, in_groups(*groups)])
        }
        Op::MaxPool { rank, window, ceil } => listed([placed(*rank, window), flag(*ceil, "ceil")]),
        Op::AveragePool {
            rank,
            window,
            include_padding,
            ceil,
        } => listed([
            placed(*rank, window),
            flag(*include_padding, "include padding"),
            flag(*ceil, "ceil"),
        ]),
        Op::AdaptiveAveragePool { rank, output } => times(&output[2 - rank..]),
        Op::BatchNorm { epsilon } | Op::LayerNorm { epsilon } => format!("epsilon {epsilon:e}"),
        Op::GroupNorm { groups, epsilon } => format!("groups {groups}, epsilon {epsilon:e}"),
        Op::Unary(unary) => numbers(*unary),
        Op::Softmax { axis } | Op::Concatenate { axis } => format!("axis {axis}"),
        Op::Mean { axes } | Op::Sum { axes } | Op::Permute { axes } => format!("axes {axes:?}"),
        Op::Slice { ranges } => {
            let ranges = ranges.iter().map(|&(first, end, step)| {
                let first = if first == 0 {
                    String::new()
                } else {
                    first.to_string()
                };
                let end = end.map_or(String::new(), |end| end.to_string());
                let step = if step == 1 {
                    String::new()
                } else {
                    format!(";{step}")
                };
                format!("{first}..{end}{step}")
            });
            ranges.collect::<Vec<_>>().join(", ")
        }
        Op::Pad { padding, value } => {
            let pairs = padding
                .iter()
                .map(|(before, after)| format!("{before}+{after}"));
            format!("{}, value {value}", pairs.collect::<Vec<_>>().join(" "))
        }
        Op::UpsampleBilinear { align_corners } => flag(*align_corners, "align corners"),
        Op::Linear
        | Op::MatMul
        | Op::Binary(_)
        | Op::Reshape
        | Op::Expand
        | Op::UpsampleNearest => String::new(),
    }
}

fn numbers(unary: Unary) -> String {
    match unary {
        Unary::Clamp { min, max } => format!("{min} to {max}"),
        Unary::LeakyRelu { slope } => format!("slope {slope}"),
        Unary::HardSigmoid { alpha, beta } => format!("alpha {alpha}, beta {beta}"),
        Unary::AddScalar(c) | Unary::MulScalar(c) | Unary::Power(c) => c.to_string(),
        Unary::GeluTanh => "tanh".into(),
        _ => String::new(),
    }
}

// The axes that the rank has, and of the rest what is not as usual.
fn placed(rank: usize, window: &Window) -> String {
    let usual = Window::default();
    let axes = 2usize.saturating_sub(rank)..2;
    let mut text = times(&window.kernel[axes.clone()]);
    if window.stride != usual.stride {
        text += &format!(", stride {}", times(&window.stride[axes.clone()]));
    }
    if window.padding != usual.padding {
        let pairs = window.padding[axes.clone()].iter();
        let pairs = pairs.map(|(before, after)| match before == after {
            true => before.to_string(),
            false => format!("{before}+{after}"),
        });
        text += &format!(", padding {}", times(pairs));
    }
    if window.dilation != usual.dilation {
        text += &format!(", dilation {}", times(&window.dilation[axes]));
    }
    text
}

fn in_groups(groups: usize) -> String {
    match groups {
        1 => String::new(),
        _ => format!("groups {groups}"),
    }
}

fn flag(set: bool, name: &str) -> String {
    if set { name.to_string() } else { String::new() }
}

fn listed<const N: usize>(parts: [String; N]) -> String {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}

fn times(lengths: impl IntoIterator<Item = impl Display>) -> String {
    let lengths = lengths.into_iter().map(|length| length.to_string());
    lengths.collect::<Vec<_>>().join("x")
}

// A name comes from the user's module; a drawing's line must not break at it.
fn one_line(name: &str) -> Cow<'_, str> {
    match name.contains(char::is_control) {
        true => name.replace(char::is_control, " ").into(),
        false => name.into(),
    }
}

fn escaped(line: &str, escape: impl Fn(char) -> Option<String>) -> String {
    let mut text = String::with_capacity(line.len());
    for c in one_line(line).chars() {
        match escape(c) {
            Some(other) => text += &other,
            None => text.push(c),
        }
    }
    text
}

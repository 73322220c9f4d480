//! A graph as text: for people, and for the tools that draw.

mod words;

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter, Write};

use super::{Graph, Node, Parameter};
use crate::network::{Dim, Op, Value};
use words::{attributes, numbers};

/// A line for each node: its number, its operation, operands, what is done to the result, dimensions
/// and layer. `N` is the batch.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor, activation::relu}};
/// use burn_compress::graph::Graph;
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let graph = Graph::capture(&model, [1, 4], |model, x: Tensor<2>| relu(model.forward(x)))?;
/// let text = graph.simplify().to_string();
/// assert!(text.starts_with("input [N, 4]\n%0 = linear(input, weight) + bias, relu -> [N, 2]"));
/// assert!(text.ends_with("output %0\n"));
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
                Some(Parameter {
                    path,
                    transposed: false,
                    ..
                }) => one_line(path).into_owned(),
                Some(parameter) => format!("{} transposed", one_line(&parameter.path)),
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

#[cfg(test)]
mod tests {
    use super::super::pass::sample::{RELU, Sample, images};
    use crate::graph::Graph;
    use crate::network::{Binary, Dim, Op, Unary, Value, Window};

    fn block() -> Graph {
        let mut sample = Sample::new(images(4, 8, 8));
        let weight = sample.parameter("block.\"0\".conv.weight", &[4, 1, 3, 3]);
        let bias = sample.parameter("block.\"0\".conv.bias", &[4]);
        let op = Op::Convolution {
            rank: 2,
            window: Window {
                kernel: [3, 3],
                padding: [(1, 1), (0, 2)],
                ..Window::default()
            },
            groups: 4,
        };
        let conv = sample.node(op, &[Value::Input, weight], images(4, 8, 8));
        let norm = sample.norm(4);
        let epilogue = sample.epilogue(conv);
        epilogue.bias = Some(bias);
        epilogue.norm = Some(norm);
        epilogue.add = Some(Value::Input);
        epilogue.activation = Some(Unary::Clamp { min: 0.0, max: 6.0 });
        let number = sample.constant(&[1], &[0.5]);
        let inputs = [conv, number];
        let half = sample.node(Op::Binary(Binary::Multiply), &inputs, images(4, 8, 8));
        let relu = sample.node(RELU, &[half], images(4, 8, 8));
        let rows = vec![Dim::Batch(32), Dim::Fixed(8)];
        let rows = sample.node(Op::Reshape, &[relu], rows);
        let mut graph = sample.output(rows);
        graph.nodes[0].layer = "block.\"0\"\n<conv>".into();
        graph
    }

    #[test]
    fn a_line_tells_all_of_a_node() {
        let text = block().to_string();
        let lines: Vec<_> = text.lines().collect();
        let expected = [
            "input [N, 4, 8, 8]",
            "%0 = grouped_convolution(input, block.\"0\".conv.weight) \
             {3x3, padding 1x0+2, groups 4} + block.\"0\".conv.bias, batch_norm, add input, \
             clamp 0 to 6 -> [N, 4, 8, 8]  # block.\"0\" <conv>",
            "%1 = multiply(%0, 0.5) -> [N, 4, 8, 8]  # layer1",
            "%2 = relu(%1) -> [N, 4, 8, 8]  # layer2",
            "%3 = reshape(%2) -> [32N, 8]  # layer3",
            "output %3",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_flow_chart_has_boxes_and_edges_and_no_stray_characters() {
        let text = block().to_mermaid();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let expected = [
            "flowchart TD",
            "input_[\"input<br/>[N, 4, 8, 8]\"]",
            "node0[\"grouped_convolution + bias, batch_norm, add, clamp 0 to 6<br/>\
             3x3, padding 1x0+2, groups 4<br/>block.#34;0#34; #60;conv#62;<br/>[N, 4, 8, 8]\"]",
        ];
        assert_eq!(lines[..3], expected);
        for edge in [
            "input_ --> node0",
            "input_ -->|add| node0",
            "node0 --> node1",
            "node3 --> output_",
        ] {
            assert!(lines.contains(&edge), "{edge} in {text}");
        }
        assert_eq!(lines.len(), 1 + 6 + 6);
    }

    #[test]
    fn a_directed_graph_has_boxes_and_edges_and_no_stray_characters() {
        let mut graph = block();
        graph.nodes[2].layer = r"a\b".into();
        let text = graph.to_dot();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for line in [
            "digraph {",
            r#"node0 [label="grouped_convolution + bias, batch_norm, add, clamp 0 to 6\n3x3, padding 1x0+2, groups 4\nblock.\"0\" <conv>\n[N, 4, 8, 8]"];"#,
            r#"node2 [label="relu\na\\b\n[N, 4, 8, 8]"];"#,
            "input_ -> node0;",
            "input_ -> node0 [label=\"add\"];",
            "node3 -> output_;",
            "}",
        ] {
            assert!(lines.contains(&line), "{line} in {text}");
        }
        assert_eq!(lines.len(), 3 + 6 + 6);
    }
}

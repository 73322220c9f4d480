//! Runs a graph in floats, on any device of Burn.

use super::apply::{apply, unary};
use super::node::{Epilogue, Norm};
use super::tensor::AnyTensor;
use super::{Binary, Dim, Graph, GraphError, Op, Value};

impl Graph {
    /// The output for an input, with parameters and constants in the graph's order. Values are dropped
    /// after their last use.
    pub(crate) fn run(
        &self,
        parameters: &[AnyTensor],
        constants: &[AnyTensor],
        input: AnyTensor,
    ) -> Result<AnyTensor, GraphError> {
        let batch = self.batch(&input.dims())?;
        let mut results: Vec<Option<AnyTensor>> = vec![None; self.nodes.len()];
        let last = self.last_uses();
        let get = |results: &[Option<AnyTensor>], value: Value| match value {
            Value::Input => Some(input.clone()),
            Value::Node(index) => results.get(index).cloned().flatten(),
            Value::Parameter(index) => parameters.get(index).cloned(),
            Value::Constant(index) => constants.get(index).cloned(),
        };
        let get = |results: &[Option<AnyTensor>], value: Value| {
            get(results, value).ok_or_else(|| GraphError::Parameter {
                path: format!("{value:?}"),
                what: "is not given".to_string(),
            })
        };
        for (index, node) in self.nodes.iter().enumerate() {
            let inputs: Result<Vec<_>, _> = node
                .inputs
                .iter()
                .map(|value| get(&results, *value))
                .collect();
            let dims: Vec<usize> = node.dims.iter().map(|dim| dim.at(batch)).collect();
            let axis = channel_axis(&node.op, dims.len());
            let result = apply(&node.op, inputs?, &dims);
            let result = finish(&node.epilogue, axis, result, |value| get(&results, value))?;
            results[index] = Some(result);
            for used in &last[index] {
                results[*used] = None;
            }
        }
        get(&results, self.output)
    }

    /// Number of images in an input of these dimensions, at least one.
    pub(crate) fn batch(&self, found: &[usize]) -> Result<usize, GraphError> {
        let batch = self
            .input
            .iter()
            .zip(found)
            .find_map(|(dim, &length)| match dim {
                Dim::Batch(each) if *each > 0 => Some(length / each),
                _ => None,
            });
        let batch = batch.unwrap_or(1);
        let fits = found.len() == self.input.len()
            && self
                .input
                .iter()
                .zip(found)
                .all(|(dim, length)| dim.at(batch) == *length);
        match fits && batch > 0 {
            true => Ok(batch),
            false => Err(GraphError::Input {
                found: found.to_vec(),
                expected: self.expected_input(),
            }),
        }
    }

    pub(crate) fn expected_input(&self) -> String {
        let lengths = self.input.iter().map(|dim| match dim {
            Dim::Fixed(length) => length.to_string(),
            Dim::Batch(1) => "n".to_string(),
            Dim::Batch(each) => format!("{each} n"),
        });
        format!(
            "[{}] with n at least 1",
            lengths.collect::<Vec<_>>().join(", ")
        )
    }

    // The nodes whose results nothing uses after each node.
    fn last_uses(&self) -> Vec<Vec<usize>> {
        let mut last = vec![Vec::new(); self.nodes.len()];
        for (index, users) in self.users().iter().take(self.nodes.len()).enumerate() {
            let user = users.iter().max().copied().unwrap_or(index);
            if self.output != Value::Node(index) {
                last[user].push(index);
            }
        }
        last
    }
}

/// The axis along which a product has its output channels.
pub(crate) fn channel_axis(op: &Op, rank: usize) -> usize {
    match op {
        Op::Linear | Op::MatMul => rank.saturating_sub(1),
        _ => 1.min(rank.saturating_sub(1)),
    }
}

/// A vector of one number for each channel, in a form that broadcasts.
pub(crate) fn along(vector: AnyTensor, axis: usize, rank: usize) -> AnyTensor {
    let mut dims = vec![1; rank];
    dims[axis] = vector.dims().iter().product();
    vector.reshape(&dims)
}

/// Factor and shift of a batch norm, one for each channel.
pub(crate) fn factor_and_shift(
    norm: &Norm,
    mut get: impl FnMut(Value) -> Result<AnyTensor, GraphError>,
) -> Result<(AnyTensor, AnyTensor), GraphError> {
    let [gamma, beta, mean, variance] = [
        get(norm.gamma)?,
        get(norm.beta)?,
        get(norm.mean)?,
        get(norm.variance)?,
    ]
    .map(AnyTensor::rank::<1>);
    let factor = gamma / (variance + norm.epsilon).sqrt();
    let shift = beta - mean * factor.clone();
    Ok((factor.into(), shift.into()))
}

// What follows an operation before its result is seen.
fn finish(
    epilogue: &Epilogue,
    axis: usize,
    mut result: AnyTensor,
    get: impl Fn(Value) -> Result<AnyTensor, GraphError>,
) -> Result<AnyTensor, GraphError> {
    let rank = result.dims().len();
    if let Some(bias) = epilogue.bias {
        result = result.binary(along(get(bias)?, axis, rank), Binary::Add);
    }
    if let Some(norm) = &epilogue.norm {
        let (factor, shift) = factor_and_shift(norm, &get)?;
        result = result.binary(along(factor, axis, rank), Binary::Multiply);
        result = result.binary(along(shift, axis, rank), Binary::Add);
    }
    if let Some(other) = epilogue.add {
        result = result.binary(get(other)?, Binary::Add);
    }
    Ok(match epilogue.activation {
        Some(function) => unary(function, result),
        None => result,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Node, Parameter, Unary};

    // A product with every part of an epilogue: `clamp((x w + bias) norm + x, -1, 2)`.
    fn graph() -> Graph {
        let vectors = ["bias", "gamma", "beta", "mean", "variance"];
        let parameter = |path: &str, dims: &[usize]| Parameter {
            path: path.to_string(),
            dims: dims.to_vec(),
        };
        let mut parameters = vec![parameter("weight", &[2, 2])];
        parameters.extend(vectors.map(|path| parameter(path, &[2])));
        let [bias, gamma, beta, mean, variance] = [1, 2, 3, 4, 5].map(Value::Parameter);
        let dims = vec![Dim::Batch(1), Dim::Fixed(2)];
        let node = Node {
            op: Op::Linear,
            inputs: vec![Value::Input, Value::Parameter(0)],
            epilogue: Epilogue {
                bias: Some(bias),
                norm: Some(Norm {
                    gamma,
                    beta,
                    mean,
                    variance,
                    epsilon: 0.25,
                }),
                add: Some(Value::Input),
                activation: Some(Unary::Clamp {
                    min: -1.0,
                    max: 2.0,
                }),
            },
            dims: dims.clone(),
            layer: String::new(),
        };
        Graph {
            nodes: vec![node],
            input: dims,
            output: Value::Node(0),
            parameters,
            constants: Vec::new(),
        }
    }

    fn tensor(values: &[f32], dims: &[usize]) -> AnyTensor {
        AnyTensor::from_values(values, dims, &burn::tensor::Device::default())
    }

    fn values(tensor: AnyTensor) -> Vec<f32> {
        tensor.rank::<2>().into_data().iter::<f32>().collect()
    }

    #[test]
    fn an_epilogue_is_done_in_its_order() {
        let parameters = [
            tensor(&[1.0, 0.0, 0.0, 1.0], &[2, 2]),
            tensor(&[1.0, 2.0], &[2]),
            tensor(&[2.0, 4.0], &[2]),
            tensor(&[0.5, -0.5], &[2]),
            tensor(&[1.0, 1.0], &[2]),
            tensor(&[0.75, 3.75], &[2]), // with epsilon 1 and 4
        ];
        let input = tensor(&[0.25, -1.0, -2.0, 3.0], &[2, 2]);
        let output = graph().run(&parameters, &[], input).unwrap();
        // (0.25 + 1 - 1) 2 + 0.5 + 0.25, (-1 + 2 - 1) 2 - 0.5 - 1 cut off; then both cut off.
        assert_eq!(values(output), [1.25, -1.0, -1.0, 2.0]);
        let missing = graph().run(&parameters[..3], &[], tensor(&[0.0, 0.0], &[1, 2]));
        assert!(matches!(missing, Err(GraphError::Parameter { .. })));
    }

    #[test]
    fn values_are_dropped_after_their_last_use() {
        let mut graph = graph();
        let unary = |input| Node {
            op: Op::Unary(Unary::Relu),
            inputs: vec![input],
            epilogue: Epilogue::default(),
            dims: graph.input.clone(),
            layer: String::new(),
        };
        let mut last = unary(Value::Node(1));
        last.epilogue.add = Some(Value::Node(0));
        graph
            .nodes
            .extend([unary(Value::Node(0)), unary(Value::Node(0)), last]);
        graph.output = Value::Node(3);
        // The third is not used, so that it goes at once.
        assert_eq!(graph.last_uses(), [vec![], vec![], vec![2], vec![0, 1]]);
    }
}

//! The weights of products by channel, in the processor's memory.

use super::super::{Graph, Norm, Op, Value};

/// Values of the graph's parameters.
pub(super) struct Values(pub Vec<Vec<f64>>);

impl Values {
    fn of(&self, graph: &Graph, value: Value) -> Vec<f64> {
        match value {
            Value::Parameter(index) => self.0[index].clone(),
            Value::Constant(index) => {
                let values = graph.constants[index].values.iter();
                values.copied().map(f64::from).collect()
            }
            _ => unreachable!("products hold parameters"),
        }
    }

    fn scale(&mut self, value: Value, factor: impl Fn(usize) -> f64) {
        if let Value::Parameter(index) = value {
            for (place, value) in self.0[index].iter_mut().enumerate() {
                *value *= factor(place);
            }
        }
    }

    /// The greatest size of the effective weights of each output channel of a product, or (`inward`) of
    /// each channel of its input: with the factor of the batch norm that follows it.
    pub fn ranges(&self, graph: &Graph, product: usize, inward: bool) -> Vec<f64> {
        let node = &graph.nodes[product];
        let layout = Layout::of(graph, product);
        let norm = node.epilogue.norm.as_ref();
        let factors = norm.map(|norm| self.factors(graph, norm));
        let mut ranges = vec![
            0.0f64;
            if inward {
                layout.inputs
            } else {
                layout.outputs
            }
        ];
        for (place, weight) in self.of(graph, node.inputs[1]).iter().enumerate() {
            let (input, output) = layout.channels(place);
            let factor = factors.as_ref().map_or(1.0, |factors| factors[output]);
            let range = &mut ranges[if inward { input } else { output }];
            *range = range.max((weight * factor).abs());
        }
        ranges
    }

    fn factors(&self, graph: &Graph, norm: &Norm) -> Vec<f64> {
        let gamma = self.of(graph, norm.gamma).into_iter();
        let statistics = gamma.zip(self.of(graph, norm.variance));
        statistics
            .map(|(gamma, variance)| gamma / (variance + f64::from(norm.epsilon)).sqrt())
            .collect()
    }

    /// Multiplies each output channel of a product.
    pub fn scale_outputs(&mut self, graph: &Graph, product: usize, factors: &[f64]) {
        let node = &graph.nodes[product];
        match node.epilogue.norm {
            Some(norm) => {
                self.scale(norm.gamma, |channel| factors[channel]);
                self.scale(norm.beta, |channel| factors[channel]);
            }
            None => {
                let layout = Layout::of(graph, product);
                self.scale(node.inputs[1], |place| factors[layout.channels(place).1]);
                if let Some(bias) = node.epilogue.bias {
                    self.scale(bias, |channel| factors[channel]);
                }
            }
        }
    }

    /// Multiplies a product's weights for each channel of its input.
    pub fn scale_inputs(&mut self, graph: &Graph, product: usize, factors: &[f64]) {
        let layout = Layout::of(graph, product);
        let weight = graph.nodes[product].inputs[1];
        self.scale(weight, |place| factors[layout.channels(place).0]);
    }
}

/// Where a weight's channels are.
pub(in crate::graph) struct Layout {
    kind: Kind,
    inputs: usize,
    outputs: usize,
    groups: usize,
    // Elements of a kernel.
    kernel: usize,
}

enum Kind {
    Convolution,
    Transposed,
    Linear,
}

impl Layout {
    pub fn of(graph: &Graph, product: usize) -> Self {
        let node = &graph.nodes[product];
        let dims: Vec<usize> = graph.dims(node.inputs[1]).iter().map(|d| d.at(1)).collect();
        let kernel = dims[2..].iter().product();
        let (kind, groups) = match node.op {
            Op::Convolution { groups, .. } => (Kind::Convolution, groups),
            Op::TransposedConvolution { groups, .. } => (Kind::Transposed, groups),
            _ => (Kind::Linear, 1),
        };
        let (inputs, outputs) = match kind {
            Kind::Convolution => (dims[1] * groups, dims[0]),
            _ => (dims[0], dims[1] * groups),
        };
        Self {
            kind,
            inputs,
            outputs,
            groups,
            kernel,
        }
    }

    /// How many channels the result has.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The channel of the input and of the output that an element belongs to.
    pub fn channels(&self, place: usize) -> (usize, usize) {
        let place = place / self.kernel.max(1);
        let (inputs, outputs) = (self.inputs / self.groups, self.outputs / self.groups);
        match self.kind {
            Kind::Convolution => {
                let (output, input) = (place / inputs, place % inputs);
                (output / outputs * inputs + input, output)
            }
            Kind::Transposed => {
                let (input, output) = (place / outputs, place % outputs);
                (input, input / inputs * outputs + output)
            }
            Kind::Linear => (place / self.outputs, place % self.outputs),
        }
    }
}

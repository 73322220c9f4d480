//! The weights of products by channel, in the processor's memory.

use super::super::{Graph, Norm};
use crate::format::WeightView;
use crate::network::Value;

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
        let layout = layout(graph, product);
        let norm = node.epilogue.norm.as_ref();
        let factors = norm.map(|norm| self.factors(graph, norm));
        let count = match inward {
            true => layout.inputs(),
            false => layout.rows(),
        };
        let mut ranges = vec![0.0f64; count];
        for (place, weight) in self.of(graph, node.inputs[1]).iter().enumerate() {
            let (input, output) = channels(&layout, place);
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
                let layout = layout(graph, product);
                self.scale(node.inputs[1], |place| factors[channels(&layout, place).1]);
                if let Some(bias) = node.epilogue.bias {
                    self.scale(bias, |channel| factors[channel]);
                }
            }
        }
    }

    /// Multiplies a product's weights for each channel of its input.
    pub fn scale_inputs(&mut self, graph: &Graph, product: usize, factors: &[f64]) {
        let layout = layout(graph, product);
        let weight = graph.nodes[product].inputs[1];
        self.scale(weight, |place| factors[channels(&layout, place).0]);
    }
}

/// Where a product's channels are in its weight.
pub(in crate::graph) fn layout(graph: &Graph, product: usize) -> WeightView {
    let node = &graph.nodes[product];
    let dims = graph.dims(node.inputs[1]);
    let dims: Vec<usize> = dims.iter().map(|dim| dim.at(1)).collect();
    let layout = node.op.weight_layout(&dims);
    layout.unwrap_or_else(|| unreachable!("pairs are of products with weights"))
}

/// The channel of the input and of the output that an element belongs to.
pub(in crate::graph) fn channels(layout: &WeightView, place: usize) -> (usize, usize) {
    layout.channels(place / layout.taps().max(1))
}

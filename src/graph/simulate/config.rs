//! What does not change while a quantized model trains.

use std::sync::{Arc, OnceLock};

use burn::module::Module;

use super::super::activations::{Form, QuantizerPlacement};
use super::super::{Graph, GraphError};
use super::reads::{Fold, Reads};
use super::weights::weights;
use crate::compress::Attached;
use crate::network::Value;

// That of Burn's own batch norm.
const MOMENTUM: f64 = 0.1;

/// Placement, scales of weights and learned flags of a graph.
#[derive(Debug, Clone)]
pub(crate) struct QuantizationConfig {
    pub placement: QuantizerPlacement,
    pub attached: Attached,
    pub reads: Reads,
    pub learned: bool,
    pub momentum: f64,
    /// Whether the device rounds by an addition; asked once.
    pub rounds_by_addition: OnceLock<bool>,
}

impl QuantizationConfig {
    pub fn new(placement: QuantizerPlacement, attached: Attached, learned: bool) -> Self {
        Self {
            reads: Reads::new(&placement),
            placement,
            attached,
            learned,
            momentum: MOMENTUM,
            rounds_by_addition: OnceLock::new(),
        }
    }

    /// Of a graph with nothing quantized but its weights' values.
    pub fn in_floats(graph: Graph, attached: Attached) -> Self {
        Self::new(QuantizerPlacement::floats(graph), attached, false)
    }

    /// Lets the weights of products make up for the scales of their inputs' channels, by what the weights
    /// are now. Reads these from the device.
    pub fn fold<M: Module>(&mut self, module: &M) -> Result<(), GraphError> {
        let placement = &self.placement;
        let graph = &placement.graph;
        let folded = |index: usize| {
            let node = &graph.nodes[index];
            let (_, each) = placement.channel_factors(*node.inputs.first()?)?;
            match (placement.forms[index], node.inputs.get(1)) {
                (Form::Product, Some(Value::Parameter(weight))) => Some((index, *weight, each)),
                _ => None,
            }
        };
        let folded: Vec<_> = (0..graph.nodes.len()).filter_map(folded).collect();
        if folded.is_empty() {
            return Ok(());
        }
        let exact = self.attached.without_codes();
        let weights = weights(graph, &module.valid(), &exact, &Reads::default())?;
        for (index, weight, each) in folded {
            let path = &graph.parameters[weight].path;
            let Some(scheme) = self.attached.scheme(path) else {
                continue;
            };
            let values = weights[weight].values();
            let dims = values.dims();
            let values = values.read(path)?;
            let fold = Fold::new(&graph.nodes[index].op, &dims, &values, each, &scheme);
            self.reads.fold(weight, fold);
        }
        Ok(())
    }

    /// Elements that share a quantizer's scale, of one sample.
    pub(super) fn quantizer_length(&self, quantizer: usize) -> usize {
        let placement = &self.placement;
        let elements =
            |dims: &[crate::network::Dim]| -> usize { dims.iter().map(|d| d.at(1)).product() };
        if placement.input == Some(quantizer) {
            return elements(&placement.graph.input);
        }
        let node = placement.nodes.iter().position(|of| *of == Some(quantizer));
        node.map_or(1, |node| elements(&placement.graph.nodes[node].dims))
    }
}

// The same on another device, which is yet to be asked.
pub(super) fn elsewhere(mut config: Arc<QuantizationConfig>) -> Arc<QuantizationConfig> {
    Arc::make_mut(&mut config).rounds_by_addition = OnceLock::new();
    config
}

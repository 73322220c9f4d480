use std::collections::HashMap;

use burn::tensor::{Device, Tensor};

use super::super::activations::Form;
use super::super::apply::apply;
use super::super::tensor::AnyTensor;
use super::super::{Graph, GraphError, Node};
use super::channels::{plus, plus_channels, times, times_channels};
use super::config::QuantizationConfig;
use super::requantization::RequantizationSource;
use super::round::{requantize, rounds_by_addition};
use super::weights::Weight;
use crate::network::{Binary, Unary, Value};

/// A tensor on its way through the graph.
#[derive(Debug, Clone)]
pub(super) enum SimulatedValue {
    Float(AnyTensor),
    /// Codes less the zero point, and their quantizer.
    Codes(AnyTensor, usize),
}

impl SimulatedValue {
    fn tensor(&self) -> &AnyTensor {
        let (Self::Float(tensor) | Self::Codes(tensor, _)) = self;
        tensor
    }
}

/// One run of a quantized graph.
pub(crate) struct Pass<'a> {
    pub(super) graph: &'a Graph,
    pub(super) config: &'a QuantizationConfig,
    pub(super) weights: &'a [Weight],
    pub(super) scales: Vec<Tensor<1>>,
    correction: Option<Tensor<1>>,
    /// Whether batch norms use the batch's statistics.
    pub(super) training: bool,
    pub(super) host_scales: Option<Vec<f32>>,
    pub(super) statistics: HashMap<String, Tensor<1>>,
    pub(super) batch: usize,
    pub(super) device: Device,
    /// Shows what each product comes to before its activation, in real units.
    pub on_product: Option<&'a mut dyn FnMut(usize, AnyTensor)>,
    /// The node whose result ends a run; none: the graph's output.
    pub last: Option<usize>,
    /// In floats, a number near all values of a product's input: what it adds to the result is taken from
    /// the weights before they were quantized.
    pub centred_on: Option<&'a dyn Fn(Value) -> f32>,
}

impl<'a> Pass<'a> {
    pub fn new(
        config: &'a QuantizationConfig,
        weights: &'a [Weight],
        scales: Vec<Tensor<1>>,
        correction: Option<Tensor<1>>,
        training: bool,
    ) -> Self {
        Self {
            graph: &config.placement.graph,
            config,
            weights,
            scales,
            correction,
            training,
            host_scales: None,
            statistics: HashMap::new(),
            batch: 1,
            device: Device::default(),
            on_product: None,
            last: None,
            centred_on: None,
        }
    }

    /// Mean and variance of the batch, by the paths of the running ones.
    pub fn into_statistics(self) -> HashMap<String, Tensor<1>> {
        self.statistics
    }

    /// The output for an input.
    pub fn run(&mut self, input: AnyTensor) -> Result<AnyTensor, GraphError> {
        self.trace(input, |_, _| {})
    }

    /// The same, showing the input and each node's result as they are: codes less their zero point, or
    /// floats.
    pub fn trace(
        &mut self,
        input: AnyTensor,
        mut show: impl FnMut(Value, &AnyTensor),
    ) -> Result<AnyTensor, GraphError> {
        self.batch = self.graph.batch(&input.dims())?;
        self.device = input.device();
        let last_use = self.graph.last_uses();
        let count = self.graph.nodes.len();
        // The last is the input.
        let mut simulated: Vec<Option<SimulatedValue>> = vec![None; count + 1];
        let input = self.settle(Value::Input, input);
        show(Value::Input, input.tensor());
        simulated[count] = Some(input);
        for index in 0..count {
            let result = self.node(index, &simulated)?;
            show(Value::Node(index), result.tensor());
            simulated[index] = Some(result);
            if self.last == Some(index) {
                return Ok(self.float(Value::Node(index), &simulated));
            }
            for operand in self.graph.nodes[index].operands() {
                if let Some(slot) = self.graph.slot(operand)
                    && last_use[slot] == Some(index)
                {
                    simulated[slot] = None;
                }
            }
        }
        Ok(self.float(self.graph.output, &simulated))
    }

    // A float result: becomes codes where its quantizer asks for them.
    pub(super) fn settle(&self, value: Value, tensor: AnyTensor) -> SimulatedValue {
        match self.config.placement.quantizer(value) {
            None => SimulatedValue::Float(tensor),
            Some(quantizer) => {
                let offset = self.config.placement.quantizers[quantizer].offset;
                let scale = self.scale(value);
                let units = times(plus(tensor, -offset), &scale, Binary::Divide);
                SimulatedValue::Codes(self.requantize(units, quantizer, false), quantizer)
            }
        }
    }

    // Rounds to codes less the zero point, with a straight-through gradient within the range.
    fn requantize(&self, units: AnyTensor, quantizer: usize, ramp: bool) -> AnyTensor {
        let range = self.config.placement.quantizers[quantizer].centred_range();
        let known = &self.config.rounds_by_addition;
        let by_addition = *known.get_or_init(|| rounds_by_addition(&self.device));
        requantize(units, range, ramp, by_addition)
    }

    pub(super) fn node(
        &mut self,
        index: usize,
        simulated: &[Option<SimulatedValue>],
    ) -> Result<SimulatedValue, GraphError> {
        let graph = self.graph;
        let node = &graph.nodes[index];
        let dims: Vec<usize> = node.dims.iter().map(|dim| dim.at(self.batch)).collect();
        let placement = &self.config.placement;
        let quantizer = placement.nodes[index];
        let units = match (placement.forms[index], quantizer) {
            (Form::Product, _) => self.product(index, &dims, simulated)?,
            (Form::Move, Some(quantizer)) => {
                let inputs = node
                    .inputs
                    .iter()
                    .map(|value| self.codes(*value, simulated));
                let moved = apply(&node.op, inputs.collect(), &dims);
                return Ok(SimulatedValue::Codes(moved, quantizer));
            }
            (Form::Arithmetic, Some(_)) => self.arithmetic(index, simulated),
            (Form::Sum, Some(_)) => self.sum(index, simulated),
            (Form::Rescale, Some(_)) => self.affine(index, &dims, simulated)?,
            (Form::Table, Some(quantizer)) => return self.table(index, quantizer, simulated),
            _ => {
                let result = self.in_float(node, &dims, simulated);
                let result = self.float_epilogue(node, result, simulated);
                if node.op.is_product()
                    && let Some(show) = &mut self.on_product
                {
                    show(index, result.clone());
                }
                let result = self.activate(index, result, false);
                return Ok(self.settle(Value::Node(index), result));
            }
        };
        Ok(match quantizer {
            // Where zero is a code.
            Some(quantizer)
                if node.epilogue.activation == Some(Unary::Relu)
                    && placement.quantizers[quantizer].offset == 0.0 =>
            {
                SimulatedValue::Codes(self.requantize(units, quantizer, true), quantizer)
            }
            Some(quantizer) => {
                let units = self.activate(index, units, true);
                SimulatedValue::Codes(self.requantize(units, quantizer, false), quantizer)
            }
            None => SimulatedValue::Float(self.activate(index, units, false)),
        })
    }

    pub(super) fn in_float(
        &self,
        node: &Node,
        dims: &[usize],
        simulated: &[Option<SimulatedValue>],
    ) -> AnyTensor {
        let inputs = node
            .inputs
            .iter()
            .map(|value| self.float(*value, simulated));
        let mut inputs: Vec<AnyTensor> = inputs.collect();
        let centre = self.centred_on.map_or(0.0, |of| of(node.inputs[0]));
        let sums = match node.inputs.get(1) {
            Some(Value::Parameter(weight)) if node.op.sums_all_weights() && centre != 0.0 => {
                self.weights[*weight].sums()
            }
            _ => None,
        };
        let Some(sums) = sums else {
            return apply(&node.op, inputs, dims);
        };
        let input = inputs.remove(0);
        inputs.insert(0, plus(input, -centre));
        let axis = node.op.channel_axis(dims.len());
        let result = apply(&node.op, inputs, dims);
        plus_channels(result, sums.clone() * centre, axis)
    }

    pub(super) fn source(&self) -> RequantizationSource<'_> {
        RequantizationSource {
            placement: &self.config.placement,
            weights: self.weights,
            scales: &self.scales,
            correction: self.correction.as_ref(),
        }
    }

    // The scale of a quantized tensor.
    pub(super) fn scale(&self, value: Value) -> Tensor<1> {
        let scale = self.source().scale(value);
        scale.unwrap_or_else(|| unreachable!("it is quantized"))
    }

    // A tensor's codes; its quantizer asked for them.
    pub(super) fn codes(&self, value: Value, simulated: &[Option<SimulatedValue>]) -> AnyTensor {
        match self
            .graph
            .slot(value)
            .and_then(|slot| simulated[slot].as_ref())
        {
            Some(SimulatedValue::Codes(codes, _)) => codes.clone(),
            _ => unreachable!("placement gives a quantizer to what integer nodes read"),
        }
    }

    // A tensor's real values.
    pub(super) fn float(&self, value: Value, simulated: &[Option<SimulatedValue>]) -> AnyTensor {
        match value {
            Value::Parameter(index) => self.weights[index].values(),
            Value::Constant(index) => {
                let constant = &self.graph.constants[index];
                AnyTensor::from_values(&constant.values, &constant.dims, &self.device)
            }
            value => match self.graph.slot(value).and_then(|s| simulated[s].as_ref()) {
                Some(SimulatedValue::Float(tensor)) => tensor.clone(),
                Some(SimulatedValue::Codes(codes, quantizer)) => {
                    let placement = &self.config.placement;
                    let codes = match placement.channel_factors(value) {
                        Some((axis, each)) => {
                            let each = Tensor::<1>::from_data(each, &self.device);
                            times_channels(codes.clone(), each, axis)
                        }
                        None => codes.clone(),
                    };
                    let real = times(codes, &self.scale(value), Binary::Multiply);
                    plus(real, placement.quantizers[*quantizer].offset)
                }
                None => unreachable!("each node comes after those it uses"),
            },
        }
    }
}

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};

use super::super::activations::Form;
use super::super::apply::apply;
use super::super::tensor::AnyTensor;
use super::super::{Graph, GraphError, Node};
use super::channels::{plus, plus_channels, times, times_channels};
use super::model::Setting;
use super::round::{requantize, rounds_by_addition};
use super::terms::Source;
use super::weights::Weight;
use crate::network::{Binary, Unary, Value};

/// A tensor on its way through the graph.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Float(AnyTensor),
    /// Codes less the zero point, and their site.
    Codes(AnyTensor, usize),
}

impl Held {
    fn tensor(&self) -> &AnyTensor {
        let (Self::Float(tensor) | Self::Codes(tensor, _)) = self;
        tensor
    }
}

/// One run of a quantized graph.
pub(crate) struct Pass<'a> {
    pub(super) graph: &'a Graph,
    pub(super) setting: &'a Setting,
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
        setting: &'a Setting,
        weights: &'a [Weight],
        scales: Vec<Tensor<1>>,
        correction: Option<Tensor<1>>,
        training: bool,
    ) -> Self {
        Self {
            graph: &setting.placement.graph,
            setting,
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
        let mut held: Vec<Option<Held>> = vec![None; count + 1];
        let input = self.settle(Value::Input, input);
        show(Value::Input, input.tensor());
        held[count] = Some(input);
        for index in 0..count {
            let result = self.node(index, &held)?;
            show(Value::Node(index), result.tensor());
            held[index] = Some(result);
            if self.last == Some(index) {
                return Ok(self.float(Value::Node(index), &held));
            }
            for operand in self.graph.nodes[index].operands() {
                if let Some(slot) = self.graph.slot(operand)
                    && last_use[slot] == Some(index)
                {
                    held[slot] = None;
                }
            }
        }
        Ok(self.float(self.graph.output, &held))
    }

    // A float result: becomes codes where its site asks for them.
    pub(super) fn settle(&self, value: Value, tensor: AnyTensor) -> Held {
        match self.setting.placement.site(value) {
            None => Held::Float(tensor),
            Some(site) => {
                let offset = self.setting.placement.sites[site].offset;
                let scale = self.scale(value);
                let units = times(plus(tensor, -offset), &scale, Binary::Divide);
                Held::Codes(self.requantize(units, site, false), site)
            }
        }
    }

    // Rounds to codes less the zero point, with a straight-through gradient within the range.
    fn requantize(&self, units: AnyTensor, site: usize, ramp: bool) -> AnyTensor {
        let range = self.setting.placement.sites[site].centred_range();
        let known = &self.setting.rounds_by_addition;
        let by_addition = *known.get_or_init(|| rounds_by_addition(&self.device));
        requantize(units, range, ramp, by_addition)
    }

    pub(super) fn node(&mut self, index: usize, held: &[Option<Held>]) -> Result<Held, GraphError> {
        let graph = self.graph;
        let node = &graph.nodes[index];
        let dims: Vec<usize> = node.dims.iter().map(|dim| dim.at(self.batch)).collect();
        let placement = &self.setting.placement;
        let site = placement.nodes[index];
        let units = match (placement.forms[index], site) {
            (Form::Product, _) => self.product(index, &dims, held)?,
            (Form::Move, Some(site)) => {
                let inputs = node.inputs.iter().map(|value| self.codes(*value, held));
                let moved = apply(&node.op, inputs.collect(), &dims);
                return Ok(Held::Codes(moved, site));
            }
            (Form::Arithmetic, Some(_)) => self.arithmetic(index, held),
            (Form::Sum, Some(_)) => self.sum(index, held),
            (Form::Rescale, Some(_)) => self.affine(index, &dims, held)?,
            (Form::Table, Some(site)) => return self.table(index, site, held),
            _ => {
                let result = self.in_float(node, &dims, held);
                let result = self.float_epilogue(node, result, held);
                if node.op.is_product()
                    && let Some(show) = &mut self.on_product
                {
                    show(index, result.clone());
                }
                let result = self.activate(index, result, false);
                return Ok(self.settle(Value::Node(index), result));
            }
        };
        Ok(match site {
            // Where zero is a code.
            Some(site)
                if node.epilogue.activation == Some(Unary::Relu)
                    && placement.sites[site].offset == 0.0 =>
            {
                Held::Codes(self.requantize(units, site, true), site)
            }
            Some(site) => {
                let units = self.activate(index, units, true);
                Held::Codes(self.requantize(units, site, false), site)
            }
            None => Held::Float(self.activate(index, units, false)),
        })
    }

    pub(super) fn in_float(&self, node: &Node, dims: &[usize], held: &[Option<Held>]) -> AnyTensor {
        let inputs = node.inputs.iter().map(|value| self.float(*value, held));
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

    pub(super) fn source(&self) -> Source<'_> {
        Source {
            placement: &self.setting.placement,
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

    // A tensor's codes; its site asked for them.
    pub(super) fn codes(&self, value: Value, held: &[Option<Held>]) -> AnyTensor {
        match self.graph.slot(value).and_then(|slot| held[slot].as_ref()) {
            Some(Held::Codes(codes, _)) => codes.clone(),
            _ => unreachable!("placement gives a site to what integer nodes read"),
        }
    }

    // A tensor's real values.
    pub(super) fn float(&self, value: Value, held: &[Option<Held>]) -> AnyTensor {
        match value {
            Value::Parameter(index) => self.weights[index].values(),
            Value::Constant(index) => {
                let constant = &self.graph.constants[index];
                AnyTensor::from_values(&constant.values, &constant.dims, &self.device)
            }
            value => match self.graph.slot(value).and_then(|s| held[s].as_ref()) {
                Some(Held::Float(tensor)) => tensor.clone(),
                Some(Held::Codes(codes, site)) => {
                    let placement = &self.setting.placement;
                    let codes = match placement.channel_factors(value) {
                        Some((axis, each)) => {
                            let each = Tensor::<1>::from_data(each, &self.device);
                            times_channels(codes.clone(), each, axis)
                        }
                        None => codes.clone(),
                    };
                    let real = times(codes, &self.scale(value), Binary::Multiply);
                    plus(real, placement.sites[*site].offset)
                }
                None => unreachable!("each node comes after those it uses"),
            },
        }
    }
}

use std::collections::HashMap;

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::super::activations::Form;
use super::super::apply::apply;
use super::super::tensor::{AnyTensor, along, map_rank, with_rank};
use super::super::{Binary, Graph, GraphError, Node, Norm, Op, Unary, Value};
use super::model::Setting;
use super::round::requantize;
use super::sums::{Sum, summed};
use super::terms::{Source, Terms};
use super::weights::Weight;

/// A tensor on its way through the graph.
#[derive(Debug, Clone)]
enum Held {
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
    graph: &'a Graph,
    setting: &'a Setting,
    weights: &'a [Weight],
    scales: Vec<Tensor<1>>,
    correction: Option<Tensor<1>>,
    /// Whether batch norms use the batch's statistics.
    training: bool,
    host_scales: Option<Vec<f32>>,
    statistics: HashMap<String, Tensor<1>>,
    batch: usize,
    device: Device,
    /// Shows what each product comes to before its activation, in real units.
    pub on_product: Option<&'a mut dyn FnMut(usize, AnyTensor)>,
    /// The node whose result ends a run; none: the graph's output.
    pub last: Option<usize>,
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
                if let Some(slot) = slot(operand, count)
                    && last_use[slot] == Some(index)
                {
                    held[slot] = None;
                }
            }
        }
        Ok(self.float(self.graph.output, &held))
    }

    // A float result: becomes codes where its site asks for them.
    fn settle(&self, value: Value, tensor: AnyTensor) -> Held {
        match self.setting.placement.site(value) {
            None => Held::Float(tensor),
            Some(site) => {
                let units = times(tensor, &self.scales[site], Binary::Divide);
                Held::Codes(self.requantize(units, site, false), site)
            }
        }
    }

    // Rounds to codes less the zero point, with a straight-through gradient within the range.
    fn requantize(&self, units: AnyTensor, site: usize, ramp: bool) -> AnyTensor {
        let range = self.setting.placement.sites[site].centred_range();
        requantize(units, range, ramp)
    }

    fn node(&mut self, index: usize, held: &[Option<Held>]) -> Result<Held, GraphError> {
        let graph = self.graph;
        let node = &graph.nodes[index];
        let dims: Vec<usize> = node.dims.iter().map(|dim| dim.at(self.batch)).collect();
        let placement = &self.setting.placement;
        let site = placement.nodes[index];
        let units = match (placement.forms[index], site) {
            (Form::Product, _) => self.product(index, &dims, held)?,
            (Form::Movement, Some(site)) => {
                let inputs = node.inputs.iter().map(|value| self.codes(*value, held));
                let moved = apply(&node.op, inputs.collect(), &dims);
                return Ok(Held::Codes(moved, site));
            }
            (Form::Arithmetic, Some(_)) => self.arithmetic(index, held),
            (Form::Sum, Some(_)) => self.sum(index, held),
            (Form::Affine, Some(_)) => self.affine(index, &dims, held)?,
            (Form::Table, Some(site)) => return self.table(index, site, held),
            _ => {
                let inputs = node.inputs.iter().map(|value| self.float(*value, held));
                let result = apply(&node.op, inputs.collect(), &dims);
                let result = self.float_epilogue(node, result, held);
                if node.op.is_product()
                    && let Some(show) = &mut self.on_product
                {
                    show(index, result.clone());
                }
                let result = self.activate(node, result, None);
                return Ok(self.settle(Value::Node(index), result));
            }
        };
        Ok(match site {
            Some(site) if node.epilogue.activation == Some(Unary::Relu) => {
                Held::Codes(self.requantize(units, site, true), site)
            }
            Some(site) => {
                let units = self.activate(node, units, Some(site));
                Held::Codes(self.requantize(units, site, false), site)
            }
            None => Held::Float(self.activate(node, units, None)),
        })
    }

    fn source(&self) -> Source<'_> {
        Source {
            placement: &self.setting.placement,
            weights: self.weights,
            scales: &self.scales,
            correction: self.correction.as_ref(),
        }
    }

    // The sum of an integer product, in units of the result.
    fn product(
        &mut self,
        index: usize,
        dims: &[usize],
        held: &[Option<Held>],
    ) -> Result<AnyTensor, GraphError> {
        let node = &self.graph.nodes[index];
        let units = match node.epilogue.norm.filter(|_| self.training) {
            Some(norm) => self.normed_product(index, dims, held, &norm)?,
            None => {
                let sum = self.sum_of_product(index, dims, held);
                let axis = channel_axis(&node.op, dims.len());
                affine(sum, &self.source().product(index), axis)
            }
        };
        let units = match (node.epilogue.add, self.source().residual(index)) {
            (Some(add), Some(scale)) => {
                let residual = times(self.codes(add, held), &scale, Binary::Multiply);
                units.binary(residual, Binary::Add)
            }
            _ => units,
        };
        if let Some(show) = &mut self.on_product {
            let real = match self.setting.placement.nodes[index] {
                Some(site) => times(units.clone(), &self.scales[site], Binary::Multiply),
                None => units.clone(),
            };
            show(index, real);
        }
        Ok(units)
    }

    fn sum_of_product(&self, index: usize, dims: &[usize], held: &[Option<Held>]) -> AnyTensor {
        let node = &self.graph.nodes[index];
        let second = match node.inputs[1] {
            Value::Parameter(weight) => self.weight_codes(weight),
            other => self.codes(other, held),
        };
        let first = self.codes(node.inputs[0], held);
        apply(&node.op, vec![first, second], dims)
    }

    fn weight_codes(&self, weight: usize) -> AnyTensor {
        match &self.weights[weight].codes {
            Some((codes, _)) => codes.clone(),
            None => unreachable!("weights of products have codes"),
        }
    }

    // A product under a batch norm by the batch's own statistics. No integer form has those, so that the
    // scales may be multiplied into the small tensors: the operands' into the weights, the result's into
    // the norm's factor and shift. Whole activations, and the gradients of scales over them, are then
    // passed over by the product and the norm alone.
    fn normed_product(
        &mut self,
        index: usize,
        dims: &[usize],
        held: &[Option<Held>],
        norm: &Norm,
    ) -> Result<AnyTensor, GraphError> {
        let node = &self.graph.nodes[index];
        let axis = channel_axis(&node.op, dims.len());
        let unit = self.source().unit(index);
        let mut real = match (node.inputs[1], weight_axis(&node.op)) {
            (Value::Parameter(weight), Some(weight_axis)) => {
                let weight = times_channels(self.weight_codes(weight), unit, weight_axis);
                let codes = self.codes(node.inputs[0], held);
                apply(&node.op, vec![codes, weight], dims)
            }
            _ => times_channels(self.sum_of_product(index, dims, held), unit, axis),
        };
        if let Some(bias) = node.epilogue.bias {
            real = plus_channels(real, self.source().vector(bias), axis);
        }
        self.batch_norm(real, norm, self.setting.placement.nodes[index])
    }

    fn affine(
        &mut self,
        index: usize,
        dims: &[usize],
        held: &[Option<Held>],
    ) -> Result<AnyTensor, GraphError> {
        let node = &self.graph.nodes[index];
        let norm = standing_norm(node);
        if self.training {
            let real = self.float(node.inputs[0], held);
            return self.batch_norm(real, &norm, self.setting.placement.nodes[index]);
        }
        let terms = self.source().affine(index, &norm);
        let axis = channel_axis(&node.op, dims.len());
        Ok(affine(self.codes(node.inputs[0], held), &terms, axis))
    }

    // By the batch's own statistics, which are kept for the running ones; in units of the site's scale.
    fn batch_norm(
        &mut self,
        real: AnyTensor,
        norm: &Norm,
        site: Option<usize>,
    ) -> Result<AnyTensor, GraphError> {
        let source = self.source();
        let (mut gamma, mut beta) = (source.vector(norm.gamma), source.vector(norm.beta));
        if let Some(site) = site {
            let scale = &self.scales[site];
            gamma = gamma / scale.clone();
            beta = beta / scale.clone();
        }
        let epsilon = f64::from(norm.epsilon);
        let dims = real.dims();
        let (normed, mean, variance) = with_rank!(real, real => {
            let result = burn::tensor::module::batch_norm_train(real, gamma, beta, epsilon);
            (AnyTensor::from(result.output), result.mean, result.variance)
        });
        for (value, batch) in [(norm.mean, mean), (norm.variance, variance)] {
            if let Value::Parameter(index) = value {
                let path = self.graph.parameters[index].path.clone();
                self.statistics.insert(path, batch.detach());
            }
        }
        Ok(normed.reshape(&dims))
    }

    fn arithmetic(&self, index: usize, held: &[Option<Held>]) -> AnyTensor {
        let node = &self.graph.nodes[index];
        let source = self.source();
        let multipliers = source.arithmetic(index);
        let operands = node.inputs.iter().filter(|value| value.is_activation());
        let operands: Vec<AnyTensor> = operands.map(|value| self.codes(*value, held)).collect();
        let Op::Binary(binary) = node.op else {
            unreachable!("arithmetic is of two operands")
        };
        let constant = source.constant(index);
        let mut operands = operands.into_iter();
        let Some(first) = operands.next() else {
            unreachable!("arithmetic has an activation")
        };
        match (binary, operands.next(), constant) {
            (Binary::Multiply, Some(second), _) => times(
                first.binary(second, Binary::Multiply),
                &multipliers[0],
                Binary::Multiply,
            ),
            (Binary::Multiply, None, Some(factor)) => first.binary(factor, Binary::Multiply),
            (_, Some(second), _) => {
                let first = times(first, &multipliers[0], Binary::Multiply);
                let second = times(second, &multipliers[1], Binary::Multiply);
                first.binary(second, binary)
            }
            (_, None, Some(offset)) => {
                times(first, &multipliers[0], Binary::Multiply).binary(offset, Binary::Add)
            }
            (_, None, None) => first,
        }
    }

    fn sum(&self, index: usize, held: &[Option<Held>]) -> AnyTensor {
        let node = &self.graph.nodes[index];
        let codes = self.codes(node.inputs[0], held);
        let Sum {
            sums,
            count,
            counts,
        } = summed(&node.op, codes);
        let units = times(sums, &self.source().sum(index, count), Binary::Multiply);
        match counts {
            Some(counts) => units.binary(counts, Binary::Divide),
            None => units,
        }
    }

    fn table(
        &mut self,
        index: usize,
        site: usize,
        held: &[Option<Held>],
    ) -> Result<Held, GraphError> {
        let node = &self.graph.nodes[index];
        let Op::Unary(unary) = node.op else {
            unreachable!("tables are of functions of one number")
        };
        let codes = self.codes(node.inputs[0], held);
        let from = self.setting.placement.site(node.inputs[0]);
        let from = from.unwrap_or_else(|| unreachable!("the operand of a table is quantized"));
        if self.host_scales.is_none() {
            self.host_scales = Some(super::read_scales(&self.scales)?);
        }
        let scales = self.host_scales.as_deref().unwrap_or_default();
        let sites = &self.setting.placement.sites;
        let table = super::table(
            unary,
            &sites[from],
            scales[from],
            &sites[site],
            scales[site],
        );
        let (low, _) = sites[from].centred_range();
        let dims = codes.dims();
        let length = dims.iter().product();
        let device = self.scales[site].device();
        let exact: Tensor<1> = {
            let table = Tensor::<1>::from_data(table.as_slice(), &device);
            let flat: Tensor<1> = codes.clone().reshape(&[length]).rank();
            table.select(0, (flat.detach() - low as f32).int())
        };
        let exact = AnyTensor::from(exact).reshape(&dims);
        if !codes.is_tracked() {
            return Ok(Held::Codes(exact, site));
        }
        // The function's own gradient, within the range.
        let real = times(codes, &self.scales[from], Binary::Multiply);
        let real = apply(&node.op, vec![real], &dims);
        let units = times(real, &self.scales[site], Binary::Divide);
        let (low, high) = sites[site].centred_range();
        let smooth = map_rank!(units, units => {
            let inside = units.clamp(low as f32, high as f32);
            inside.clone() - inside.detach()
        });
        Ok(Held::Codes(exact.binary(smooth, Binary::Add), site))
    }

    // The function in an epilogue, in units of the result.
    fn activate(&self, node: &Node, units: AnyTensor, site: Option<usize>) -> AnyTensor {
        let Some(activation) = node.epilogue.activation else {
            return units;
        };
        match (activation, site) {
            (Unary::Relu, _) => map_rank!(units, units => relu(units)),
            (Unary::Clamp { min, max }, site) => {
                let scale = site.map(|site| &self.scales[site]);
                clamp(units, min, max, scale)
            }
            (other, _) => {
                let dims = units.dims();
                apply(&Op::Unary(other), vec![units], &dims)
            }
        }
    }

    // All of an epilogue but its activation.
    fn float_epilogue(
        &self,
        node: &Node,
        mut result: AnyTensor,
        held: &[Option<Held>],
    ) -> AnyTensor {
        let axis = channel_axis(&node.op, result.dims().len());
        if let Some(bias) = node.epilogue.bias {
            result = plus_channels(result, self.source().vector(bias), axis);
        }
        if let Some(norm) = &node.epilogue.norm {
            let (factor, mean, beta) = self.source().norm(norm);
            result = times_channels(result, factor.clone(), axis);
            result = plus_channels(result, beta - mean * factor, axis);
        }
        match node.epilogue.add {
            Some(add) => result.binary(self.float(add, held), Binary::Add),
            None => result,
        }
    }

    // A tensor's codes; its site asked for them.
    fn codes(&self, value: Value, held: &[Option<Held>]) -> AnyTensor {
        match slot(value, self.graph.nodes.len()).and_then(|slot| held[slot].as_ref()) {
            Some(Held::Codes(codes, _)) => codes.clone(),
            _ => unreachable!("placement gives a site to what integer nodes read"),
        }
    }

    // A tensor's real values.
    fn float(&self, value: Value, held: &[Option<Held>]) -> AnyTensor {
        match value {
            Value::Parameter(index) => self.weights[index].values.clone(),
            Value::Constant(index) => {
                let constant = &self.graph.constants[index];
                AnyTensor::from_values(&constant.values, &constant.dims, &self.device)
            }
            value => match slot(value, self.graph.nodes.len()).and_then(|s| held[s].as_ref()) {
                Some(Held::Float(tensor)) => tensor.clone(),
                Some(Held::Codes(codes, site)) => {
                    times(codes.clone(), &self.scales[*site], Binary::Multiply)
                }
                None => unreachable!("each node comes after those it uses"),
            },
        }
    }
}

/// The batch norm of a node of its own.
pub(crate) fn standing_norm(node: &Node) -> Norm {
    let epsilon = match node.op {
        Op::BatchNorm { epsilon } => epsilon,
        _ => unreachable!("a batch norm"),
    };
    Norm {
        gamma: node.inputs[1],
        beta: node.inputs[2],
        mean: node.inputs[3],
        variance: node.inputs[4],
        epsilon,
    }
}

// The axis of a weight's output channels, where all of them lie along one.
fn weight_axis(op: &Op) -> Option<usize> {
    match op {
        Op::Convolution { .. } => Some(0),
        Op::Linear | Op::TransposedConvolution { groups: 1, .. } => Some(1),
        _ => None,
    }
}

/// The axis of a node's channels.
pub(crate) fn channel_axis(op: &Op, rank: usize) -> usize {
    match op {
        Op::Linear | Op::MatMul => rank.saturating_sub(1),
        _ => 1.min(rank.saturating_sub(1)),
    }
}

fn slot(value: Value, count: usize) -> Option<usize> {
    match value {
        Value::Node(index) => Some(index),
        Value::Input => Some(count),
        _ => None,
    }
}

fn times(tensor: AnyTensor, factor: &Tensor<1>, how: Binary) -> AnyTensor {
    let rank = vec![1; tensor.dims().len()];
    tensor.binary(AnyTensor::from(factor.clone()).reshape(&rank), how)
}

fn times_channels(tensor: AnyTensor, factor: Tensor<1>, axis: usize) -> AnyTensor {
    let factor = along(factor.into(), axis, tensor.dims().len());
    tensor.binary(factor, Binary::Multiply)
}

fn plus_channels(tensor: AnyTensor, offset: Tensor<1>, axis: usize) -> AnyTensor {
    let offset = along(offset.into(), axis, tensor.dims().len());
    tensor.binary(offset, Binary::Add)
}

fn affine(sum: AnyTensor, terms: &Terms, axis: usize) -> AnyTensor {
    let units = times_channels(sum, terms.multiplier.clone(), axis);
    match &terms.offset {
        Some(offset) => plus_channels(units, offset.clone(), axis),
        None => units,
    }
}

// Between bounds in real values, which a scale turns into units.
fn clamp(units: AnyTensor, min: f32, max: f32, scale: Option<&Tensor<1>>) -> AnyTensor {
    let Some(scale) = scale else {
        return map_rank!(units, units => units.clamp_min(min).clamp_max(max));
    };
    let device = scale.device();
    let bound = |bound: f32, like: &AnyTensor| {
        let bound = Tensor::<1>::from_data([bound], &device) / scale.clone();
        let ones = vec![1; like.dims().len()];
        AnyTensor::from(bound).reshape(&ones).expand(&like.dims())
    };
    let mut units = units;
    if min.is_finite() {
        let bound = bound(min, &units);
        units = units.extreme(bound, true);
    }
    if max.is_finite() {
        let bound = bound(max, &units);
        units = units.extreme(bound, false);
    }
    units
}

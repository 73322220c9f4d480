//! What nodes compute in codes, in units of their result: one function for each form.

use burn::tensor::Tensor;

use super::super::apply::apply;
use super::super::tensor::{AnyTensor, map_rank, with_rank};
use super::super::{GraphError, Norm};
use super::channels::{plus, plus_channels, times, times_channels, times_rows};
use super::pass::{Pass, SimulatedValue};
use super::requantization::Requantization;
use super::sums::{Sum, summed};
use crate::network::{Binary, Op, Value};

impl Pass<'_> {
    // The sum of an integer product, in units of the result.
    pub(super) fn product(
        &mut self,
        index: usize,
        dims: &[usize],
        simulated: &[Option<SimulatedValue>],
    ) -> Result<AnyTensor, GraphError> {
        let node = &self.graph.nodes[index];
        let units = match node.epilogue.norm.filter(|_| self.training) {
            Some(norm) => {
                let units = self.normed_product(index, dims, simulated, &norm)?;
                self.shifted(units, index)
            }
            None => {
                let sum = self.sum_of_product(index, dims, simulated);
                let axis = node.op.channel_axis(dims.len());
                affine(sum, &self.source().product(index), axis)
            }
        };
        let units = match (node.epilogue.add, self.source().residual(index)) {
            (Some(add), Some(scale)) => {
                let residual = times(self.codes(add, simulated), &scale, Binary::Multiply);
                units.binary(residual, Binary::Add)
            }
            _ => units,
        };
        if self.on_product.is_some() {
            let result = Value::Node(index);
            let real = match self.source().scale(result) {
                Some(scale) => {
                    let real = times(units.clone(), &scale, Binary::Multiply);
                    plus(real, self.config.placement.offset(result))
                }
                None => units.clone(),
            };
            if let Some(show) = &mut self.on_product {
                show(index, real);
            }
        }
        Ok(units)
    }

    // By what offsets add to a node's result.
    fn shifted(&self, units: AnyTensor, index: usize) -> AnyTensor {
        match self.source().shift(index) {
            Some(shift) => times(units, &shift, Binary::Add),
            None => units,
        }
    }

    fn sum_of_product(
        &self,
        index: usize,
        dims: &[usize],
        simulated: &[Option<SimulatedValue>],
    ) -> AnyTensor {
        let node = &self.graph.nodes[index];
        let second = match node.inputs[1] {
            Value::Parameter(weight) => self.weight_codes(weight),
            other => self.codes(other, simulated),
        };
        let first = self.codes(node.inputs[0], simulated);
        apply(&node.op, vec![first, second], dims)
    }

    fn weight_codes(&self, weight: usize) -> AnyTensor {
        let codes = self.weights[weight].codes();
        codes.unwrap_or_else(|| unreachable!("weights of products have codes"))
    }

    // A product under a batch norm by the batch's own statistics. No integer form has those, so that the
    // scales may be multiplied into the small tensors: the operands' into the weights, the result's into
    // the norm's factor and shift. Whole activations, and the gradients of scales over them, are then
    // passed over by the product and the norm alone.
    fn normed_product(
        &mut self,
        index: usize,
        dims: &[usize],
        simulated: &[Option<SimulatedValue>],
        norm: &Norm,
    ) -> Result<AnyTensor, GraphError> {
        let node = &self.graph.nodes[index];
        let axis = node.op.channel_axis(dims.len());
        let unit = self.source().unit(index);
        let weight = match node.inputs[1] {
            Value::Parameter(weight) => Some(self.weight_codes(weight)),
            _ => None,
        };
        let layout = weight.as_ref().map(AnyTensor::dims);
        let layout = layout.and_then(|dims| node.op.weight_layout(&dims));
        let mut real = match weight.zip(layout) {
            Some((weight, layout)) => {
                let weight = times_rows(weight, unit, &layout);
                let codes = self.codes(node.inputs[0], simulated);
                apply(&node.op, vec![codes, weight], dims)
            }
            None => times_channels(self.sum_of_product(index, dims, simulated), unit, axis),
        };
        if let Some(bias) = self.source().bias(index) {
            real = plus_channels(real, bias, axis);
        }
        self.batch_norm(real, norm, index)
    }

    pub(super) fn affine(
        &mut self,
        index: usize,
        dims: &[usize],
        simulated: &[Option<SimulatedValue>],
    ) -> Result<AnyTensor, GraphError> {
        let node = &self.graph.nodes[index];
        if self.training
            && let Some(norm) = node.batch_norm()
        {
            let real = self.float(node.inputs[0], simulated);
            let units = self.batch_norm(real, &norm, index)?;
            return Ok(self.shifted(units, index));
        }
        let requantization = self.source().affine(index);
        let axis = node.op.channel_axis(dims.len());
        Ok(affine(
            self.codes(node.inputs[0], simulated),
            &requantization,
            axis,
        ))
    }

    // By the batch's own statistics, which are kept for the running ones; in units of the result's scale.
    fn batch_norm(
        &mut self,
        real: AnyTensor,
        norm: &Norm,
        index: usize,
    ) -> Result<AnyTensor, GraphError> {
        let source = self.source();
        let (mut gamma, mut beta) = (source.vector(norm.gamma), source.vector(norm.beta));
        if let Some(scale) = source.scale(Value::Node(index)) {
            gamma = gamma / scale.clone();
            beta = beta / scale;
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

    pub(super) fn arithmetic(
        &self,
        index: usize,
        simulated: &[Option<SimulatedValue>],
    ) -> AnyTensor {
        let node = &self.graph.nodes[index];
        let source = self.source();
        let multipliers = source.arithmetic(index);
        let operands = node.inputs.iter().filter(|value| value.is_activation());
        let operands: Vec<AnyTensor> = operands
            .map(|value| self.codes(*value, simulated))
            .collect();
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

    pub(super) fn sum(&self, index: usize, simulated: &[Option<SimulatedValue>]) -> AnyTensor {
        let node = &self.graph.nodes[index];
        let codes = self.codes(node.inputs[0], simulated);
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

    pub(super) fn table(
        &mut self,
        index: usize,
        quantizer: usize,
        simulated: &[Option<SimulatedValue>],
    ) -> Result<SimulatedValue, GraphError> {
        let node = &self.graph.nodes[index];
        let Op::Unary(unary) = node.op else {
            unreachable!("tables are of functions of one number")
        };
        let codes = self.codes(node.inputs[0], simulated);
        let from = self.config.placement.quantizer(node.inputs[0]);
        let from = from.unwrap_or_else(|| unreachable!("the operand of a table is quantized"));
        if self.host_scales.is_none() {
            let scales = AnyTensor::from(Tensor::cat(self.scales.clone(), 0));
            self.host_scales = Some(scales.read("the scales of the activations")?);
        }
        let scales = self.host_scales.as_deref().unwrap_or_default();
        let placement = &self.config.placement;
        let quantizers = &placement.quantizers;
        let (operand, result) = (node.inputs[0], Value::Node(index));
        let table = super::table(
            unary,
            &quantizers[from],
            scales[from] * placement.factor(operand),
            &quantizers[quantizer],
            scales[quantizer] * placement.factor(result),
        );
        let (low, _) = quantizers[from].centred_range();
        let dims = codes.dims();
        let length = dims.iter().product();
        let device = self.scales[quantizer].device();
        let exact: Tensor<1> = {
            let table = Tensor::<1>::from_data(table.as_slice(), &device);
            let flat: Tensor<1> = codes.clone().reshape(&[length]).rank();
            table.select(0, (flat.detach() - low as f32).int())
        };
        let exact = AnyTensor::from(exact).reshape(&dims);
        if !codes.is_tracked() {
            return Ok(SimulatedValue::Codes(exact, quantizer));
        }
        // The function's own gradient, within the range.
        let real = times(codes, &self.scale(operand), Binary::Multiply);
        let real = apply(&node.op, vec![plus(real, quantizers[from].offset)], &dims);
        let real = plus(real, -quantizers[quantizer].offset);
        let units = times(real, &self.scale(result), Binary::Divide);
        let (low, high) = quantizers[quantizer].centred_range();
        let smooth = map_rank!(units, units => {
            let inside = units.clamp(low as f32, high as f32);
            inside.clone() - inside.detach()
        });
        Ok(SimulatedValue::Codes(
            exact.binary(smooth, Binary::Add),
            quantizer,
        ))
    }
}

// A sum with its multiplier and offset.
fn affine(sum: AnyTensor, requantization: &Requantization, axis: usize) -> AnyTensor {
    let units = times_channels(sum, requantization.multiplier.clone(), axis);
    match &requantization.offset {
        Some(offset) => plus_channels(units, offset.clone(), axis),
        None => units,
    }
}

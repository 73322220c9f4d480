use std::sync::Arc;

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
};
use burn::tensor::{Device, Tensor};

use super::super::activations::ActivationQuantizer;
use super::super::tensor::{AnyTensor, map_rank};
use super::super::{Graph, GraphError, Node};
use super::config::{QuantizationConfig, elsewhere};
use super::pass::Pass;
use super::quantizer_table::{QuantizerRow, QuantizerTable};
use super::weights::{Weight, weights};
#[cfg(doc)]
use crate::compress::Compression;
use crate::quantize::gradient_share;

/// A module whose forward pass computes as the integers of its deployed form will: weights and
/// activations quantized, batch norms folded, with straight-through gradients to the module's own
/// parameters and, where scales are learned, to the scales.
///
/// It is a Burn module itself, whose parameters have the paths that they have in the user's module
/// inside, with the logarithms of the scales beside them as `activations.log_scale`: one optimizer trains
/// all of it, one record holds all of it, and a [`Compression`] of the module inside moves on in it.
///
/// What it computes equals the [integer form](Self::to_integer) to the last bit of each code, wherever
/// a sum stays within 24 bits.
#[derive(Debug, Clone)]
pub struct Quantized<M: Module> {
    module: M,
    /// The natural logarithm of each quantizer's scale: whatever an optimizer does to it, the scale stays
    /// positive, and a step changes it by a share of itself (Jain et al. 2020, "Trained Quantization
    /// Thresholds").
    log_scale: Param<Tensor<1>>,
    /// What bias correction adds to the products' results, one after the other.
    correction: Option<Param<Tensor<1>>>,
    config: Arc<QuantizationConfig>,
    frozen: bool,
}

impl<M: Module> Quantized<M> {
    pub(crate) fn new(module: M, config: QuantizationConfig, scales: &[f32]) -> Self {
        let device = module.devices().into_iter().next().unwrap_or_default();
        let logarithms: Vec<f32> = scales.iter().map(|scale| scale.ln()).collect();
        let log_scale = Tensor::<1>::from_data(logarithms.as_slice(), &device);
        let log_scale = Param::from_tensor(log_scale).set_require_grad(config.learned);
        Self {
            module,
            log_scale,
            correction: None,
            config: Arc::new(config),
            frozen: false,
        }
    }

    /// The user's module.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// The user's module, back.
    pub fn into_module(self) -> M {
        self.module
    }

    /// The graph that it runs.
    pub fn graph(&self) -> &Graph {
        &self.config.placement.graph
    }

    /// All quantized activations.
    pub fn quantizers(&self) -> &[ActivationQuantizer] {
        &self.config.placement.quantizers
    }

    /// The scale of each quantizer. Reads from the device.
    pub fn scales(&self) -> Result<Vec<f32>, GraphError> {
        AnyTensor::from(self.all_scales()).read("the scales of the activations")
    }

    /// The table of all quantized activations, with the range that the codes of each cover. Tensors of
    /// unlike range that are concatenated, and have scales of their own, are in rows of their own. Reads
    /// the scales from the device.
    pub fn table(&self) -> Result<QuantizerTable, GraphError> {
        let rows = self.config.placement.rows(&self.scales()?);
        Ok(QuantizerTable(
            rows.into_iter().map(QuantizerRow::of).collect(),
        ))
    }

    /// The nodes that compute in floats although they do arithmetic: those without an integer form, and
    /// those whose weights are not quantized.
    pub fn in_float(&self) -> Vec<&Node> {
        self.config.placement.in_float().collect()
    }

    /// From here on batch norms use their running statistics and leave them as they are, as the deployed
    /// form does. Before, in training, they use and follow those of the batch.
    pub fn freeze_statistics(mut self) -> Self {
        self.frozen = true;
        self
    }

    /// Whether the statistics of batch norms are frozen.
    pub fn has_frozen_statistics(&self) -> bool {
        self.frozen
    }

    /// How fast running statistics follow, 0 to 1: the share of each new batch. 0.1 unless set, as in
    /// Burn's own batch norm.
    pub fn with_momentum(mut self, momentum: f64) -> Self {
        Arc::make_mut(&mut self.config).momentum = momentum;
        self
    }

    /// Runs the model; see [`Quantized`]. Fails with
    /// [`NetworkError::Input`](crate::network::NetworkError::Input) for an input of other dimensions than the
    /// graph was captured for, and with [`GraphError::Parameter`] where the module lacks what the graph uses.
    pub fn forward<const D: usize, const E: usize>(
        &self,
        input: Tensor<D>,
    ) -> Result<Tensor<E>, GraphError> {
        let input = super::float::any(input)?;
        let weights = self.weights()?;
        if self.log_scale.val().device() != input.device() {
            return Err(GraphError::Devices { count: 2 });
        }
        // As the model is: with gradients, or without.
        let input = match self.log_scale.val().is_autodiff() {
            true => input.tracked(true),
            false => map_rank!(input, input => input.without_autodiff()),
        };
        let training = !self.frozen && input.is_autodiff();
        let mut pass = Pass::new(
            &self.config,
            &weights,
            self.quantizer_scales(),
            self.correction.as_ref().map(Param::val),
            training,
        );
        let output = pass.run(input)?;
        let statistics = pass.into_statistics();
        if !statistics.is_empty() {
            // Burn keeps running statistics behind a lock that clones share: so a forward pass can
            // move them, as Burn's own does.
            let _ = self.module.clone().map(&mut super::statistics::Follow::new(
                statistics,
                self.config.momentum,
            ));
        }
        super::float::out(output)
    }

    pub(crate) fn weights(&self) -> Result<Vec<Weight>, GraphError> {
        let QuantizationConfig {
            placement,
            attached,
            reads,
            ..
        } = &*self.config;
        weights(&placement.graph, &self.module, attached, reads)
    }

    /// The scale of each quantizer, with its gradient if it is learned.
    pub(crate) fn quantizer_scales(&self) -> Vec<Tensor<1>> {
        let scales = self.all_scales();
        let [count] = scales.dims();
        (0..count)
            .map(|quantizer| scales.clone().narrow(0, quantizer, 1))
            .collect()
    }

    // All at once, here and wherever they are read: an exponential need not be the same in another lane.
    fn all_scales(&self) -> Tensor<1> {
        let logarithm = self.log_scale.val();
        if !(self.config.learned && logarithm.is_tracked()) {
            return logarithm.detach().exp();
        }
        // The same numbers; their gradients are balanced by what they are summed over.
        let quantizers = self.config.placement.quantizers.iter().enumerate();
        let shares = quantizers.map(|(index, quantizer)| {
            gradient_share(self.config.quantizer_length(index), &quantizer.scheme) as f32
        });
        let shares: Vec<f32> = shares.collect();
        let shares = Tensor::<1>::from_data(shares.as_slice(), &logarithm.device());
        let small = logarithm.clone() * shares;
        (logarithm.detach() + (small.clone() - small.detach())).exp()
    }

    pub(crate) fn config(&self) -> &QuantizationConfig {
        &self.config
    }

    pub(super) fn shared_config(&self) -> Arc<QuantizationConfig> {
        self.config.clone()
    }

    pub(crate) fn correction(&self) -> Option<Tensor<1>> {
        self.correction.as_ref().map(Param::val)
    }

    pub(crate) fn with_correction(mut self, correction: Tensor<1>) -> Self {
        self.correction = Some(Param::from_tensor(correction).set_require_grad(false));
        self
    }

    pub(crate) fn device(&self) -> Device {
        self.log_scale.val().device()
    }
}

// Not derived: the module inside keeps its paths.
impl<M: Module> Module for Quantized<M> {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.module.visit(visitor);
        visitor.enter_module(ACTIVATIONS, ACTIVATIONS);
        visitor.enter_module("log_scale", ACTIVATIONS);
        self.log_scale.visit(visitor);
        visitor.exit_module("log_scale", ACTIVATIONS);
        if let Some(correction) = &self.correction {
            visitor.enter_module("correction", ACTIVATIONS);
            correction.visit(visitor);
            visitor.exit_module("correction", ACTIVATIONS);
        }
        visitor.exit_module(ACTIVATIONS, ACTIVATIONS);
    }

    fn map<V: ModuleMapper>(self, mapper: &mut V) -> Self {
        let module = self.module.map(mapper);
        mapper.enter_module(ACTIVATIONS, ACTIVATIONS);
        mapper.enter_module("log_scale", ACTIVATIONS);
        let log_scale = Module::map(self.log_scale, mapper);
        mapper.exit_module("log_scale", ACTIVATIONS);
        let correction = self.correction.map(|correction| {
            mapper.enter_module("correction", ACTIVATIONS);
            let correction = Module::map(correction, mapper);
            mapper.exit_module("correction", ACTIVATIONS);
            correction
        });
        mapper.exit_module(ACTIVATIONS, ACTIVATIONS);
        Self {
            module,
            log_scale,
            correction,
            ..self
        }
    }

    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        let devices = self.module.collect_devices(devices);
        self.log_scale.collect_devices(devices)
    }

    fn to_device(self, device: &Device) -> Self {
        Self {
            module: self.module.to_device(device),
            log_scale: self.log_scale.to_device(device),
            config: elsewhere(self.config),
            correction: self.correction.map(|values| values.to_device(device)),
            ..self
        }
    }

    fn fork(self, device: &Device) -> Self {
        Self {
            module: self.module.fork(device),
            log_scale: self.log_scale.fork(device),
            config: elsewhere(self.config),
            correction: self.correction.map(|values| values.fork(device)),
            ..self
        }
    }

    fn train(self) -> Self {
        Self {
            module: self.module.train(),
            log_scale: Module::train(self.log_scale),
            correction: self.correction.map(Module::train),
            ..self
        }
    }

    fn valid(&self) -> Self {
        Self {
            module: self.module.valid(),
            log_scale: self.log_scale.valid(),
            correction: self.correction.as_ref().map(Module::valid),
            config: self.config.clone(),
            frozen: self.frozen,
        }
    }

    fn materialize(self) -> Self {
        Self {
            module: self.module.materialize(),
            ..self
        }
    }
}

impl<M: Module> ModuleDisplayDefault for Quantized<M> {
    fn content(&self, content: Content) -> Option<Content> {
        content
            .add_formatted(&format!(
                "Quantized({} quantizers)",
                self.quantizers().len()
            ))
            .optional()
    }
}

impl<M: Module> ModuleDisplay for Quantized<M> {}

const ACTIVATIONS: &str = "activations";

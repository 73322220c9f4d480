use std::cell::RefCell;

use burn::module::Module;
use burn::tensor::Tensor;

use super::super::simulate::{Pass, QuantizationConfig, Quantized, Reads, any, weights};
use super::super::tensor::{AnyTensor, with_rank};
use super::super::{Graph, GraphError};
use super::branches::Joined;
use super::extremes::Extremes;
use super::observe::Observations;
use super::{ActivationQuantizer, Activations, Coding, QuantizerPlacement};
use crate::compress::{Attached, Compression};
use crate::format::{Granularity, Scheme};
use crate::network::{NetworkError, Value};

/// Watches a model's activations while it runs on data, to find the ranges of their codes.
///
/// ```
/// use burn::nn::{Linear, LinearConfig, Relu};
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_compress::compress::{Plan, Quantization};
/// use burn_compress::format::Scheme;
/// use burn_compress::graph::{Activations, Calibration, Graph};
///
/// let device = Device::default();
/// let model = LinearConfig::new(8, 4).init(&device);
/// let graph = Graph::capture(&model, [1, 8], |model, x: Tensor<2>| model.forward(x))?.simplify();
///
/// let weights = Plan::new().quantize(Quantization::to(Scheme::symmetric(8)?));
/// let (model, compression) = weights.attach(model)?;
/// let mut calibration = Calibration::new(graph, &model, &compression, Activations::bits(8)?)?;
/// for _ in 0..4 {
///     let batch = Tensor::<2>::random([16, 8], Distribution::Default, &device);
///     calibration.observe(&model, batch)?;
/// }
/// let quantized = calibration.finish(model)?;
/// let output: Tensor<2> = quantized.forward(Tensor::<2>::ones([2, 8], &device))?;
/// assert_eq!(output.dims(), [2, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Calibration {
    config: QuantizationConfig,
    /// The same graph with nothing quantized.
    floats: QuantizationConfig,
    observations: Observations,
    /// Tensors that share a quantizer and may have scales of their own.
    joined: Vec<Joined>,
    batches: usize,
}

impl Calibration {
    /// Places quantizers in a graph of this module, which carries this compression. Fails where the
    /// module is not the one that the graph was captured of, and where a transposed convolution was
    /// compressed in another number of groups than it computes in.
    pub fn new<M: Module>(
        graph: Graph,
        module: &M,
        compression: &Compression,
        activations: Activations,
    ) -> Result<Self, GraphError> {
        let attached = Attached::of(compression);
        let weights = weights(&graph, &module.valid(), &attached, &Reads::default())?;
        same_groups(&graph, &attached)?;
        let placement = QuantizerPlacement::new(
            graph,
            |path, layout| attached.has_codes(path, layout),
            activations.scheme,
            activations.input_scheme()?,
        );
        let mut joined = Joined::find(&placement);
        for joined in &mut joined {
            for product in joined.products() {
                if let Value::Parameter(index) = placement.graph.nodes[product].inputs[1] {
                    let path = &placement.graph.parameters[index].path;
                    let values = weights[index].values().read(path)?;
                    joined.weigh(&placement.graph, product, &values);
                }
            }
        }
        Ok(Self {
            joined,
            floats: QuantizationConfig::in_floats(placement.graph.clone(), attached.clone()),
            observations: Observations::new(&placement, activations.calibrator),
            config: QuantizationConfig::new(placement, attached, activations.learned),
            batches: 0,
        })
    }

    /// The activations that are quantized.
    pub fn quantizers(&self) -> &[ActivationQuantizer] {
        &self.config.placement.quantizers
    }

    /// Batches seen.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Runs the module on a batch, in floats, with its weights as they are compressed. Fails for an
    /// input of other dimensions, and where an activation is not finite; what such a batch showed before
    /// is forgotten.
    ///
    /// Where a layer's input lies far from zero, so that codes will be centred on its middle, only what
    /// differs from that middle meets the compressed weights, as it will be.
    pub fn observe<M: Module, const D: usize>(
        &mut self,
        module: &M,
        batch: Tensor<D>,
    ) -> Result<(), GraphError> {
        let placement = &self.config.placement;
        let input = any(batch.without_autodiff())?;
        let module = module.valid();
        let reads = Reads::of_sums(placement);
        let weights = weights(&placement.graph, &module, &self.config.attached, &reads)?;
        let observations = RefCell::new(self.observations.clone());
        let mut failure = None;
        let see = |value: Value, tensor: &AnyTensor| {
            let slot = placement.graph.slot(value);
            let Some(slot) = slot.filter(|slot| observations.borrow().wants(*slot)) else {
                return;
            };
            if let Err(what) = see(&mut observations.borrow_mut(), slot, tensor) {
                let layer = placement.layer(slot).to_string();
                failure.get_or_insert(NetworkError::Activation { layer, what }.into());
            }
        };
        let offset = |value: Value| match placement.quantizer(value) {
            Some(quantizer) => observations.borrow().offset(quantizer),
            None => 0.0,
        };
        let mut pass = Pass::new(&self.floats, &weights, Vec::new(), None, false);
        pass.centred_on = Some(&offset);
        pass.trace(input, see)?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.observations = observations.into_inner();
        self.observations.end_batch();
        self.batches += 1;
        Ok(())
    }

    /// What the codes of each quantizer stand for, as found so far. Fails with [`GraphError::NoData`] before
    /// any data.
    pub fn parameters(&self) -> Result<Vec<Coding>, GraphError> {
        if self.batches == 0 {
            return Err(GraphError::NoData);
        }
        let found = self.observations.codings(&self.settled());
        found.ok_or(GraphError::NoData)
    }

    // Where quantizers are, with what the data say of tensors that are joined.
    fn settled(&self) -> QuantizerPlacement {
        let mut placement = self.config.placement.clone();
        for joined in &self.joined {
            let Some((levels, apart)) = self.codes_of(joined) else {
                continue;
            };
            let branches = joined.branches.iter();
            let branches = branches.map(|slot| self.observations.branch(*slot));
            let Some(branches) = branches.collect::<Option<Vec<_>>>() else {
                continue;
            };
            let (first, last) = placement.quantizers[joined.quantizer].scheme.code_range();
            let steps = f64::from(last - first);
            if let Some(factors) = joined.factors(&branches, steps, levels, apart) {
                joined.place(&mut placement, &factors);
            }
        }
        placement
    }

    // The greatest code of the weights that read what is joined, and whether each output channel has a
    // scale: of the coarsest, where they differ. None where no weight has codes.
    fn codes_of(&self, joined: &Joined) -> Option<(f64, bool)> {
        let graph = &self.config.placement.graph;
        let attached = &self.config.attached;
        let products = joined.products().into_iter();
        let own = products.filter_map(|product| match graph.nodes[product].inputs[1] {
            Value::Parameter(index) => attached.scheme(&graph.parameters[index].path),
            _ => None,
        });
        let mut schemes: Vec<Scheme> = own.collect();
        if schemes.is_empty() {
            schemes = attached.schemes().collect();
        }
        let levels = schemes.iter().map(|scheme| {
            let (first, last) = scheme.code_range();
            f64::from(last - first) / 2.0
        });
        let levels = levels.min_by(f64::total_cmp)?;
        let apart = |scheme: &Scheme| scheme.granularity() != Granularity::Tensor;
        Some((levels, schemes.iter().all(apart)))
    }

    /// The module with its activations quantized.
    pub fn finish<M: Module>(self, module: M) -> Result<Quantized<M>, GraphError> {
        let found = self.parameters()?;
        let mut placement = self.settled();
        let QuantizationConfig {
            attached, learned, ..
        } = self.config;
        for (quantizer, coding) in placement.quantizers.iter_mut().zip(&found) {
            (quantizer.zero_point, quantizer.offset) = (coding.zero_point, coding.offset);
        }
        let scales: Vec<f32> = found.iter().map(|coding| coding.scale).collect();
        let mut config = QuantizationConfig::new(placement, attached, learned);
        config.fold(&module)?;
        Ok(Quantized::new(module, config, &scales))
    }
}

// Whether the weights of transposed convolutions were compressed in the groups that the pass has.
fn same_groups(graph: &Graph, attached: &Attached) -> Result<(), GraphError> {
    for (path, groups) in graph.groups() {
        let Some(view) = attached.view(&path) else {
            continue;
        };
        if view.output_axis() == 1 && view.groups() != groups {
            let compressed = view.groups();
            return Err(GraphError::Parameter {
                path,
                what: format!(
                    "it was compressed in {compressed} groups, and the pass has {groups}: state them \
                     with `Selection::groups`"
                ),
            });
        }
    }
    Ok(())
}

// Shows a tensor to the observations; the error says what is wrong with it.
fn see(observations: &mut Observations, slot: usize, tensor: &AnyTensor) -> Result<(), String> {
    let wrong = |low: f32, high: f32| {
        format!("its values reach from {low} to {high}; calibrate with inputs that the model bears")
    };
    // In the processor, for every calibrator: a GPU's reductions may pass over what is no number.
    let data = with_rank!(tensor.clone(), tensor => tensor.try_into_data());
    let data = data.map_err(|error| format!("{error:?}"))?;
    let converted: Vec<f32>;
    let values = match data.as_slice::<f32>() {
        Ok(values) => values,
        // Of another type.
        Err(_) => {
            converted = data.iter::<f32>().collect();
            &converted
        }
    };
    match Extremes::of(values) {
        Some(extremes) => observations.see(slot, values, &extremes),
        None => match values.iter().find(|value| value.is_nan()) {
            Some(nan) => return Err(format!("{nan} among its values")),
            None => {
                let low = values.iter().copied().fold(f32::INFINITY, f32::min);
                let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                return Err(wrong(low, high));
            }
        },
    }
    Ok(())
}

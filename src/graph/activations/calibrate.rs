use burn::module::Module;
use burn::tensor::Tensor;

use super::super::simulate::{Pass, Quantized, Setting, any, weights};
use super::super::tensor::{AnyTensor, with_rank};
use super::super::{Graph, GraphError, Value};
use super::extremes::Extremes;
use super::observe::Observer;
use super::{Activations, Placement, Site};
use crate::attach::{Attached, Compression};

/// Watches a model's activations while it runs on data, to find the ranges of their codes.
///
/// ```
/// use burn::nn::{Linear, LinearConfig, Relu};
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_compress::attach::{Plan, Quantization};
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
    setting: Setting,
    /// The same graph with nothing quantized.
    floats: Setting,
    observers: Vec<Observer>,
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
        weights(&graph, module, &attached, |_| false)?;
        same_groups(&graph, &attached)?;
        let placement = Placement::new(
            graph,
            |path, layout| attached.has_codes(path, layout),
            activations.scheme,
            activations.input_scheme()?,
        );
        let observers = vec![Observer::new(activations.calibrator); placement.sites.len()];
        Ok(Self {
            floats: Setting::in_floats(placement.graph.clone(), attached.clone()),
            setting: Setting::new(placement, attached, activations.learned),
            observers,
            batches: 0,
        })
    }

    /// The activations that are quantized.
    pub fn sites(&self) -> &[Site] {
        &self.setting.placement.sites
    }

    /// Batches seen.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Runs the module on a batch, in floats, with its weights as they are compressed. Fails for an
    /// input of other dimensions, and where an activation is not finite.
    pub fn observe<M: Module, const D: usize>(
        &mut self,
        module: &M,
        batch: Tensor<D>,
    ) -> Result<(), GraphError> {
        let placement = &self.setting.placement;
        let input = any(batch.without_autodiff())?;
        let module = module.valid();
        let weights = weights(&placement.graph, &module, &self.setting.attached, |_| false)?;
        let observers = &mut self.observers;
        let mut failure = None;
        let see = |value: Value, tensor: &AnyTensor| {
            let Some(site) = placement
                .site(value)
                .filter(|_| placement.makes_values(value))
            else {
                return;
            };
            if let Err(what) = see(&mut observers[site], tensor) {
                failure.get_or_insert(GraphError::Activation {
                    layer: placement.sites[site].layer.clone(),
                    what,
                });
            }
        };
        let mut pass = Pass::new(&self.floats, &weights, Vec::new(), None, false);
        pass.trace(input, see)?;
        match failure {
            Some(failure) => Err(failure),
            None => {
                self.batches += 1;
                Ok(())
            }
        }
    }

    /// The scale and the zero point of each site, as found so far. Fails with [`GraphError::NoData`]
    /// before any data.
    pub fn parameters(&self) -> Result<Vec<(f32, i32)>, GraphError> {
        if self.batches == 0 {
            return Err(GraphError::NoData);
        }
        let sites = self.setting.placement.sites.iter().zip(&self.observers);
        sites
            .map(|(site, observer)| {
                let found = observer.finish(&site.scheme);
                found.ok_or(GraphError::NoData)
            })
            .collect()
    }

    /// The module with its activations quantized.
    pub fn finish<M: Module>(self, module: M) -> Result<Quantized<M>, GraphError> {
        let found = self.parameters()?;
        let mut setting = self.setting;
        let mut scales = Vec::new();
        for (site, (scale, zero_point)) in setting.placement.sites.iter_mut().zip(found) {
            site.zero_point = zero_point;
            scales.push(scale);
        }
        Ok(Quantized::new(module, setting, &scales))
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

// Shows a tensor to an observer; the error says what is wrong with it.
fn see(observer: &mut Observer, tensor: &AnyTensor) -> Result<(), String> {
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
        Some(extremes) => observer.add_values(values, &extremes),
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

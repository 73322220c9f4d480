//! What criteria ask to see of layers, summed over batches.

mod gradients;
mod saved;
mod sum;

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::assign::{Assigned, Entries};
use super::weights::host_of;
use super::{CompressError, Layer, Plan};
use crate::prune::{Need, Weight};
pub(crate) use saved::SavedSum;
use sum::Sum;

/// What a plan's criteria ask to see of the layers that it prunes, summed over batches.
///
/// Gradients come from a backward pass ([`gradients`](Self::gradients)), inputs from the captured graph
/// ([`Graph::observe`](crate::graph::Graph::observe)). Where the criterion asks for nothing, both do
/// nothing.
///
/// ```
/// use burn::{nn::LinearConfig, optim::GradientsParams};
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_compress::{compress::{Plan, Pruning}, prune::Taylor};
///
/// let device = Device::default().autodiff();
/// let model = LinearConfig::new(16, 4).init(&device);
/// let plan = Plan::new().prune(Pruning::to(0.5).by(Taylor::default()));
/// let mut seen = plan.observations(&model)?;
/// for _ in 0..3 {
///     let batch = Tensor::<2>::random([8, 16], Distribution::Default, &device);
///     let gradients = model.forward(batch).powi_scalar(2).mean().backward();
///     seen.gradients(&GradientsParams::from_grads(gradients, &model), &model)?;
/// }
/// let compressed = plan.apply_with(model, &seen)?;
/// assert_eq!(compressed.layers()[0].removed, 32);
/// # Ok::<(), burn_compress::compress::CompressError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Observations {
    layers: Vec<Layer>,
    needs: Vec<Need>,
    sums: BTreeMap<(String, Need), Sum>,
}

impl Observations {
    /// What a plan asks to see of these layers.
    pub(super) fn new(plan: &Plan, Assigned { layers, entries }: &Assigned) -> Self {
        let needs = plan.prunings.iter().map(|pruning| match pruning.existing {
            true => Vec::new(),
            false => pruning.needs(),
        });
        let of_each: Vec<Vec<Need>> = needs.collect();
        let asks = |entries: &Entries| (entries.pruning).is_some_and(|at| !of_each[at].is_empty());
        let layers = layers.iter().zip(entries);
        let layers = layers.filter(|(_, entries)| asks(entries));
        let mut needs = of_each.concat();
        needs.sort_unstable();
        needs.dedup();
        Self {
            layers: layers.map(|(layer, _)| layer.clone()).collect(),
            needs,
            sums: BTreeMap::new(),
        }
    }

    /// The same, with the sums of others as far as they are asked for.
    pub(super) fn with_sums_of(mut self, others: &Self) -> Self {
        let asked = |(path, need): &(String, Need)| {
            self.needs.contains(need) && self.layers.iter().any(|layer| layer.path == *path)
        };
        let sums = others.sums.iter().filter(|(key, _)| asked(key));
        self.sums = sums.map(|(key, sum)| (key.clone(), sum.clone())).collect();
        self
    }

    /// What is asked for.
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// Batches in which a layer was observed so, since its sum began.
    pub fn batches(&self, path: &str, need: Need) -> usize {
        let sum = self.sums.get(&(path.to_string(), need));
        sum.map_or(0, |sum| sum.batches)
    }

    /// Adds the gradients of a batch, of the module that they were taken of. A layer without a gradient
    /// in this batch is passed over. Copies nothing from the device.
    pub fn gradients<M: Module>(
        &mut self,
        gradients: &GradientsParams,
        module: &M,
    ) -> Result<(), CompressError> {
        self.gradients_of_all(&[gradients], module)
    }

    /// The layers whose inputs are asked for, none where inputs are not.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Layer> {
        let wanted = self.needs.iter().any(|need| !need.is_gradient());
        self.layers.iter().filter(move |_| wanted)
    }

    /// Adds the squares of a layer's input, summed for each of its channels.
    pub(crate) fn add_input_squares(&mut self, path: &str, squares: Tensor<1>) {
        self.add(path, Need::InputNorms, squares);
    }

    /// Adds the Gram matrix of a layer's input in each group.
    pub(crate) fn add_input_gram(&mut self, path: &str, gram: Tensor<3>) {
        self.add(path, Need::InputGram, gram);
    }

    fn add<const D: usize>(&mut self, path: &str, need: Need, values: Tensor<D>) {
        if !self.needs.contains(&need) {
            return;
        }
        let key = (path.to_string(), need);
        match self.sums.get_mut(&key) {
            Some(sum) => sum.add(values),
            None => {
                self.sums.insert(key, Sum::of(values));
            }
        }
    }

    /// Masks of these layers moved by what was seen. Gradients belong to the weights as they were, and are
    /// forgotten; inputs stay until new ones are seen.
    pub(super) fn end_window(&mut self, layers: &[&Layer]) {
        let moved = |path: &str| layers.iter().any(|layer| layer.path == path);
        (self.sums).retain(|(path, need), _| !need.is_gradient() || !moved(path));
        for ((path, _), sum) in &mut self.sums {
            sum.used |= moved(path);
        }
    }

    /// A layer's mean gradient in the layout of its parameter; none where it was not observed.
    pub(crate) fn gradient(&self, layer: &Layer) -> Result<Option<Vec<f32>>, CompressError> {
        let key = (layer.path.clone(), Need::Gradient);
        let Some(sum) = self.sums.get(&key) else {
            return Ok(None);
        };
        let dims = [layer.view.rows(), layer.view.columns()];
        let Some(mean) = sum.mean(dims, &sum.values.device()) else {
            return Ok(None);
        };
        let rows = host_of(&layer.path, mean)?;
        Ok(Some(layer.view.from_rows(&rows)))
    }

    /// A layer's weight with all that is known of it. Fails where that does not fit the layer.
    pub(super) fn weight<'a>(
        &self,
        layer: &'a Layer,
        values: Tensor<2>,
    ) -> Result<Weight<'a>, CompressError> {
        let mut weight = Weight::new(&layer.path, values.clone());
        for &need in &self.needs {
            let Some(sum) = self.sums.get(&(layer.path.clone(), need)) else {
                continue;
            };
            let wrong = |what: String| CompressError::Observed {
                layer: layer.path.clone(),
                need,
                what,
            };
            let unfit = || wrong(format!("it is of {:?}", sum.dims));
            let device = values.device();
            weight = match need {
                Need::Gradient | Need::SquaredGradient => {
                    let mean = sum.mean(values.dims(), &device).ok_or_else(unfit)?;
                    match need {
                        Need::Gradient => weight.with_gradient(mean),
                        _ => weight.with_squared_gradient(mean),
                    }
                }
                Need::InputNorms => {
                    let norms = sum.norms(&layer.view, &device).ok_or_else(unfit)?;
                    weight.with_input_norms(norms)
                }
                Need::InputGram => {
                    let gram = sum.gram(&layer.view, &device).ok_or_else(unfit)?;
                    weight.with_input_gram(gram)
                }
            };
        }
        Ok(weight)
    }
}

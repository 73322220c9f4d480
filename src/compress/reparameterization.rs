use burn::module::{Module, Param, Reparameterization};
use burn::tensor::{Bool, Tensor};

use super::rows::{from_rows, in_groups, to_rows};
use crate::format::{Scheme, WeightView};
use crate::quantize::{Parameters, fake_quantize};

/// What is attached to a parameter: the mask of its removed weights and the quantizer of the others.
///
/// Burn holds it beside the parameter under the name `compress`, so that mask, scale and zero point
/// are in the module's record (`conv1.weight.compress.removed`, `.scale`, `.zero_point`).
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::compress::{CompressedWeight, Plan, Pruning};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let (model, _) = Plan::new().prune(Pruning::to(0.5)).attach(model)?;
/// let attached = model.weight.reparameterization::<CompressedWeight>().unwrap();
/// assert_eq!(attached.removed().unwrap().int().sum().into_scalar::<i32>(), 4);
/// # Ok::<(), burn_compress::compress::CompressError>(())
/// ```
#[derive(Debug, Module)]
pub struct CompressedWeight {
    removed: Option<Param<Tensor<2, Bool>>>,
    scale: Option<Param<Tensor<1>>>,
    zero_point: Option<Param<Tensor<1>>>,
    #[module(skip)]
    scheme: Option<Scheme>,
    #[module(skip)]
    view: WeightView,
    // Whether removed weights have a gradient.
    #[module(skip)]
    dense: bool,
}

impl CompressedWeight {
    pub(super) fn new(
        view: WeightView,
        removed: Option<Tensor<2, Bool>>,
        quantizer: Option<(Scheme, Parameters)>,
    ) -> Self {
        let (scheme, parameters) = quantizer.unzip();
        let fixed = |tensor: Tensor<1>| Param::from_tensor(tensor).set_require_grad(false);
        let (scale, zero_point) = parameters.map(|p| (p.scale, p.zero_point)).unzip();
        Self {
            removed: removed.map(|mask| Param::initialized(Default::default(), mask)),
            scale: scale.map(fixed),
            zero_point: zero_point.map(fixed),
            scheme,
            view,
            dense: false,
        }
    }

    /// With the gradient that removed weights would have if they were there, in place of zero.
    pub(super) fn with_dense_gradient(self, dense: bool) -> Self {
        Self { dense, ..self }
    }

    /// With a scale that the optimizer moves, on the side of the device where the parameter trains.
    pub(super) fn with_learned_scale<const D: usize>(mut self, param: &Param<Tensor<D>>) -> Self {
        let base = param.base();
        self.scale = self.scale.map(|scale| {
            let scale = match base.gradient_checkpointing_strategy() {
                None => scale,
                Some(strategy) => scale.map(|scale| {
                    Tensor::from_inner(scale).with_gradient_checkpointing_strategy(strategy)
                }),
            };
            // On a plain device it is kept for the change to training.
            scale.set_require_grad(true)
        });
        self
    }

    /// Which weights are removed, `[out, in * kernel]`; none where the layer is not pruned.
    pub fn removed(&self) -> Option<Tensor<2, Bool>> {
        self.removed.as_ref().map(Param::val)
    }

    /// The scheme of the layer's codes; none where it is not quantized.
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }
}

/// The weights that a layer computes with, in rows: removed ones zero, the others quantized.
pub(super) fn effective(
    rows: Tensor<2>,
    removed: Option<Tensor<2, Bool>>,
    quantizer: Option<(&Scheme, &Parameters)>,
) -> Tensor<2> {
    // Filling, not multiplying: the gradient of a removed weight is zero as well.
    let rows = match removed {
        Some(removed) => rows.mask_fill(removed, 0.0),
        None => rows,
    };
    let Some((scheme, parameters)) = quantizer else {
        return rows;
    };
    let dims = rows.dims();
    let grouped = in_groups(rows, &parameters.scale);
    fake_quantize(grouped, parameters, scheme).reshape(dims)
}

// Removed weights zero, with the gradient that they would have if they were there.
fn densely(rows: Tensor<2>, removed: Tensor<2, Bool>) -> Tensor<2> {
    let gone = rows.clone().mask_fill(removed.bool_not(), 0.0).detach();
    rows - gone
}

impl Reparameterization for CompressedWeight {
    const NAME: &'static str = "compress";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let parameters = match (&self.scale, &self.zero_point) {
            (Some(scale), Some(zero_point)) => {
                Some(Parameters::stored(scale.val(), zero_point.val()))
            }
            _ => None,
        };
        let rows = to_rows(base, &self.view);
        let (rows, removed) = match (self.dense, self.removed()) {
            (true, Some(removed)) => (densely(rows, removed), None),
            (_, removed) => (rows, removed),
        };
        let rows = effective(rows, removed, self.scheme.as_ref().zip(parameters.as_ref()));
        from_rows(rows, &self.view)
    }
}

//! What is attached to a parameter, for code that runs a forward pass itself.

use std::collections::HashMap;

use burn::tensor::{Bool, Tensor};

use super::Compression;
use super::rows::{from_rows, in_groups, to_rows};
use crate::format::{Granularity, Scheme, WeightView};
use crate::quantize::{Parameters, fake_codes};

/// The layers that a compression holds, and the schemes of their codes: what a module's visitors do not
/// see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attached {
    layers: HashMap<String, (WeightView, Option<Scheme>)>,
}

impl Attached {
    pub fn of(compression: &Compression) -> Self {
        let layers = compression.layers().iter().enumerate();
        let layers = layers.map(|(place, layer)| {
            let held = (layer.view.clone(), compression.scheme(place));
            (layer.path.clone(), held)
        });
        Self {
            layers: layers.collect(),
        }
    }

    /// The same layers with nothing quantized.
    pub fn without_codes(&self) -> Self {
        let mut exact = self.clone();
        for (_, scheme) in exact.layers.values_mut() {
            *scheme = None;
        }
        exact
    }

    pub fn view(&self, path: &str) -> Option<&WeightView> {
        Some(&self.layers.get(path)?.0)
    }

    /// The scheme of the weight at this path; none of one that has no codes.
    pub fn scheme(&self, path: &str) -> Option<Scheme> {
        self.layers.get(path)?.1
    }

    /// All schemes.
    pub fn schemes(&self) -> impl Iterator<Item = Scheme> + '_ {
        self.layers.values().filter_map(|(_, scheme)| *scheme)
    }

    /// Whether the weight at this path has codes that integers can sum, where its channels lie so: a
    /// scale for each output channel at most.
    pub fn has_codes(&self, path: &str, layout: &WeightView) -> bool {
        let Some((view, Some(scheme))) = self.layers.get(path) else {
            return false;
        };
        match scheme.granularity() {
            Granularity::Tensor => true,
            Granularity::Channel => view.has_rows_of(layout),
            Granularity::Group(_) => false,
        }
    }
}

/// The weights as a layer computes with them: removed ones zero, the others quantized; with gradients.
pub(crate) fn effective<const D: usize>(
    base: Tensor<D>,
    view: &WeightView,
    removed: Option<Tensor<2, Bool>>,
    quantizer: Option<(&Scheme, &Parameters)>,
) -> Tensor<D> {
    let rows = super::reparameterization::effective(to_rows(base, view), removed, quantizer);
    from_rows(rows, view)
}

/// The codes of the weights less their zero point, in the parameter's own layout; with gradients.
pub(crate) fn effective_codes<const D: usize>(
    base: Tensor<D>,
    view: &WeightView,
    removed: Option<Tensor<2, Bool>>,
    (scheme, parameters): (&Scheme, &Parameters),
) -> Tensor<D> {
    let rows = super::reparameterization::effective(to_rows(base, view), removed, None);
    let dims = rows.dims();
    let codes = fake_codes(in_groups(rows, &parameters.scale), parameters, scheme);
    from_rows(codes.reshape(dims), view)
}

/// What codes in a parameter's layout stand for: each times the scale of its group.
pub(crate) fn scaled<const D: usize>(
    codes: Tensor<D>,
    view: &WeightView,
    scale: &Tensor<1>,
) -> Tensor<D> {
    let rows = to_rows(codes, view);
    let dims = rows.dims();
    let grouped = in_groups(rows, scale);
    let column = scale.clone().reshape([grouped.dims()[0], 1]);
    from_rows((grouped * column).reshape(dims), view)
}

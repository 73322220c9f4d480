//! Which weights of which layers go, at a level.

use burn::tensor::{Bool, Tensor, TensorData};

use super::edit::Parts;
use super::weights::host;
use super::{AttachError, Layer, Pruning, Regrowth};
use crate::prune::{Scope, Weight, lowest, lowest_on_device, share_of};

// Where the threshold is looked for.
#[derive(Clone, Copy)]
pub(super) enum Search {
    // Linear time, and checks the scores; reads them from the device.
    Host,
    // Never waits for the device.
    Device,
}

// The new mask of each layer.
pub(super) fn masks(
    pruning: &Pruning,
    level: f64,
    layers: &[Layer],
    parts: &[Parts],
    search: Search,
) -> Result<Vec<Tensor<2, Bool>>, AttachError> {
    if pruning.existing {
        let zeros = parts.iter().map(|parts| parts.base.clone().equal_elem(0.0));
        return Ok(zeros.collect());
    }
    let scores = layers.iter().zip(parts).map(|(layer, parts)| {
        let weight = Weight {
            path: &layer.path,
            values: parts.base.clone(),
        };
        let scores = pruning.criterion.score(weight);
        if scores.dims() != parts.base.dims() {
            return Err(AttachError::Score {
                criterion: pruning.criterion.name().to_string(),
                layer: layer.path.clone(),
                value: format!("shape {:?}", scores.dims()),
            });
        }
        Ok(scores)
    });
    let mut scores = scores.collect::<Result<Vec<Tensor<2>>, _>>()?;
    let never_back = pruning.regrowth == Regrowth::Never;
    if never_back && let Some(below) = below_all(&scores) {
        for (scores, parts) in scores.iter_mut().zip(parts) {
            if let Some(removed) = &parts.removed {
                let below = below.clone().to_device(&scores.device());
                let below = below.expand(scores.dims());
                *scores = scores.clone().mask_where(removed.clone(), below);
            }
        }
    }
    let masks: Vec<Tensor<2, Bool>> = match pruning.scope {
        Scope::Layer => {
            let masks = layers.iter().zip(scores).map(|(layer, scores)| {
                let layer = std::slice::from_ref(layer);
                mark(pruning, level, layer, vec![scores], search)
            });
            let masks = masks.collect::<Result<Vec<_>, _>>()?;
            masks.into_iter().flatten().collect()
        }
        Scope::Global => mark(pruning, level, layers, scores, search)?,
    };
    let masks = masks.into_iter().zip(parts);
    let masks = masks.map(|(mask, parts)| match &parts.removed {
        // Also where the level falls.
        Some(removed) if never_back => mask.bool_or(removed.clone()),
        _ => mask,
    });
    Ok(masks.collect())
}

// Marks the lowest scores of these layers together, up to the level, in whole blocks.
fn mark(
    pruning: &Pruning,
    level: f64,
    layers: &[Layer],
    scores: Vec<Tensor<2>>,
    search: Search,
) -> Result<Vec<Tensor<2, Bool>>, AttachError> {
    let sizes: Vec<usize> = layers.iter().map(|layer| layer.view.len()).collect();
    let total: usize = sizes.iter().sum();
    let count = share_of(level, total);
    let scores = layers.iter().zip(scores);
    let scores = scores.map(|(layer, scores)| pruning.pattern.line_up(scores, &layer.view));
    let scores = scores.collect();
    let marked = match search {
        Search::Device => {
            lowest_on_device(Tensor::cat(scores, 0), count).split_with_sizes(sizes, 0)
        }
        Search::Host => mark_on_host(pruning, layers, scores, count)?,
    };
    // The middle of a block marked in half lies within the level, unless the count was rounded up.
    let half_goes = count as f64 <= level * total as f64;
    let masks = layers.iter().zip(marked);
    let masks = masks.map(|(layer, marked)| pruning.pattern.whole(marked, &layer.view, half_goes));
    Ok(masks.collect())
}

fn mark_on_host(
    pruning: &Pruning,
    layers: &[Layer],
    scores: Vec<Tensor<1>>,
    count: usize,
) -> Result<Vec<Tensor<1, Bool>>, AttachError> {
    let devices: Vec<_> = scores.iter().map(Tensor::device).collect();
    let mut all = Vec::new();
    for (layer, scores) in layers.iter().zip(scores) {
        let scores = host(layer, scores)?;
        if let Some(score) = scores.iter().find(|score| !score.is_finite()) {
            return Err(AttachError::Score {
                criterion: pruning.criterion.name().to_string(),
                layer: layer.path.clone(),
                value: score.to_string(),
            });
        }
        match all.is_empty() {
            true => all = scores,
            false => all.extend(scores),
        }
    }
    let mut marked = lowest(&all, count);
    let marked = layers.iter().zip(devices).map(|(layer, device)| {
        let size = layer.view.len();
        let rest = marked.split_off(size);
        let marked = std::mem::replace(&mut marked, rest);
        Tensor::from_data(TensorData::new(marked, [size]), &device)
    });
    Ok(marked.collect())
}

// A score below those of all layers, for the weights that are gone already.
fn below_all(scores: &[Tensor<2>]) -> Option<Tensor<1>> {
    let sizes = scores.iter().map(|scores| scores.clone().abs().max());
    let greatest = sizes.reduce(|one, other| {
        let other = other.to_device(&one.device());
        one.max_pair(other)
    });
    greatest.map(|greatest| greatest * -2.0 - 1.0)
}

pub(super) fn checked_level(level: f64) -> Result<f64, AttachError> {
    match (0.0..1.0).contains(&level) {
        true => Ok(level),
        false => Err(AttachError::Level { level }),
    }
}

//! Which weights of which layers go, at a level.

use burn::tensor::{Bool, Int, Tensor};

use super::edit::Parts;
use super::threshold::{Candidate, Growth, Threshold, beyond_all};
use super::weights::host;
use super::{CompressError, Layer, Observations, Pruning, Regrowth};
use crate::format::WeightView;
use crate::prune::{Need, Scope, erk};

// Where the threshold is looked for.
#[derive(Clone, Copy)]
pub(super) enum Search {
    // Linear time, and checks the scores; reads them from the device.
    Host,
    // Never waits for the device.
    Device,
}

// What is known of layers, beside what is attached to them.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    // Those whose zeros were not pruned.
    pub untrained: &'a [String],
    pub seen: &'a Observations,
    // None where the plan is put on a module, whose weights are all there.
    pub step: Option<usize>,
    // Whether a layer of the plan requires a gradient.
    pub trains: bool,
}

// The new mask of each layer of a pruning.
pub(super) fn masks(
    pruning: &Pruning,
    level: f64,
    layers: &[(&Layer, &Parts)],
    known: Known<'_>,
    search: Search,
) -> Result<Vec<Tensor<2, Bool>>, CompressError> {
    if pruning.existing {
        let zeros = layers.iter();
        let zeros = zeros.map(|(_, parts)| parts.base.clone().equal_elem(0.0));
        return Ok(zeros.collect());
    }
    // What is gone already, and stays so. All of it where a layer is left out.
    let mut masks: Vec<Option<Tensor<2, Bool>>> = (layers.iter())
        .map(|(layer, parts)| gone(pruning, parts, &known, &layer.path))
        .collect();
    // Where nothing goes, nothing needs to be observed yet.
    let scored = level > 0.0 || pruning.needs().is_empty();
    let share = known.step.and_then(|step| pruning.regrown(step));
    let mut pruned = Vec::new();
    for (place, (layer, parts)) in layers.iter().enumerate() {
        if scored && takes_part(pruning, known.trains, layer) {
            let scores = scores(pruning, layer, parts, known.seen, search)?;
            let gone = masks[place].take();
            let growth = match share {
                Some(_) => Some(growth(layer, parts, known.seen)?),
                None => None,
            };
            pruned.push((
                place,
                Candidate {
                    layer,
                    scores,
                    gone,
                    growth,
                },
            ));
        }
    }
    let beyond = beyond_all(&pruned);
    let threshold = Threshold {
        pruning,
        level,
        beyond,
        search,
        share,
    };
    let (places, candidates): (Vec<usize>, Vec<Candidate<'_>>) = pruned.into_iter().unzip();
    let found = match pruning.scope {
        Scope::Layer | Scope::Erk => {
            let views: Vec<&WeightView> = candidates.iter().map(|one| &one.layer.view).collect();
            let levels = match pruning.scope {
                Scope::Erk => erk(level, &views),
                _ => vec![level; views.len()],
            };
            let each = candidates.into_iter().zip(levels).map(|(one, level)| {
                let threshold = threshold.clone();
                Threshold { level, ..threshold }.mark(vec![one])
            });
            let each = each.collect::<Result<Vec<_>, _>>()?;
            each.into_iter().flatten().collect()
        }
        Scope::Global => threshold.mark(candidates)?,
    };
    for (place, mask) in places.into_iter().zip(found) {
        masks[place] = Some(mask);
    }
    let masks = masks.into_iter().zip(layers);
    let masks = masks.map(|(mask, (_, parts))| mask.unwrap_or_else(|| none_of(&parts.base)));
    Ok(masks.collect())
}

// Whether weights of this layer may go: of one that is frozen only where all of the plan are.
pub(super) fn takes_part(pruning: &Pruning, any_trains: bool, layer: &Layer) -> bool {
    layer.trains || pruning.frozen || !any_trains
}

// The weights of a layer that do not come back.
fn gone(
    pruning: &Pruning,
    parts: &Parts,
    known: &Known<'_>,
    path: &String,
) -> Option<Tensor<2, Bool>> {
    let untrained = known.untrained.contains(path);
    let removed = match pruning.regrowth {
        Regrowth::Never => parts.removed.clone(),
        Regrowth::UntilFrozen => None,
        // Their stored values are zero, which says nothing.
        Regrowth::ByGradient { .. } if known.step.is_some() => return None,
        Regrowth::ByGradient { .. } => None,
    };
    let counts = pruning.keeps_zeros && !untrained;
    let zeros = counts.then(|| parts.base.clone().equal_elem(0.0));
    match (removed, zeros) {
        (Some(removed), Some(zeros)) => Some(removed.bool_or(zeros)),
        (removed, zeros) => removed.or(zeros),
    }
}

fn none_of(base: &Tensor<2>) -> Tensor<2, Bool> {
    Tensor::<2, Int>::zeros(base.dims(), &base.device()).bool()
}

fn scores(
    pruning: &Pruning,
    layer: &Layer,
    parts: &Parts,
    seen: &Observations,
    search: Search,
) -> Result<Tensor<2>, CompressError> {
    let wrong = |value: String| CompressError::Score {
        criterion: pruning.criterion.name().to_string(),
        layer: layer.path.clone(),
        value,
    };
    let scores = pruning
        .criterion
        .score(seen.weight(layer, parts.base.clone())?)
        .map_err(|missing| CompressError::Unobserved {
            criterion: pruning.criterion.name().to_string(),
            layer: layer.path.clone(),
            need: missing.0,
        })?;
    if scores.dims() != parts.base.dims() {
        return Err(wrong(format!("shape {:?}", scores.dims())));
    }
    if let Search::Host = search {
        let values = host(layer, scores.clone())?;
        if let Some(score) = values.iter().find(|score| !score.is_finite()) {
            return Err(wrong(score.to_string()));
        }
    }
    Ok(scores)
}

fn growth(layer: &Layer, parts: &Parts, seen: &Observations) -> Result<Growth, CompressError> {
    let weight = seen.weight(layer, parts.base.clone())?;
    let gradient = weight.gradient();
    let gradient = gradient.map_err(|_| CompressError::Unobserved {
        criterion: "regrowth by gradient".into(),
        layer: layer.path.clone(),
        need: Need::Gradient,
    })?;
    let removed = parts.removed.clone();
    Ok(Growth {
        removed: removed.unwrap_or_else(|| none_of(&parts.base)),
        gradient: gradient.abs(),
    })
}

pub(super) fn checked_level(level: f64) -> Result<f64, CompressError> {
    match (0.0..1.0).contains(&level) {
        true => Ok(level),
        false => Err(CompressError::Level { level }),
    }
}

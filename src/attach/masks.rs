//! Which weights of which layers go, at a level.

use burn::tensor::{Bool, Int, Tensor, TensorData};

use super::edit::Parts;
use super::weights::host;
use super::{AttachError, Layer, Observations, Pruning, Regrowth};
use crate::prune::{Scope, lowest, lowest_of_each_on_device};

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
}

// The new mask of each layer.
pub(super) fn masks(
    pruning: &Pruning,
    level: f64,
    layers: &[Layer],
    parts: &[Parts],
    known: Known<'_>,
    search: Search,
) -> Result<Vec<Tensor<2, Bool>>, AttachError> {
    if pruning.existing {
        let zeros = parts.iter().map(|parts| parts.base.clone().equal_elem(0.0));
        return Ok(zeros.collect());
    }
    // What is gone already, and stays so. All of it where a layer is left out.
    let parts_of = layers.iter().zip(parts);
    let mut masks: Vec<Option<Tensor<2, Bool>>> = parts_of
        .map(|(layer, parts)| gone(pruning, parts, known.untrained.contains(&layer.path)))
        .collect();
    // Where nothing goes, nothing needs to be observed yet.
    let scored = level > 0.0 || known.seen.needs().is_empty();
    let mut pruned = Vec::new();
    for (place, (layer, parts)) in layers.iter().zip(parts).enumerate() {
        if scored && takes_part(pruning, layers, layer) {
            let scores = scores(pruning, layer, parts, known.seen, search)?;
            let gone = masks[place].take();
            pruned.push((
                place,
                Candidate {
                    layer,
                    scores,
                    gone,
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
    };
    let (places, candidates): (Vec<usize>, Vec<Candidate<'_>>) = pruned.into_iter().unzip();
    let found = match pruning.scope {
        Scope::Layer => {
            let each = candidates.into_iter().map(|one| threshold.mark(vec![one]));
            let each = each.collect::<Result<Vec<_>, _>>()?;
            each.into_iter().flatten().collect()
        }
        Scope::Global => threshold.mark(candidates)?,
    };
    for (place, mask) in places.into_iter().zip(found) {
        masks[place] = Some(mask);
    }
    let masks = masks.into_iter().zip(parts);
    let masks = masks.map(|(mask, parts)| mask.unwrap_or_else(|| none_of(&parts.base)));
    Ok(masks.collect())
}

// Whether weights of this layer may go: of one that is frozen only where all are.
pub(super) fn takes_part(pruning: &Pruning, layers: &[Layer], layer: &Layer) -> bool {
    layer.trains || pruning.frozen || layers.iter().all(|layer| !layer.trains)
}

// The weights of a layer that do not come back.
fn gone(pruning: &Pruning, parts: &Parts, untrained: bool) -> Option<Tensor<2, Bool>> {
    let removed = match pruning.regrowth {
        Regrowth::Never => parts.removed.clone(),
        Regrowth::UntilFrozen => None,
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
) -> Result<Tensor<2>, AttachError> {
    let wrong = |value: String| AttachError::Score {
        criterion: pruning.criterion.name().to_string(),
        layer: layer.path.clone(),
        value,
    };
    let scores = pruning
        .criterion
        .score(seen.weight(layer, parts.base.clone())?)
        .map_err(|missing| AttachError::Unobserved {
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

// A layer under a threshold.
struct Candidate<'a> {
    layer: &'a Layer,
    scores: Tensor<2>,
    gone: Option<Tensor<2, Bool>>,
}

struct Threshold<'a> {
    pruning: &'a Pruning,
    level: f64,
    // Greater than all scores, and their negatives.
    beyond: Option<Tensor<1>>,
    search: Search,
}

impl Threshold<'_> {
    // Marks the lowest scores of these layers together, up to the level, in whole blocks: first what is
    // gone, never what a layer has to keep.
    fn mark(&self, candidates: Vec<Candidate<'_>>) -> Result<Vec<Tensor<2, Bool>>, AttachError> {
        let pattern = self.pruning.pattern;
        let layers: Vec<&Layer> = candidates.iter().map(|one| one.layer).collect();
        let sizes: Vec<usize> = layers.iter().map(|layer| layer.view.len()).collect();
        let views = layers.iter().map(|layer| &layer.view);
        let (count, exact) = pattern.count(self.level, views);
        let gone = candidates.iter().map(|one| {
            let gone = one.gone.clone()?;
            Some(pattern.line_up_whole(gone, &one.layer.view))
        });
        let gone: Vec<Option<Tensor<1, Bool>>> = gone.collect();
        let scores = candidates.iter().zip(&gone).map(|(one, gone)| {
            let scores = pattern.line_up(one.scores.clone(), &one.layer.view);
            self.replaced(scores, gone.clone(), -1.0)
        });
        let mut scores: Vec<Tensor<1>> = scores.collect();
        let stays = candidates.iter().map(|one| self.stays(one));
        let stays: Vec<Option<Tensor<2, Bool>>> = stays.collect();
        let kept = self.kept(&candidates, &scores, &stays, count)?;
        for (((scores, kept), gone), layer) in scores.iter_mut().zip(&kept).zip(gone).zip(&layers) {
            let kept = kept.clone().map(|kept| {
                let kept = pattern.line_up_whole(kept, &layer.view);
                match gone {
                    Some(gone) => kept.bool_and(gone.bool_not()),
                    None => kept,
                }
            });
            *scores = self.replaced(scores.clone(), kept, 1.0);
        }
        for ((scores, stays), layer) in scores.iter_mut().zip(&stays).zip(&layers) {
            let stays = stays.clone();
            let stays = stays.map(|stays| pattern.line_up_each(stays, &layer.view));
            *scores = self.replaced(scores.clone(), stays, 1.0);
        }
        let marked = match self.search {
            Search::Device => {
                let marked = lowest_of_each_on_device(vec![Tensor::cat(scores, 0)], &[count]);
                marked[0].clone().split_with_sizes(sizes, 0)
            }
            Search::Host => on_host(&layers, scores, |all| vec![lowest(&all.concat(), count)])?,
        };
        // The middle of a block marked in half lies within the level, unless the count was rounded up.
        let half_goes = count as f64 <= exact;
        let more_than_half =
            |length: usize| length / 2 + usize::from(!half_goes || length % 2 == 1);
        let masks = candidates
            .into_iter()
            .zip(marked)
            .zip(kept.into_iter().zip(stays));
        let masks = masks.map(|((one, marked), (kept, stays))| {
            let mask = pattern.whole(marked, &one.layer.view, more_than_half);
            let mask = (kept.into_iter().chain(stays))
                .fold(mask, |mask, kept| mask.bool_and(kept.bool_not()));
            match one.gone {
                // Also where the level falls.
                Some(gone) => mask.bool_or(gone),
                None => mask,
            }
        });
        Ok(masks.collect())
    }

    // The weights of a layer that the pattern keeps at any level: by the scores of what is not gone yet.
    fn stays(&self, one: &Candidate<'_>) -> Option<Tensor<2, Bool>> {
        let pattern = self.pruning.pattern;
        pattern.level()?;
        let dims = one.scores.dims();
        let flat = [one.layer.view.len()];
        let gone = one.gone.clone().map(|gone| gone.reshape(flat));
        let scores = self.replaced(one.scores.clone().reshape(flat), gone, -1.0);
        pattern.stays(scores.reshape(dims), &one.layer.view)
    }

    // The weights that a layer keeps whatever the others are, in whole blocks; of those layers that could
    // lose them.
    fn kept(
        &self,
        candidates: &[Candidate<'_>],
        scores: &[Tensor<1>],
        stays: &[Option<Tensor<2, Bool>>],
        count: usize,
    ) -> Result<Vec<Option<Tensor<2, Bool>>>, AttachError> {
        let mut kept: Vec<Option<Tensor<2, Bool>>> = vec![None; candidates.len()];
        let pattern = self.pruning.pattern;
        let (mut places, mut guarded) = (Vec::new(), Vec::new());
        let (mut ranked, mut others) = (Vec::new(), Vec::new());
        for (place, (one, scores)) in candidates.iter().zip(scores).enumerate() {
            let view = &one.layer.view;
            let wanted = self.pruning.at_least.weights(self.level, view.len());
            let longest = pattern.longest(view);
            // What is gone of blocks that stay, goes beyond the count.
            let strewn = longest > 1 && one.gone.is_some();
            let may_lose = strewn || view.len() < count + longest - 1 + wanted;
            if count > 0 && wanted > 0 && may_lose {
                // What is gone is no weight that a layer could keep.
                let gone = one.gone.clone();
                let gone = gone.map(|gone| pattern.line_up_each(gone, view));
                let scores = self.replaced(scores.clone(), gone, -1.0);
                // What the pattern keeps anyway comes first.
                let stays = stays[place].clone();
                let stays = stays.map(|stays| pattern.line_up_each(stays, view));
                ranked.push(self.replaced(scores, stays, 1.0));
                others.push(view.len() - wanted);
                places.push(place);
                guarded.push(one.layer);
            }
        }
        if places.is_empty() {
            return Ok(kept);
        }
        let marked = match self.search {
            Search::Device => lowest_of_each_on_device(ranked, &others),
            Search::Host => on_host(&guarded, ranked, |all| {
                let each = all.iter().zip(&others);
                each.map(|(scores, count)| lowest(scores, *count)).collect()
            })?,
        };
        for ((place, layer), marked) in places.into_iter().zip(guarded).zip(marked) {
            // A block of which one weight is to stay, stays.
            kept[place] = Some(pattern.whole(marked.bool_not(), &layer.view, |_| 1));
        }
        Ok(kept)
    }

    fn replaced(&self, scores: Tensor<1>, mask: Option<Tensor<1, Bool>>, sign: f64) -> Tensor<1> {
        match (mask, &self.beyond) {
            (Some(mask), Some(beyond)) => {
                let beyond = beyond.clone().to_device(&scores.device()) * sign;
                let beyond = beyond.expand(scores.dims());
                scores.mask_where(mask, beyond)
            }
            _ => scores,
        }
    }
}

// Marks scores in the processor's memory; `mark` gives the marks of all layers, in their order, in as
// many pieces as it likes.
fn on_host(
    layers: &[&Layer],
    scores: Vec<Tensor<1>>,
    mark: impl FnOnce(Vec<Vec<f32>>) -> Vec<Vec<bool>>,
) -> Result<Vec<Tensor<1, Bool>>, AttachError> {
    let devices: Vec<_> = scores.iter().map(Tensor::device).collect();
    let values = layers.iter().zip(scores);
    let values = values.map(|(layer, scores)| host(layer, scores));
    let mut marked = mark(values.collect::<Result<_, _>>()?).concat();
    let marked = layers.iter().zip(devices).map(|(layer, device)| {
        let size = layer.view.len();
        let rest = marked.split_off(size);
        let marked = std::mem::replace(&mut marked, rest);
        Tensor::from_data(TensorData::new(marked, [size]), &device)
    });
    Ok(marked.collect())
}

// Twice the greatest size of a score of all layers, and more.
fn beyond_all(candidates: &[(usize, Candidate<'_>)]) -> Option<Tensor<1>> {
    let sizes = candidates
        .iter()
        .map(|(_, one)| one.scores.clone().abs().max());
    let greatest = sizes.reduce(|one, other| {
        let other = other.to_device(&one.device());
        one.max_pair(other)
    });
    greatest.map(|greatest| greatest * 2.0 + 1.0)
}

pub(super) fn checked_level(level: f64) -> Result<f64, AttachError> {
    match (0.0..1.0).contains(&level) {
        true => Ok(level),
        false => Err(AttachError::Level { level }),
    }
}

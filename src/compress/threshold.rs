//! The lowest scores of layers, up to a level.

use burn::tensor::{Bool, Tensor, TensorData};

use super::masks::Search;
use super::weights::host;
use super::{CompressError, Layer, Pruning};
use crate::prune::{lowest, lowest_of_each_on_device};

// What tells which weights come back.
pub(super) struct Growth {
    pub removed: Tensor<2, Bool>,
    pub gradient: Tensor<2>,
}

// A layer under a threshold.
pub(super) struct Candidate<'a> {
    pub layer: &'a Layer,
    pub scores: Tensor<2>,
    pub gone: Option<Tensor<2, Bool>>,
    pub growth: Option<Growth>,
}

#[derive(Clone)]
pub(super) struct Threshold<'a> {
    pub pruning: &'a Pruning,
    pub level: f64,
    // Greater than all scores, and their negatives.
    pub beyond: Option<Tensor<1>>,
    pub search: Search,
    // Of the weights left, those that go and come back.
    pub share: Option<f64>,
}

impl Threshold<'_> {
    // Marks the lowest scores of these layers together, up to the level, in whole blocks: first what is
    // gone, never what a layer has to keep.
    pub fn mark(
        &self,
        candidates: Vec<Candidate<'_>>,
    ) -> Result<Vec<Tensor<2, Bool>>, CompressError> {
        let candidates = match self.share {
            Some(share) => self.exchange(candidates, share)?,
            None => candidates,
        };
        let pattern = self.pruning.pattern;
        let layers: Vec<&Layer> = candidates.iter().map(|one| one.layer).collect();
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
        let marked = self.lowest(&layers, scores, count)?;
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

    // Marks the lowest of all these layers' scores together.
    fn lowest(
        &self,
        layers: &[&Layer],
        scores: Vec<Tensor<1>>,
        count: usize,
    ) -> Result<Vec<Tensor<1, Bool>>, CompressError> {
        match self.search {
            Search::Device => {
                let sizes = layers.iter().map(|layer| layer.view.len()).collect();
                let marked = lowest_of_each_on_device(vec![Tensor::cat(scores, 0)], &[count]);
                Ok(marked[0].clone().split_with_sizes(sizes, 0))
            }
            Search::Host => on_host(layers, scores, |all| vec![lowest(&all.concat(), count)]),
        }
    }

    // The layers with the gradient as their score, but for the weights that stay: those left of greatest
    // score, without a share of them.
    fn exchange<'b>(
        &self,
        candidates: Vec<Candidate<'b>>,
        share: f64,
    ) -> Result<Vec<Candidate<'b>>, CompressError> {
        let pattern = self.pruning.pattern;
        let layers: Vec<&Layer> = candidates.iter().map(|one| one.layer).collect();
        let total: usize = layers.iter().map(|layer| layer.view.len()).sum();
        let (count, _) = pattern.count(self.level, layers.iter().map(|layer| &layer.view));
        let left = total - count;
        let stays = left - ((share * left as f64).round() as usize).min(left);
        let scores = candidates.iter().map(|one| {
            let view = &one.layer.view;
            let removed = one.growth.as_ref().map(|growth| growth.removed.clone());
            let removed = removed.map(|removed| pattern.line_up_whole(removed, view));
            self.replaced(pattern.line_up(one.scores.clone(), view), removed, -1.0)
        });
        let marked = self.lowest(&layers, scores.collect(), total - stays)?;
        let exchanged = candidates.into_iter().zip(marked).map(|(one, marked)| {
            let Some(Growth { gradient, .. }) = one.growth else {
                return one;
            };
            let dims = gradient.dims();
            let flat = [one.layer.view.len()];
            let stays = pattern.whole(marked.bool_not(), &one.layer.view, |_| 1);
            let scores = self.replaced(gradient.reshape(flat), Some(stays.reshape(flat)), 1.0);
            Candidate {
                scores: scores.reshape(dims),
                growth: None,
                ..one
            }
        });
        Ok(exchanged.collect())
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
    ) -> Result<Vec<Option<Tensor<2, Bool>>>, CompressError> {
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
) -> Result<Vec<Tensor<1, Bool>>, CompressError> {
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
pub(super) fn beyond_all(candidates: &[(usize, Candidate<'_>)]) -> Option<Tensor<1>> {
    let sizes = candidates.iter().flat_map(|(_, one)| {
        let growth = one.growth.iter();
        let gradients = growth.map(|growth| growth.gradient.clone().max());
        [one.scores.clone().abs().max()]
            .into_iter()
            .chain(gradients)
    });
    let greatest = sizes.reduce(|one, other| {
        let other = other.to_device(&one.device());
        one.max_pair(other)
    });
    greatest.map(|greatest| greatest * 2.0 + 1.0)
}

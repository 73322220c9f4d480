//! What a compression came to.

use burn::module::Module;

use super::edit::Parts;
use super::masks::takes_part;
use super::weights::host;
use super::{CompressError, Compression, LayerSummary, Pruning, Unfinished};

impl Compression {
    /// What each selected layer holds now. Reads from the device.
    pub fn summary<M: Module>(&self, module: &M) -> Result<Vec<LayerSummary>, CompressError> {
        let parts = self.parts(module)?;
        let summaries = parts.iter().enumerate().map(|(place, parts)| {
            let values = host(&self.layers[place], self.effective(place, parts))?;
            self.summarized(place, parts, &values)
        });
        summaries.collect()
    }

    // What a layer of these effective weights came to.
    pub(super) fn summarized(
        &self,
        place: usize,
        parts: &Parts,
        values: &[f32],
    ) -> Result<LayerSummary, CompressError> {
        let layer = &self.layers[place];
        let weights = values.len();
        let removed = values.iter().filter(|value| **value == 0.0).count();
        let mut summary = LayerSummary {
            path: layer.path.clone(),
            weights,
            removed,
            bits: self.scheme(place).map_or(32, |scheme| scheme.bits()),
            frozen: false,
            guarded: false,
        };
        let Some(at) = self.entries[place].pruning else {
            return Ok(summary);
        };
        let pruning = &self.plan.prunings[at];
        if pruning.existing {
            return Ok(summary);
        }
        summary.frozen = !takes_part(pruning, self.trains(), layer);
        let level = self.level_of(at)?;
        let kept = pruning.at_least.weights(level, weights);
        if let Some(removed) = &parts.removed
            && !summary.frozen
            && level > 0.0
            && kept > 0
        {
            // By the mask alone: codes round to zero as well. In whole blocks.
            let left = host(layer, removed.clone().bool_not().int().sum().float())?;
            let most = kept + pruning.pattern.longest(&layer.view) - 1;
            summary.guarded = left.iter().all(|left| *left <= most as f32);
        }
        Ok(summary)
    }

    // How far pruning got, where its schedule goes further: of the first whose does.
    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        let prunings = self.plan.prunings.iter();
        let mut prunings = prunings.filter(|pruning| !pruning.existing);
        prunings.find_map(|pruning| self.unfinished_of(pruning))
    }

    fn unfinished_of(&self, pruning: &Pruning) -> Option<Unfinished> {
        let (step, level) = (self.state.step, self.state.level);
        let end = pruning.schedule.end();
        let moved = step - step % pruning.every;
        let early = end.map_or(step == 0, |end| step < end);
        (early && level.is_none()).then(|| Unfinished {
            step,
            end,
            level: pruning.schedule.at(moved),
            target: end.map(|end| pruning.schedule.at(end)),
        })
    }
}

//! What a compression came to.

use burn::module::Module;

use super::edit::Parts;
use super::masks::takes_part;
use super::weights::host;
use super::{CompressError, Compression, Layer, LayerSummary, Unfinished};

impl Compression {
    /// What each selected layer holds now. Reads from the device.
    pub fn summary<M: Module>(&self, module: &M) -> Result<Vec<LayerSummary>, CompressError> {
        let parts = self.parts(module)?;
        let summaries = self.layers.iter().zip(parts).map(|(layer, parts)| {
            let values = host(layer, self.effective(&parts))?;
            self.summarized(layer, &parts, &values)
        });
        summaries.collect()
    }

    // What a layer of these effective weights came to.
    pub(super) fn summarized(
        &self,
        layer: &Layer,
        parts: &Parts,
        values: &[f32],
    ) -> Result<LayerSummary, CompressError> {
        let weights = values.len();
        let removed = values.iter().filter(|value| **value == 0.0).count();
        let mut summary = LayerSummary {
            path: layer.path.clone(),
            weights,
            removed,
            bits: self.scheme().map_or(32, |scheme| scheme.bits()),
            frozen: false,
            guarded: false,
        };
        let Some(pruning) = self.plan.pruning.as_ref().filter(|p| !p.existing) else {
            return Ok(summary);
        };
        summary.frozen = !takes_part(pruning, &self.layers, layer);
        let level = self.level()?;
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

    // How far pruning got, where its schedule goes further.
    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        let pruning = self.plan.pruning.as_ref().filter(|p| !p.existing)?;
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

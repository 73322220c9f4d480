//! Each layer compressed alone.

use burn::module::Module;

use super::run::{Runner, Target};
use super::strategy::Strategy;
use super::{StudyError, Trial};
use crate::compress::Selection;
use crate::report::{Sensitivity, choose};
use crate::train::{Workload, checked_score};

impl<M, W, T> Runner<'_, M, W, T>
where
    M: Module,
    T: Strategy<M>,
    W: Workload<M> + Workload<T::Model>,
{
    /// What the score loses when each layer alone is compressed as the best levels would.
    pub fn sensitivity(&mut self) -> Result<Vec<Sensitivity>, StudyError> {
        let best = choose(&self.rows, self.recipe.max_drop)?;
        let base = self.evaluator.score.unwrap_or_default();
        let trials = [best.prune, best.quantize].map(|choice| choice.map(|c| Trial::of(&c.row)));
        let [prune, quantize] = trials;
        let mut found = self.store.sensitivity()?;
        // The best levels of a study that was interrupted here are the same.
        found.truncate(self.layers.len());
        for index in found.len()..self.layers.len() {
            let path = self.layers[index].path.clone();
            let mut drop = |trial: Option<Trial>| -> Result<Option<f64>, StudyError> {
                let Some(trial) = trial else {
                    return Ok(None);
                };
                self.clock.measure(trial);
                let target = Target {
                    trial: Trial {
                        steered: false,
                        ..trial
                    },
                    existing: false,
                };
                let plan = self.plan(target, None)?.select(Selection::only([&path]));
                if trial.activation_bits < 32 {
                    // The layer's own input is quantized with it.
                    let (module, compression) =
                        plan.attach_with(self.module.valid(), &self.seen)?;
                    let alone = self.strategy.begin(module, &compression)?;
                    return Ok(Some(base - checked_score(self.workload, &alone)?));
                }
                let compressed = plan.apply_with(self.module.valid(), &self.seen)?;
                Ok(Some(
                    base - checked_score(self.workload, &compressed.module)?,
                ))
            };
            let (prune_drop, quantize_drop) = (drop(prune)?, drop(quantize)?);
            found.push(Sensitivity {
                path,
                level: prune.map_or(0.0, |trial| trial.level),
                prune_drop,
                weight_bits: quantize.map_or(32, |trial| trial.bits),
                quantize_drop,
            });
            self.store.keep_sensitivity(&found)?;
        }
        Ok(found)
    }
}

//! The highest sparsity that keeps the budget, by a threshold that training moves.

use std::time::Instant;

use burn::module::Module;

use super::run::{Runner, Target};
use super::strategy::Strategy;
use super::{StudyError, Trial};
use crate::compress::CompressError;
use crate::prune::Pattern;
use crate::recipe::Steer;
use crate::report::{Mode, Stage};
use crate::schedule::Steered;
use crate::train::{Round, Steering, Workload};

impl<M, W, T> Runner<'_, M, W, T>
where
    M: Module,
    T: Strategy<M>,
    W: Workload<M> + Workload<T::Model>,
{
    /// The highest sparsity that keeps the budget, found by a steered threshold.
    pub(super) fn steer(
        &mut self,
        steer: &Steer,
        pattern: Pattern,
        seed: u64,
    ) -> Result<(), StudyError> {
        let mut trial = Trial {
            stage: Stage::Prune,
            mode: Mode::Aware,
            steered: true,
            pattern,
            ..Trial::baseline(seed)
        };
        let epochs = self.recipe.epochs;
        if epochs == 0 || self.found(trial, steer.rounds * epochs) {
            return Ok(());
        }
        let started = Instant::now();
        let floor = self.evaluator.score.unwrap_or_default() - self.recipe.max_drop;
        let steered = Steered::new(steer.start, steer.increment, steer.resolution, floor);
        let steered = steered.map_err(CompressError::from)?;
        let steering = Steering {
            learning_rate: self.recipe.learning_rate,
            epochs,
            rounds: steer.rounds,
            seed,
        };
        let target = Target {
            trial,
            existing: false,
        };
        let plan = self.plan(target, None)?;
        let (module, mut compression) =
            plan.attach_with(self.module.valid().train(), &self.seen)?;
        let clock = &mut self.clock;
        let steps = Workload::<M>::steps_per_epoch(self.workload);
        let mut rounds = 0;
        let on_round = |round: Round| {
            rounds = round.index + 1;
            clock.round(trial, (round.index, steer.rounds), epochs, steps);
        };
        let (module, steered) =
            steering.run(module, &mut compression, self.workload, steered, on_round)?;
        self.clock.spared((steer.rounds - rounds) * epochs);
        trial.level = steered.best().unwrap_or(0.0);
        self.finish(trial, compression.finish(module)?.into(), started)
    }
}

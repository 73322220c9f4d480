use burn::module::Module;
use burn::optim::LearningRate;

use super::workload::{checked_score, train_epoch};
use super::{Epoch, TrainError, Workload};
use crate::compress::Compression;
use crate::schedule::{Schedule, Steered, Verdict};

/// One round of a steered threshold, for a callback.
///
/// ```
/// use burn_compress::train::Round;
/// fn tell(round: &Round) -> String {
///     format!("{}: {:.0} % removed, score {:.2}", round.index, 100.0 * round.level, round.score)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Round {
    /// Number of the round, from 0.
    pub index: usize,
    /// Share of the weights removed in this round.
    pub level: f64,
    /// The score that training at this level reached.
    pub score: f64,
    /// What was made of it.
    pub verdict: Verdict,
}

/// Training under a threshold that rises while the score holds and falls back when it does not, until
/// it settles at the highest sparsity that keeps the score.
///
/// Each round trains for some epochs at one level and scores the model. See [`Steered`] for the rule.
///
/// ```no_run
/// # use burn::nn::Linear;
/// # use burn_compress::{compress::{Plan, Pruning}, schedule::Steered, train::{Steering, TrainError, Workload}};
/// # fn steer(model: Linear, workload: &mut impl Workload<Linear>) -> Result<(), TrainError> {
/// let baseline = workload.score(&model).unwrap();
/// let steered = Steered::new(0.5, 0.1, 0.01, baseline - 0.5)?;
/// let (model, mut compression) = Plan::new().prune(Pruning::to(0.0)).attach(model)?;
/// let steering = Steering { learning_rate: 0.01, epochs: 1, rounds: 20, seed: 0 };
/// let (model, steered) = steering.run(model, &mut compression, workload, steered, |_| {})?;
/// println!("keeps its score at {:?}", steered.best());
/// # let _ = model;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Steering {
    /// Learning rate of the training.
    pub learning_rate: LearningRate,
    /// Epochs of a round.
    pub epochs: usize,
    /// Most rounds before it stops at the best level so far.
    pub rounds: usize,
    /// Seed of the training.
    pub seed: u64,
}

impl Steering {
    /// Steers until the threshold converges or the rounds are over. Gives the model of the last good
    /// level with its masks frozen, and the threshold.
    pub fn run<M: Module, W: Workload<M>>(
        &self,
        model: M,
        compression: &mut Compression,
        workload: &mut W,
        mut steered: Steered,
        mut on_round: impl FnMut(Round),
    ) -> Result<(M, Steered), TrainError> {
        // Clones of the model that the caller keeps share nothing with what is trained here.
        let mut model = compression.prune_to(Compression::snapshot(&model), 0.0)?;
        let mut good = (Compression::snapshot(&model), compression.clone());
        for index in 0..self.rounds {
            let level = steered.at(0);
            model = compression.prune_to(model, level)?;
            for epoch in 0..self.epochs {
                let number = index * self.epochs + epoch;
                let count = self.rounds * self.epochs;
                let epoch = Epoch::plain(number, count, self.learning_rate, self.seed);
                model = train_epoch(workload, model, epoch.under(compression))?;
            }
            let score = checked_score(workload, &model.valid())?;
            let verdict = steered.observe(score);
            on_round(Round {
                index,
                level,
                score,
                verdict,
            });
            if steered.best() == Some(level) {
                good = (Compression::snapshot(&model), compression.clone());
            }
            match verdict {
                Verdict::Raise => {}
                Verdict::RollBack => {
                    model = Compression::snapshot(&good.0);
                    *compression = good.1.clone();
                }
                Verdict::Converged => break,
            }
        }
        (model, *compression) = good;
        Ok((compression.freeze(model)?, steered))
    }
}

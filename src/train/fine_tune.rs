use burn::module::Module;
use burn::optim::LearningRate;

use super::workload::train_epoch;
use super::{Epoch, TrainError, Workload};
use crate::compress::Compression;

/// A stage of training under a compression: fine-tuning at the original learning rate, or refine-tune
/// at a tenth of it.
///
/// ```no_run
/// # use burn::{module::Module, nn::Linear};
/// # use burn_compress::{compress::{Plan, Pruning}, train::{FineTune, TrainError, Workload}};
/// # fn example(model: Linear, workload: &mut impl Workload<Linear>) -> Result<(), TrainError> {
/// let (model, mut compression) = Plan::new().prune(Pruning::to(0.8)).attach(model.train())?;
/// let stage = FineTune { learning_rate: 0.01, epochs: 5, seed: 0, refine: false };
/// let model = stage.run(model, &mut compression, workload, |_, _| {})?;
/// let refine = FineTune { epochs: 2, refine: true, ..stage }; // at a learning rate of 0.001
/// let model = refine.run(model, &mut compression, workload, |_, _| {})?;
/// compression.finish(model)?.save("model.bcm")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FineTune {
    /// The original learning rate.
    pub learning_rate: LearningRate,
    /// Epochs of the stage.
    pub epochs: usize,
    /// Seed of the stage.
    pub seed: u64,
    /// Whether this is refine-tune: at exactly a tenth of the learning rate.
    pub refine: bool,
}

impl FineTune {
    /// Trains a model on an autodiff device. `on_step` is called with the epoch (from 0) and the steps
    /// done in it. Fails with the workload's error, or where the compression does.
    pub fn run<M: Module, W: Workload<M>>(
        &self,
        model: M,
        compression: &mut Compression,
        workload: &mut W,
        on_step: impl FnMut(usize, usize),
    ) -> Result<M, TrainError> {
        self.run_prepared(model, compression, workload, on_step, |_, model| model)
    }

    /// The same, with the model passed through `prepare` before each epoch.
    pub(crate) fn run_prepared<M: Module, W: Workload<M>>(
        &self,
        mut model: M,
        compression: &mut Compression,
        workload: &mut W,
        mut on_step: impl FnMut(usize, usize),
        mut prepare: impl FnMut(usize, M) -> M,
    ) -> Result<M, TrainError> {
        for index in 0..self.epochs {
            let mut step = |step| on_step(index, step);
            step(0);
            let epoch = Epoch::plain(index, self.epochs, self.learning_rate, self.seed);
            let epoch = if self.refine { epoch.refine() } else { epoch };
            let epoch = epoch.under(compression).on_step(&mut step);
            model = train_epoch(workload, prepare(index, model), epoch)?;
        }
        Ok(model)
    }
}

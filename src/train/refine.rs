use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::LearningRate;

/// The refine-tune stage trains at this fraction of the original learning rate: one to ten.
///
/// ```
/// assert_eq!(burn_compress::train::REFINE_FACTOR, 10.0);
/// ```
pub const REFINE_FACTOR: f64 = 10.0;

/// A tenth of a learning rate.
///
/// ```
/// assert_eq!(burn_compress::train::refine_rate(0.05), 0.005);
/// ```
pub fn refine_rate(learning_rate: LearningRate) -> LearningRate {
    learning_rate / REFINE_FACTOR
}

/// Any learning-rate scheduler, at exactly a tenth of its rate: the refine-tune stage, for any
/// optimizer.
///
/// Where parameter groups have schedulers of their own, wrap each of them:
/// `ModuleLrScheduler::new(RefineTune::new(base)).with_group(group, RefineTune::new(other))`.
///
/// ```
/// use burn::lr_scheduler::{LrScheduler, linear::LinearLrSchedulerConfig};
/// use burn_compress::train::RefineTune;
/// let original = || LinearLrSchedulerConfig::new(0.1, 0.01, 10).init().unwrap();
/// let (mut plain, mut refine) = (original(), RefineTune::new(original()));
/// for _ in 0..10 {
///     assert_eq!(refine.step(), plain.step().base() / 10.0);
/// }
/// ```
#[derive(Clone)]
pub struct RefineTune {
    original: ModuleLrScheduler,
}

impl RefineTune {
    /// A tenth of this scheduler's rate at each of its steps.
    pub fn new(original: impl Into<ModuleLrScheduler>) -> Self {
        Self {
            original: original.into(),
        }
    }
}

impl LrScheduler for RefineTune {
    fn step(&mut self) -> LearningRate {
        refine_rate(self.original.step().base())
    }

    fn to_record(&self) -> LrSchedulerRecord {
        self.original.to_record()
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.original = self.original.clone().load_record(record);
    }
}

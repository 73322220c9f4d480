//! An image classifier as the study sees it.

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor};
use burn_compress::graph::Quantized;
use burn_compress::train::{BoxError, Epoch, Workload, distillation_loss};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::Dataset;
use super::cnn::Cnn;
use super::digits::Digits;
use super::evaluate::accuracy;

pub trait Classifier: Module {
    fn classify(&self, images: Tensor<4>) -> Tensor<2>;
}

impl Classifier for Cnn {
    fn classify(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward(images)
    }
}

impl<M: Module> Classifier for Quantized<M> {
    fn classify(&self, images: Tensor<4>) -> Tensor<2> {
        let classes = self.forward(images);
        classes.expect("the graph was captured for such images")
    }
}

/// A set of images that is varied by chance while training.
pub trait Augmented: Dataset {
    fn augmented(
        &self,
        indices: &[usize],
        rng: &mut impl Rng,
        device: &Device,
    ) -> (Tensor<4>, Tensor<1, Int>);
}

impl Augmented for Digits {
    fn augmented(
        &self,
        indices: &[usize],
        rng: &mut impl Rng,
        device: &Device,
    ) -> (Tensor<4>, Tensor<1, Int>) {
        self.batch_shifted(indices, 1, rng, device)
    }
}

/// Trains with a learning rate that falls as a cosine over each run; scores by accuracy in percent.
pub struct Classification<M, D> {
    pub train: D,
    pub test: D,
    /// The plain device; training happens on its autodiff side.
    pub device: Device,
    pub batch: usize,
    /// A fresh optimizer for each run.
    pub optimizer: fn() -> ModuleOptimizer,
    pub run: Option<(ModuleOptimizer, ModuleLrScheduler)>,
    /// The original model in validation mode, where the compressed one is to learn from it too.
    pub teacher: Option<M>,
}

// Weight of the teacher's answers against the labels, and how much they are softened.
const TEACHER_SHARE: f64 = 0.9;
const TEMPERATURE: f64 = 4.0;

impl<P: Classifier, M: Classifier, D: Augmented> Workload<P> for Classification<M, D> {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn steps_per_epoch(&self) -> usize {
        self.train.len() / self.batch
    }

    fn train_epoch(&mut self, mut model: P, epoch: &mut Epoch<'_>) -> Result<P, BoxError> {
        let steps = Workload::<P>::steps_per_epoch(self);
        if epoch.is_first() || self.run.is_none() {
            let iterations = (steps * epoch.count()).max(2);
            let rate = CosineAnnealingLrSchedulerConfig::new(epoch.learning_rate(), iterations);
            self.run = Some(((self.optimizer)(), rate.init()?));
        }
        let Some((optimizer, rate)) = &mut self.run else {
            return Err("no run was started".into());
        };
        let device = self.device.clone().autodiff();
        let loss = CrossEntropyLossConfig::new().init(&device);
        let mut rng = StdRng::seed_from_u64(epoch.seed());
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        order.shuffle(&mut rng);
        for indices in order.chunks_exact(self.batch) {
            let (images, labels) = self.train.augmented(indices, &mut rng, &device);
            let output = model.classify(images.clone());
            let mut loss = loss.forward(output.clone(), labels);
            if let Some(teacher) = &self.teacher {
                let answers = Tensor::from_inner(teacher.classify(images.inner()));
                let distillation = distillation_loss(output, answers, TEMPERATURE);
                loss = loss * (1.0 - TEACHER_SHARE) + distillation * TEACHER_SHARE;
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(rate.step(), model, gradients);
            model = epoch.step(model)?;
        }
        Ok(model)
    }

    fn score(&mut self, model: &P) -> Result<f64, BoxError> {
        let forward = |images| model.classify(images);
        Ok(accuracy(&self.test, &self.device, forward))
    }

    fn example(&self, device: &Device) -> Tensor<4> {
        self.test.batch(&[0], device).0
    }

    fn inputs(&mut self, device: &Device) -> Result<Vec<Tensor<4>>, BoxError> {
        let indices: Vec<usize> = (0..self.train.len().min(INPUTS)).collect();
        let batches = indices.chunks(self.batch);
        Ok(batches
            .map(|batch| self.train.batch(batch, device).0)
            .collect())
    }

    fn forward(&self, model: &P, input: Tensor<4>) -> Tensor<2> {
        model.classify(input)
    }
}

/// Images without labels that reconstruction and the ranges of activations see.
pub const INPUTS: usize = 1024;

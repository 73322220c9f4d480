use burn::module::Module;
use burn::optim::{GradientsParams, LearningRate};
use burn::tensor::Device;

use super::{TrainError, refine_rate, seed_at};
use crate::compress::{Compression, Observations};

/// An error of the user's own.
///
/// ```
/// let error: burn_compress::train::BoxError = "no data".into();
/// # let _ = error;
/// ```
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What this library has to be told about a model to compress it: how to train it for an epoch, how
/// good it is, and what an input looks like.
///
/// ```
/// use burn::nn::{Linear, LinearConfig, loss::{MseLoss, Reduction}};
/// use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_compress::train::{BoxError, Epoch, Workload};
///
/// struct Double {
///     optimizer: ModuleOptimizer,
///     device: Device,
/// }
///
/// impl Workload<Linear> for Double {
///     type Input = Tensor<2>;
///     type Output = Tensor<2>;
///
///     fn steps_per_epoch(&self) -> usize {
///         10
///     }
///
///     fn train_epoch(&mut self, mut model: Linear, epoch: &mut Epoch<'_>) -> Result<Linear, BoxError> {
///         if epoch.is_first() {
///             self.optimizer = SgdConfig::new().init().into(); // a new run: forget the last one
///         }
///         for _ in 0..self.steps_per_epoch() {
///             let input = Tensor::<2>::random([8, 4], Distribution::Default, &self.device);
///             let target = input.clone() * 2.0;
///             let loss = MseLoss::new().forward(model.forward(input), target, Reduction::Mean);
///             let gradients = GradientsParams::from_grads(loss.backward(), &model);
///             epoch.observe(&gradients, &model)?; // for criteria that look at gradients
///             model = self.optimizer.step(epoch.learning_rate(), model, gradients);
///             model = epoch.step(model)?; // after each step of the optimizer
///         }
///         Ok(model)
///     }
///
///     fn score(&mut self, model: &Linear) -> Result<f64, BoxError> {
///         let input = Tensor::<2>::ones([1, 4], &model.weight.device());
///         let error = model.forward(input) - 2.0;
///         Ok(-f64::from(error.abs().mean().into_scalar::<f32>()))
///     }
///
///     fn example(&self, device: &Device) -> Tensor<2> {
///         Tensor::ones([1, 4], device)
///     }
///
///     fn forward(&self, model: &Linear, input: Tensor<2>) -> Tensor<2> {
///         model.forward(input)
///     }
/// }
/// ```
pub trait Workload<M: Module> {
    /// What the model takes.
    type Input: Clone;
    /// What the model gives; kept until the device has computed it.
    type Output;

    /// Steps of the optimizer in an epoch, no more than are taken: schedules are laid out by it.
    fn steps_per_epoch(&self) -> usize;

    /// Trains the model for one epoch at [`Epoch::learning_rate`], calling [`Epoch::step`] after each
    /// step of the optimizer. The model is on an autodiff device.
    fn train_epoch(&mut self, model: M, epoch: &mut Epoch<'_>) -> Result<M, BoxError>;

    /// How good a model is: any finite number, more is better. The model is on a plain device.
    fn score(&mut self, model: &M) -> Result<f64, BoxError>;

    /// An input as the model will get it in use, on this device: run-time and multiply-adds are
    /// measured on it.
    fn example(&self, device: &Device) -> Self::Input;

    /// Shows the model some batches, for criteria that look at more than weights:
    /// [`Observations::gradients`] takes gradients, [`Graph::observe`](crate::graph::Graph::observe)
    /// inputs. Called once in a study, with the model as it came, on an autodiff device. By default
    /// nothing is shown, so that pruning by such a criterion fails.
    ///
    /// ```
    /// # use burn::nn::Linear;
    /// # use burn::optim::GradientsParams;
    /// # use burn::tensor::{Device, Tensor};
    /// # use burn_compress::train::{BoxError, Epoch, Workload};
    /// use burn_compress::{compress::Observations, graph::Graph};
    /// # struct Task { batches: Vec<Tensor<2>> }
    /// # impl Workload<Linear> for Task {
    /// #   type Input = Tensor<2>;
    /// #   type Output = Tensor<2>;
    /// #   fn steps_per_epoch(&self) -> usize { 1 }
    /// #   fn train_epoch(&mut self, model: Linear, epoch: &mut Epoch<'_>) -> Result<Linear, BoxError> {
    /// #       Ok(epoch.step(model)?)
    /// #   }
    /// #   fn score(&mut self, _model: &Linear) -> Result<f64, BoxError> { Ok(0.0) }
    /// #   fn example(&self, device: &Device) -> Tensor<2> { Tensor::ones([1, 4], device) }
    /// #   fn forward(&self, model: &Linear, input: Tensor<2>) -> Tensor<2> { model.forward(input) }
    /// fn observe(&mut self, model: &Linear, seen: &mut Observations) -> Result<(), BoxError> {
    ///     let graph = Graph::capture(model, [1, 4], |model, input| model.forward(input))?;
    ///     for batch in &self.batches {
    ///         graph.observe(model, batch.clone(), seen)?;
    ///         let loss = model.forward(batch.clone()).abs().mean();
    ///         let gradients = GradientsParams::from_grads(loss.backward(), model);
    ///         seen.gradients(&gradients, model)?;
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    fn observe(&mut self, _model: &M, _seen: &mut Observations) -> Result<(), BoxError> {
        Ok(())
    }

    /// Batches of inputs without labels, as the model gets them in use, on this device, which is a plain
    /// one: the ranges of activations are found on them, and what compression without training needs. A
    /// thousand examples serve well. By default there are none, so that a study of either fails.
    ///
    /// ```
    /// # use burn::nn::Linear;
    /// # use burn::tensor::{Device, Tensor};
    /// # use burn_compress::train::{BoxError, Epoch, Workload};
    /// # struct Task { images: Vec<Vec<f32>> }
    /// # impl Workload<Linear> for Task {
    /// #   type Input = Tensor<2>;
    /// #   type Output = Tensor<2>;
    /// #   fn steps_per_epoch(&self) -> usize { 1 }
    /// #   fn train_epoch(&mut self, model: Linear, epoch: &mut Epoch<'_>) -> Result<Linear, BoxError> {
    /// #       Ok(epoch.step(model)?)
    /// #   }
    /// #   fn score(&mut self, _model: &Linear) -> Result<f64, BoxError> { Ok(0.0) }
    /// #   fn example(&self, device: &Device) -> Tensor<2> { Tensor::ones([1, 4], device) }
    /// #   fn forward(&self, model: &Linear, input: Tensor<2>) -> Tensor<2> { model.forward(input) }
    /// fn inputs(&mut self, device: &Device) -> Result<Vec<Tensor<2>>, BoxError> {
    ///     let rows = |images: &[Vec<f32>]| Tensor::<1>::from_data(images.concat().as_slice(), device);
    ///     let batches = self.images.chunks(128);
    ///     Ok(batches.map(|images| rows(images).reshape([images.len(), 4])).collect())
    /// }
    /// # }
    /// ```
    fn inputs(&mut self, _device: &Device) -> Result<Vec<Self::Input>, BoxError> {
        Ok(Vec::new())
    }

    /// Runs the model once.
    fn forward(&self, model: &M, input: Self::Input) -> Self::Output;
}

/// One epoch of training: which, at what learning rate, and the compression that is in force.
///
/// See [`Workload`] for its use.
///
/// ```
/// use burn_compress::train::Epoch;
/// let epoch = Epoch::plain(0, 5, 0.1, 42);
/// assert!(epoch.is_first());
/// assert_eq!(epoch.learning_rate(), 0.1);
/// ```
pub struct Epoch<'a> {
    index: usize,
    count: usize,
    learning_rate: LearningRate,
    refine: bool,
    seed: u64,
    compression: Option<&'a mut Compression>,
    on_step: Option<&'a mut dyn FnMut(usize)>,
    steps: usize,
}

impl<'a> Epoch<'a> {
    /// An epoch without compression: the `index`-th of `count`, at this learning rate.
    pub fn plain(index: usize, count: usize, learning_rate: LearningRate, seed: u64) -> Self {
        Self {
            index,
            count,
            learning_rate,
            refine: false,
            seed,
            compression: None,
            on_step: None,
            steps: 0,
        }
    }

    /// The same epoch under a compression.
    pub fn under(mut self, compression: &'a mut Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// The same epoch as part of the refine-tune stage: at a tenth of the learning rate.
    pub fn refine(mut self) -> Self {
        self.refine = true;
        self
    }

    /// Calls this after each step with the number of steps done.
    pub fn on_step(mut self, callback: &'a mut dyn FnMut(usize)) -> Self {
        self.on_step = Some(callback);
        self
    }

    /// Number of this epoch in its run, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Epochs of the run.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether a run starts: optimizer and scheduler are to start afresh.
    pub fn is_first(&self) -> bool {
        self.index == 0
    }

    /// Whether this is the refine-tune stage.
    pub fn is_refine(&self) -> bool {
        self.refine
    }

    /// The learning rate: the original one, or exactly a tenth of it in the refine-tune stage.
    pub fn learning_rate(&self) -> LearningRate {
        self.scale(self.learning_rate)
    }

    /// For a scheduler of one's own: its rate as it is, or exactly a tenth of it in the refine-tune
    /// stage.
    pub fn scale(&self, learning_rate: LearningRate) -> LearningRate {
        match self.refine {
            true => refine_rate(learning_rate),
            false => learning_rate,
        }
    }

    /// A seed for this epoch: the same whenever the study is run again.
    pub fn seed(&self) -> u64 {
        seed_at(self.seed, self.index as u64 * 2 + u64::from(self.refine))
    }

    /// To be called before each step of the optimizer, for criteria that look at gradients; see
    /// [`Compression::observe`].
    pub fn observe<M: Module>(
        &mut self,
        gradients: &GradientsParams,
        model: &M,
    ) -> Result<(), TrainError> {
        match &mut self.compression {
            Some(compression) => Ok(compression.observe(gradients, model)?),
            None => Ok(()),
        }
    }

    /// To be called after each step of the optimizer; see [`Compression::step`].
    pub fn step<M: Module>(&mut self, model: M) -> Result<M, TrainError> {
        self.steps += 1;
        if let Some(on_step) = &mut self.on_step {
            on_step(self.steps);
        }
        match &mut self.compression {
            Some(compression) => Ok(compression.step(model)?),
            None => Ok(model),
        }
    }

    /// Calls of [`step`](Self::step) so far.
    pub fn steps(&self) -> usize {
        self.steps
    }
}

/// The workload's score, checked.
pub(crate) fn checked_score<M: Module, W: Workload<M>>(
    workload: &mut W,
    model: &M,
) -> Result<f64, TrainError> {
    let score = workload
        .score(model)
        .map_err(|source| TrainError::Workload {
            action: "scoring the model",
            source,
        })?;
    match score.is_finite() {
        true => Ok(score),
        false => Err(TrainError::Score { score }),
    }
}

/// What a criterion asks to see of a model, shown by the workload; nothing where it asks for nothing.
pub(crate) fn observed<M: Module, W: Workload<M>>(
    workload: &mut W,
    model: &M,
    mut seen: Observations,
) -> Result<Observations, TrainError> {
    if seen.needs().is_empty() {
        return Ok(seen);
    }
    let model = model.valid().train();
    let shown = workload.observe(&model, &mut seen);
    shown.map_err(|source| TrainError::Workload {
        action: "showing the model batches",
        source,
    })?;
    Ok(seen)
}

/// An epoch of training, its error put in words.
pub(crate) fn train_epoch<M: Module, W: Workload<M>>(
    workload: &mut W,
    model: M,
    mut epoch: Epoch<'_>,
) -> Result<M, TrainError> {
    let trained = workload.train_epoch(model, &mut epoch);
    let trained = trained.map_err(|source| match source.downcast::<TrainError>() {
        // What `Epoch::step` reported is ours to tell.
        Ok(own) => *own,
        Err(source) => TrainError::Workload {
            action: "training an epoch",
            source,
        },
    })?;
    match (epoch.steps, workload.steps_per_epoch()) {
        (0, _) => Err(TrainError::NoStep),
        // The schedule would not have reached its end, and nobody would know.
        (done, said) if done < said => Err(TrainError::Steps { done, said }),
        _ => Ok(trained),
    }
}

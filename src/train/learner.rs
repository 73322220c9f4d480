use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{Devices, Module, ModuleDisplay, ModuleMapper, ModuleVisitor, Param};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::{InferenceStep, TrainOutput, TrainStep};

use crate::compress::{CompressError, Compressed, Compression, State};

/// A model under compression for burn-train's learner: trains as the model itself does, and moves
/// masks and scales after each step of the optimizer.
///
/// Dashboard, metrics and checkpoints work as for the bare model. Masks, scales and the place in the
/// schedule are in the learner's own checkpoints: a run resumed from one goes on where it was.
///
/// ```no_run
/// # use burn::module::Module;
/// # use burn::train::{TrainStep, InferenceStep};
/// # use burn_compress::compress::{CompressError, Plan, Pruning};
/// # fn example<M>(model: M) -> Result<(), CompressError>
/// # where M: Module + TrainStep + InferenceStep + std::fmt::Display + 'static {
/// use burn_compress::train::Aware;
/// let (model, compression) = Plan::new().prune(Pruning::to(0.8)).attach(model)?;
/// let model = Aware::new(model, compression);
/// // let result = SupervisedTraining::new(…).launch(Learner::new(model, optimizer, rate));
/// // let compressed = result.model.finish()?;
/// # let compressed = model.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Aware<M> {
    model: M,
    compression: Compression,
    // The state in the module's record: [step, frozen], and the batches of each sum of gradients. A level
    // set by hand does not occur here.
    state: Param<Tensor<1, Int>>,
    // Sums of gradients in the module's record, where the criterion asks for them. Those of inputs come
    // with `Plan::attach_with` again.
    sums: Option<Param<Tensor<1>>>,
    // Whether the compression knows what the record says: reading it waits for the device, so that
    // it is done once after a record may have been loaded, not at each step.
    recalled: bool,
    // The learner's step cannot fail, so that the first error waits here for `finish`.
    error: Arc<Mutex<Option<CompressError>>>,
}

impl<M: Module> Aware<M> {
    /// A model and the compression that was attached to it.
    pub fn new(model: M, compression: Compression) -> Self {
        let device = model.devices().into_iter().next().unwrap_or_default();
        let device = device.inner();
        let state = state_tensor(&compression, &device);
        let sums = compression.seen().gradient_sums(&device);
        Self {
            model,
            state: Param::initialized(Default::default(), state),
            sums: sums.map(|sums| Param::initialized(Default::default(), sums)),
            compression,
            recalled: true,
            error: Arc::default(),
        }
    }

    /// The model as it is in training.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Freezes, and gives the plain module together with its packed weights. Fails with the first
    /// error that occurred while training, if one did.
    pub fn finish(mut self) -> Result<Compressed<M>, CompressError> {
        if let Some(error) = lock(&self.error).take() {
            return Err(error);
        }
        self.recall()?;
        self.compression.finish(self.model)
    }

    // After a checkpoint was loaded the record is ahead of the compression's own state.
    fn recall(&mut self) -> Result<(), CompressError> {
        if self.recalled {
            return Ok(());
        }
        let values = self.state.val().try_into_vec_as::<i64>();
        let values = values.map_err(|error| CompressError::Device {
            layer: "compression.state".into(),
            reason: error.to_string(),
        })?;
        if let [step, frozen, batches @ ..] = &values[..] {
            if let Some(sums) = &self.sums {
                let batches = batches.iter();
                let batches = batches.map(|count| usize::try_from(*count).unwrap_or_default());
                let batches: Vec<usize> = batches.collect();
                let observations = self.compression.observations();
                observations.restore_gradient_sums(&sums.val().without_autodiff(), &batches);
            }
            self.compression.restore(State {
                step: usize::try_from(*step).unwrap_or_default(),
                frozen: *frozen != 0,
                level: None,
                ..self.compression.state().clone()
            })?;
        }
        self.recalled = true;
        Ok(())
    }

    // To be called before the step that takes these gradients.
    fn observed(mut self, gradients: &[&GradientsParams]) -> Self {
        let observed = self
            .recall()
            .and_then(|()| self.compression.observe_all(gradients, &self.model));
        if let Err(error) = observed {
            lock(&self.error).get_or_insert(error);
        }
        self
    }

    fn advance(mut self, step: impl FnOnce(M) -> M) -> Self {
        let model = step(self.model.clone());
        let advanced = self
            .recall()
            .and_then(|()| self.compression.step(model.clone()));
        match advanced {
            Ok(model) => self.model = model,
            Err(error) => {
                lock(&self.error).get_or_insert(error);
                self.model = model;
            }
        }
        let compression = &self.compression;
        self.state = self
            .state
            .map(|old| state_tensor(compression, &old.device().inner()));
        self.sums = self.sums.map(|sums| {
            sums.map(|old| {
                let sums = compression.seen().gradient_sums(&old.device().inner());
                sums.unwrap_or(old)
            })
        });
        self
    }

    fn with_model(self, change: impl FnOnce(M) -> M) -> Self {
        Self {
            model: change(self.model),
            ..self
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn state_tensor(compression: &Compression, device: &Device) -> Tensor<1, Int> {
    let state = compression.state();
    let mut numbers = vec![state.step as i64, i64::from(state.frozen)];
    let batches = compression.seen().gradient_batches();
    numbers.extend(batches.into_iter().map(|count| count as i64));
    let length = numbers.len();
    Tensor::from_data(TensorData::new(numbers, [length]), device)
}

impl<M: Module> Module for Aware<M> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.model.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.with_model(|model| model.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.with_model(|model| model.to_device(device))
    }

    fn train(self) -> Self {
        self.with_model(Module::train)
    }

    fn valid(&self) -> Self {
        self.clone().with_model(|model| model.valid())
    }

    fn materialize(self) -> Self {
        self.with_model(Module::materialize)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.model.visit(visitor);
        visitor.enter_module("compression_state", "Struct:Aware");
        visitor.visit_int(&self.state);
        visitor.exit_module("compression_state", "Struct:Aware");
        if let Some(sums) = &self.sums {
            visitor.enter_module("compression_sums", "Struct:Aware");
            visitor.visit_float(sums);
            visitor.exit_module("compression_sums", "Struct:Aware");
        }
    }

    fn map<P: ModuleMapper>(self, mapper: &mut P) -> Self {
        let model = self.model.map(mapper);
        mapper.enter_module("compression_state", "Struct:Aware");
        let state = mapper.map_int(self.state);
        mapper.exit_module("compression_state", "Struct:Aware");
        let sums = self.sums.map(|sums| {
            mapper.enter_module("compression_sums", "Struct:Aware");
            let sums = mapper.map_float(sums);
            mapper.exit_module("compression_sums", "Struct:Aware");
            sums
        });
        Self {
            model,
            state,
            sums,
            recalled: false,
            ..self
        }
    }
}

impl<M: fmt::Display> fmt::Display for Aware<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)
    }
}

impl<M: Module + ModuleDisplay + TrainStep> TrainStep for Aware<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, item: Self::Input) -> TrainOutput<Self::Output> {
        self.model.step(item)
    }

    fn optimize(
        self,
        optim: &mut ModuleOptimizer,
        lr_module: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        let observed = self.observed(&[&grads]);
        observed.advance(|model| model.optimize(optim, lr_module, grads))
    }

    fn optimize_multi(
        self,
        optim: &mut ModuleOptimizer,
        lr_module: ModuleLearningRate,
        grads: MultiGradientsParams,
    ) -> Self {
        let each: Vec<&GradientsParams> = grads.grads.iter().map(|(grads, _)| grads).collect();
        let observed = self.observed(&each);
        observed.advance(|model| model.optimize_multi(optim, lr_module, grads))
    }
}

impl<M: InferenceStep> InferenceStep for Aware<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, item: Self::Input) -> Self::Output {
        self.model.step(item)
    }
}

use std::path::Path;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::compress::{Compression, SavedSum, State};
use crate::format::{Container, Part};

/// A training run under compression, at one moment: weights, masks and scales, what the criterion
/// observed since masks moved, the optimizer's state, where the schedule is, and whatever else the run
/// needs. Loaded back, the run goes on as if it had
/// never stopped: bit for bit where the device computes so.
///
/// ```
/// use burn::{nn::LinearConfig, optim::{ModuleOptimizer, SgdConfig}, tensor::Device};
/// use burn_compress::compress::{Plan, Pruning};
/// use burn_compress::train::Checkpoint;
///
/// let device = Device::default().autodiff();
/// let plan = Plan::new().prune(Pruning::to(0.5));
/// let model = LinearConfig::new(4, 2).init(&device);
/// let optimizer: ModuleOptimizer = SgdConfig::new().init().into();
/// let (model, compression) = plan.attach(model)?;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("run.ckpt");
/// // The last argument is the run's own: an epoch, a seed, the best score so far.
/// Checkpoint::new(&model, &optimizer, &compression, &(3, 42u64))?.save(&path)?;
///
/// let (model, compression) = plan.attach(LinearConfig::new(4, 2).init(&device))?;
/// let optimizer: ModuleOptimizer = SgdConfig::new().init().into();
/// let (model, optimizer, compression, (epoch, seed)) =
///     Checkpoint::load(&path)?.restore::<_, (usize, u64)>(model, optimizer, compression)?;
/// assert_eq!((epoch, seed), (3, 42));
/// # let _ = (model, optimizer, compression);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Checkpoint {
    content: Container,
}

#[derive(Serialize, Deserialize)]
struct Description {
    compression: State,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    observed: Vec<SavedSum>,
    run: serde_json::Value,
}

const KIND: &str = "checkpoint";

impl Checkpoint {
    /// The present state of a run; `run` is what the run itself keeps (epoch, seed, best score, …).
    pub fn new<M: Module, T: Serialize>(
        model: &M,
        optimizer: &ModuleOptimizer,
        compression: &Compression,
        run: &T,
    ) -> Result<Self, TrainError> {
        let (observed, sums) = compression.seen().save()?;
        let description = Description {
            compression: compression.state().clone(),
            observed,
            run: serde_json::to_value(run).map_err(unfit)?,
        };
        let description = serde_json::to_string(&description).map_err(unfit)?;
        // Not of a clone: the last batch's share of running statistics would be missing.
        let model = model.valid().into_record().into_bytes().map_err(record)?;
        let optimizer = optimizer.into_bytes().map_err(record)?;
        let mut parts = vec![
            Part::bytes("model", model.to_vec()),
            Part::bytes("optimizer", optimizer.to_vec()),
        ];
        if !sums.is_empty() {
            parts.push(Part::bytes("observed", sums));
        }
        Ok(Self {
            content: Container::new(KIND, description, parts),
        })
    }

    /// The same with the state of a learning-rate scheduler.
    pub fn with_scheduler(self, scheduler: LrSchedulerRecord) -> Result<Self, TrainError> {
        let bytes = scheduler.into_bytes().map_err(record)?;
        let description = self.content.description().to_string();
        let mut parts: Vec<Part> = self.content.into_parts().into_values().collect();
        parts.push(Part::bytes("scheduler", bytes.to_vec()));
        Ok(Self {
            content: Container::new(KIND, description, parts),
        })
    }

    /// The state of the learning-rate scheduler, if one was saved.
    pub fn scheduler(&self) -> Result<Option<LrSchedulerRecord>, TrainError> {
        let mut parts = self.content.clone().into_parts();
        let scheduler = parts.remove("scheduler").map(|part| {
            LrSchedulerRecord::from_bytes(Bytes::from_bytes_vec(part.bytes)).map_err(record)
        });
        scheduler.transpose()
    }

    /// Puts the state into a model, an optimizer and a compression built as they were at the start.
    /// Gives back what the run itself kept, too.
    pub fn restore<M: Module, T: DeserializeOwned>(
        self,
        model: M,
        optimizer: ModuleOptimizer,
        mut compression: Compression,
    ) -> Result<(M, ModuleOptimizer, Compression, T), TrainError> {
        let description: Description =
            serde_json::from_str(self.content.description()).map_err(unfit)?;
        let run = serde_json::from_value(description.run).map_err(unfit)?;
        let mut parts = self.content.into_parts();
        let mut bytes = |name: &str| {
            let part = parts.remove(name).ok_or_else(|| TrainError::Record {
                reason: format!("it holds no {name}"),
            })?;
            Ok::<_, TrainError>(Bytes::from_bytes_vec(part.bytes))
        };
        let weights = ModuleRecord::from_bytes(bytes("model")?).map_err(record)?;
        // A clone shares running statistics, which a record that does not fit would change.
        let model = Compression::snapshot(&model);
        let model = model.try_load_record(weights).map_err(record)?;
        let optimizer = optimizer.from_bytes(bytes("optimizer")?).map_err(record)?;
        let sums = match description.observed.is_empty() {
            true => Vec::new(),
            false => bytes("observed")?.to_vec(),
        };
        let device = model.devices().into_iter().next().unwrap_or_default();
        let observations = compression.observations();
        observations.restore(description.observed, &sums, &device.inner())?;
        compression.restore(description.compression)?;
        Ok((model, optimizer, compression, run))
    }

    /// Writes the checkpoint, whole or not at all.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), TrainError> {
        self.content.save(path)?;
        Ok(())
    }

    /// Reads a checkpoint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        Ok(Self {
            content: Container::load(KIND, path)?,
        })
    }
}

fn record(error: RecordError) -> TrainError {
    TrainError::Record {
        reason: error.to_string(),
    }
}

fn unfit(error: serde_json::Error) -> TrainError {
    TrainError::Record {
        reason: error.to_string(),
    }
}

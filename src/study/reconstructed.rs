//! Trials that are compressed without training.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::run::{Runner, Target};
use super::strategy::Strategy;
use super::trial::RECONSTRUCTION;
use super::{StudyError, Trial};
use crate::compress::{Compressed, Observations, Plan};
use crate::graph::Graph;
use crate::reconstruct::{Progress, ReconstructError, Reconstruction};
use crate::report::{Choice, Mode};
use crate::train::{TrainError, Workload};

type Run<M> = dyn Fn(
    &Plan,
    &Observations,
    M,
    &mut dyn FnMut(&Progress<'_>),
) -> Result<Compressed<M>, ReconstructError>;

/// Compresses modules of one graph on the inputs of a workload.
pub(super) struct Reconstructor<M>(Box<Run<M>>);

impl<M: Module> Reconstructor<M> {
    pub fn new<const D: usize>(
        what: Reconstruction,
        graph: Graph,
        batches: Vec<Tensor<D>>,
    ) -> Self {
        Self(Box::new(move |plan, seen, module, told| {
            what.run_along(plan, seen, module, &graph, batches.clone(), |progress| {
                told(progress);
                Ok(())
            })
        }))
    }
}

/// The inputs of a workload; fails where it gives none.
pub(super) fn inputs<M, W, const D: usize>(
    workload: &mut W,
    device: &Device,
    what: &'static str,
) -> Result<Vec<Tensor<D>>, StudyError>
where
    M: Module,
    W: Workload<M, Input = Tensor<D>>,
{
    let batches = workload.inputs(device);
    let batches = batches.map_err(|source| TrainError::Workload {
        action: "giving inputs",
        source,
    })?;
    match batches.is_empty() {
        true => Err(StudyError::NoInputs { what }),
        false => Ok(batches),
    }
}

impl<M, W, T> Runner<'_, M, W, T>
where
    M: Module,
    T: Strategy<M>,
    W: Workload<M> + Workload<T::Model>,
{
    /// A level without training, where the recipe asks for it. One that a layer does not bear is left out,
    /// with a note.
    pub(super) fn reconstruct<C: Strategy<M>>(
        &mut self,
        strategy: &C,
        trial: Trial,
        existing: bool,
        module: &M,
    ) -> Result<(), StudyError>
    where
        W: Workload<C::Model>,
    {
        let Some(Reconstructor(run)) = &self.reconstructor else {
            return Ok(());
        };
        let trial = Trial {
            mode: Mode::Reconstructed,
            ..trial
        };
        if self.store.row(&trial).is_some() {
            self.found(trial, RECONSTRUCTION);
            return Ok(());
        }
        let started = Instant::now();
        let plan = self.plan(Target { trial, existing }, None)?;
        let clock = &mut self.clock;
        let compressed = run(&plan, &self.seen, module.valid(), &mut |progress| {
            clock.reconstruct(trial, progress.done, progress.of);
        });
        match compressed {
            Ok(compressed) => self.finish(trial, strategy.compressed(compressed)?, started),
            Err(error @ ReconstructError::Unbearable { .. }) => {
                self.notes.push(format!("Not reconstructed: {error}."));
                self.clock.left_out(trial, RECONSTRUCTION);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The combination: in one pass, unless the best pruned model was trained.
    pub(super) fn reconstruct_both(
        &mut self,
        trial: Trial,
        prune: &Choice,
        pruned: &M,
    ) -> Result<(), StudyError> {
        let trained = prune.row.refined || prune.row.mode == Mode::Aware;
        let original = self.module.valid();
        let module = if trained { pruned } else { &original };
        self.reconstruct(self.strategy, trial, trained, module)
    }
}

//! Products whose kernels are known, made on several threads before the plan is built around them.

use std::collections::HashMap;

use super::cache::Kept;
use super::choose::{Chosen, How, Layer, again, choose};
use super::tuner::Chooser;
use crate::engine::EngineError;
use crate::engine::layout::Layout;
use crate::engine::layout::arguments::positions;
use crate::engine::layout::demand::Tensors;
use crate::engine::layout::part::Part;
use crate::engine::lower::node::{Stage, StageWork, Weighted};
use crate::kernel::{KernelError, Kernels, share_out};
use crate::network::Value;

/// A product to be made.
struct Job<'a, 'm> {
    stage: &'a Stage<'m>,
    weighted: &'a Weighted<'m>,
    from: Vec<Layout>,
    to: Layout,
    kept: &'a Kept,
}

/// The products whose kernels are known, by step: all but those of layers that have no such kernel.
///
/// Fails with [`EngineError::Kernel`].
pub(in crate::engine) fn prepare(
    part: Part<'_>,
    tensors: &Tensors,
    threads: usize,
    chooser: &Chooser<'_>,
) -> Result<HashMap<usize, Chosen>, EngineError> {
    let mut jobs = Vec::new();
    let mut products = 0;
    for stage in part.stages {
        let StageWork::Product(weighted) = &stage.work else {
            continue;
        };
        let known = chooser.known(products, &stage.layer);
        products += 1;
        let own = tensors.find_own(Value::Node(stage.output));
        let from = stage.inputs.iter().enumerate().map(|(place, &value)| {
            let found = tensors.find(value, stage.demand(part.model, place, part.sites))?;
            Some(tensors.all[found].layout)
        });
        let from: Option<Vec<Layout>> = from.collect();
        if let (Some(kept), Some(own), Some(from)) = (known, own, from) {
            jobs.push(Job {
                stage,
                weighted,
                from,
                to: tensors.all[own].layout,
                kept,
            });
        }
    }
    // The largest are taken first, from the end.
    jobs.sort_by_key(|job| job.weighted.weights());
    let made = share_out(jobs, threads - 1, |job| {
        let product = (job.stage).again(job.weighted, &job.from, &job.to, job.kept);
        product.map(|product| Some((job.stage.output, product?)))
    });
    Ok(made?.into_iter().flatten().collect())
}

impl Stage<'_> {
    /// The product of a stage, from operands that lie so.
    ///
    /// Fails with [`EngineError::Kernel`].
    pub fn product(
        &self,
        weighted: &Weighted<'_>,
        from: &[Layout],
        to: &Layout,
        kernels: Kernels,
        how: How,
    ) -> Result<Chosen, EngineError> {
        self.chosen(weighted, from, to, |layer| choose(layer, kernels, how))
    }

    /// The same with the kernel of another time; none where the layer has no such kernel.
    pub fn again(
        &self,
        weighted: &Weighted<'_>,
        from: &[Layout],
        to: &Layout,
        kept: &Kept,
    ) -> Result<Option<Chosen>, EngineError> {
        self.chosen(weighted, from, to, |layer| again(layer, kept))
    }

    fn chosen<T>(
        &self,
        weighted: &Weighted<'_>,
        from: &[Layout],
        to: &Layout,
        choose: impl FnOnce(Layer<'_>) -> Result<T, KernelError>,
    ) -> Result<T, EngineError> {
        let layer = Layer {
            weighted,
            from: &from[0],
            to,
            residual: from.get(1),
            positions: &positions(&weighted.window, to, &from[0], from.get(1)),
        };
        choose(layer).map_err(|source| EngineError::Kernel {
            layer: self.layer.clone(),
            source,
        })
    }
}

//! Products whose kernels are known, made on several threads before the plan is built around them.

use std::collections::HashMap;

use super::cache::TunedKernel;
use super::choose::{Layer, TunedProduct, TuningMode, again, choose};
use super::tuner::Tuner;
use crate::engine::EngineError;
use crate::engine::layout::Layout;
use crate::engine::layout::arguments::positions;
use crate::engine::layout::demand::Tensors;
use crate::engine::layout::part::Part;
use crate::engine::lower::node::{FusedNode, NodeWork, Weighted};
use crate::kernel::{KernelError, Kernels, share_out};
use crate::network::Value;

/// A product to be made.
struct Job<'a, 'm> {
    node: &'a FusedNode<'m>,
    weighted: &'a Weighted<'m>,
    from: Vec<Layout>,
    to: Layout,
    tuned: &'a TunedKernel,
}

/// The products whose kernels are known, by step: all but those of layers that have no such kernel.
///
/// Fails with [`EngineError::Kernel`].
pub(in crate::engine) fn prepare(
    part: Part<'_>,
    tensors: &Tensors,
    threads: usize,
    tuner: &Tuner<'_>,
) -> Result<HashMap<usize, TunedProduct>, EngineError> {
    let mut jobs = Vec::new();
    let mut products = 0;
    for node in part.nodes {
        let NodeWork::Product(weighted) = &node.work else {
            continue;
        };
        let known = tuner.known(products, &node.layer);
        products += 1;
        let own = tensors.find_own(Value::Node(node.output));
        let from = node.inputs.iter().enumerate().map(|(place, &value)| {
            let found = tensors.find(value, node.demand(part.model, place, part.lanes))?;
            Some(tensors.all[found].layout)
        });
        let from: Option<Vec<Layout>> = from.collect();
        if let (Some(tuned), Some(own), Some(from)) = (known, own, from) {
            jobs.push(Job {
                node,
                weighted,
                from,
                to: tensors.all[own].layout,
                tuned,
            });
        }
    }
    // The largest are taken first, from the end.
    jobs.sort_by_key(|job| job.weighted.weights());
    let made = share_out(jobs, threads - 1, |job| {
        let product = (job.node).again(job.weighted, &job.from, &job.to, job.tuned);
        product.map(|product| Some((job.node.output, product?)))
    });
    Ok(made?.into_iter().flatten().collect())
}

impl FusedNode<'_> {
    /// The product of a node, from operands that lie so.
    ///
    /// Fails with [`EngineError::Kernel`].
    pub fn product(
        &self,
        weighted: &Weighted<'_>,
        from: &[Layout],
        to: &Layout,
        kernels: Kernels,
        mode: TuningMode,
    ) -> Result<TunedProduct, EngineError> {
        self.chosen(weighted, from, to, |layer| choose(layer, kernels, mode))
    }

    /// The same with the kernel of another time; none where the layer has no such kernel.
    pub fn again(
        &self,
        weighted: &Weighted<'_>,
        from: &[Layout],
        to: &Layout,
        tuned: &TunedKernel,
    ) -> Result<Option<TunedProduct>, EngineError> {
        self.chosen(weighted, from, to, |layer| again(layer, tuned))
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

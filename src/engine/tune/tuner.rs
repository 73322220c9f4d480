//! How the kernels of a plan are chosen.

use std::collections::HashSet;
use std::sync::Arc;

use super::cache::TunedKernel;
use super::choose::TuningMode;
use crate::engine::Tuning;
use crate::engine::lower::node::{FusedNode, NodeWork};
use crate::kernel::Kernels;

/// The L2 budget: bytes of all weights from which on they leave the L2 cache between passes.
const L2_BYTES: usize = 2 << 20;

/// How the kernels of a plan are chosen, one after the other.
pub(in crate::engine) struct Tuner<'a> {
    tuning: Tuning,
    known: &'a [TunedKernel],
    pub tuned: Vec<TunedKernel>,
    /// Whether weights are cold in each pass: beyond the L2 cache.
    cold: bool,
    /// Of floats, of bytes and of bytes in tiles, once measured.
    peaks: [Option<f64>; 3],
}

impl<'a> Tuner<'a> {
    /// `nodes`: all of the model's, also for a plan that runs some of them, since the others' weights come
    /// between two passes of it.
    pub fn new(tuning: Tuning, nodes: &[FusedNode<'_>], known: &'a [TunedKernel]) -> Self {
        // What several share is read once.
        let mut seen = HashSet::new();
        let weights = nodes.iter().map(|node| match &node.work {
            NodeWork::Product(weighted) if seen.insert(Arc::as_ptr(&weighted.found)) => {
                weighted.bytes()
            }
            _ => 0,
        });
        Self {
            tuning,
            known,
            tuned: Vec::new(),
            cold: weights.sum::<usize>() > L2_BYTES,
            peaks: [None; 3],
        }
    }

    /// How a kernel is chosen that is not known.
    pub fn mode(&self) -> TuningMode {
        match self.tuning {
            Tuning::Measured => TuningMode::Measured { cold: self.cold },
            Tuning::Estimated => TuningMode::Estimated,
        }
    }

    /// The kernel that is known of a product of this number and name.
    pub fn known(&self, product: usize, layer: &str) -> Option<&'a TunedKernel> {
        let known = self.known.get(product);
        known.filter(|tuned| tuned.layer == layer)
    }

    /// Multiply-adds a second of one thread; only measured where kernels are timed.
    pub fn peak(&mut self, kernels: Kernels, codes: bool) -> f64 {
        self.measured(usize::from(codes), || kernels.peak(codes))
    }

    /// Those of its matrix unit, or of its lanes where it has none.
    pub fn matrix_peak(&mut self, kernels: Kernels) -> f64 {
        self.measured(2, || {
            kernels.matrix_peak().unwrap_or_else(|| kernels.peak(true))
        })
    }

    fn measured(&mut self, which: usize, peak: impl Fn() -> f64) -> f64 {
        match self.tuning {
            Tuning::Measured => *self.peaks[which].get_or_insert_with(peak),
            Tuning::Estimated => f64::INFINITY,
        }
    }
}

//! How the kernels of a plan are chosen.

use std::collections::HashSet;
use std::sync::Arc;

use super::cache::Kept;
use super::choose::How;
use crate::engine::Choice;
use crate::engine::lower::node::{Stage, StageWork};
use crate::kernel::Kernels;

/// Bytes of all weights from which on they do not stay near from pass to pass: those of a second-level cache.
const STAYS: usize = 2 << 20;

/// How the kernels of a plan are chosen, one after the other.
pub(in crate::engine) struct Chooser<'a> {
    choice: Choice,
    known: &'a [Kept],
    pub kept: Vec<Kept>,
    /// Whether weights come from afar in each pass.
    far: bool,
    /// Of floats, of bytes and of bytes in tiles, once measured.
    peaks: [Option<f64>; 3],
}

impl<'a> Chooser<'a> {
    /// `stages`: all of the model's, also for a plan that runs some of them, since the others' weights come
    /// between two passes of it.
    pub fn new(choice: Choice, stages: &[Stage<'_>], known: &'a [Kept]) -> Self {
        // What several share is brought once.
        let mut seen = HashSet::new();
        let weights = stages.iter().map(|stage| match &stage.work {
            StageWork::Product(weighted) if seen.insert(Arc::as_ptr(&weighted.found)) => {
                weighted.bytes()
            }
            _ => 0,
        });
        Self {
            choice,
            known,
            kept: Vec::new(),
            far: weights.sum::<usize>() > STAYS,
            peaks: [None; 3],
        }
    }

    /// How a kernel is chosen that is not known.
    pub fn how(&self) -> How {
        match self.choice {
            Choice::Measured => How::Measured { far: self.far },
            Choice::Estimated => How::Estimated,
        }
    }

    /// The kernel that is known of a product of this number and name.
    pub fn known(&self, product: usize, layer: &str) -> Option<&'a Kept> {
        let known = self.known.get(product);
        known.filter(|kept| kept.layer == layer)
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
        match self.choice {
            Choice::Measured => *self.peaks[which].get_or_insert_with(peak),
            Choice::Estimated => f64::INFINITY,
        }
    }
}

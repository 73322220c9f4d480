//! The time that a product takes.

use std::time::{Duration, Instant};

use crate::engine::layout::Layout;
use crate::engine::lower::shape::Kind;
use crate::kernel::{KernelError, Kernels, Product, VectorBlock, VectorBlocks};

/// The bound of a trial: so many times the best time so far end it.
pub(in crate::engine) const TRIAL_BOUND: f64 = 2.0;

/// Memory to try products in.
pub(in crate::engine) struct Scratch {
    input: VectorBlocks,
    residual: VectorBlocks,
    output: VectorBlocks,
}

impl Scratch {
    pub fn new(from: &Layout, to: &Layout, residual: Option<&Layout>) -> Self {
        // Times do not depend on the numbers, but for those too small to be normal. They are written: all
        // memory that was only read may be one page.
        let blocks = |layout: &Layout| {
            let mut blocks = VectorBlocks::new(layout.blocks());
            blocks.fill(match layout.shape.kind {
                Kind::Codes { .. } => VectorBlock::of_bytes(1),
                Kind::Floats => VectorBlock::of_floats(1.0),
            });
            blocks
        };
        Self {
            input: blocks(from),
            residual: residual.map_or(VectorBlocks::new(0), blocks),
            output: blocks(to),
        }
    }

    /// Microseconds, the least of some runs; of few where that is more than `much`.
    pub fn time(
        &mut self,
        product: &Product,
        kernels: Kernels,
        much: f64,
    ) -> Result<f64, KernelError> {
        const ENOUGH: Duration = Duration::from_micros(300);
        // So long that one run tells: what it finds far away is a small part of it.
        const LONG: Duration = Duration::from_millis(2);
        // Microseconds that a unit takes at most until it is at work.
        const WAKE: f64 = 200.0;
        let filter_blocks = 0..product.entries().filter_blocks();
        let started = Instant::now();
        let mut least = Duration::MAX;
        let mut runs = 0;
        while runs == 0 || (runs == 1 && least < LONG) || (started.elapsed() < ENOUGH && runs < 40)
        {
            let run = Instant::now();
            product.run(
                kernels,
                filter_blocks.clone(),
                &self.input,
                &self.residual,
                &mut self.output,
            )?;
            least = least.min(run.elapsed());
            runs += 1;
            // The first run finds nothing in a cache, and may find a matrix unit at rest.
            let microseconds = least.as_secs_f64() * 1e6;
            if microseconds > much && (runs > 1 || microseconds > (TRIAL_BOUND * much).max(WAKE)) {
                break;
            }
        }
        Ok(least.as_secs_f64() * 1e6)
    }
}

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Choice;
use super::choose::{How, Way};
use super::reorder::Order;
use super::stage::{Stage, StageWork};
use crate::kernel::{Isa, Kernels};

/// The kernels that were chosen for a model on a machine, to compile it again without trying them.
///
/// ```
/// # use burn_compress::engine::{Choices, Options, Program};
/// # use burn_compress::network::Network;
/// # fn again(model: &Network) -> Result<(), Box<dyn std::error::Error>> {
/// let program = Program::compile(model, Options::default())?;
/// let kept = serde_json::to_string(program.choices())?;
/// // The next time, on the same machine:
/// let choices: Choices = serde_json::from_str(&kept)?;
/// let program = Program::compile_as(model, Options::default(), &choices)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// The instruction set that they were tried on.
    #[serde(with = "super::isa_name")]
    pub isa: Isa,
    /// The threads that they were tried with.
    pub threads: usize,
    /// Whether one image runs on one thread, whatever the threads.
    pub alone: bool,
    pub(super) one: Vec<Kept>,
    /// Of several images together: first of fewer.
    pub(super) many: Vec<Together>,
    /// How the channels of tensors are ordered.
    #[serde(default)]
    pub(super) orders: Vec<Order>,
}

impl Choices {
    /// Whether others were tried on the same set, with as many threads.
    pub(super) fn fits(&self, other: &Self) -> bool {
        (self.isa, self.threads) == (other.isa, other.threads)
    }
}

/// How images go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Together {
    pub images: usize,
    /// From which stage on, where they are fewer before it.
    pub cut: usize,
    pub kernels: Vec<Kept>,
}

/// The kernel of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub layer: String,
    pub kernel: String,
    pub way: Way,
}

/// Bytes of all weights from which on they do not stay near from pass to pass: those of a second-level cache.
const STAYS: usize = 2 << 20;

/// How the kernels of a plan are chosen, one after the other.
pub(super) struct Chooser<'a> {
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

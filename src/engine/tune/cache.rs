use serde::{Deserialize, Serialize};

use crate::engine::lower::reorder::Order;
use crate::kernel::{Isa, Product};

/// The kernels that were chosen for a model on a machine, to compile it again without trying them.
///
/// ```
/// # use burn_compress::engine::{TuningCache, Options, Program};
/// # use burn_compress::network::Network;
/// # fn again(model: &Network) -> Result<(), Box<dyn std::error::Error>> {
/// let program = Program::compile(model, Options::default())?;
/// let kept = serde_json::to_string(program.tuning_cache())?;
/// // The next time, on the same machine:
/// let cache: TuningCache = serde_json::from_str(&kept)?;
/// let program = Program::compile_with(model, Options::default(), &cache)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningCache {
    /// The instruction set that they were tried on.
    #[serde(with = "crate::engine::isa_name")]
    pub isa: Isa,
    /// The threads that they were tried with.
    pub threads: usize,
    /// Whether one sample runs on one thread, whatever the threads.
    pub alone: bool,
    pub(in crate::engine) one: Vec<TunedKernel>,
    /// Of several samples together: first of fewer.
    pub(in crate::engine) many: Vec<TunedStage>,
    /// How the channels of tensors are ordered.
    #[serde(default)]
    pub(in crate::engine) orders: Vec<Order>,
}

impl TuningCache {
    /// Whether others were tried on the same set, with as many threads.
    pub(in crate::engine) fn fits(&self, other: &Self) -> bool {
        (self.isa, self.threads) == (other.isa, other.threads)
    }
}

/// How samples go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct TunedStage {
    pub samples: usize,
    /// From which node on, where they are fewer before it.
    pub boundary: usize,
    pub kernels: Vec<TunedKernel>,
}

/// The kernel of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct TunedKernel {
    pub layer: String,
    pub kernel: String,
    pub blocking: Blocking,
}

/// How a layer's work is blocked, so that its input stays in the L1 cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::engine) enum Blocking {
    /// All filters over so many positions.
    Positions(usize),
    /// So many vector blocks of the input of a few positions.
    Channels(usize),
}

impl Blocking {
    pub fn of(self, product: Product) -> Product {
        match self {
            Self::Positions(positions) => product.in_position_blocks(positions),
            Self::Channels(blocks) => product.in_slices(blocks),
        }
    }
}

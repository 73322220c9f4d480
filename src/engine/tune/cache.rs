use serde::{Deserialize, Serialize};

use crate::engine::lower::reorder::Order;
use crate::kernel::{Isa, Product};

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
    #[serde(with = "crate::engine::isa_name")]
    pub isa: Isa,
    /// The threads that they were tried with.
    pub threads: usize,
    /// Whether one image runs on one thread, whatever the threads.
    pub alone: bool,
    pub(in crate::engine) one: Vec<Kept>,
    /// Of several images together: first of fewer.
    pub(in crate::engine) many: Vec<Together>,
    /// How the channels of tensors are ordered.
    #[serde(default)]
    pub(in crate::engine) orders: Vec<Order>,
}

impl Choices {
    /// Whether others were tried on the same set, with as many threads.
    pub(in crate::engine) fn fits(&self, other: &Self) -> bool {
        (self.isa, self.threads) == (other.isa, other.threads)
    }
}

/// How images go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct Together {
    pub images: usize,
    /// From which stage on, where they are fewer before it.
    pub cut: usize,
    pub kernels: Vec<Kept>,
}

/// The kernel of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct Kept {
    pub layer: String,
    pub kernel: String,
    pub way: Way,
}

/// What is kept near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::engine) enum Way {
    /// The input of so many positions.
    Blocks(usize),
    /// So many cells of the input of a few positions.
    Slices(usize),
}

impl Way {
    pub fn of(self, product: Product) -> Product {
        match self {
            Self::Blocks(positions) => product.in_blocks(positions),
            Self::Slices(cells) => product.in_slices(cells),
        }
    }
}

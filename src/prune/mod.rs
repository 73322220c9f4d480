//! Which weights go: a criterion ([`Pruner`]) gives each weight a score, a [`Pattern`] says which weights
//! go together, a [`Scope`] among which weights the lowest scores are removed, and [`AtLeast`] how many each
//! layer keeps.

mod at_least;
mod criterion;
mod erk;
mod lowest;
mod need;
mod pattern;
mod taylor;
mod wanda;
mod weight;

pub use at_least::AtLeast;
pub use criterion::{Magnitude, Pruner, Random};
pub(crate) use erk::erk;
pub(crate) use lowest::lowest_of_each_on_device;
#[doc(hidden)]
pub use lowest::{lowest, lowest_on_device};
pub use need::{Missing, Need};
pub use pattern::{Pattern, PatternError};
pub use taylor::Taylor;
pub use wanda::Wanda;
pub use weight::Weight;

use serde::{Deserialize, Serialize};

/// Among which weights a share is removed.
///
/// ```
/// use burn_compress::prune::Scope;
/// assert_eq!(Scope::default(), Scope::Global);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The share is removed from each layer.
    Layer,
    /// Each layer has a share of its own, by its dimensions alone: small layers lose less, the smallest
    /// nothing, and all together come to the share (Evci et al. 2020, "Rigging the Lottery", where it is
    /// called ERK).
    Erk,
    /// The share is removed from all selected layers together, under one threshold: layers with
    /// small weights lose more.
    #[default]
    Global,
}

/// Number of weights that a share of `count` weights is, to the nearest whole weight.
///
/// ```
/// assert_eq!(burn_compress::prune::share_of(0.9, 1000), 900);
/// ```
#[doc(hidden)]
pub fn share_of(level: f64, count: usize) -> usize {
    ((level * count as f64).round() as usize).min(count)
}

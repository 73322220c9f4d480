use serde::{Deserialize, Serialize};

/// Whether a removed weight may come back while masks are still moving.
///
/// ```
/// use burn_compress::compress::{Pruning, Regrowth};
/// let pruning = Pruning::to(0.8).regrowth(Regrowth::Never);
/// # let _ = pruning;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Regrowth {
    /// Each mask is computed afresh from the stored weights; a removed weight is zero in every
    /// forward pass but keeps its stored value until the masks freeze.
    #[default]
    UntilFrozen,
    /// Once removed, always removed; the stored value is cleared at once.
    Never,
    /// Whenever masks move, a share of the weights that are left goes, those of lowest score, and as many
    /// removed ones come back, those of greatest gradient: from zero (Evci et al. 2020, "Rigging the
    /// Lottery: Making All Tickets Winners").
    ///
    /// Gradients are those passed to [`Compression::observe`](super::Compression::observe), of removed weights too, averaged since
    /// masks moved last; the paper takes the last batch alone. Stored values of removed weights are cleared
    /// after each step, so that momentum brings none back. Zeros that the weights have when the plan is
    /// attached may come back. Not in quantized graphs, where removed weights have no gradient.
    ///
    /// ```
    /// use burn_compress::{compress::{Pruning, Regrowth}, prune::Scope, schedule::Curve};
    /// // Sparse from the first step to the last of 10,000; masks move at every 100th.
    /// let sparse = Curve::Linear { from: 0.9, to: 0.9, start: 0, end: 10_000 };
    /// let pruning = Pruning::along(sparse)
    ///     .every(100)
    ///     .scope(Scope::Erk)
    ///     .regrowth(Regrowth::ByGradient { share: 0.3 });
    /// # let _ = pruning;
    /// ```
    ByGradient {
        /// The share at the start, 0 to 1; falls along a cosine to zero at the schedule's end.
        share: f64,
    },
}

use std::fmt;

use burn::tensor::{Bool, Tensor};
use serde::{Deserialize, Serialize};

use crate::format::WeightView;

/// Which weights go together.
///
/// A block's score is the sum of its weights' scores (by magnitude, its L1 norm) over its length, so that
/// short blocks compare with long ones (Mao et al. 2017, "Exploring the Regularity of Sparse Structure in
/// Convolutional Neural Networks").
///
/// Blocks go lowest score first, as long as the middle of the next one lies within the level. So the
/// number of weights removed is as close to `level * weights` as whole blocks, taken in this order, can
/// come, and never more than half of the longest block away from it: in each layer
/// ([`Scope::Layer`](super::Scope::Layer)) or in all together ([`Scope::Global`](super::Scope::Global)).
/// Among equal scores those that come first go: by layer, in it whole blocks before short ones, then by
/// filter, channel and tap.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::{attach::{Plan, Pruning}, prune::Pattern};
///
/// let pattern = Pattern::Block { channels: 4 };
/// assert_eq!(pattern.to_string(), "block4");
/// assert_eq!(serde_json::to_string(&pattern)?, r#"{"block":{"channels":4}}"#);
///
/// let model = LinearConfig::new(10, 2).init(&Device::default()); // rows of 4, 4 and 2 weights
/// let compressed = Plan::new().prune(Pruning::to(0.5).pattern(pattern)).apply(model)?;
/// assert!((8..=12).contains(&compressed.layers()[0].removed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Pattern {
    /// Each weight by itself.
    #[default]
    Unstructured,
    /// This many neighbouring input channels at one tap of one filter.
    ///
    /// Channel `c` is in block `c / channels`. Where the input channels (of a convolution's group) are
    /// no multiple, the last block of each filter and tap is shorter; a depthwise convolution has one
    /// input channel, so that each weight is its own block.
    Block {
        /// Input channels of a block, at least 1.
        channels: usize,
    },
}

/// The short name: `unstructured`, `block4`.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstructured => f.pad("unstructured"),
            Self::Block { channels } => f.pad(&format!("block{channels}")),
        }
    }
}

// Blocks of one length, side by side in each row.
struct Run {
    /// The first input channel.
    start: usize,
    /// Blocks of a row and tap.
    blocks: usize,
    /// Channels of a block.
    length: usize,
}

impl Pattern {
    /// A layer's scores, `[out, in * kernel]`, in block order, each replaced by its block's: blocks
    /// stand one after another, so that of those that are cut at a count, at most one is cut apart.
    pub(crate) fn line_up(self, scores: Tensor<2>, view: &WeightView) -> Tensor<1> {
        let Self::Block { channels } = self else {
            return scores.reshape([view.len()]);
        };
        let blocks = in_blocks(scores, view, channels).into_iter();
        let lined_up = blocks.map(|blocks| {
            let shape = blocks.dims();
            blocks.mean_dim(2).expand(shape).reshape([-1])
        });
        Tensor::cat(lined_up.collect(), 0)
    }

    /// A layer's mask, `[out, in * kernel]`, in block order, each weight by itself.
    pub(crate) fn line_up_each(self, mask: Tensor<2, Bool>, view: &WeightView) -> Tensor<1, Bool> {
        let Self::Block { channels } = self else {
            return mask.reshape([view.len()]);
        };
        let blocks = in_blocks(mask.float(), view, channels).into_iter();
        let lined_up = blocks.map(|blocks| blocks.reshape([-1]));
        Tensor::cat(lined_up.collect(), 0).greater_elem(0.5)
    }

    /// Where a mask, `[out, in * kernel]`, covers whole blocks, in block order.
    pub(crate) fn line_up_whole(self, mask: Tensor<2, Bool>, view: &WeightView) -> Tensor<1, Bool> {
        // The mean of zeros and ones is one of ones alone.
        let share = self.line_up(mask.float(), view);
        let longest = self.longest(view) as f64;
        share.greater_elem(1.0 - 0.5 / longest)
    }

    /// The most weights that go together.
    pub(crate) fn longest(self, view: &WeightView) -> usize {
        match self {
            Self::Unstructured => 1,
            Self::Block { channels } => channels.min(view.columns() / view.taps().max(1)).max(1),
        }
    }

    /// The mask, `[out, in * kernel]`, of what is marked in block order: of the blocks of which at least
    /// so many weights are marked, of a block of a given length.
    pub(crate) fn whole(
        self,
        marked: Tensor<1, Bool>,
        view: &WeightView,
        least: impl Fn(usize) -> usize,
    ) -> Tensor<2, Bool> {
        let Self::Block { channels } = self else {
            return marked.reshape([view.rows(), view.columns()]);
        };
        let (rows, taps) = (view.rows(), view.taps());
        let masks = runs(view, channels).map(|run| {
            let weights = rows * run.blocks * run.length * taps;
            let marked = marked
                .clone()
                .narrow(0, run.start * rows * taps, weights)
                .reshape([rows * run.blocks, taps, run.length]);
            let least = least(run.length) as i64;
            let removed = marked.int().sum_dim(2).greater_equal_elem(least);
            removed
                .swap_dims(1, 2)
                .expand([rows * run.blocks, run.length, taps])
                .reshape([rows, run.blocks * run.length, taps])
        });
        Tensor::cat(masks.collect(), 1).reshape([rows, view.columns()])
    }
}

// The blocks of each length, `[rows * blocks, taps, length]`.
fn in_blocks(rows: Tensor<2>, view: &WeightView, channels: usize) -> Vec<Tensor<3>> {
    let (count, taps) = (view.rows(), view.taps());
    let rows = rows.reshape([count, view.columns() / taps, taps]);
    let blocks = runs(view, channels).map(|run| {
        let rows = rows.clone().narrow(1, run.start, run.blocks * run.length);
        let blocks = rows.reshape([count * run.blocks, run.length, taps]);
        blocks.swap_dims(1, 2)
    });
    blocks.collect()
}

// Whole blocks, and the short ones at the end of each row.
fn runs(view: &WeightView, channels: usize) -> impl Iterator<Item = Run> {
    let all = view.columns() / view.taps();
    let (blocks, rest) = (all / channels, all % channels);
    let whole = Run {
        start: 0,
        blocks,
        length: channels,
    };
    let short = Run {
        start: all - rest,
        blocks: 1,
        length: rest,
    };
    [whole, short]
        .into_iter()
        .filter(|run| run.blocks * run.length > 0)
}

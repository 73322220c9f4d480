//! Neighbouring input channels at one tap of one filter.

use burn::tensor::{Bool, Tensor};

use crate::format::WeightView;

/// Groups of one length, side by side in each row.
pub(super) struct Run {
    /// The first input channel.
    pub start: usize,
    /// Blocks of a row and tap.
    pub blocks: usize,
    /// Channels of a block.
    pub length: usize,
}

/// The groups of each length, `[rows * blocks, taps, length]`.
pub(super) fn in_groups(rows: Tensor<2>, view: &WeightView, channels: usize) -> Vec<Tensor<3>> {
    let (count, taps) = (view.rows(), view.taps());
    let rows = rows.reshape([count, view.columns() / taps, taps]);
    let blocks = runs(view, channels).map(|run| {
        let rows = rows.clone().narrow(1, run.start, run.blocks * run.length);
        let blocks = rows.reshape([count * run.blocks, run.length, taps]);
        blocks.swap_dims(1, 2)
    });
    blocks.collect()
}

/// Whole groups, and the short ones at the end of each row.
pub(super) fn runs(view: &WeightView, channels: usize) -> impl Iterator<Item = Run> {
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

/// The mask, `[out, in * kernel]`, of marks in the groups of each length, `[rows * blocks, taps, length]`.
pub(super) fn from_groups(
    marks: impl Iterator<Item = Tensor<3, Bool>>,
    view: &WeightView,
    channels: usize,
) -> Tensor<2, Bool> {
    let (rows, taps) = (view.rows(), view.taps());
    let marks = runs(view, channels).zip(marks).map(|(run, marks)| {
        marks
            .swap_dims(1, 2)
            .reshape([rows, run.blocks * run.length, taps])
    });
    Tensor::cat(marks.collect(), 1).reshape([rows, view.columns()])
}

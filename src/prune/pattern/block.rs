use burn::tensor::{Bool, Tensor};

use super::Rule;
use super::groups::{from_groups, in_groups, runs};
use crate::format::WeightView;

/// [`Pattern::Block`](super::Pattern::Block).
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub channels: usize,
}

impl Block {
    pub fn parse(name: &str) -> Option<Self> {
        let channels = name.strip_prefix("block")?.parse().ok()?;
        Some(Self { channels })
    }
}

impl Rule for Block {
    fn name(&self) -> String {
        format!("block{}", self.channels)
    }

    fn words(&self) -> Option<String> {
        Some(format!("in blocks of {} channels", self.channels))
    }

    fn check(&self) -> Result<(), String> {
        match self.channels {
            0 => Err("a block of 0 channels holds no weight: give it 1 channel or more".into()),
            _ => Ok(()),
        }
    }

    fn longest(&self, view: &WeightView) -> usize {
        let inputs = view.columns() / view.taps().max(1);
        self.channels.min(inputs).max(1)
    }

    fn line_up(&self, scores: Tensor<2>, view: &WeightView) -> Tensor<1> {
        let blocks = in_groups(scores, view, self.channels).into_iter();
        let lined_up = blocks.map(|blocks| {
            let shape = blocks.dims();
            blocks.mean_dim(2).expand(shape).reshape([-1])
        });
        Tensor::cat(lined_up.collect(), 0)
    }

    fn line_up_each(&self, mask: Tensor<2, Bool>, view: &WeightView) -> Tensor<1, Bool> {
        let blocks = in_groups(mask.float(), view, self.channels).into_iter();
        let lined_up = blocks.map(|blocks| blocks.reshape([-1]));
        Tensor::cat(lined_up.collect(), 0).greater_elem(0.5)
    }

    fn whole(
        &self,
        marked: Tensor<1, Bool>,
        view: &WeightView,
        least: &dyn Fn(usize) -> usize,
    ) -> Tensor<2, Bool> {
        let (rows, taps) = (view.rows(), view.taps());
        let masks = runs(view, self.channels).map(|run| {
            let weights = rows * run.blocks * run.length * taps;
            let marked = marked
                .clone()
                .narrow(0, run.start * rows * taps, weights)
                .reshape([rows * run.blocks, taps, run.length]);
            let least = least(run.length) as i64;
            let removed = marked.int().sum_dim(2).greater_equal_elem(least);
            removed.expand([rows * run.blocks, taps, run.length])
        });
        from_groups(masks, view, self.channels)
    }
}

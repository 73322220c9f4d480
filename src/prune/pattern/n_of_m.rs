use burn::tensor::{Bool, Int, Tensor};

use super::Rule;
use super::groups::{from_groups, in_groups, runs};
use crate::format::WeightView;

/// [`Pattern::NOfM`](super::Pattern::NOfM).
#[derive(Debug, Clone, Copy)]
pub(super) struct NOfM {
    pub n: usize,
    pub m: usize,
}

impl NOfM {
    pub fn parse(name: &str) -> Option<Self> {
        let (n, m) = name.split_once(':')?;
        let [n, m] = [n.parse().ok()?, m.parse().ok()?];
        Some(Self { n, m })
    }
}

impl Rule for NOfM {
    fn name(&self) -> String {
        format!("{}:{}", self.n, self.m)
    }

    fn words(&self) -> Option<String> {
        Some(format!("with {} of {} channels kept", self.n, self.m))
    }

    fn check(&self) -> Result<(), String> {
        match 0 < self.n && self.n < self.m {
            true => Ok(()),
            false => Err("keep at least 1 and fewer than all, such as 2:4".into()),
        }
    }

    fn level(&self) -> Option<f64> {
        Some((self.m - self.n.min(self.m)) as f64 / self.m.max(1) as f64)
    }

    fn most(&self, view: &WeightView) -> usize {
        let of_runs = runs(view, self.m);
        let of_row: usize = of_runs
            .map(|run| run.blocks * run.length.saturating_sub(self.n))
            .sum();
        of_row * view.rows() * view.taps()
    }

    fn stays(&self, scores: Tensor<2>, view: &WeightView) -> Option<Tensor<2, Bool>> {
        let groups = in_groups(scores, view, self.m).into_iter();
        let stays = groups.map(|scores| greatest(scores, self.n));
        Some(from_groups(stays, view, self.m))
    }
}

// Marks the `n` greatest of the last axis; among equal ones those that come last.
fn greatest(scores: Tensor<3>, n: usize) -> Tensor<3, Bool> {
    let [_, _, length] = scores.dims();
    let device = scores.device();
    let places = Tensor::<1, Int>::arange(0..length as i64, &device);
    let mut before = Tensor::<3, Int>::zeros(scores.dims(), &device);
    for place in 0..length {
        let one = scores.clone().narrow(2, place, 1).expand(scores.dims());
        let earlier = places.clone().lower_elem(place as i64);
        let earlier = earlier.reshape([1, 1, length]).expand(scores.dims());
        let tie = one.clone().equal(scores.clone()).bool_and(earlier);
        before = before + one.greater(scores.clone()).bool_or(tie).int();
    }
    before.lower_elem(n as i64)
}

//! Reshapes: an axis becomes several, or several one.

use super::Reason;
use super::slots::{Axis, Slots};
use crate::network::Dim;

/// A place where one axis is the product of several. Removal runs along one of these.
pub(super) struct Site {
    /// The product.
    pub one: Axis,
    /// Its factors, and whether each could lose something.
    pub many: Vec<Axis>,
    lengths: Vec<usize>,
}

impl Site {
    /// The factors that could lose something as far as the rest of the graph is concerned.
    pub fn candidates(&self, slots: &Slots) -> Vec<usize> {
        let free = |factor: &usize| slots.any_free(&self.many[*factor]);
        (0..self.many.len()).filter(free).collect()
    }

    // An element of the product goes with its place in this factor, the others stay whole.
    fn join(&self, factor: usize, slots: &mut Slots, reason: &Reason) {
        let inner: usize = self.lengths[factor + 1..].iter().product();
        let length = self.lengths[factor];
        for (place, &slot) in self.one.iter().enumerate() {
            slots.union(self.many[factor][place / inner % length], slot);
        }
        for (other, axis) in self.many.iter().enumerate() {
            if other != factor {
                slots.fix(axis, reason);
            }
        }
    }
}

/// The factor of each site in turn, none where all stay. Sites beyond them stay open: nothing is tied there
/// yet, to see what the rest of the graph lets go.
pub(super) type Modes = Vec<Option<usize>>;

/// The axes of a reshape's result, and the axes of the input that each is made of.
pub(super) fn reshape(
    slots: &mut Slots,
    sites: &mut Vec<Site>,
    modes: &[Option<usize>],
    (from, input): (&[Dim], &[Axis]),
    to: &[Dim],
    reason: &Reason,
) -> (Vec<Axis>, Vec<Vec<usize>>) {
    let mut output: Vec<Axis> = vec![Axis::new(); to.len()];
    let mut sources: Vec<Vec<usize>> = vec![Vec::new(); to.len()];
    for (ins, outs) in blocks(from, to) {
        let long = |dims: &[Dim], range: std::ops::Range<usize>| -> Vec<usize> {
            range.filter(|&axis| dims[axis] != Dim::Fixed(1)).collect()
        };
        let (ins, outs) = (long(from, ins), long(to, outs));
        let same =
            ins.len() == outs.len() && ins.iter().zip(&outs).all(|(&a, &b)| from[a] == to[b]);
        if same {
            for (&a, &b) in ins.iter().zip(&outs) {
                output[b].clone_from(&input[a]);
                sources[b] = vec![a];
            }
            continue;
        }
        outs.iter().for_each(|&b| sources[b].clone_from(&ins));
        let fixed = |dim: &Dim| matches!(dim, Dim::Fixed(_));
        let plain = ins.iter().all(|&a| fixed(&from[a])) && outs.iter().all(|&b| fixed(&to[b]));
        for &axis in &outs {
            if let Dim::Fixed(length) = to[axis] {
                output[axis] = slots.fresh(length);
            }
        }
        let lengths = |axes: &[Axis]| axes.iter().map(Vec::len).collect();
        let many = |axes: &[usize], of: &[Axis]| -> Vec<Axis> {
            axes.iter().map(|&axis| of[axis].clone()).collect()
        };
        let site = match (plain, &ins[..], &outs[..]) {
            (true, [one], several) => {
                let many = many(several, &output);
                Some((input[*one].clone(), many))
            }
            (true, several, [one]) => Some((output[*one].clone(), many(several, input))),
            _ => None,
        };
        let Some((one, many)) = site else {
            ins.iter().for_each(|&a| slots.fix(&input[a], reason));
            outs.iter().for_each(|&b| slots.fix(&output[b], reason));
            continue;
        };
        let site = Site {
            lengths: lengths(&many),
            one,
            many,
        };
        match modes.get(sites.len()) {
            None => {}
            Some(Some(factor)) => site.join(*factor, slots, reason),
            Some(None) => {
                slots.fix(&site.one, reason);
                site.many.iter().for_each(|axis| slots.fix(axis, reason));
            }
        }
        sites.push(site);
    }
    (output, sources)
}

type Block = (std::ops::Range<usize>, std::ops::Range<usize>);

// The shortest runs of axes on both sides that hold the same elements.
fn blocks(from: &[Dim], to: &[Dim]) -> Vec<Block> {
    let count = |dims: &[Dim]| {
        dims.iter()
            .fold((1, 0), |(product, batches), dim| match dim {
                Dim::Fixed(length) => (product * length, batches),
                Dim::Batch(each) => (product * each, batches + 1),
            })
    };
    let mut blocks = Vec::new();
    let (mut a, mut b) = (0, 0);
    while a < from.len() && b < to.len() {
        let (first, second) = (a, b);
        (a, b) = (a + 1, b + 1);
        loop {
            let (one, other) = (count(&from[first..a]), count(&to[second..b]));
            if one == other {
                break;
            }
            if one < other && a < from.len() {
                a += 1;
            } else if one > other && b < to.len() {
                b += 1;
            } else {
                // They do not hold the same: one block of all that is left.
                (a, b) = (from.len(), to.len());
                break;
            }
        }
        blocks.push((first..a, second..b));
    }
    // Axes of length 1 are left.
    if let Some((ins, outs)) = blocks.last_mut() {
        (ins.end, outs.end) = (from.len(), to.len());
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_the_same_elements() {
        let fixed = |lengths: &[usize]| -> Vec<Dim> {
            let mut dims = vec![Dim::Batch(1)];
            dims.extend(lengths.iter().map(|&length| Dim::Fixed(length)));
            dims
        };
        let of = |a: &[usize], b: &[usize]| blocks(&fixed(a), &fixed(b));
        assert_eq!(of(&[8, 4, 4], &[128]), [(0..1, 0..1), (1..4, 1..2)]);
        let shuffle = of(&[12, 4, 5], &[3, 2, 2, 4, 5]);
        assert_eq!(
            shuffle,
            [(0..1, 0..1), (1..2, 1..4), (2..3, 4..5), (3..4, 5..6)]
        );
        assert_eq!(of(&[8], &[8, 1, 1]), [(0..1, 0..1), (1..2, 1..4)]);
        let rows = blocks(&fixed(&[7, 8]), &[Dim::Batch(7), Dim::Fixed(8)]);
        assert_eq!(rows, [(0..2, 0..1), (2..3, 1..2)]);
    }
}

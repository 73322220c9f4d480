//! Tensors that are equal to one before them: stored once.

use std::collections::HashMap;

use crate::format::{FormatError, same_bits};

use super::super::step_op::Stored;
use super::{Tensor, corrupt};

/// The number of a tensor, and that of the first one that is equal to it.
pub(super) type Pair = (usize, usize);

/// The tensors that are equal to an earlier one of the same kind, in order.
pub(super) fn pairs(tensors: &[Tensor]) -> Vec<Pair> {
    let mut alike: HashMap<(u8, usize), Vec<usize>> = HashMap::new();
    let mut pairs = Vec::new();
    for (index, tensor) in tensors.iter().enumerate() {
        let count = tensor.stored.len();
        if count == 0 {
            continue;
        }
        let firsts = alike.entry((kind(&tensor.stored), count)).or_default();
        let mut equal = firsts.iter().copied();
        match equal.find(|&first| equals(&tensors[first].stored, &tensor.stored)) {
            Some(first) => pairs.push((index, first)),
            None => firsts.push(index),
        }
    }
    pairs
}

/// Copies each tensor from the one it is equal to; the model comes from outside.
pub(super) fn fill(tensors: &mut [Tensor], pairs: &[Pair]) -> Result<(), FormatError> {
    for &(index, first) in pairs {
        let (before, rest) = tensors.split_at_mut(index);
        let wrong = || corrupt("tensors that are equal to none before them");
        let from = &before.get(first).ok_or_else(wrong)?.stored;
        match (&mut rest[0].stored, from) {
            (Stored::Weights(to), Stored::Weights(from)) => to.codes = from.codes.clone(),
            (Stored::Table(to), Stored::Table(from)) => to.clone_from(from),
            (Stored::Floats(to), Stored::Floats(from)) => to.clone_from(from),
            _ => return Err(wrong()),
        }
    }
    Ok(())
}

/// Whether each tensor is one of the pairs' first. Fails where the pairs do not rise, or are beyond
/// their number.
pub(super) fn marks(count: usize, pairs: &[Pair]) -> Result<Vec<bool>, FormatError> {
    let mut marks = vec![false; count];
    let mut next = 0;
    for &(index, first) in pairs {
        if index < next || index >= count || first >= index {
            return Err(corrupt("tensors that are equal to none before them"));
        }
        marks[index] = true;
        next = index + 1;
    }
    Ok(marks)
}

fn kind(stored: &Stored) -> u8 {
    match stored {
        Stored::Floats(_) => 0,
        Stored::Weights(_) => 1,
        Stored::Table(_) => 2,
    }
}

fn equals(one: &Stored, other: &Stored) -> bool {
    match (one, other) {
        (Stored::Floats(one), Stored::Floats(other)) => same_bits(one, other),
        (Stored::Weights(one), Stored::Weights(other)) => {
            one.dims == other.dims && one.codes == other.codes
        }
        (Stored::Table(one), Stored::Table(other)) => one == other,
        _ => false,
    }
}

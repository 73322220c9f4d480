//! Tensors read on several threads.

use std::thread;

use crate::format::FormatError;
use crate::kernel::share_out;

use super::Coded;

/// Weights below which another thread costs more time than it saves.
const FEW: usize = 1 << 19;
/// Threads that help, at most: beyond, memory is the limit.
const MOST: usize = 7;

/// Reads all; fails with the error of any.
pub(super) fn read(mut tensors: Vec<Coded>) -> Result<(), FormatError> {
    let weights = tensors.iter().map(|tensor| tensor.count);
    let weights = weights.fold(0, usize::saturating_add);
    let others = thread::available_parallelism().map_or(0, |all| all.get() - 1);
    // The largest are taken first, from the end.
    tensors.sort_by_key(|tensor| tensor.bytes.len());
    let helpers = others.min(MOST).min(weights / FEW);
    share_out(tensors, helpers, Coded::read).map(drop)
}

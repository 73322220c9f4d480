//! Tensors read on several threads.

use std::sync::Mutex;
use std::thread;

use crate::format::FormatError;

use super::Coded;

/// Weights below which another thread costs more time than it saves.
const FEW: usize = 1 << 19;
/// Threads that help, at most: beyond, memory is the limit.
const MOST: usize = 7;

/// Reads all; fails with the first error of any.
pub(super) fn read(mut tensors: Vec<Coded>) -> Result<(), FormatError> {
    let weights = tensors.iter().map(|tensor| tensor.count);
    let weights = weights.fold(0, usize::saturating_add);
    let others = thread::available_parallelism().map_or(0, |all| all.get() - 1);
    let helpers = others.min(MOST).min(weights / FEW);
    // The largest are taken first, from the end.
    tensors.sort_by_key(|tensor| tensor.bytes.len());
    let tensors = Mutex::new(tensors);
    let next = || tensors.lock().map_or(None, |mut tensors| tensors.pop());
    let work = || -> Result<(), FormatError> {
        while let Some(tensor) = next() {
            tensor.read()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        // Where no thread can be had, this one does it all.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(spawn).collect();
        let mut result = work();
        for helper in helpers {
            match helper.join() {
                Ok(read) => result = result.and(read),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })
}

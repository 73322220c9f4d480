//! Work over rows on all threads of the machine.

use std::sync::Mutex;

/// Multiply-adds that are worth a thread.
const WORTH: usize = 1 << 20;

/// Does the same to shares of whole rows, on several threads where the work (in multiply-adds) is worth
/// it.
pub(super) fn in_ranges<T: Send>(
    values: &mut [T],
    row: usize,
    work: usize,
    each: impl Fn(&mut [T]) + Sync,
) {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let threads = threads.min(work / WORTH).max(1);
    let rows = values.len() / row.max(1);
    if threads == 1 || rows < 2 {
        return each(values);
    }
    // Small shares, for rows that take longer than others.
    let share = rows.div_ceil(threads * 4).max(1) * row;
    let shares = Mutex::new(values.chunks_mut(share));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = shares.lock().map(|mut shares| shares.next());
                    match next {
                        Ok(Some(share)) => each(share),
                        _ => break,
                    }
                }
            });
        }
    });
}

/// The results of the same work on each item, in order.
pub(super) fn each<'a, T: Sync, R: Send>(
    items: &'a [T],
    work: usize,
    of: impl Fn(&'a T) -> R + Sync,
) -> Vec<R> {
    let mut results: Vec<(&'a T, Option<R>)> = items.iter().map(|item| (item, None)).collect();
    in_ranges(&mut results, 1, work, |some| {
        for (item, result) in some {
            *result = Some(of(item));
        }
    });
    results
        .into_iter()
        .filter_map(|(_, result)| result)
        .collect()
}

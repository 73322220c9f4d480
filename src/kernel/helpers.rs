//! Threads for one piece of work: a model that is read or compiled has no team yet.

use std::sync::Mutex;
use std::thread;

use super::lock;

/// Does each job on this thread or one of so many that help, the last job first; what they made, in no
/// order. Where no thread can be had, this one does them all.
pub(crate) fn share_out<J: Send, M: Send>(
    jobs: Vec<J>,
    helpers: usize,
    make: impl Fn(J) -> M + Sync,
) -> Vec<M> {
    let helpers = helpers.min(jobs.len().saturating_sub(1));
    let jobs = Mutex::new(jobs);
    let next = || lock(&jobs).pop();
    let work = || {
        let mut made = Vec::new();
        while let Some(job) = next() {
            made.push(make(job));
        }
        made
    };
    thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(spawn).collect();
        let mut all = work();
        for helper in helpers {
            match helper.join() {
                Ok(made) => all.extend(made),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

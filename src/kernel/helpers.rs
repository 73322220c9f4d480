//! Threads for one piece of work: a model that is read or compiled has no team yet.

use std::sync::Mutex;
use std::thread;

use super::lock;

/// Does each job on this thread or one of so many that help, the last job first; what they made, in no
/// order. Where no thread can be had, this one does them all.
///
/// Fails with the error of any job, after which its thread takes no further one.
pub fn share_out<J: Send, M: Send, E: Send>(
    jobs: Vec<J>,
    helpers: usize,
    make: impl Fn(J) -> Result<M, E> + Sync,
) -> Result<Vec<M>, E> {
    let helpers = helpers.min(jobs.len().saturating_sub(1));
    let jobs = Mutex::new(jobs);
    let next = || lock(&jobs).pop();
    let work = || {
        let mut made = Vec::new();
        while let Some(job) = next() {
            made.push(make(job)?);
        }
        Ok(made)
    };
    thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(spawn).collect();
        let mut parts = vec![work()];
        for helper in helpers {
            match helper.join() {
                Ok(part) => parts.push(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        let parts: Result<Vec<Vec<M>>, E> = parts.into_iter().collect();
        Ok(parts?.into_iter().flatten().collect())
    })
}

//! Threads that stay.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Looks at a shared number before a thread gives its processor away, and before it sleeps.
const SPINS: u32 = 2_000;
const YIELDS: u32 = 2_000;

/// Threads that wait for work: a run on them costs no start of a thread, and allocates nothing.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use burn_compress_kernel::Team;
/// let team = Team::new(2);
/// let seen = AtomicUsize::new(0);
/// team.run(&|thread| {
///     seen.fetch_add(thread + 1, Ordering::Relaxed);
/// });
/// assert_eq!(seen.into_inner(), 3);
/// ```
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    // Held for the length of a run.
    turn: Mutex<()>,
}

struct Shared {
    // Written by the owner of `turn` while no worker runs; read by workers after `generation` rose.
    job: UnsafeCell<Option<Job>>,
    generation: AtomicUsize,
    running: AtomicUsize,
    // What the workers' jobs of this run panicked with; the caller drops it.
    panics: Mutex<Vec<Box<dyn Any + Send>>>,
    stop: AtomicBool,
    // Workers that sleep. A call to wake them costs as much as a small layer, so it is spared where none does.
    asleep: Mutex<usize>,
    wake: Condvar,
}

#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));

// SAFETY: `job` is written only while no worker reads it: `Team::run` holds `turn`, writes before it
// raises `generation` (release), which workers read (acquire), and returns only when `running` is 0.
unsafe impl Sync for Shared {}
// SAFETY: the pointer is to a `Sync` closure, alive while any worker uses it, by the same protocol.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Team {
    /// A team of so many threads, the caller of [`run`](Self::run) included. Where the system gives no
    /// more threads, it is smaller.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            job: UnsafeCell::new(None),
            generation: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            panics: Mutex::new(Vec::new()),
            stop: AtomicBool::new(false),
            asleep: Mutex::new(0),
            wake: Condvar::new(),
        });
        let mut workers = Vec::new();
        for thread in 1..threads {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("burn-compress-{thread}"));
            match builder.spawn(move || work(&shared, thread)) {
                Ok(worker) => workers.push(worker),
                Err(_) => break,
            }
        }
        Self {
            shared,
            workers,
            turn: Mutex::new(()),
        }
    }

    /// Its threads.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job` with the number of each thread, on that thread, the caller's being 0; returns when
    /// all have ended. Runs from several threads take turns. A job must not start another on its own
    /// team.
    ///
    /// Where jobs panic, this does with the panic of one of them, the caller's if it is among them, once
    /// all have ended. The team can be used again.
    pub fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() {
            return job(0);
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.run_in(turn, job);
    }

    /// The same where no other run is on; else does nothing. Tells whether the team ran.
    ///
    /// ```
    /// use burn_compress_kernel::Team;
    /// let team = Team::new(2);
    /// assert!(team.try_run(&|_| assert!(!team.try_run(&|_| {}))));
    /// ```
    pub fn try_run(&self, job: &(dyn Fn(usize) + Sync)) -> bool {
        match self.turn.try_lock() {
            Ok(turn) => {
                self.run_in(turn, job);
                true
            }
            Err(_) => false,
        }
    }

    fn run_in(&self, turn: MutexGuard<'_, ()>, job: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime is forgotten; no way out of this method passes the wait for the
        // workers.
        let job_pointer: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(job) };
        self.shared
            .running
            .store(self.workers.len(), Ordering::Relaxed);
        // SAFETY: no worker reads it now: `running` was 0 and `generation` has not risen since.
        unsafe { *self.shared.job.get() = Some(Job(job_pointer)) };
        let asleep = {
            // Under the lock, so that no worker falls asleep between its last look and this.
            let asleep = lock(&self.shared.asleep);
            self.shared.generation.fetch_add(1, Ordering::Release);
            *asleep
        };
        if asleep > 0 {
            self.shared.wake.notify_all();
        }
        let own = catch_unwind(AssertUnwindSafe(|| job(0)));
        wait(|| self.shared.running.load(Ordering::Acquire) == 0);
        let others = std::mem::take(&mut *lock(&self.shared.panics));
        // Before a panic goes on, which would poison it.
        drop(turn);
        if let Some(panic) = own.err().into_iter().chain(others).next() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        {
            let _asleep = lock(&self.shared.asleep);
            self.shared.stop.store(true, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // It catches what its jobs panic with, and does not itself.
            let _ = worker.join();
        }
    }
}

/// The lock, also where a thread has panicked that held it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until it is done: looks again and again, then lets others run between.
pub(super) fn wait(done: impl Fn() -> bool) {
    let mut looks = 0;
    while !done() {
        looks += 1;
        match looks < SPINS {
            true => std::hint::spin_loop(),
            false => std::thread::yield_now(),
        }
    }
}

fn work(shared: &Shared, thread: usize) {
    let mut seen = 0;
    loop {
        let news = || {
            shared.generation.load(Ordering::Acquire) != seen || shared.stop.load(Ordering::Acquire)
        };
        let mut looks = 0;
        while !news() {
            looks += 1;
            if looks < SPINS {
                std::hint::spin_loop();
            } else if looks < SPINS + YIELDS {
                std::thread::yield_now();
            } else {
                let mut asleep = lock(&shared.asleep);
                *asleep += 1;
                while !news() {
                    asleep = shared
                        .wake
                        .wait(asleep)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                *asleep -= 1;
            }
        }
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        seen = shared.generation.load(Ordering::Acquire);
        // SAFETY: written before `generation` rose, and not again before `running` is 0.
        let job = unsafe { *shared.job.get() };
        if let Some(Job(job)) = job {
            // SAFETY: `run_in` keeps the closure alive until `running` is 0.
            let ended = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(thread) }));
            if let Err(panic) = ended {
                lock(&shared.panics).push(panic);
            }
        }
        shared.running.fetch_sub(1, Ordering::Release);
    }
}

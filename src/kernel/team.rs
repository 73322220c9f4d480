//! Threads that stay.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::gate::Gate;
use super::system::{forks, processor};

/// Threads that wait for work: a run on them costs no start of a thread, and allocates nothing.
///
/// In a process that was forked from the one that made it, a team has one thread, which is the caller's: a
/// fork takes no others along.
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
    // When it was made.
    forks: usize,
}

#[derive(Debug)]
struct Shared {
    job: JobCell,
    // One for each thread, the caller's first.
    seats: Box<[Seat]>,
    // Workers wait at it for jobs, the caller for workers, and all for each other in a run of steps.
    news: Gate,
    ended: Gate,
    step: Gate,
    // What the workers' jobs of this run panicked with; the caller drops it.
    panics: Mutex<Vec<Box<dyn Any + Send>>>,
    stop: AtomicBool,
}

/// What a thread tells the others, on lines of a cache that are no other's.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Seat {
    // Of a worker: `FREE`, `OFFERED` or `TAKEN`.
    state: AtomicU32,
    // Where it ran when it began its job, and one more; 0 where that is unknown.
    processor: AtomicUsize,
    // In a run of steps, how many of its shares were begun.
    begun: AtomicUsize,
}

/// It has no job.
const FREE: u32 = 0;
/// It may take the job, and the caller may take it back.
const OFFERED: u32 = 1;
/// It is at work.
const TAKEN: u32 = 2;

// Written by the holder of `turn` while all workers are free. A worker reads it after it has taken the job.
#[derive(Default)]
struct JobCell(UnsafeCell<Option<Job>>);

#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));

// SAFETY: the holder of `Team::turn` writes the cell while all seats are free, and then offers the job
// (release). A worker reads the cell after it has changed its own seat from offered to taken (acquire), so
// after the write. It frees its seat when it has done with the job (release), and the holder waits for that
// (acquire), so that the next write comes later. A seat whose offer the caller took back was not taken, as
// both change it by compare-exchange.
unsafe impl Sync for JobCell {}
// SAFETY: the pointer is to a `Sync` closure, alive while any worker uses it, by the same protocol.
unsafe impl Send for JobCell {}

impl std::fmt::Debug for JobCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobCell").finish_non_exhaustive()
    }
}

/// What becomes of the jobs of workers that have not begun when the caller has ended its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// The caller waits for them.
    Awaited,
    /// The caller does them.
    Replaced,
    /// Nobody does them: others have done their work.
    Spared,
}

impl Team {
    /// A team of so many threads, the caller of [`run`](Self::run) included. Where the system gives no
    /// more threads, it is smaller.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            job: JobCell::default(),
            seats: (0..threads.max(1)).map(|_| Seat::default()).collect(),
            news: Gate::default(),
            ended: Gate::default(),
            step: Gate::default(),
            panics: Mutex::new(Vec::new()),
            stop: AtomicBool::new(false),
        });
        let mut workers = Vec::new();
        for thread in 1..threads {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("burn-compress-{thread}"));
            match builder.spawn(move || shared.work(thread)) {
                Ok(worker) => workers.push(worker),
                Err(_) => break,
            }
        }
        Self {
            shared,
            workers,
            turn: Mutex::new(()),
            forks: forks(),
        }
    }

    /// Its threads.
    pub fn threads(&self) -> usize {
        match self.is_here() {
            true => self.workers.len() + 1,
            false => 1,
        }
    }

    /// Whether its workers are in this process. Locks of one that was forked may be held by threads that
    /// are not there.
    pub fn is_here(&self) -> bool {
        self.forks == forks()
    }

    /// Calls `job` with the number of each thread, on that thread, the caller's being 0; returns when
    /// all have ended. Runs from several threads take turns. A job must not start another on its own
    /// team, and must not fork.
    ///
    /// Where jobs panic, this does with the panic of one of them, the caller's if it is among them, once
    /// all have ended. The team can be used again.
    pub fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        if self.threads() == 1 {
            return job(0);
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.run_in(turn, self.workers.len(), Late::Awaited, job);
    }

    /// The same where no other run is on; else does nothing. Tells whether the team ran.
    ///
    /// ```
    /// use burn_compress_kernel::Team;
    /// let team = Team::new(2);
    /// assert!(team.try_run(&|_| assert!(!team.try_run(&|_| {}))));
    /// ```
    pub fn try_run(&self, job: &(dyn Fn(usize) + Sync)) -> bool {
        self.try_run_with(self.threads(), Late::Awaited, job)
    }

    /// The same where jobs are for no thread alone: those of threads that have not begun when the caller has
    /// ended its own are the caller's, so that it waits for nobody who is not at work.
    pub fn try_share(&self, job: &(dyn Fn(usize) + Sync)) -> bool {
        self.try_run_with(self.threads(), Late::Replaced, job)
    }

    /// The same on the first threads alone; does nothing where there are fewer.
    pub(super) fn try_run_with(
        &self,
        threads: usize,
        late: Late,
        job: &(dyn Fn(usize) + Sync),
    ) -> bool {
        match threads {
            0 => return true,
            _ if threads > self.threads() => return false,
            _ if !self.is_here() => {
                job(0);
                return true;
            }
            _ => {}
        }
        match self.turn.try_lock() {
            Ok(turn) => {
                self.run_in(turn, threads - 1, late, job);
                true
            }
            Err(_) => false,
        }
    }

    fn run_in(
        &self,
        turn: MutexGuard<'_, ()>,
        workers: usize,
        late: Late,
        job: &(dyn Fn(usize) + Sync),
    ) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime is forgotten; no way out of this method passes the wait for the
        // workers.
        let job_pointer: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(job) };
        // SAFETY: this holds `turn`, and all seats are free: the last run has waited for that.
        unsafe { *shared.job.0.get() = Some(Job(job_pointer)) };
        shared.sit(0);
        for seat in &shared.seats[..=workers] {
            seat.begun.store(0, Ordering::Relaxed);
        }
        let seats = &shared.seats[1..=workers];
        for seat in seats {
            seat.state.store(OFFERED, Ordering::Release);
        }
        shared.news.open();
        let mut own = catch_unwind(AssertUnwindSafe(|| job(0)));
        if late != Late::Awaited {
            for (seat, thread) in seats.iter().zip(1..) {
                if seat.change(OFFERED, FREE) && late == Late::Replaced && own.is_ok() {
                    own = catch_unwind(AssertUnwindSafe(|| job(thread)));
                }
            }
        }
        let free = |seat: &Seat| seat.state.load(Ordering::Acquire) == FREE;
        let beside = || {
            let here = processor();
            seats.iter().any(|seat| !free(seat) && seat.is_at(here))
        };
        shared.ended.wait(|| seats.iter().all(free), beside);
        let others = std::mem::take(&mut *lock(&shared.panics));
        // Before a panic goes on, which would poison it.
        drop(turn);
        if let Some(panic) = own.err().into_iter().chain(others).next() {
            resume_unwind(panic);
        }
    }

    /// In a run, whether this call begins the share of a thread of which so many were begun: true for one
    /// call alone. It orders nothing else.
    pub(super) fn begins(&self, thread: usize, begun: usize) -> bool {
        let count = &self.shared.seats[thread].begun;
        let order = Ordering::Relaxed;
        count.load(order) == begun
            && (count.compare_exchange(begun, begun + 1, order, order)).is_ok()
    }

    /// In a run on the first of its threads, waits until others have done something.
    pub(super) fn wait(&self, (thread, threads): (usize, usize), done: impl Fn() -> bool) {
        self.shared.step.wait(done, || {
            let here = processor();
            let mut others = self.shared.seats[..threads].iter().enumerate();
            others.any(|(other, seat)| other != thread && seat.is_at(here))
        });
    }

    /// Wakes those who [wait](Self::wait), after it was done.
    pub(super) fn wake(&self) {
        self.shared.step.open();
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if !self.is_here() {
            // There is no one to wait for, and nothing that could be given back to the system.
            return self.workers.drain(..).for_each(std::mem::forget);
        }
        self.shared.stop.store(true, Ordering::Release);
        self.shared.news.open();
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

impl Shared {
    // Tells where a thread runs.
    fn sit(&self, thread: usize) {
        let place = processor().map_or(0, |processor| processor + 1);
        self.seats[thread].processor.store(place, Ordering::Relaxed);
    }

    fn work(&self, thread: usize) {
        let seat = &self.seats[thread];
        let offered = || seat.state.load(Ordering::Relaxed) == OFFERED;
        let stopped = || self.stop.load(Ordering::Acquire);
        loop {
            // On the caller's processor it would keep the caller from its work.
            let beside = || self.seats[0].is_at(processor());
            self.news.wait(|| offered() || stopped(), beside);
            if stopped() {
                return;
            }
            if !seat.change(OFFERED, TAKEN) {
                // The caller took it back.
                continue;
            }
            self.sit(thread);
            // SAFETY: by `JobCell`: this has just taken the job.
            let job = unsafe { *self.job.0.get() };
            if let Some(Job(job)) = job {
                // SAFETY: `run_in` keeps the closure alive until this seat is free.
                let ended = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(thread) }));
                if let Err(panic) = ended {
                    lock(&self.panics).push(panic);
                }
            }
            seat.state.store(FREE, Ordering::Release);
            self.ended.open();
        }
    }
}

impl Seat {
    // Whether it was so, and now is otherwise, by this call alone.
    fn change(&self, from: u32, to: u32) -> bool {
        let (seen, unseen) = (Ordering::Acquire, Ordering::Relaxed);
        self.state.load(unseen) == from
            && self.state.compare_exchange(from, to, seen, unseen).is_ok()
    }

    fn is_at(&self, processor: Option<usize>) -> bool {
        processor.is_some_and(|here| self.processor.load(Ordering::Relaxed) == here + 1)
    }
}

//! Threads that stay, and steps on one memory that they share out.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::{Cell, KernelError};

/// Looks at a shared number before a thread gives its processor away, and before it sleeps.
const SPINS: u32 = 2_000;
const YIELDS: u32 = 2_000;

/// Threads that wait for work: a run on them costs no start of a thread, and allocates nothing.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use burn_compress::kernel::Team;
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
    asleep: Mutex<()>,
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
            asleep: Mutex::new(()),
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
    /// use burn_compress::kernel::Team;
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
        {
            // Under the lock, so that no worker falls asleep between its last look and this.
            let _asleep = lock(&self.shared.asleep);
            self.shared.generation.fetch_add(1, Ordering::Release);
        }
        self.shared.wake.notify_all();
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait(done: impl Fn() -> bool) {
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
                while !news() {
                    asleep = shared
                        .wake
                        .wait(asleep)
                        .unwrap_or_else(PoisonError::into_inner);
                }
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

/// What a step reads, and what each thread writes in it: ranges of cells.
///
/// ```
/// use burn_compress::kernel::Access;
/// let access = Access { reads: vec![0..4], writes: vec![4..6, 6..8] };
/// # let _ = access;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// What all threads may read, at most [`Access::MOST`] ranges.
    pub reads: Vec<Range<usize>>,
    /// What each thread writes.
    pub writes: Vec<Range<usize>>,
}

impl Access {
    /// The most ranges that a step reads.
    pub const MOST: usize = 16;
}

/// Steps on one memory, checked: in no step does a thread write what another one reads or writes.
///
/// ```
/// use burn_compress::kernel::{Access, Cell, KernelError, Steps, Team};
/// let double = Access { reads: vec![0..2], writes: vec![2..3, 3..4] };
/// let steps = Steps::new(vec![double], 4, 2)?;
/// let mut cells = vec![Cell::of_floats(1.0); 4];
/// steps.run::<KernelError>(&Team::new(2), &mut cells, &|_, thread, reads, write| {
///     let twice = Cell::floats(&reads[0][thread..]);
///     Cell::floats_mut(write).iter_mut().zip(twice).for_each(|(to, x)| *to = x * 2.0);
///     Ok(())
/// })?;
/// assert_eq!(cells[3], Cell::of_floats(2.0));
///
/// let torn = Access { reads: vec![0..3], writes: vec![2..3, 3..4] };
/// assert!(Steps::new(vec![torn], 4, 2).is_err());
/// # Ok::<(), KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    accesses: Vec<Access>,
    cells: usize,
    threads: usize,
}

impl Steps {
    /// Steps on so many cells, for so many threads.
    ///
    /// Fails with [`KernelError::Access`] where ranges lie outside, a write overlaps another range of
    /// its step, or a step has not one write for each thread.
    pub fn new(accesses: Vec<Access>, cells: usize, threads: usize) -> Result<Self, KernelError> {
        let fits = accesses.iter().all(|access| {
            let inside = |range: &Range<usize>| range.start <= range.end && range.end <= cells;
            let apart = |a: &Range<usize>, b: &Range<usize>| {
                a.is_empty() || b.is_empty() || a.end <= b.start || b.end <= a.start
            };
            let writes = access.writes.iter().enumerate();
            access.writes.len() == threads
                && access.reads.len() <= Access::MOST
                && access.reads.iter().chain(&access.writes).all(inside)
                && writes.into_iter().all(|(index, write)| {
                    let others = access.writes[index + 1..].iter();
                    others.chain(&access.reads).all(|other| apart(write, other))
                })
        });
        match fits && threads > 0 {
            true => Ok(Self {
                accesses,
                cells,
                threads,
            }),
            false => Err(KernelError::Access),
        }
    }

    /// The first of these steps alone.
    pub fn first(&self, count: usize) -> Self {
        Self {
            accesses: self.accesses.iter().take(count).cloned().collect(),
            ..*self
        }
    }

    /// Threads that it is shared out to.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Cells it needs.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// Runs all steps: `work` gets the step, the thread, what it reads and what it writes. A step
    /// begins when all threads have ended the one before.
    ///
    /// Fails with [`KernelError::Memory`] for other than [`cells`](Self::cells) cells, with
    /// [`KernelError::Team`] where the team has fewer threads or is at work elsewhere, and with the first error
    /// of `work`, which ends all threads' runs. A panic of `work` does too, and goes on in the caller.
    pub fn run<E: From<KernelError> + Send>(
        &self,
        team: &Team,
        memory: &mut [Cell],
        work: &StepWork<'_, E>,
    ) -> Result<(), E> {
        if memory.len() != self.cells {
            return Err(KernelError::Memory.into());
        }
        let shared = Memory(memory.as_mut_ptr());
        if self.threads == 1 {
            for (index, access) in self.accesses.iter().enumerate() {
                // SAFETY: one thread alone; `new` has checked the ranges against each other.
                unsafe { shared.step(index, 0, access, work) }?;
            }
            return Ok(());
        }
        if team.threads() < self.threads {
            return Err(KernelError::Team.into());
        }
        let arrived = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let error = Mutex::new(None);
        let ran = team.try_run(&|thread| {
            if thread >= self.threads {
                return;
            }
            // A panic must not leave the others at a barrier.
            let guard = Failing(&failed);
            for (index, access) in self.accesses.iter().enumerate() {
                // SAFETY: `new` has checked that this write is apart from all that others read or
                // write in this step, and the barrier keeps steps apart.
                if let Err(found) = unsafe { shared.step(index, thread, access, work) } {
                    lock(&error).get_or_insert(found);
                    return;
                }
                arrived.fetch_add(1, Ordering::AcqRel);
                let all = (index + 1) * self.threads;
                wait(|| arrived.load(Ordering::Acquire) >= all || failed.load(Ordering::Acquire));
                if failed.load(Ordering::Acquire) {
                    return;
                }
            }
            std::mem::forget(guard);
        });
        if !ran {
            return Err(KernelError::Team.into());
        }
        match error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// What a step does.
pub type StepWork<'a, E> =
    dyn Fn(usize, usize, &[&[Cell]], &mut [Cell]) -> Result<(), E> + Sync + 'a;

struct Failing<'a>(&'a AtomicBool);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

struct Memory(*mut Cell);

// SAFETY: threads use it only through `step`, on ranges that do not overlap while written.
unsafe impl Sync for Memory {}

impl Memory {
    // SAFETY contract: no other thread writes what this step's access reads, nor reads or writes what
    // it writes, while this runs; all ranges lie within the memory.
    unsafe fn step<E>(
        &self,
        index: usize,
        thread: usize,
        access: &Access,
        work: &StepWork<'_, E>,
    ) -> Result<(), E> {
        let mut reads: [&[Cell]; Access::MOST] = [&[]; Access::MOST];
        for (read, range) in reads.iter_mut().zip(&access.reads) {
            // SAFETY: by the contract.
            *read = unsafe { std::slice::from_raw_parts(self.0.add(range.start), range.len()) };
        }
        let range = &access.writes[thread];
        // SAFETY: by the contract.
        let write = unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) };
        work(index, thread, &reads[..access.reads.len()], write)
    }
}

//! Steps on one memory that threads share out.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::team::{Team, lock, wait};
use super::{Cell, KernelError};

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

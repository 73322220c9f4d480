//! Steps on one memory that threads share out.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::gate::Gate;
use super::team::{Late, Team, lock};
use super::{KernelError, VectorBlock};

/// What a step reads, and what each thread writes in it: ranges of vector blocks.
///
/// ```
/// use burn_compress_kernel::Access;
/// let access = Access { parts: vec![], reads: vec![0..4], writes: vec![4..6, 6..8] };
/// # let _ = access;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// What each thread alone reads: one range for each, or none for any.
    pub parts: Vec<Range<usize>>,
    /// What all threads read, after those; all in all at most [`Access::MOST`] ranges.
    pub reads: Vec<Range<usize>>,
    /// What each thread writes.
    pub writes: Vec<Range<usize>>,
}

impl Access {
    /// The most ranges that a thread reads in a step.
    pub const MOST: usize = 16;

    // What a thread reads.
    fn read_by(&self, thread: usize) -> impl Iterator<Item = &Range<usize>> {
        self.parts.get(thread).into_iter().chain(&self.reads)
    }

    // Whether a thread touches here what another one does there, and one of them writes.
    fn meets(&self, other: &Self) -> bool {
        let threads = 0..self.writes.len();
        threads.clone().any(|one| {
            threads.clone().filter(|&thread| thread != one).any(|two| {
                let (here, there) = (&self.writes[one], &other.writes[two]);
                overlap(here, there)
                    || other.read_by(two).any(|read| overlap(here, read))
                    || self.read_by(one).any(|read| overlap(read, there))
            })
        })
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    !a.is_empty() && !b.is_empty() && a.start < b.end && b.start < a.end
}

/// Steps on one memory, checked: while a thread writes, no other one reads or writes there.
///
/// ```
/// use burn_compress_kernel::{Access, VectorBlock, KernelError, Steps, Team};
/// let double = Access { parts: vec![], reads: vec![0..2], writes: vec![2..3, 3..4] };
/// let steps = Steps::new(vec![double], 4, 2)?;
/// let mut blocks = vec![VectorBlock::of_floats(1.0); 4];
/// steps.run::<KernelError>(&Team::new(2), &mut blocks, &|_, thread, reads, write| {
///     let twice = VectorBlock::floats(&reads[0][thread..]);
///     VectorBlock::floats_mut(write).iter_mut().zip(twice).for_each(|(to, x)| *to = x * 2.0);
///     Ok(())
/// })?;
/// assert_eq!(blocks[3], VectorBlock::of_floats(2.0));
///
/// let torn = Access { parts: vec![], reads: vec![0..3], writes: vec![2..3, 3..4] };
/// assert!(Steps::new(vec![torn], 4, 2).is_err());
/// # Ok::<(), KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    steps: Vec<Step>,
    blocks: usize,
    threads: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    access: Access,
    // Whether all threads must have ended the steps before.
    waits: bool,
}

impl Steps {
    /// Steps on so many vector blocks, for so many threads.
    ///
    /// Fails with [`KernelError::Access`] where ranges lie outside, a write overlaps another range of
    /// its step, or a step has not one write, and one part or none, for each thread.
    pub fn new(accesses: Vec<Access>, blocks: usize, threads: usize) -> Result<Self, KernelError> {
        let fits = accesses.iter().all(|access| {
            let inside = |range: &Range<usize>| range.start <= range.end && range.end <= blocks;
            let parts = usize::from(!access.parts.is_empty());
            let read = access.parts.iter().chain(&access.reads);
            access.writes.len() == threads
                && access.parts.len() == parts * threads
                && access.reads.len() + parts <= Access::MOST
                && read.chain(&access.writes).all(inside)
                && !access.meets(access)
                && access.writes.iter().enumerate().all(|(thread, write)| {
                    let mut own = access.read_by(thread);
                    own.all(|read| !overlap(read, write))
                })
        });
        if !fits || threads == 0 {
            return Err(KernelError::Access);
        }
        let mut since = 0;
        let mut steps: Vec<Step> = Vec::with_capacity(accesses.len());
        for access in accesses {
            let mut apart = steps[since..].iter();
            let waits = apart.any(|step| step.access.meets(&access));
            if waits {
                since = steps.len();
            }
            steps.push(Step { access, waits });
        }
        Ok(Self {
            steps,
            blocks,
            threads,
        })
    }

    /// The first of these steps alone.
    pub fn first(&self, count: usize) -> Self {
        Self {
            steps: self.steps.iter().take(count).cloned().collect(),
            ..*self
        }
    }

    /// Threads that it is shared out to.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Vector blocks it needs.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Runs all steps: `work` gets the step, the thread, what it reads and what it writes. A step begins
    /// when all threads have ended those before it, where one reads or writes what another one has written,
    /// or writes what another one has read.
    ///
    /// Fails with [`KernelError::Memory`] for other than [`blocks`](Self::blocks) vector blocks, with
    /// [`KernelError::Team`] where the team has fewer threads or is at work elsewhere, and with the first error
    /// of `work`, which ends all threads' runs. A panic of `work` does too, and goes on in the caller. What is
    /// one thread's by number may be done on another one, where that thread is late.
    pub fn run<E: From<KernelError> + Send>(
        &self,
        team: &Team,
        memory: &mut [VectorBlock],
        work: &StepWork<'_, E>,
    ) -> Result<(), E> {
        if memory.len() != self.blocks {
            return Err(KernelError::Memory.into());
        }
        let shared = Memory(memory.as_mut_ptr());
        if self.threads == 1 {
            for (index, step) in self.steps.iter().enumerate() {
                // SAFETY: one thread alone; `new` has checked the ranges against each other.
                unsafe { shared.step(index, 0, &step.access, work) }?;
            }
            return Ok(());
        }
        let pass = Pass {
            steps: self,
            team,
            shared,
            work,
            ended: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            error: Mutex::new(None),
        };
        // When the caller has ended, all shares were begun: by those who are at work, and by nobody else.
        let ran = team.try_run_with(self.threads, Late::Spared, &|thread| pass.run(thread));
        if !ran {
            return Err(KernelError::Team.into());
        }
        let error = pass.error.into_inner();
        match error.unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    // The steps from one on that threads need not wait between.
    fn from(&self, first: usize) -> Range<usize> {
        let mut later = self.steps.iter().enumerate().skip(first + 1);
        let end = later.find(|(_, step)| step.waits);
        first..end.map_or(self.steps.len(), |(index, _)| index)
    }
}

/// Looks whether others begin their shares before a thread takes these over: about a microsecond, in which
/// who has waited goes on.
const PATIENCE: u32 = 32;

/// A run on a team.
struct Pass<'a, E> {
    steps: &'a Steps,
    team: &'a Team,
    shared: Memory,
    work: &'a StepWork<'a, E>,
    // Shares of all threads.
    ended: AtomicUsize,
    failed: AtomicBool,
    error: Mutex<Option<E>>,
}

impl<E> Pass<'_, E> {
    // Part by part of steps that wait for those before, each thread does its share, and then those of
    // threads that are not there to begin them: asleep, or waiting for a processor.
    fn run(&self, thread: usize) {
        let threads = self.steps.threads;
        // A panic must not leave the others waiting.
        let guard = Failing(self);
        let (mut part, mut alone) = (0, false);
        let mut steps = self.steps.from(0);
        while !steps.is_empty() {
            let all = (part + 1) * threads;
            let done = || self.ended.load(Ordering::Acquire) >= all;
            let over = || done() || self.failed.load(Ordering::Acquire);
            if self.team.begins(thread, part) && !self.share(thread, steps.clone()) {
                return;
            }
            // Who was not there before need not be waited for now.
            if alone || !Gate::look(PATIENCE, over) {
                alone = false;
                for other in (0..threads).filter(|&other| other != thread) {
                    if self.team.begins(other, part) {
                        alone = true;
                        if !self.share(other, steps.clone()) {
                            return;
                        }
                    }
                }
            }
            steps = self.steps.from(steps.end);
            part += 1;
            // The last part ends with the run.
            if !steps.is_empty() {
                self.team.wait((thread, threads), over);
            }
            if self.failed.load(Ordering::Acquire) {
                return;
            }
        }
        std::mem::forget(guard);
    }

    // The share of a thread in some steps; tells whether there was no error.
    fn share(&self, thread: usize, steps: Range<usize>) -> bool {
        for index in steps {
            let access = &self.steps.steps[index].access;
            // SAFETY: `Steps::new` has checked that this write is apart from all that others read or
            // write in this step, and in those since all threads have waited. Whoever does a share of a
            // part of steps has waited until all shares of the part before had ended (`ended`, acquire
            // and release), and `Team::begins` lets one thread alone do it.
            if let Err(found) = unsafe { self.shared.step(index, thread, access, self.work) } {
                lock(&self.error).get_or_insert(found);
                return false;
            }
        }
        self.ended.fetch_add(1, Ordering::AcqRel);
        self.team.wake();
        true
    }
}

/// What a step does.
pub type StepWork<'a, E> =
    dyn Fn(usize, usize, &[&[VectorBlock]], &mut [VectorBlock]) -> Result<(), E> + Sync + 'a;

struct Failing<'a, E>(&'a Pass<'a, E>);

impl<E> Drop for Failing<'_, E> {
    fn drop(&mut self) {
        self.0.failed.store(true, Ordering::Release);
        self.0.team.wake();
    }
}

struct Memory(*mut VectorBlock);

// SAFETY: threads use it only through `step`, on ranges that do not overlap while written.
unsafe impl Sync for Memory {}

impl Memory {
    // SAFETY contract: no other thread writes what this thread reads in this step, nor reads or writes
    // what it writes, while this runs; all ranges lie within the memory.
    unsafe fn step<E>(
        &self,
        index: usize,
        thread: usize,
        access: &Access,
        work: &StepWork<'_, E>,
    ) -> Result<(), E> {
        let mut reads: [&[VectorBlock]; Access::MOST] = [&[]; Access::MOST];
        let mut count = 0;
        for (read, range) in reads.iter_mut().zip(access.read_by(thread)) {
            // SAFETY: by the contract.
            *read = unsafe { std::slice::from_raw_parts(self.0.add(range.start), range.len()) };
            count += 1;
        }
        let range = &access.writes[thread];
        // SAFETY: by the contract.
        let write = unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) };
        work(index, thread, &reads[..count], write)
    }
}

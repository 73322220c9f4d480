//! A process that is forked from one with a program, or a team, runs it alone.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn_compress::engine::Program;
use burn_compress::kernel::{Access, KernelError, Kernels, Steps, Team, VectorBlock};

use super::backends::device::leaves_out;
use super::kept_choices::Two;
use super::runs::{images, options};

/// How a child ends, and what its work tells.
#[derive(Debug, PartialEq)]
enum End {
    Told(bool),
    Panicked,
    Killed,
    Hung,
}

// Forks, does the work in the child, and waits for it.
fn in_child(work: impl FnOnce() -> bool) -> End {
    const LONG: Duration = Duration::from_secs(60);
    // SAFETY: the child runs what is under test, which must be safe there, and then ends at once: it returns
    // to no code of the harness, whose other threads it lacks.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let code = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(_) => 2,
        };
        // SAFETY: ends the process.
        unsafe { libc::_exit(code) };
    }
    let begun = Instant::now();
    let mut hung = false;
    loop {
        let mut status = 0;
        // SAFETY: of a child of this process, which is waited for once.
        let found = unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) };
        match found == child {
            true if hung => return End::Hung,
            true if !libc::WIFEXITED(status) => return End::Killed,
            true => match libc::WEXITSTATUS(status) {
                2 => return End::Panicked,
                code => return End::Told(code == 0),
            },
            false if begun.elapsed() > LONG && !hung => {
                hung = true;
                // SAFETY: a child of this process that was not waited for yet.
                unsafe { libc::kill(child, libc::SIGKILL) };
            }
            false => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

const MOST: usize = 19;

fn two_threads() -> (Program, Vec<f32>, Vec<f32>) {
    let model = Two::integers(1);
    let input = images(&model, MOST, 3);
    let (expected, _) = model.run(&input, MOST).unwrap();
    let program = Program::compile(&model, options(Kernels::detect().isa(), 2)).unwrap();
    assert_eq!(program.threads(), 2);
    (program, input, expected)
}

fn runs(program: &Program, input: &[f32], expected: &[f32]) -> bool {
    [1, 2, MOST].into_iter().all(|batch| {
        let [input, expected] = [input, expected].map(|of| &of[..of.len() / MOST * batch]);
        program
            .run(input, batch)
            .is_ok_and(|found| found == expected)
    })
}

#[test]
fn a_child_runs_alone_with_the_same_bits() {
    if leaves_out("a_child_runs_alone_with_the_same_bits") {
        return;
    }
    let (program, input, expected) = two_threads();
    // Before the first run, and after others: its threads look for work, or sleep.
    for pause in [None, Some(0), Some(20)] {
        if let Some(pause) = pause {
            assert!(runs(&program, &input, &expected));
            std::thread::sleep(Duration::from_millis(pause));
        }
        let child = program.clone();
        let end = in_child(|| runs(&child, &input, &expected) && child.threads() == 1);
        assert_eq!(end, End::Told(true));
    }
    // The last one that holds it drops it in the child, also while it unwinds.
    for panics in [false, true] {
        let (program, ..) = two_threads();
        let mut program = Some(program);
        let end = in_child(|| {
            let held = program.take();
            let right = runs(held.as_ref().unwrap(), &input, &expected);
            if panics {
                resume_unwind(Box::new("in the child"));
            }
            drop(held);
            right
        });
        let expected_end = if panics {
            End::Panicked
        } else {
            End::Told(true)
        };
        assert_eq!(end, expected_end);
        assert!(runs(&program.unwrap(), &input, &expected));
    }
}

// The locks of a run are those of a thread that the child lacks.
#[test]
fn a_child_of_a_process_at_work_runs() {
    if leaves_out("a_child_of_a_process_at_work_runs") {
        return;
    }
    let (program, input, expected) = two_threads();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(runs(&program, &input, &expected));
            }
        });
        let ends: Vec<End> = (0..20)
            .map(|_| in_child(|| runs(&program, &input, &expected)))
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(ends.iter().all(|end| *end == End::Told(true)), "{ends:?}");
    });
}

#[test]
fn a_team_is_one_thread_in_a_child() {
    let team = Team::new(3);
    team.run(&|_| {});
    let mut held = Some(team);
    let end = in_child(|| {
        let team = held.take().unwrap();
        let seen = AtomicUsize::new(0);
        let count = |thread: usize| {
            seen.fetch_add(100 + thread, Ordering::Relaxed);
        };
        team.run(&count);
        let ran = team.try_run(&count);
        // Steps of several threads are not for it; those of one are.
        let steps = |threads: usize| {
            let access = Access {
                parts: vec![],
                reads: vec![],
                writes: (0..threads).map(|thread| thread..thread + 1).collect(),
            };
            let steps = Steps::new(vec![access], threads, threads).unwrap();
            let mut cells = vec![VectorBlock::default(); threads];
            steps.run::<KernelError>(&team, &mut cells, &|_, _, _, _| Ok(()))
        };
        let alone = steps(1) == Ok(()) && steps(2) == Err(KernelError::Team);
        let right = ran && alone && team.threads() == 1 && seen.into_inner() == 200;
        drop(team);
        // It has threads of its own, and its own children have none of these.
        let own = Team::new(2);
        let both = AtomicUsize::new(0);
        own.run(&|thread| {
            both.fetch_add(thread + 1, Ordering::Relaxed);
        });
        let grandchild = in_child(|| own.threads() == 1);
        right && both.into_inner() == 3 && own.threads() == 2 && grandchild == End::Told(true)
    });
    assert_eq!(end, End::Told(true));
    let team = held.unwrap();
    let seen = AtomicUsize::new(0);
    team.run(&|_| {
        seen.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!((seen.into_inner(), team.threads()), (3, 3));
}

//! Threads that stay: all run, take turns, end together, and survive a panic.

#![expect(clippy::single_range_in_vec_init, reason = "what is read is a range")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Weak};

use burn_compress::kernel::{Access, KernelError, Steps, Team, VectorBlock};

// Panics without a word on the screen.
fn panic_with(word: &'static str) -> ! {
    resume_unwind(Box::new(word))
}

fn caught(run: impl FnOnce()) -> Option<&'static str> {
    let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
    panic.downcast_ref().copied()
}

fn seen(team: &Team) -> Vec<usize> {
    let seen: Vec<AtomicUsize> = (0..team.threads()).map(|_| AtomicUsize::new(0)).collect();
    team.run(&|thread| {
        seen[thread].fetch_add(1, Ordering::Relaxed);
    });
    seen.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn every_thread_runs_every_job_once() {
    for threads in 0..=4 {
        let team = Team::new(threads);
        assert_eq!(team.threads(), threads.max(1));
        for _ in 0..20 {
            assert_eq!(seen(&team), vec![1; threads.max(1)]);
        }
    }
}

#[test]
fn threads_are_others_and_stay() {
    let team = Team::new(3);
    let ids = || {
        let ids: Vec<_> = (0..3).map(|_| std::sync::Mutex::new(None)).collect();
        team.run(&|thread| *ids[thread].lock().unwrap() = Some(std::thread::current().id()));
        ids.into_iter()
            .map(|id| id.into_inner().unwrap())
            .collect::<Vec<_>>()
    };
    let first = ids();
    assert_eq!(first[0], Some(std::thread::current().id()));
    assert!(first[1] != first[2] && first[1] != first[0] && first[2] != first[0]);
    // Long enough for them to fall asleep.
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(ids(), first);
}

// They spin, give their processor away and fall asleep within milliseconds: a run that comes at any moment
// of it reaches them all.
#[test]
fn threads_are_reached_at_every_moment_of_falling_asleep() {
    let team = Team::new(3);
    for pause in 0..300 {
        let idle = std::time::Instant::now();
        while idle.elapsed() < std::time::Duration::from_micros(20 * pause) {
            std::hint::spin_loop();
        }
        assert_eq!(seen(&team), [1; 3]);
    }
}

#[test]
fn a_panic_of_any_thread_goes_on_in_the_caller_and_the_team_stays() {
    for threads in 1..=3 {
        let team = Team::new(threads);
        for bad in 0..threads {
            let ended = AtomicUsize::new(0);
            let job = |thread: usize| {
                if thread == bad {
                    panic_with("bad");
                }
                ended.fetch_add(1, Ordering::Relaxed);
            };
            assert_eq!(caught(|| team.run(&job)), Some("bad"));
            assert_eq!(ended.into_inner(), threads - 1);
            assert_eq!(seen(&team), vec![1; threads]);
            assert!(team.try_run(&|_| {}));
        }
    }
}

#[test]
fn the_callers_panic_comes_before_those_of_others() {
    let team = Team::new(3);
    let word = caught(|| team.run(&|thread| panic_with(["caller", "other", "other"][thread])));
    assert_eq!(word, Some("caller"));
    // No other's is left for the next run.
    assert_eq!(seen(&team), [1; 3]);
}

#[test]
fn runs_of_several_threads_take_turns() {
    let team = Team::new(2);
    let (inside, most, runs) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..10 {
                    team.run(&|thread| {
                        if thread == 0 {
                            let now = inside.fetch_add(1, Ordering::AcqRel) + 1;
                            most.fetch_max(now, Ordering::AcqRel);
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::AcqRel);
                        }
                        runs.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
        }
    });
    assert_eq!((most.into_inner(), runs.into_inner()), (1, 60));
}

#[test]
fn dropping_a_team_ends_its_threads() {
    struct Held(#[expect(dead_code, reason = "alive as long as its thread")] Arc<()>);
    thread_local! {
        static HELD: std::cell::RefCell<Option<Held>> = const { std::cell::RefCell::new(None) };
    }
    let alive = Arc::new(());
    let watch: Weak<()> = Arc::downgrade(&alive);
    let team = Team::new(4);
    team.run(&|thread| {
        if thread > 0 {
            HELD.with(|held| *held.borrow_mut() = Some(Held(Arc::clone(&alive))));
        }
    });
    drop(alive);
    assert_eq!(watch.strong_count(), 3);
    drop(team);
    assert_eq!(watch.strong_count(), 0);
}

// Each step doubles what the last one wrote, each thread its part.
fn doubling(threads: usize, steps: usize) -> Steps {
    let (half, other) = (threads, 2 * threads);
    let access = |step: usize| {
        let (from, to) = if step.is_multiple_of(2) {
            (0, half)
        } else {
            (half, 0)
        };
        let writes = (0..threads).map(|thread| to + thread..to + thread + 1);
        Access {
            parts: vec![],
            reads: vec![from..from + threads],
            writes: writes.collect(),
        }
    };
    Steps::new((0..steps).map(access).collect(), other, threads).unwrap()
}

// Of the next thread's, so that a step needs all of the one before.
fn double(thread: usize, reads: &[&[VectorBlock]], write: &mut [VectorBlock]) {
    let from = VectorBlock::floats(&reads[0][(thread + 1) % reads[0].len()..]);
    let to = VectorBlock::floats_mut(write);
    to.iter_mut().zip(from).for_each(|(to, x)| *to = 2.0 * x);
}

#[test]
fn steps_wait_for_all_threads_of_the_one_before() {
    for threads in 1..=3 {
        let (team, steps) = (Team::new(3), doubling(threads, 10));
        assert_eq!((steps.threads(), steps.blocks()), (threads, 2 * threads));
        let mut blocks = vec![VectorBlock::of_floats(1.0); 2 * threads];
        let work =
            |_: usize, thread: usize, reads: &[&[VectorBlock]], write: &mut [VectorBlock]| {
                double(thread, reads, write);
                Ok::<(), KernelError>(())
            };
        steps.run(&team, &mut blocks, &work).unwrap();
        assert_eq!(
            blocks[..threads],
            vec![VectorBlock::of_floats(1024.0); threads]
        );
        assert_eq!(
            blocks[threads..],
            vec![VectorBlock::of_floats(512.0); threads]
        );
    }
}

// More threads than processors, and runs at any moment of falling asleep: a late thread's share is done by
// another one, once.
#[test]
fn late_threads_lose_no_step_and_no_wake_up() {
    for threads in [2, 3, 7] {
        let (team, steps) = (Team::new(threads), doubling(threads, 10));
        for pause in 0..150 {
            let mut blocks = vec![VectorBlock::of_floats(1.0); 2 * threads];
            let done: Vec<AtomicUsize> = (0..10 * threads).map(|_| AtomicUsize::new(0)).collect();
            let work = |step: usize,
                        thread: usize,
                        reads: &[&[VectorBlock]],
                        write: &mut [VectorBlock]| {
                done[step * threads + thread].fetch_add(1, Ordering::Relaxed);
                double(thread, reads, write);
                Ok::<(), KernelError>(())
            };
            steps.run(&team, &mut blocks, &work).unwrap();
            assert_eq!(
                blocks[..threads],
                vec![VectorBlock::of_floats(1024.0); threads]
            );
            assert!(done.into_iter().all(|done| done.into_inner() == 1));
            let idle = std::time::Instant::now();
            while idle.elapsed() < std::time::Duration::from_micros(pause) {
                std::hint::spin_loop();
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Failure {
    Kernel(KernelError),
    At(usize, usize),
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

#[test]
fn an_error_of_one_thread_ends_all() {
    for threads in 1..=3 {
        let (team, steps) = (Team::new(3), doubling(threads, 6));
        let mut blocks = vec![VectorBlock::default(); 2 * threads];
        for bad in 0..threads {
            let last = AtomicUsize::new(0);
            let result = steps.run(&team, &mut blocks, &|step, thread, _, _| {
                last.fetch_max(step, Ordering::Relaxed);
                match (step, thread == bad) {
                    (3, true) => Err(Failure::At(step, thread)),
                    _ => Ok(()),
                }
            });
            assert_eq!(result, Err(Failure::At(3, bad)));
            assert_eq!(last.into_inner(), 3);
        }
        let fine = steps.run::<Failure>(&team, &mut blocks, &|_, _, _, _| Ok(()));
        assert_eq!(fine, Ok(()));
    }
}

#[test]
fn a_panic_in_a_step_ends_all_and_goes_on_in_the_caller() {
    for threads in 1..=3 {
        let (team, steps) = (Team::new(3), doubling(threads, 6));
        let mut blocks = vec![VectorBlock::default(); 2 * threads];
        for bad in 0..threads {
            let word = caught(|| {
                let run = steps.run::<Failure>(&team, &mut blocks, &|step, thread, _, _| match (
                    step,
                    thread == bad,
                ) {
                    (2, true) => panic_with("step"),
                    (3.., _) => Err(Failure::At(step, thread)),
                    _ => Ok(()),
                });
                panic!("{run:?}");
            });
            assert_eq!(word, Some("step"));
            let fine = steps.run::<Failure>(&team, &mut blocks, &|_, _, _, _| Ok(()));
            assert_eq!(fine, Ok(()));
        }
    }
}

#[test]
fn a_team_at_work_or_too_small_is_refused() {
    let (team, steps) = (Team::new(2), doubling(2, 2));
    let mut blocks = vec![VectorBlock::default(); 4];
    let fine =
        |_: usize, _: usize, _: &[&[VectorBlock]], _: &mut [VectorBlock]| Ok::<(), KernelError>(());
    assert_eq!(
        steps.run(&Team::new(1), &mut blocks, &fine),
        Err(KernelError::Team)
    );

    let (begun, end) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            team.run(&|thread| {
                if thread == 1 {
                    begun.wait();
                    end.wait();
                }
            });
        });
        begun.wait();
        assert_eq!(steps.run(&team, &mut blocks, &fine), Err(KernelError::Team));
        assert!(!team.try_run(&|_| panic_with("ran")));
        // One thread needs no team.
        let alone = doubling(1, 2);
        assert_eq!(alone.run(&team, &mut blocks[..2], &fine), Ok(()));
        end.wait();
    });
    assert_eq!(steps.run(&team, &mut blocks, &fine), Ok(()));
}

#[test]
fn a_step_of_a_team_does_not_wait_for_that_team() {
    let (team, steps) = (Team::new(2), doubling(2, 1));
    let mut blocks = vec![VectorBlock::default(); 4];
    let result = steps.run(&team, &mut blocks, &|_, _, _, _| {
        let fine = |_: usize, _: usize, _: &[&[VectorBlock]], _: &mut [VectorBlock]| {
            Ok::<(), KernelError>(())
        };
        doubling(2, 1).run(&team, &mut [VectorBlock::default(); 4], &fine)
    });
    assert_eq!(result, Err(KernelError::Team));
}

#[test]
#[expect(clippy::reversed_empty_ranges)]
fn steps_refuse_what_threads_could_tear() {
    let fits = |reads: Vec<std::ops::Range<usize>>, writes: Vec<std::ops::Range<usize>>| {
        let threads = writes.len();
        let parts = vec![];
        Steps::new(
            vec![Access {
                parts,
                reads,
                writes,
            }],
            8,
            threads,
        )
        .err()
    };
    let refusal = Some(KernelError::Access);
    assert_eq!(fits(vec![0..4, 2..4], vec![4..6, 6..8]), None);
    assert_eq!(fits(vec![0..4], vec![4..8, 4..4]), None);
    assert_eq!(fits(vec![0..5], vec![4..6, 6..8]), refusal);
    assert_eq!(fits(vec![5..5, 7..8], vec![4..6, 6..8]), refusal);
    assert_eq!(fits(vec![], vec![0..5, 4..8]), refusal);
    assert_eq!(fits(vec![], vec![0..8, 3..4]), refusal);
    assert_eq!(fits(vec![], vec![0..4, 5..9]), refusal);
    assert_eq!(fits(vec![7..9], vec![0..4]), refusal);
    assert_eq!(fits(vec![usize::MAX - 1..usize::MAX], vec![0..4]), refusal);
    assert_eq!(fits(vec![], vec![4..3]), refusal);
    assert_eq!(fits(vec![4..3], vec![0..1]), refusal);
    assert_eq!(fits(vec![], vec![]), refusal);
    assert_eq!(fits(vec![7..8; Access::MOST], vec![0..4]), None);
    assert_eq!(fits(vec![7..8; Access::MOST + 1], vec![0..4]), refusal);
    // As many writes as threads.
    let access = Access {
        parts: vec![],
        reads: vec![],
        writes: vec![0..1],
    };
    assert_eq!(Steps::new(vec![access.clone()], 8, 2).err(), refusal);
    assert_eq!(Steps::new(vec![access.clone()], 8, 0).err(), refusal);

    let steps = Steps::new(vec![access], 8, 1).unwrap();
    let run = |count: usize| {
        steps.run::<KernelError>(
            &Team::new(1),
            &mut vec![VectorBlock::default(); count],
            &|_, _, reads, write| {
                assert!((reads.len(), write.len()) == (0, 1));
                Ok(())
            },
        )
    };
    assert_eq!(
        (run(7), run(9)),
        (Err(KernelError::Memory), Err(KernelError::Memory))
    );
    assert_eq!(run(8), Ok(()));
}

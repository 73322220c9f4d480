//! Steps: threads wait for each other where they must, and only there.

#![expect(clippy::single_range_in_vec_init, reason = "what is read is a range")]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn_compress::kernel::{Access, KernelError, Steps, Team, VectorBlock};
use proptest::prelude::*;

use super::cases;
use crate::noise::Noise;

const CELLS: usize = 12;

#[test]
fn threads_go_on_where_they_need_nobody() {
    let own = |first: usize| vec![first..first + 1, first + 1..first + 2];
    let first = Access {
        writes: own(0),
        ..Access::default()
    };
    let second = Access {
        parts: own(0),
        writes: own(2),
        ..Access::default()
    };
    let third = Access {
        parts: own(0),
        reads: vec![2..4, 2..3],
        writes: own(4),
    };
    let steps = Steps::new(vec![first, second, third], 6, 2).unwrap();
    let (ahead, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
    let team = Team::new(2);
    let mut blocks = [VectorBlock::default(); 6];
    let work = |step: usize, thread: usize, reads: &[&[VectorBlock]], write: &mut [VectorBlock]| {
        match (step, thread) {
            (0, 1) => {
                let begun = Instant::now();
                while !ahead.load(Ordering::Acquire) {
                    assert!(begun.elapsed() < Duration::from_secs(60), "the other waits");
                    std::thread::yield_now();
                }
            }
            (1, 0) => ahead.store(true, Ordering::Release),
            (2, _) => assert_eq!(ended.load(Ordering::Acquire), 2),
            _ => {}
        }
        let sum: f32 = reads.iter().flat_map(|of| VectorBlock::floats(of)).sum();
        write.fill(VectorBlock::of_floats(sum + 1.0));
        if step == 1 {
            ended.fetch_add(1, Ordering::AcqRel);
        }
        Ok::<(), KernelError>(())
    };
    steps.run(&team, &mut blocks, &work).unwrap();
    let lanes = VectorBlock::LANES as f32;
    let twice = lanes + 1.0;
    let last = lanes * (1.0 + 3.0 * twice) + 1.0;
    assert!(blocks == [1.0, 1.0, twice, twice, last, last].map(VectorBlock::of_floats));
}

#[test]
fn parts_are_each_threads_own() {
    let refused = |parts: &[Range<usize>], reads: &[Range<usize>], writes: &[Range<usize>]| {
        let access = Access {
            parts: parts.to_vec(),
            reads: reads.to_vec(),
            writes: writes.to_vec(),
        };
        Steps::new(vec![access], 8, writes.len()).err() == Some(KernelError::Access)
    };
    let writes = [0..1, 1..2];
    assert!(!refused(&[2..5, 3..8], &[4..5], &writes));
    // One for each thread, within the vector blocks, apart from the writes of others and its own.
    assert!(refused(&[2..4], &[], &writes));
    assert!(refused(&[2..4, 3..5, 4..5], &[], &writes));
    assert!(refused(&[2..4, 3..9], &[], &writes));
    assert!(refused(&[1..4, 3..5], &[], &writes));
    assert!(refused(&[0..4, 3..5], &[], &writes));
    let most = vec![7..8; Access::MOST];
    assert!(!refused(&[2..4, 3..5], &most[1..], &writes));
    assert!(refused(&[2..4, 3..5], &most, &writes));
}

// Of some thread and step, from what is read and was there.
fn write(step: usize, thread: usize, reads: &[&[VectorBlock]], write: &mut [VectorBlock]) {
    let mut sum = (7 * step + 3 * thread + 1) as f32;
    for (place, read) in reads.iter().enumerate() {
        for (block, of) in read.iter().enumerate() {
            let value = VectorBlock::floats(std::slice::from_ref(of))[0];
            sum = (3.0 * sum + value + (place + block) as f32) % 1009.0;
        }
    }
    for (block, to) in write.iter_mut().enumerate() {
        let before = VectorBlock::floats(std::slice::from_ref(to))[0];
        *to = VectorBlock::of_floats((sum + 5.0 * before + block as f32) % 1009.0);
    }
}

// One that no thread could tear.
fn access(noise: &mut Noise, threads: usize) -> Access {
    loop {
        let mut range = || {
            let start = noise.below(CELLS);
            start..(start + noise.below(4)).min(CELLS)
        };
        let access = Access {
            writes: (0..threads).map(|_| range()).collect(),
            parts: (0..threads).map(|_| range()).collect(),
            reads: (0..1).map(|_| range()).collect(),
        };
        if Steps::new(vec![access.clone()], CELLS, threads).is_ok() {
            return access;
        }
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn any_steps_give_what_one_thread_after_the_other_does(
        threads in 2usize..=3,
        count in 1usize..12,
        seed in any::<u64>(),
    ) {
        let mut noise = Noise(seed);
        let accesses: Vec<Access> = (0..count).map(|_| access(&mut noise, threads)).collect();
        let mut expected = vec![VectorBlock::of_floats(1.0); CELLS];
        for (step, access) in accesses.iter().enumerate() {
            for thread in 0..threads {
                let before = expected.clone();
                let mut reads = vec![&before[access.parts[thread].clone()]];
                reads.extend(access.reads.iter().map(|range| &before[range.clone()]));
                write(step, thread, &reads, &mut expected[access.writes[thread].clone()]);
            }
        }
        let steps = Steps::new(accesses, CELLS, threads).unwrap();
        let team = Team::new(threads);
        // Now one is late, now another.
        for late in 0..threads {
            let mut blocks = vec![VectorBlock::of_floats(1.0); CELLS];
            let work = |step: usize, thread: usize, reads: &[&[VectorBlock]], to: &mut [VectorBlock]| {
                if (step + thread) % threads == late {
                    (0..20).for_each(|_| std::thread::yield_now());
                }
                write(step, thread, reads, to);
                Ok::<(), KernelError>(())
            };
            steps.run(&team, &mut blocks, &work).unwrap();
            prop_assert!(blocks == expected, "{late} late");
        }
    }
}

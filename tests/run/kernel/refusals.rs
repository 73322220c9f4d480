//! Poolings, sums and moves that do not fit are refused, and nothing is written.

#![expect(clippy::single_range_in_vec_init, reason = "a fill is a range")]

use burn_compress::kernel::{
    Edges, Elementwise, Gather, KernelError, Kernels, Move, Pooling, Sink, VectorBlock, Windows,
};

use super::{ALL, HUGE, all, at, marked};

fn each(
    mut run: impl FnMut(Kernels, &mut [VectorBlock]) -> Result<(), KernelError>,
    error: KernelError,
) {
    for kernels in all() {
        let mut blocks = marked(8);
        assert_eq!(run(kernels, &mut blocks), Err(error), "{:?}", kernels.isa());
        assert!(blocks == marked(8));
    }
}

#[test]
fn windows_lie_in_their_planes() {
    let sum = Pooling::Sum {
        multiplier: 1.0,
        start: 0,
        across: 1,
    };
    let fine = Windows {
        pooling: Pooling::Max,
        taps: vec![0, 1],
        positions: vec![at(1, 1, 0)],
        planes: (3, 2),
        divisors: vec![],
        bounds: ALL,
        sink: Sink::Codes { low: 0 },
    };
    for kernels in all() {
        assert_eq!(fine.run(kernels, &marked(12), &mut marked(8)), Ok(()));
        let none = Windows {
            positions: vec![],
            planes: (0, 0),
            ..fine.clone()
        };
        let mut blocks = marked(8);
        assert_eq!(none.run(kernels, &[], &mut blocks), Ok(()));
        assert!(blocks == marked(8));
    }
    let memory = [
        Windows {
            taps: vec![0, 2],
            ..fine.clone()
        },
        Windows {
            taps: vec![u32::MAX],
            ..fine.clone()
        },
        Windows {
            positions: vec![at(2, 0, 0)],
            ..fine.clone()
        },
        Windows {
            positions: vec![at(u32::MAX, 0, 0)],
            ..fine.clone()
        },
        Windows {
            positions: vec![at(0, 2, 0)],
            ..fine.clone()
        },
        Windows {
            planes: (0, 2),
            ..fine.clone()
        },
        Windows {
            planes: (3, 0),
            ..fine.clone()
        },
        Windows {
            planes: (4, 2),
            ..fine.clone()
        },
        Windows {
            planes: (HUGE / 4 + 1, 2),
            ..fine.clone()
        },
        Windows {
            planes: (HUGE, 2),
            ..fine.clone()
        },
    ];
    for windows in memory {
        each(
            |kernels, to| windows.run(kernels, &marked(12), to),
            KernelError::Memory,
        );
    }
    each(
        |kernels, to| fine.run(kernels, &marked(11), to),
        KernelError::Memory,
    );
    // Beyond the output, before its first vector block, no such position, beyond the input.
    let parts = [(8, 0..1, 0), (2, 0..1, 2), (2, 0..2, 0), (5, 0..1, 0)];
    for (planes, positions, first) in parts {
        each(
            |kernels, to| {
                let part = (planes, positions.clone());
                fine.run_part(kernels, part, &marked(12), (to, first))
            },
            KernelError::Memory,
        );
    }
    for bounds in [ALL, (f32::NAN, 0.0), (0.0, 256.0), (-1.0, 0.0), (0.5, 2.0)] {
        let windows = Windows {
            pooling: sum,
            bounds,
            ..fine.clone()
        };
        each(
            |kernels, to| windows.run(kernels, &marked(12), to),
            KernelError::Epilogue,
        );
    }
    // No samples have so many neighbouring lanes.
    for across in [0, 3, 12, 32, usize::MAX] {
        let windows = Windows {
            pooling: Pooling::Sum {
                multiplier: 1.0,
                start: 0,
                across,
            },
            bounds: (0.0, 255.0),
            ..fine.clone()
        };
        each(
            |kernels, to| windows.run(kernels, &marked(12), to),
            KernelError::Epilogue,
        );
    }
}

#[test]
fn operands_are_as_many_and_as_long_as_needed() {
    let (sink, bounds) = (Sink::Floats, ALL);
    let add = Elementwise::Add {
        factors: (1.0, 1.0),
        lows: (0, 0),
        bounds,
        sink,
    };
    let scale = Elementwise::Scale {
        factor: 1.0,
        low: 0,
        bounds,
        sink,
    };
    let table = Elementwise::Table(Box::new([0; 256]));
    let (long, short) = (marked(8), marked(7));
    let memory: [(&Elementwise, &[&[VectorBlock]]); 8] = [
        (&add, &[&long]),
        (&add, &[&long, &short]),
        (&add, &[&short, &long]),
        (&add, &[]),
        (&scale, &[&short]),
        (&scale, &[&long, &long]),
        (&table, &[&short]),
        (&table, &[]),
    ];
    for (step, operands) in memory {
        each(
            |kernels, to| step.run(kernels, operands, to),
            KernelError::Memory,
        );
    }
    let sink = Sink::Codes { low: -128 };
    for bounds in [
        ALL,
        (f32::NAN, 0.0),
        (-129.0, 0.0),
        (0.0, 128.0),
        (0.0, 1.5),
    ] {
        let add = Elementwise::Add {
            factors: (1.0, 1.0),
            lows: (0, 0),
            bounds,
            sink,
        };
        each(
            |kernels, to| add.run(kernels, &[&long, &long], to),
            KernelError::Epilogue,
        );
        let scale = Elementwise::Scale {
            factor: 1.0,
            low: 0,
            bounds,
            sink,
        };
        each(
            |kernels, to| scale.run(kernels, &[&long], to),
            KernelError::Epilogue,
        );
    }
    // Lows at the ends wrap and do not panic.
    for lows in [(i32::MAX, i32::MIN), (i32::MIN, i32::MAX)] {
        let add = Elementwise::Add {
            factors: (1.0, 1.0),
            lows,
            bounds: (0.0, 0.0),
            sink,
        };
        let scale = Elementwise::Scale {
            factor: 1.0,
            low: lows.0,
            bounds: (0.0, 0.0),
            sink,
        };
        for kernels in all() {
            let mut blocks = marked(8);
            add.run(kernels, &[&long, &long], &mut blocks).unwrap();
            assert!(
                blocks
                    .iter()
                    .all(|block| *block == VectorBlock::of_bytes(128))
            );
            scale.run(kernels, &[&long], &mut blocks).unwrap();
            assert!(
                blocks
                    .iter()
                    .all(|block| *block == VectorBlock::of_bytes(128))
            );
        }
    }
}

#[test]
fn edges_and_gathers_lie_in_their_blocks() {
    let fine = Edges {
        plane: 4,
        moves: vec![Move {
            to: 0,
            from: 3,
            map: 0,
        }],
        maps: vec![[15; 16]],
        fills: vec![2..3],
        fill: VectorBlock::default(),
    };
    let moves = |to, from, map| vec![Move { to, from, map }];
    #[expect(clippy::reversed_empty_ranges)]
    let bad = [
        Edges {
            moves: moves(4, 0, 0),
            ..fine.clone()
        },
        Edges {
            moves: moves(0, 4, 0),
            ..fine.clone()
        },
        Edges {
            moves: moves(0, 0, 1),
            ..fine.clone()
        },
        Edges {
            moves: moves(u32::MAX, 0, 0),
            ..fine.clone()
        },
        Edges {
            maps: vec![[16; 16]],
            ..fine.clone()
        },
        Edges {
            maps: vec![[i32::MAX; 16]],
            ..fine.clone()
        },
        Edges {
            fills: vec![3..5],
            ..fine.clone()
        },
        Edges {
            fills: vec![3..1],
            ..fine.clone()
        },
        Edges {
            fills: vec![7..5],
            ..fine.clone()
        },
        Edges {
            plane: 0,
            ..fine.clone()
        },
    ];
    for kernels in all() {
        assert_eq!(fine.run(kernels, &mut marked(8)), Ok(()));
    }
    for edges in bad {
        each(
            |kernels, blocks| edges.run(kernels, blocks),
            KernelError::Memory,
        );
    }

    let whole = |first: i32| std::array::from_fn(|lane| first + lane as i32);
    for (to, map) in [
        (8, [0; 16]),
        (u32::MAX, [-1; 16]),
        (0, [128; 16]),
        (0, [i32::MAX; 16]),
        (8, whole(0)),
        (0, whole(128)),
        (0, whole(i32::MAX - 15)),
    ] {
        let mut gather = Gather::default();
        gather.push(to, map);
        let (from, fill) = (marked(8), VectorBlock::default());
        each(
            |kernels, to| gather.run(kernels, &from, to, &fill),
            KernelError::Memory,
        );
    }
}

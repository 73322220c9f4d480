//! Frames that do not fit are refused, and nothing is written.

use burn_compress::kernel::{Frame, InputGrid, KernelError, Kernels, Sink};

use super::{HUGE, all, marked};

fn frame() -> Frame {
    Frame {
        channels: 5,
        sample: 30,
        channel: 6,
        row: 3,
        lanes: vec![Some((0, (2, 3))); 16],
        rows: 2,
        columns: 3,
        pitch: 3,
        first: 1,
        plane: 8,
    }
}

#[test]
fn frames_lie_in_their_samples_and_blocks() {
    let lanes = |lane| vec![Some(lane); 16];
    let bad = [
        Frame {
            lanes: vec![None; 15],
            ..frame()
        },
        Frame {
            lanes: vec![None; 17],
            ..frame()
        },
        Frame {
            lanes: lanes((0, (3, 1))),
            ..frame()
        },
        Frame {
            lanes: lanes((0, (1, 4))),
            ..frame()
        },
        Frame {
            lanes: lanes((1, (2, 3))),
            ..frame()
        },
        Frame {
            lanes: lanes((HUGE, (1, 1))),
            ..frame()
        },
        Frame {
            channel: HUGE / 4 + 1,
            ..frame()
        },
        Frame {
            channels: HUGE,
            ..frame()
        },
        Frame {
            channels: 6,
            ..frame()
        },
        Frame {
            row: HUGE,
            ..frame()
        },
        Frame { row: 4, ..frame() },
        Frame {
            first: HUGE,
            ..frame()
        },
        Frame {
            pitch: HUGE,
            ..frame()
        },
        Frame {
            pitch: 5,
            ..frame()
        },
        Frame {
            first: 3,
            ..frame()
        },
        Frame {
            plane: 6,
            ..frame()
        },
        Frame {
            plane: HUGE / 2 + 1,
            ..frame()
        },
        Frame {
            columns: HUGE,
            ..frame()
        },
        Frame {
            rows: HUGE,
            ..frame()
        },
    ];
    let grid = InputGrid {
        scale: 1.0,
        offset: 0.0,
        low: -128,
        high: 127,
    };
    let samples = [1.0; 30];
    for frame in bad {
        for kernels in all() {
            for grid in [None, Some(grid)] {
                let mut blocks = marked(16);
                let wrote = frame.write(kernels, &samples, grid, 0..2, &mut blocks);
                assert_eq!(wrote, Err(KernelError::Memory), "{frame:?}");
                assert!(blocks == marked(16));
            }
        }
    }
    for kernels in all() {
        let write = |grid, groups, count| {
            frame().write(kernels, &samples, grid, groups, &mut marked(count))
        };
        assert_eq!(write(Some(grid), 0..2, 16), Ok(true));
        assert_eq!(write(Some(grid), 0..2, 15), Err(KernelError::Memory));
        assert_eq!(write(None, 3..5, 15), Err(KernelError::Memory));
        assert_eq!(write(None, 0..HUGE, 16), Err(KernelError::Memory));
        assert_eq!(write(None, 0..HUGE / 8 + 2, 16), Err(KernelError::Memory));
        // Beyond all channels there are zeros.
        assert_eq!(write(None, HUGE - 1..HUGE, 8), Ok(true));
        assert_eq!(write(Some(grid), HUGE - 1..HUGE, 8), Ok(true));
        for (low, high) in [
            (-128, 128),
            (1, 5),
            (-5, -1),
            (0, 256),
            (i32::MIN, i32::MAX),
            (3, -3),
        ] {
            let grid = InputGrid {
                scale: 1.0,
                offset: 0.0,
                low,
                high,
            };
            assert_eq!(
                write(Some(grid), 0..2, 16),
                Err(KernelError::Epilogue),
                "{low} {high}"
            );
        }
    }
    let nothing = Frame {
        rows: 0,
        lanes: vec![None; 16],
        channels: HUGE,
        plane: 3,
        first: 0,
        ..frame()
    };
    assert_eq!(
        nothing.write(Kernels::detect(), &[], None, 0..2, &mut marked(6)),
        Ok(true)
    );
}

#[test]
fn lines_lie_in_their_blocks() {
    let grid = InputGrid {
        scale: 1.0,
        offset: 0.0,
        low: -1,
        high: 1,
    };
    let samples = [1.0; 30];
    let aligned = Frame {
        first: 3,
        plane: 9,
        ..frame()
    };
    for kernels in all() {
        let write = |frame: &Frame, lines, count| {
            let mut blocks = marked(count);
            let wrote = frame.write_lines(kernels, &samples, Some(grid), lines, &mut blocks);
            (wrote, blocks == marked(count))
        };
        assert_eq!(write(&aligned, 1..3, 6), (Ok(true), false));
        // The first line is before the first row, and after the last there are none.
        assert_eq!(write(&aligned, 0..1, 3), (Ok(true), true));
        assert_eq!(write(&aligned, 3..5, 6), (Ok(true), true));
        let refused = (Err(KernelError::Memory), true);
        assert_eq!(write(&aligned, 1..3, 5), refused);
        assert_eq!(write(&aligned, 0..HUGE, 6), refused);
        assert_eq!(write(&aligned, HUGE - 1..HUGE, 6), refused);
        // Rows that lie in two lines.
        assert_eq!(write(&frame(), 0..2, 16), refused);
        let torn = Frame {
            row: 40,
            ..aligned.clone()
        };
        assert_eq!(write(&torn, 0..3, 9), refused);
        let few = aligned.write_lines(kernels, &samples[..29], None, 0..3, &mut marked(9));
        assert_eq!(few, Err(KernelError::Memory));
    }
}

#[test]
fn frames_read_from_all_their_planes() {
    let never = |at: usize, _| panic!("{at}");
    let codes = Sink::Codes { low: i32::MAX };
    assert_eq!(
        frame().read(&marked(15), codes, never),
        Err(KernelError::Memory)
    );
    assert_eq!(
        frame().read(&marked(39), Sink::Floats, never),
        Err(KernelError::Memory)
    );
    let wide = Frame {
        plane: HUGE / 2 + 1,
        ..frame()
    };
    assert_eq!(
        wide.read(&marked(16), codes, never),
        Err(KernelError::Memory)
    );
    let torn = Frame {
        lanes: vec![Some((0, (9, 9))); 16],
        ..frame()
    };
    assert_eq!(
        torn.read(&marked(16), codes, never),
        Err(KernelError::Memory)
    );
    // Lanes without rows or columns have no elements, wherever they are said to begin.
    let empty = vec![Some((HUGE, (2, 0))), Some((HUGE, (0, 3)))];
    let empty = Frame {
        lanes: empty.into_iter().cycle().take(16).collect(),
        ..frame()
    };
    assert_eq!(empty.read(&marked(16), codes, never), Ok(()));
    // A code beyond 32 bits wraps.
    let mut count = 0;
    frame().read(&marked(16), codes, |_, _| count += 1).unwrap();
    assert_eq!(count, 16 * 30);
}

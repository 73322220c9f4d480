use burn_compress::network::{Op, StepOp};

use super::{KINDS, Kind, Making, check, fine};

#[test]
fn between_neighbours() {
    for (from, to) in [
        ([4, 4], [8, 8]),
        ([5, 7], [10, 14]),
        ([3, 5], [7, 9]),
        ([8, 9], [5, 3]),
        ([1, 1], [4, 6]),
        ([16, 8], [32, 16]),
    ] {
        for align_corners in [true, false] {
            for kind in KINDS {
                let mut making = Making::new(kind, 11, &[5, from[0], from[1]]);
                let input = making.input();
                let op = StepOp::Float(Op::UpsampleBilinear { align_corners });
                // Of codes, codes again.
                let grid = match kind {
                    Kind::Floats => None,
                    Kind::Codes => Some(fine(making.noise.grid(8))),
                };
                let made = making.step(op, vec![input], grid, &[5, to[0], to[1]]);
                let made = making.touched(made);
                // Each operation is the reference's.
                let what = format!("{from:?} to {to:?} {align_corners} {kind:?}");
                check(&making.end(made), 0.0, &what);
            }
        }
    }
}

#[test]
fn the_nearest_of_any_size() {
    for (from, to) in [
        ([4, 4], [8, 8]),
        ([5, 7], [15, 14]),
        ([3, 5], [7, 9]),
        ([8, 9], [5, 3]),
        ([13, 11], [29, 31]),
    ] {
        for kind in KINDS {
            let mut making = Making::new(kind, 11, &[5, from[0], from[1]]);
            let input = making.input();
            let made = making.moved(Op::UpsampleNearest, vec![input], &[5, to[0], to[1]]);
            check(
                &making.end(made),
                0.0,
                &format!("{from:?} to {to:?} {kind:?}"),
            );
        }
    }
}

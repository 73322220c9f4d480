use burn_compress::engine::Program;
use burn_compress::network::{Binary, Op, StepOp, Unary};

use super::{Kind, Making, check, fine};
use crate::runs::{images, isas, options};

const DIMS: [usize; 3] = [6, 5, 7];

// Functions of codes in floats, whose results are floats or codes: each code's is the reference's.
#[test]
fn functions_of_codes() {
    for unary in [
        Unary::Silu,
        Unary::Exp,
        Unary::Sin,
        Unary::LogSigmoid,
        Unary::Round,
    ] {
        for ends_in_codes in [false, true] {
            for explicit in [false, true] {
                let mut making = Making::new(Kind::Codes, 3, &DIMS);
                let mut value = making.input();
                if explicit {
                    value = making.step(StepOp::Dequantize, vec![value], None, &DIMS);
                    value = making.float(Op::Unary(Unary::MulScalar(1.5)), vec![value], &DIMS);
                }
                let grid = ends_in_codes.then(|| fine(making.noise.grid(8)));
                let op = StepOp::Float(Op::Unary(unary));
                let value = making.step(op, vec![value], grid, &DIMS);
                let model = making.end(value);
                check(
                    &model,
                    0.0,
                    &format!("{unary:?} {ends_in_codes} {explicit}"),
                );
            }
        }
    }
}

// Steps in floats between codes, whose operations are the reference's.
#[test]
fn floats_between_codes() {
    for offset in [0.0, 0.3] {
        let mut making = Making::new(Kind::Codes, 5, &DIMS);
        let first = making.input();
        let other = making.touched(first);
        let grid = fine(making.noise.grid(8)).with_offset(offset).unwrap();
        let op = StepOp::Float(Op::Binary(Binary::Subtract));
        let value = making.step(op, vec![first, other], Some(grid), &DIMS);
        let pad = Op::Pad {
            padding: vec![(0, 0), (0, 1), (1, 1), (0, 2)],
            value: 0.5,
        };
        let dims = [7, 7, 9];
        let floats = making.step(StepOp::Dequantize, vec![value], None, &DIMS);
        let padded = making.step(StepOp::Move(pad), vec![floats], None, &dims);
        let value = making.step(StepOp::Quantize, vec![padded], Some(grid), &dims);
        check(&making.end(value), 0.0, &format!("offset {offset}"));
    }
}

// Means that lie halfway between two codes become that of the reference.
#[test]
fn means_of_codes_in_floats() {
    let mut making = Making::new(Kind::Codes, 5, &DIMS);
    let value = making.input();
    let grid = making.grid(value);
    let to = [6, 3, 4];
    let op = StepOp::Float(Op::AdaptiveAveragePool {
        rank: 2,
        output: [3, 4],
    });
    let value = making.step(op, vec![value], grid, &to);
    let model = making.end(value);
    for isa in isas() {
        let program = Program::compile(&model, options(isa, 2)).unwrap();
        for batch in [1, 5, 17] {
            let input = images(&model, batch, 3);
            let (expected, _) = model.run(&input, batch).unwrap();
            assert_eq!(program.run(&input, batch).unwrap(), expected);
        }
    }
}

//! Depthwise convolutions, and functions of codes one after the other.

use burn_compress::engine::Program;
use burn_compress::kernel::Kernels;
use burn_compress::network::{Network, Op, StepOp, Value, Window};

use crate::golden::build::{Builder, grid};
use crate::runs::{isas, options};
use crate::tokens::assert_on_blocks;

const BATCHES: [usize; 4] = [1, 4, 16, 17];

fn depthwise(to: &mut Builder, x: Value, dims: [usize; 3], window: Window) -> (Value, [usize; 3]) {
    let [channels, rows, columns] = dims;
    let weights = to.weights(&[&[channels, 1], &window.kernel[..]].concat());
    let rescale = to.rescale(channels, window.kernel[0] * window.kernel[1]);
    let [rows, columns] = window.output([rows, columns]).unwrap();
    let op = Op::Convolution {
        rank: 2,
        window,
        groups: channels,
    };
    let op = StepOp::Product {
        op,
        weights: Some(weights),
        rescale,
    };
    let dims = [channels, rows, columns];
    (to.step(op, &[x], Some(grid(8, 0.1, 100)), &dims), dims)
}

fn model(dims: [usize; 3], window: Window) -> Network {
    let mut to = Builder::new(dims.iter().sum::<usize>() as u64, &dims);
    let x = to.codes(&dims);
    let (x, dims) = depthwise(&mut to, x, dims, window);
    let (x, dims) = depthwise(&mut to, x, dims, window);
    let x = to.step(StepOp::Dequantize, &[x], None, &dims);
    to.build(x)
}

#[test]
fn each_filter_reads_its_own_channel() {
    for (kernel, stride, dilation) in [
        ([3, 3], [1, 1], [1, 1]),
        ([3, 3], [2, 2], [1, 1]),
        ([5, 5], [1, 1], [1, 1]),
        ([5, 3], [2, 1], [1, 1]),
        ([3, 3], [1, 1], [2, 2]),
        ([1, 1], [1, 1], [1, 1]),
        ([2, 1], [1, 1], [1, 1]),
    ] {
        let half = |axis: usize| (kernel[axis] - 1) * dilation[axis] / 2;
        let window = Window {
            kernel,
            stride,
            dilation,
            padding: [0, 1].map(|axis| (half(axis), half(axis))),
        };
        for dims in [[8, 9, 11], [6, 5, 7], [13, 12, 12]] {
            let model = model(dims, window);
            assert_on_blocks(&model, &BATCHES, true, &format!("{dims:?}, {window:?}"));
        }
    }
}

#[test]
fn their_kernel_is_chosen_where_it_is_faster() {
    let window = Window {
        kernel: [3, 3],
        padding: [(1, 1); 2],
        ..Window::default()
    };
    let model = model([16, 12, 12], window);
    for isa in isas() {
        let has = Kernels::of(isa).unwrap().has_depthwise();
        let program = Program::compile(&model, options(isa, 1)).unwrap();
        let rows = program.layers(1).iter();
        let chosen = rows.filter(|row| row.kernel == "depthwise").count();
        assert_eq!(chosen, if has { 2 } else { 0 }, "{isa:?}");
    }
}

// One table of both, unless something else reads what lies between.
#[test]
fn functions_of_codes_are_joined() {
    for read_between in [false, true] {
        let dims = [5, 7, 6];
        let mut to = Builder::new(3, &dims);
        let x = to.codes(&dims);
        let first = (0..256).map(|code: i32| (code - 120).abs() - 50).collect();
        let first = to.step(StepOp::Table(first), &[x], Some(grid(8, 0.02, 60)), &dims);
        let second = (0..256).map(|code| (code - 60) / 2 + 7).collect();
        let second = to.step(
            StepOp::Table(second),
            &[first],
            Some(grid(8, 0.05, 90)),
            &dims,
        );
        let third = (0..256).map(|code: i32| (90 - code) / 2).collect();
        let mut last = to.step(
            StepOp::Table(third),
            &[second],
            Some(grid(8, 0.05, 170)),
            &dims,
        );
        if read_between {
            let how = burn_compress::network::Arithmetic::Add {
                left: 0.5,
                right: 0.25,
            };
            let op = StepOp::Arithmetic {
                how,
                activation: None,
            };
            last = to.step(op, &[last, first], Some(grid(8, 0.05, 128)), &dims);
        }
        let output = to.step(StepOp::Dequantize, &[last], None, &dims);
        let model = to.build(output);
        assert_on_blocks(&model, &BATCHES, true, "tables");
        for isa in isas() {
            let program = Program::compile(&model, options(isa, 1)).unwrap();
            let rows = program.layers(1).iter();
            let steps = rows.filter(|row| row.kernel == "elementwise").count();
            assert_eq!(steps, if read_between { 3 } else { 1 }, "{isa:?}");
        }
    }
}

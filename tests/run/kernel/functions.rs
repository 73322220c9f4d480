//! Functions of one float, beside the same in double precision.

use burn_compress::kernel::{Elementwise, Function, VectorBlock};

use super::{all, marked};

fn erf(x: f64) -> f64 {
    // The series where it converges fast, else a continued fraction.
    let size = x.abs();
    if size < 2.5 {
        let (mut term, mut sum) = (size, size);
        for n in 1..80 {
            term *= -size * size / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return (sum * 2.0 / std::f64::consts::PI.sqrt()).copysign(x);
    }
    let mut fraction = 0.0;
    for n in (1..60).rev() {
        fraction = f64::from(n) / 2.0 / (size + fraction);
    }
    let rest = (-size * size).exp() / std::f64::consts::PI.sqrt() / (size + fraction);
    (1.0 - rest).copysign(x)
}

fn exact(function: Function, x: f64) -> f64 {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    match function {
        Function::Add(c) => x + f64::from(c),
        Function::Square => x * x,
        Function::Abs => x.abs(),
        Function::Sqrt => x.sqrt(),
        Function::Reciprocal => 1.0 / x,
        Function::LeakyRelu { slope } => {
            if x < 0.0 {
                x * f64::from(slope)
            } else {
                x
            }
        }
        Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Function::HardSigmoid { alpha, beta } => {
            (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
        }
        Function::Exp => x.exp(),
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Silu => x / (1.0 + (-x).exp()),
        Function::Tanh => x.tanh(),
        Function::Erf => erf(x),
        Function::Gelu => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
        Function::GeluTanh => 0.5 * x * (1.0 + (root * (x + 0.044715 * x * x * x)).tanh()),
    }
}

// The greatest error that a function documents, at an operand and its exact value.
fn bound(function: Function, x: f64, exact: f64) -> f64 {
    let place = f64::from(f32::EPSILON);
    match function {
        Function::Exp => 2.0 * place * exact,
        Function::Sigmoid | Function::Silu | Function::Tanh => 4.0 * place * exact.abs(),
        Function::Erf => 3e-7,
        Function::Gelu | Function::GeluTanh => 3e-7 * x.abs(),
        // One rounding for each operation.
        _ => 2.0 * place * (exact.abs() + x.abs().min(10.0)),
    }
}

fn functions() -> Vec<Function> {
    vec![
        Function::Add(-1.7),
        Function::Square,
        Function::Abs,
        Function::Sqrt,
        Function::Reciprocal,
        Function::LeakyRelu { slope: 0.1 },
        Function::HardSwish,
        Function::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Function::Exp,
        Function::Sigmoid,
        Function::Silu,
        Function::Tanh,
        Function::Erf,
        Function::Gelu,
        Function::GeluTanh,
    ]
}

// Near zero of both signs, and to where all that saturates has.
fn operands() -> Vec<f32> {
    let steps = (-8000..=8000).map(|step| step as f32 * 0.011);
    let small = (0..120).flat_map(|place| {
        let x = 1.3f32.powi(-place);
        [x, -x]
    });
    let mut all: Vec<f32> = steps
        .chain(small)
        .chain([0.0, -0.0, 0.625, -0.625])
        .collect();
    all.resize(all.len().next_multiple_of(VectorBlock::LANES), 1.0);
    all
}

#[test]
fn functions_keep_their_bounds() {
    let x = operands();
    let mut blocks = vec![VectorBlock::default(); x.len() / VectorBlock::LANES];
    VectorBlock::floats_mut(&mut blocks).copy_from_slice(&x);
    for function in functions() {
        for kernels in all() {
            let mut output = marked(blocks.len());
            let step = Elementwise::Function(function);
            step.run(kernels, &[&blocks], &mut output).unwrap();
            for (&x, &found) in x.iter().zip(VectorBlock::floats(&output)) {
                let exact = exact(function, f64::from(x));
                if exact.is_nan() || exact.abs() > f64::from(f32::MAX) || exact.is_infinite() {
                    assert!(!found.is_finite(), "{function:?} of {x}: {found}");
                    continue;
                }
                let error = (f64::from(found) - exact).abs();
                let bound = bound(function, f64::from(x), exact) + f64::from(f32::MIN_POSITIVE);
                let set = kernels.isa();
                assert!(
                    error <= bound,
                    "{set:?}: {function:?} of {x}: {found}, not {exact}"
                );
            }
        }
    }
}

#[test]
fn ends_of_functions() {
    assert_eq!(Function::Exp.value(f32::INFINITY), f32::INFINITY);
    assert_eq!(Function::Exp.value(89.0), f32::INFINITY);
    assert!(Function::Exp.value(-200.0) <= f32::MIN_POSITIVE);
    assert_eq!(Function::Sigmoid.value(-200.0), 0.0);
    assert_eq!(Function::Sigmoid.value(200.0), 1.0);
    assert_eq!(Function::Tanh.value(-50.0), -1.0);
    assert_eq!(Function::Erf.value(9.0), 1.0);
    assert_eq!(
        Function::LeakyRelu { slope: 0.5 }.value(-0.0).to_bits(),
        (-0.0f32).to_bits()
    );
}

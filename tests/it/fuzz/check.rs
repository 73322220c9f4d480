//! What must hold of a case: program, reference, simulation and Burn agree.

#![allow(
    clippy::neg_cmp_op_on_partial_ord,
    reason = "NaN is apart from everything"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::Tensor;
use burn_compress::engine::{EngineError, Program, TuningCache};
use burn_compress::graph::{Calibration, Fallback, Graph, GraphError, Quantized};
use burn_compress::network::{self, Step, StepOp};
use burn_compress::network::{Op, Unary};

use super::any::Any;
use super::case::{Case, Form};
use super::exact::exact;
use super::network::{Net, Network};
use crate::backends::models::spread;

/// A function of the ranks of input and output.
macro_rules! by_rank {
    ($input:expr, $output:expr, $function:ident($($argument:expr),*)) => {
        match ($input, $output) {
            (2, 2) => $function::<2, 2>($($argument),*),
            (2, 3) => $function::<2, 3>($($argument),*),
            (2, _) => $function::<2, 4>($($argument),*),
            (3, 2) => $function::<3, 2>($($argument),*),
            (3, 3) => $function::<3, 3>($($argument),*),
            (3, _) => $function::<3, 4>($($argument),*),
            (_, 2) => $function::<4, 2>($($argument),*),
            (_, 3) => $function::<4, 3>($($argument),*),
            (_, _) => $function::<4, 4>($($argument),*),
        }
    };
}

/// Of the largest number: what the order of sums makes of a program in floats.
const PROGRAM: f32 = 2e-5;
/// The same of Burn, whose functions are others, too.
const BURN: f32 = 5e-5;
/// What the largest number is taken for, where it is less.
const LEAST: f32 = 1e-3;
/// The same behind a norm: of values that are nearly equal it makes what rounding leaves of them, at the size
/// of one.
const NORMED: f32 = 1.0;
/// How many times as much where sums are of thousands of numbers, which lose more.
const OF_LARGE: f32 = 5.0;
/// What eight bits may make of a network, as a share of all its output.
const INTEGERS: f32 = 0.15;

/// What is wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    pub what: &'static str,
    pub detail: String,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Why it was refused.
    pub refused: Option<String>,
    /// Names of operations.
    pub operations: Vec<&'static str>,
    /// Whether images went alone first, then together.
    pub split: bool,
    /// Whether there were kernels, and plain steps.
    pub cells: bool,
    pub plain: bool,
    pub in_integers: bool,
    /// How far the integers' output is from that of the floats, as a share.
    pub apart: Option<f32>,
    /// Of the largest number.
    pub program: f32,
    pub burn: f32,
}

/// A panic is a failure as well.
pub fn check(case: &Case) -> Result<Seen, Failure> {
    let run = AssertUnwindSafe(|| checked(case));
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Err(failure("a panic", text.unwrap_or_default()))
    })
}

fn failure(what: &'static str, detail: impl ToString) -> Failure {
    Failure {
        what,
        detail: detail.to_string(),
    }
}

fn checked(case: &Case) -> Result<Seen, Failure> {
    let network = &case.network;
    let most = case.batches[case.batches.len() - 1];
    let images = |batch: usize, from: &[f32]| {
        let dims = network.batch(batch);
        Any::new(from[..dims.iter().product()].to_vec(), &dims)
    };
    let count: usize = network.batch(most).iter().product();
    let input: Vec<f32> = (0..count)
        .map(|index| case.range * (2.0 * spread(index + 13) - 1.0))
        .collect();
    let few = most.min(3);
    let x = images(few, &input);
    let (net, values) = network.build(x.clone());
    let plain = net.clone();
    let burn = values[values.len() - 1].clone();
    let mut seen = Seen::default();

    let graph = match by_rank!(
        network.input.len() + 1,
        burn.dims().len(),
        capture(&net, network)
    ) {
        Err(error @ GraphError::Unsupported { .. }) => {
            seen.refused = Some(error.to_string());
            return Ok(seen);
        }
        graph => graph.map_err(|error| failure("the capture", error))?,
    };
    seen.operations = graph.nodes().iter().map(|node| node.op.name()).collect();
    let simplified = !matches!(case.form, Form::Floats { simplified: false });
    let graph = if simplified { graph.simplify() } else { graph };

    let formed = form(case, graph, net, x.clone(), burn.dims().len());
    let (model, simulated, expected) = match formed {
        Ok(formed) => formed,
        Err(Refusal::Typed(text)) => {
            seen.refused = Some(text);
            return Ok(seen);
        }
        Err(Refusal::Failure(failure)) => return Err(failure),
    };

    let (reference, statistics) = model
        .run_with(&input, most, 1)
        .map_err(|error| failure("the reference", error))?;
    let each = reference.len() / most;
    let of_few = &reference[..each * few];
    match case.form {
        Form::Floats { .. } => {
            let expected = expected.unwrap_or_else(|| burn.values());
            let bound = BURN * scale(network);
            seen.burn = apart(of_few, &expected);
            // A norm of a constant, say, is whatever rounding leaves of it.
            let is_exact = |exact: Vec<f32>| apart(of_few, &exact) <= bound;
            if seen.burn > bound && !exact(case, plain, x).is_some_and(is_exact) {
                return Err(differs("the reference is not Burn", of_few, &expected));
            }
        }
        Form::Integers { .. } => {
            seen.in_integers = true;
            let expected = expected.unwrap_or_else(|| burn.values());
            let apart = share(of_few, &expected);
            seen.apart = Some(apart);
            if case.is_fine() && apart > INTEGERS {
                return Err(differs(
                    "the integers are far from the floats",
                    of_few,
                    &expected,
                ));
            }
            let (simulated, in_float) = simulated.unwrap_or_default();
            if !in_float && statistics.inexact() == 0 && simulated != of_few {
                return Err(differs(
                    "the integers are not the simulation",
                    of_few,
                    &simulated,
                ));
            }
            if in_float && share(of_few, &simulated) > 0.1 {
                return Err(differs(
                    "the integers are not the simulation",
                    of_few,
                    &simulated,
                ));
            }
        }
    }
    run(case, &model, &input, &reference, &mut seen)?;
    Ok(seen)
}

fn scale(network: &Network) -> f32 {
    match network.input.iter().product::<usize>() > 5_000 {
        true => OF_LARGE,
        false => 1.0,
    }
}

fn run(
    case: &Case,
    model: &network::Network,
    input: &[f32],
    reference: &[f32],
    seen: &mut Seen,
) -> Result<(), Failure> {
    let most = case.batches[case.batches.len() - 1];
    let fault = |error: EngineError| failure("the program", error);
    let program = Program::compile(model, case.options()).map_err(fault)?;
    let rows = program.layers(most);
    seen.split = rows.iter().any(|row| row.kernel == "layout conversion");
    seen.plain = rows.iter().any(|row| row.kernel.starts_with("plain"));
    seen.cells = rows.iter().any(|row| !row.kernel.starts_with("plain"));
    let exact = !model
        .steps()
        .iter()
        .any(|step| rounds_otherwise(model, step));
    let codes = model.steps().iter().any(|step| step.grid.is_some());
    let normed = model.steps().iter().any(|step| {
        matches!(
            step.op,
            StepOp::Float(Op::LayerNorm { .. } | Op::GroupNorm { .. })
        )
    });
    let mut programs = Vec::new();
    if case.again {
        let loaded = model
            .to_bytes()
            .and_then(|bytes| network::Network::from_bytes(&bytes));
        let loaded = loaded.map_err(|error| failure("the file", error))?;
        let kept = program.tuning_cache();
        programs.push(Program::compile_with(&loaded, case.options(), kept).map_err(fault)?);
    }
    if seen.split {
        let kept = by_fours(&program);
        programs.push(Program::compile_with(model, case.options(), &kept).map_err(fault)?);
    }
    if let Some(first) = case.kernels {
        let kept = with_kernels(&program, first);
        programs.push(Program::compile_with(model, case.options(), &kept).map_err(fault)?);
    }
    programs.insert(0, program);
    for (program, &batch) in programs
        .iter()
        .flat_map(|p| case.batches.iter().map(move |b| (p, b)))
    {
        let part = |values: &'_ [f32]| values.len() / most * batch;
        let expected = &reference[..part(reference)];
        let found = program
            .run(&input[..part(input)], batch)
            .map_err(|error| failure("the program", format!("batch {batch}: {error}")))?;
        let same = match exact {
            true => found == expected,
            // A sum on the other side of a tie is another code.
            false if codes => share(&found, expected) <= 0.05,
            false => {
                let least = if normed { NORMED } else { LEAST };
                let apart = apart_of(&found, expected, least);
                seen.program = seen.program.max(apart);
                apart <= PROGRAM * scale(&case.network)
            }
        };
        if !same {
            let mut failure = differs("the program is not the reference", &found, expected);
            failure.detail += &format!(" at batch {batch}\n{}", program.table(batch));
            return Err(failure);
        }
    }
    Ok(())
}

// Its choices, with other kernels for its products: one of these after the other.
fn with_kernels(program: &Program, first: usize) -> TuningCache {
    const KERNELS: [&str; 5] = ["sparse", "dense", "winograd 4x4", "tiled", "winograd 2x2"];
    let mut choices = serde_json::to_value(program.tuning_cache()).expect("choices are JSON");
    let mut place = first;
    let mut change = |kernels: &mut serde_json::Value| {
        for kept in kernels.as_array_mut().into_iter().flatten() {
            kept["kernel"] = KERNELS[place % 5].into();
            place += 1 + first / 5 % 4;
        }
    };
    change(&mut choices["one"]);
    for together in choices["many"].as_array_mut().into_iter().flatten() {
        change(&mut together["kernels"]);
    }
    serde_json::from_value(choices).expect("choices are JSON")
}

// Its choices, with images together by fours where they are by sixteens.
fn by_fours(program: &Program) -> TuningCache {
    let mut choices = serde_json::to_value(program.tuning_cache()).expect("choices are JSON");
    for together in choices["many"].as_array_mut().into_iter().flatten() {
        together["samples"] = 4.into();
        together["kernels"] = serde_json::json!([]);
    }
    serde_json::from_value(choices).expect("choices are JSON")
}

// A sum whose order is the program's own, or a function that it computes in its own way: the result is not the
// reference's to the bit. A function of codes is a table, whose numbers are the reference's.
fn rounds_otherwise(model: &network::Network, step: &Step) -> bool {
    let StepOp::Float(op) = &step.op else {
        return false;
    };
    match op {
        Op::Convolution { .. }
        | Op::TransposedConvolution { .. }
        | Op::Linear
        | Op::MatMul
        | Op::LayerNorm { .. }
        | Op::Softmax { .. } => true,
        Op::AveragePool { .. }
        | Op::AdaptiveAveragePool { .. }
        | Op::Sum { .. }
        | Op::Mean { .. } => step.grid.is_none(),
        Op::Unary(
            Unary::Power(_)
            | Unary::Exp
            | Unary::Sigmoid
            | Unary::Silu
            | Unary::Tanh
            | Unary::Erf
            | Unary::Gelu
            | Unary::GeluTanh,
        ) => !is_of_codes(model, step),
        // Factors and terms one after the other are folded.
        Op::Binary(_) => {
            let constant = |value: &network::Value| matches!(value, network::Value::Constant(_));
            step.inputs.iter().any(constant)
        }
        _ => false,
    }
}

// Whether a function's operand is codes of a byte, or functions of such.
fn is_of_codes(model: &network::Network, step: &Step) -> bool {
    let [network::Value::Node(index)] = step.inputs[..] else {
        return false;
    };
    let source = &model.steps()[index];
    if let Some(grid) = source.grid {
        return grid.high() - grid.low() <= 255;
    }
    let of_one = matches!(source.op, StepOp::Dequantize | StepOp::Float(Op::Unary(_)));
    of_one && is_of_codes(model, source)
}

/// Why a case has no form.
enum Refusal {
    Typed(String),
    Failure(Failure),
}

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Typed(error.to_string())
    }
}

/// The model; in integers what the simulation gives, and whether a part of it is in float; what Burn's
/// module gives, pruned.
type Formed = (network::Network, Option<(Vec<f32>, bool)>, Option<Vec<f32>>);

fn form(case: &Case, graph: Graph, net: Net, x: Any, rank: usize) -> Result<Formed, Refusal> {
    let network = &case.network;
    let Some(plan) = case.plan() else {
        let model = graph.to_float_model(&net);
        let model =
            model.map_err(|error| Refusal::Failure(failure("the form in floats", error)))?;
        return Ok((model, None, None));
    };
    let float = match case.pruned() {
        Some(plan) => plan.attach(net.clone())?.0,
        None => net.clone(),
    };
    let expected = float.forward(network, x.clone()).values();
    let (net, compression) = plan.attach(net)?;
    let Some(activations) = case.activations() else {
        let model = graph.to_float_model(&net)?;
        return Ok((model, None, Some(expected)));
    };
    let mut calibration = Calibration::new(graph, &net, &compression, activations)?;
    match x.clone() {
        Any::Two(x) => calibration.observe(&net, x),
        Any::Three(x) => calibration.observe(&net, x),
        Any::Four(x) => calibration.observe(&net, x),
    }?;
    let quantized = calibration.finish(net)?;
    let model = quantized.to_integer()?;
    let simulated = by_rank!(x.dims().len(), rank, simulate(&quantized, x))?;
    let in_float = !quantized.in_float().is_empty();
    Ok((model, Some((simulated, in_float)), Some(expected)))
}

fn capture<const D: usize, const E: usize>(
    net: &Net,
    network: &Network,
) -> Result<Graph, GraphError> {
    let mut shape = [1; D];
    shape[1..].copy_from_slice(&network.input);
    Graph::capture_with(net, shape, Fallback::Float, |net: &Net, x: Tensor<D>| {
        net.forward(network, Any::of(x)).rank::<E>()
    })
}

fn simulate<const D: usize, const E: usize>(
    quantized: &Quantized<Net>,
    x: Any,
) -> Result<Vec<f32>, GraphError> {
    let simulated = quantized.forward::<D, E>(x.rank())?;
    Ok(Any::of(simulated).values())
}

fn apart(found: &[f32], expected: &[f32]) -> f32 {
    apart_of(found, expected, LEAST)
}

// The greatest difference, as a share of the largest number, or of this one where all are less; infinite where
// one is no number.
fn apart_of(found: &[f32], expected: &[f32], least: f32) -> f32 {
    if found.len() != expected.len() {
        return f32::INFINITY;
    }
    let largest = expected
        .iter()
        .fold(least, |most: f32, x| most.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0, |most: f32, (a, b)| match (a - b).abs() {
        apart if apart.is_nan() => f32::INFINITY,
        apart => most.max(apart / largest),
    })
}

// The size of all differences, as a share of all numbers'; infinite where one is no number.
fn share(found: &[f32], expected: &[f32]) -> f32 {
    if found.len() != expected.len() {
        return f32::INFINITY;
    }
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
    let apart = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let size = norm(&mut expected.iter().copied());
    match apart / size.max(1e-3) {
        share if share.is_nan() => f32::INFINITY,
        share => share,
    }
}

fn differs(what: &'static str, found: &[f32], expected: &[f32]) -> Failure {
    let pairs = || found.iter().zip(expected);
    let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    let worst = pairs().enumerate().max_by(|(_, a), (_, b)| {
        let apart = |(x, y): &(&f32, &f32)| (**x - **y).abs();
        apart(a).total_cmp(&apart(b))
    });
    let (place, (one, other)) = worst.unwrap_or((0, (&0.0, &0.0)));
    let count = pairs()
        .filter(|(a, b)| a.is_nan() || (*a - *b).abs() > 1e-5 * largest)
        .count();
    failure(
        what,
        format!(
            "{one}, not {other} at {place}; {count} of {} ({} expected) differ, the largest is {largest}, as a share {}",
            found.len(),
            expected.len(),
            share(found, expected)
        ),
    )
}

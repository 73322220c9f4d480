//! Programs held to the reference.

#![allow(dead_code, reason = "no binary uses all of them")]

use burn_compress::engine::{Options, Program, Tuning};
use burn_compress::kernel::{Isa, Kernels};
use burn_compress::network::{Network, StepOp};

/// Numbers between -1 and 1 for a batch.
pub fn images(model: &Network, batch: usize, salt: usize) -> Vec<f32> {
    let each: usize = model.input().iter().map(|dim| dim.at(1)).product();
    let number = |index| 2.0 * spread(salt * 7_919 + index) - 1.0;
    (0..each * batch).map(number).collect()
}

pub fn options(isa: Isa, threads: usize) -> Options {
    Options {
        threads: Some(threads),
        isa: Some(isa),
        tuning: Tuning::Estimated,
    }
}

/// The best instruction set of this machine.
pub fn best() -> Isa {
    Kernels::detect().isa()
}

/// The instruction sets of this machine.
pub fn isas() -> impl Iterator<Item = Isa> {
    // No backend runs them: one run of the tests in full is enough.
    let all = std::env::var("BURN_COMPRESS_DEVICE").is_err();
    let best = best();
    let here = move |isa: &Isa| Kernels::of(*isa).is_some() && (all || *isa == best);
    Isa::ALL.into_iter().filter(here)
}

/// Checks batches that fill passes, and that do not. A large model runs alone on the best set: tests
/// are compiled without optimization, where its reference takes minutes.
#[track_caller]
pub fn assert_runs(model: &Network, batches: &[usize], what: &str) {
    let float = |op: &StepOp| matches!(op, StepOp::Float(_));
    let exact = !model.steps().iter().any(|step| float(&step.op));
    let (batches, isas) = match weights(model) {
        0..200_000 => (batches, isas().collect()),
        _ => (&batches[..1], vec![best()]),
    };
    for &batch in batches {
        let input = images(model, batch, 17);
        let (expected, _) = model.run(&input, batch).unwrap();
        for &isa in &isas {
            let program = Program::compile(model, options(isa, 2)).unwrap();
            let found = program.run(&input, batch).unwrap();
            let what = format!("{what}, {} at batch {batch}", isa.name());
            assert_close(&found, &expected, exact, &what);
        }
    }
}

// Numbers that a model holds.
fn weights(model: &Network) -> usize {
    let codes = model.steps().iter().map(|step| match &step.op {
        StepOp::Product {
            weights: Some(weights),
            ..
        } => weights.codes.len(),
        _ => 0,
    });
    let constants = model
        .constants()
        .iter()
        .map(|constant| constant.values.len());
    codes.chain(constants).sum()
}

#[track_caller]
pub fn assert_close(found: &[f32], expected: &[f32], exact: bool, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same = match exact {
            true => found.to_bits() == expected.to_bits(),
            false => (found - expected).abs() <= 1e-4 * largest,
        };
        assert!(same, "{what}: {found}, not {expected} at {index}");
    }
}

/// A number in (0, 1) for each index, without a pattern that a network would notice
/// (SplitMix64).
pub fn spread(index: usize) -> f32 {
    let mixed = 99u64.wrapping_add((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mixed = mixed ^ (mixed >> 31);
    ((mixed >> 40) as f32 + 0.5) / (1u64 << 24) as f32
}

//! Random networks over all operations: program, reference, simulation and Burn must agree on each.
//!
//! `BURN_COMPRESS_FUZZ` is how many, and `BURN_COMPRESS_FUZZ_SEED` the seed of the first; each has the next
//! one. So the network of a seed that failed is
//! `BURN_COMPRESS_FUZZ=1 BURN_COMPRESS_FUZZ_SEED=<seed> cargo test --test it fuzz -- --nocapture`, and
//! several processes share many networks with seeds far apart.

mod any;
mod case;
mod check;
mod exact;
mod function;
mod generate;
mod layer;
mod movement;
mod network;
mod pool;
mod reduce;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use case::Case;
use check::{Seen, check};

use crate::backends::device::leaves_out;

/// Networks of a run that names no number.
const FEW: u64 = 80;

#[derive(Default)]
struct Totals {
    networks: u64,
    failed: Vec<String>,
    refused: BTreeMap<String, u64>,
    operations: BTreeMap<&'static str, u64>,
    integers: u64,
    split: u64,
    cells: u64,
    plain: u64,
    /// Shares by which integers of eight bits are apart from floats.
    apart: Vec<(f32, u64)>,
    program: (f32, u64),
    burn: (f32, u64),
    /// Seconds that took longest.
    slow: (f32, u64),
}

impl Totals {
    fn add(&mut self, seed: u64, case: &Case, seen: Seen) {
        if let Some(why) = seen.refused {
            // Without the names of layers.
            let words = why
                .split_whitespace()
                .filter(|word| !word.contains("parts."));
            *self
                .refused
                .entry(words.collect::<Vec<_>>().join(" "))
                .or_default() += 1;
            return;
        }
        for name in seen.operations {
            *self.operations.entry(name).or_default() += 1;
        }
        self.integers += u64::from(seen.in_integers);
        self.split += u64::from(seen.split);
        self.cells += u64::from(seen.cells);
        self.plain += u64::from(seen.plain);
        if let (Some(apart), true) = (seen.apart, case.is_fine()) {
            self.apart.push((apart, seed));
        }
        let most = |of: &mut (f32, u64), found: f32| {
            if found > of.0 {
                *of = (found, seed);
            }
        };
        most(&mut self.program, seen.program);
        most(&mut self.burn, seen.burn);
    }

    fn print(&self, started: Instant) {
        let seconds = started.elapsed().as_secs_f64();
        let Self {
            networks,
            integers,
            split,
            cells,
            plain,
            program,
            burn,
            slow,
            ..
        } = self;
        let refused: u64 = self.refused.values().sum();
        let mut apart: Vec<_> = self.apart.clone();
        apart.sort_by(|a, b| b.0.total_cmp(&a.0));
        let beyond = |share: f32| apart.iter().filter(|(apart, _)| *apart > share).count();
        eprintln!(
            "{networks} networks in {seconds:.0} s, {:.1} a second: {integers} in integers, {split} split, \
             {cells} on vector blocks, {plain} with plain steps, {refused} refused, {} failed; slowest {slow:?}\n\
             floats apart at most: program {program:?}, Burn {burn:?}\n\
             integers apart from floats: {} beyond 5 %, {} beyond 20 % of {}; most: {:?}",
            *networks as f64 / seconds,
            self.failed.len(),
            beyond(0.05),
            beyond(0.2),
            apart.len(),
            &apart[..apart.len().min(8)],
        );
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name);
    text.map_or(otherwise, |text| text.parse().expect("a whole number"))
}

#[test]
fn random_networks() {
    if leaves_out("random_networks") {
        return;
    }
    let count = number("BURN_COMPRESS_FUZZ", FEW);
    let first = number("BURN_COMPRESS_FUZZ_SEED", 0);
    let many = std::env::var("BURN_COMPRESS_FUZZ").is_ok();
    let mut totals = Totals::default();
    let started = Instant::now();
    for seed in first..first + count {
        totals.networks += 1;
        let begun = Instant::now();
        let made = catch_unwind(AssertUnwindSafe(|| Case::of(seed)));
        let case = made.unwrap_or_else(|_| panic!("no network for seed {seed}"));
        match check(&case) {
            Ok(seen) => totals.add(seed, &case, seen),
            Err(failure) => {
                eprintln!(
                    "seed {seed}: {}: {}\n{case:?}",
                    failure.what, failure.detail
                );
                let (case, failure) = reduce::reduce(&case, &failure);
                let text = format!(
                    "seed {seed}: {}: {}\n{case:#?}",
                    failure.what, failure.detail
                );
                eprintln!("reduced: {text}");
                totals.failed.push(text);
            }
        }
        let took = begun.elapsed().as_secs_f32();
        if took > totals.slow.0 {
            totals.slow = (took, seed);
        }
        if many && totals.networks % 1000 == 0 {
            totals.print(started);
        }
    }
    if many {
        totals.print(started);
        eprintln!("{:#?}\n{:#?}", totals.operations, totals.refused);
    }
    assert!(
        totals.failed.is_empty(),
        "{} failed:\n{}",
        totals.failed.len(),
        totals.failed.join("\n")
    );
    let refused: u64 = totals.refused.values().sum();
    assert!(
        refused * 20 <= totals.networks.max(20),
        "{:#?}",
        totals.refused
    );
}

//! The smallest case that fails in the same way.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::any::Any;
use super::case::{Case, Form};
use super::check::{Failure, check};
use super::network::Network;

/// Tries that it may take.
const MOST: usize = 400;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Simpler and simpler, as long as it fails.
pub fn reduce(case: &Case, failure: &Failure) -> (Case, Failure) {
    // What does not fit panics, which is nothing to be told of.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                others(info);
            }
        }));
    });
    QUIET.set(true);
    let least = reduced(case, failure);
    QUIET.set(false);
    least
}

fn reduced(case: &Case, failure: &Failure) -> (Case, Failure) {
    let (mut least, mut failed) = (case.clone(), failure.clone());
    let mut tries = 0;
    'simpler: loop {
        for simpler in simpler(&least) {
            tries += 1;
            if tries > MOST {
                return (least, failed);
            }
            // A layer may not fit any more.
            let dims = simpler.network.batch(1);
            let x = Any::new(vec![0.5; dims.iter().product()], &dims);
            let fits = catch_unwind(AssertUnwindSafe(|| simpler.network.build(x)));
            if fits.is_err() {
                continue;
            }
            if let Err(again) = check(&simpler)
                && again.what == failed.what
            {
                (least, failed) = (simpler, again);
                continue 'simpler;
            }
        }
        return (least, failed);
    }
}

fn simpler(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Case)| {
        let mut other = case.clone();
        change(&mut other);
        if other != *case {
            all.push(other);
        }
    };
    for network in networks(&case.network) {
        with(&|case| case.network = network.clone());
    }
    for &batch in &case.batches {
        with(&|case| case.batches = vec![batch]);
    }
    with(&|case| case.batches = vec![1]);
    with(&|case| case.measured = false);
    with(&|case| case.again = false);
    with(&|case| case.kernels = None);
    with(&|case| case.threads = 1);
    with(&|case| case.removed = 0.0);
    with(&|case| case.block = 0);
    with(&|case| case.range = 1.0);
    with(&|case| {
        if let Form::Integers {
            weights,
            activations,
        } = &mut case.form
        {
            (weights.affine, activations.affine) = (false, true);
            (weights.by_channel, weights.bits, activations.bits) = (true, 8, 8);
        }
    });
    all
}

fn networks(network: &Network) -> Vec<Network> {
    let mut all = Vec::new();
    let count = network.nodes.len();
    // Without the last ones.
    for kept in 1..count {
        let mut shorter = network.clone();
        shorter.nodes.truncate(kept);
        all.push(shorter.without_unused());
    }
    // Without one, whose readers read what it read.
    for index in 0..count {
        for &from in &network.nodes[index].from {
            let mut shorter = network.clone();
            shorter.nodes.remove(index);
            for node in &mut shorter.nodes[index..] {
                for value in &mut node.from {
                    match (*value).cmp(&(index + 1)) {
                        std::cmp::Ordering::Equal => *value = from,
                        std::cmp::Ordering::Greater => *value -= 1,
                        std::cmp::Ordering::Less => {}
                    }
                }
            }
            if !shorter.nodes.is_empty() {
                all.push(shorter.without_unused());
            }
        }
    }
    // Smaller images.
    for axis in 0..network.input.len() {
        for length in [1, network.input[axis] / 2, network.input[axis] - 1] {
            let mut smaller = network.clone();
            if (1..smaller.input[axis]).contains(&length) {
                smaller.input[axis] = length;
                all.push(smaller);
            }
        }
    }
    all
}

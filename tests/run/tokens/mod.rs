//! Networks on tokens run on vector blocks alone, and give what the reference does.

mod blocks;
mod integers;
mod moves;

use burn_compress::engine::{Options, Program};
use burn_compress::network::Network;

use super::runs::{assert_close, images, isas, options};

/// Checks batches on every instruction set, on one thread and on two. No step may run plainly.
#[track_caller]
pub fn assert_on_blocks(model: &Network, batches: &[usize], exact: bool, what: &str) {
    let most = batches.iter().copied().max().unwrap_or(1);
    let input = images(model, most, 17);
    let (expected, _) = model.run(&input, most).unwrap();
    for isa in isas() {
        for threads in [1, 2] {
            let options = Options {
                threads: Some(threads),
                ..options(isa, 1)
            };
            let program = Program::compile(model, options).unwrap();
            assert_none_plain(&program, batches, what);
            for &batch in batches {
                let [read, made] = [&input, &expected].map(|of| of.len() / most * batch);
                let found = program.run(&input[..read], batch).unwrap();
                let what = format!("{what}, {} on {threads} at batch {batch}", isa.name());
                assert_close(&found, &expected[..made], exact, &what);
            }
        }
    }
}

#[track_caller]
pub fn assert_none_plain(program: &Program, batches: &[usize], what: &str) {
    for &batch in batches {
        let rows = program.layers(batch).iter();
        let plain = rows.filter(|row| row.kernel.starts_with("plain"));
        let plain: Vec<_> = plain.map(|row| (&row.layer, &row.kernel)).collect();
        assert!(plain.is_empty(), "{what}: {plain:?} at batch {batch}");
    }
}

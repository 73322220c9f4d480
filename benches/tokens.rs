//! Transformer blocks in the engine: the time of each step, one sample on one thread.
//!
//! `cargo bench --no-default-features --bench tokens`

use std::time::Instant;

use burn_compress::engine::{Options, Program};
use burn_compress::network::Unary;

#[path = "../tests/support/runs.rs"]
mod runs;
#[path = "../tests/support/tokens.rs"]
mod tokens;

use tokens::Block;

fn main() {
    let vit = Block {
        tokens: 197,
        channels: 384,
        heads: 6,
        hidden: 1536,
        rms: false,
        activation: Unary::Gelu,
        first: true,
    };
    let mini_lm = Block {
        tokens: 128,
        heads: 12,
        first: false,
        ..vit
    };
    for (name, block) in [("ViT-S block", vit), ("MiniLM block", mini_lm)] {
        report(name, block);
    }
}

fn report(name: &str, block: Block) {
    let model = block.network(1);
    let options = Options {
        threads: Some(1),
        ..Options::default()
    };
    let program = Program::compile(&model, options).expect("the model compiles");
    let input = runs::images(&model, 1, 3);
    let mut least = f64::INFINITY;
    let begun = Instant::now();
    for run in 0.. {
        let started = Instant::now();
        program.run(&input, 1).expect("the model runs");
        least = least.min(started.elapsed().as_secs_f64() * 1e3);
        if run >= 3 && begun.elapsed().as_secs_f64() > 2.0 {
            break;
        }
    }
    println!("{name}: {least:.3} ms");
    let rows = program.layers(1);
    let all: f64 = rows.iter().filter_map(|row| row.microseconds).sum();
    for row in rows {
        let time = row.microseconds.unwrap_or(0.0);
        let speed = row.multiply_adds as f64 / time / 1e3;
        let limit = row.limit.map_or(0.0, |limit| 100.0 * limit / time);
        println!(
            "  {:<22} {:<16} {time:>9.1} us {:>5.1} % {speed:>6.1} GMAC/s {limit:>4.0} % of the peak",
            row.layer,
            row.kernel,
            100.0 * time / all
        );
    }
}

//! Classifies a sample with a saved network, without Burn.
//!
//! ```text
//! cargo run --profile small -p runtime -- MODEL.bcm < NUMBERS
//! ```
//!
//! The numbers of the sample are separated by spaces, commas or new lines.
//!
//! `--verify MODEL.bcm` compares this machine's kernels with the reference instead, and prints what memory the
//! program takes.

use std::error::Error;
use std::io::read_to_string;

use burn_compress::engine::{Options, Program};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let verify = arguments.next_if_eq("--verify").is_some();
    let path = arguments.next().ok_or("give the path of a network")?;
    let program = Program::load(path, Options::default())?;
    if verify {
        let verified = program.verify()?;
        let (numbers, isa) = (verified.numbers, program.isa().name());
        let how = match verified.tolerance {
            0.0 => "the reference's",
            _ => "near the reference's",
        };
        println!("{numbers} numbers on {isa} are {how}");
        let memory = program.memory();
        println!(
            "bytes: {} of weights, {} of tensors for one sample, {} for a run",
            memory.weights, memory.one_sample, memory.arena
        );
        return Ok(());
    }
    let text = read_to_string(std::io::stdin())?;
    let numbers = text.split([' ', ',', '\n']).filter(|word| !word.is_empty());
    let sample: Vec<f32> = numbers.map(str::parse).collect::<Result<_, _>>()?;
    let scores = program.run(&sample, 1)?;
    let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    println!("class {}", best.ok_or("the network has no output")?);
    Ok(())
}

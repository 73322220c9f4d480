//! Classifies a sample with a saved network, without Burn.
//!
//! ```text
//! cargo run --profile small -p runtime -- MODEL.bcm < NUMBERS
//! ```
//!
//! The numbers of the sample are separated by spaces, commas or new lines.

use std::error::Error;
use std::io::read_to_string;

use burn_compress::engine::{Options, Program};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("give the path of a network")?;
    let program = Program::load(path, Options::default())?;
    let text = read_to_string(std::io::stdin())?;
    let numbers = text.split([' ', ',', '\n']).filter(|word| !word.is_empty());
    let sample: Vec<f32> = numbers.map(str::parse).collect::<Result<_, _>>()?;
    let scores = program.run(&sample, 1)?;
    let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    println!("class {}", best.ok_or("the network has no output")?);
    Ok(())
}

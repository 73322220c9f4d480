//! Prints the bits of the scores of a sample, as `check.mjs` does: both must be the same.
//!
//! ```text
//! cargo run -p web --bin scores -- MODEL.bcm < NUMBERS
//! ```

use std::error::Error;
use std::io::read_to_string;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("give the path of a network")?;
    let text = read_to_string(std::io::stdin())?;
    let numbers = text.split([' ', ',', '\n']).filter(|word| !word.is_empty());
    let sample: Vec<f32> = numbers.map(str::parse).collect::<Result<_, _>>()?;
    for score in web::scores_of(std::fs::read(path)?, &sample)? {
        println!("{:08x}", score.to_bits());
    }
    Ok(())
}

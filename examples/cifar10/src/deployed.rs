//! A model as it is deployed: compiled by the engine, scored and timed.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use burn_compress::engine::Program;
use burn_compress::network::Statistics;

use crate::support::Dataset;
use crate::support::bars::Bars;

/// For how long calls are timed.
const TIMED: Duration = Duration::from_secs(2);
/// Images of a large call.
pub const BATCH: usize = 64;

/// What was measured of a program.
pub struct Deployed {
    /// Percentage of the test images with the right label.
    pub accuracy: f64,
    /// Size of its file.
    pub bytes: u64,
    /// The fastest call of one image, milliseconds.
    pub one: f64,
    /// The fastest call of [`BATCH`] images, milliseconds.
    pub many: f64,
}

impl Deployed {
    /// Writes the files of two programs, and measures both on labelled images; times in turns, so that a
    /// busy machine slows both.
    pub fn measure(
        programs: [(&Program, &Path); 2],
        data: &impl Dataset,
    ) -> Result<[Self; 2], Box<dyn Error>> {
        let both = programs.map(|(program, _)| program);
        let (one, many) = (
            milliseconds(both, data, 1)?,
            milliseconds(both, data, BATCH)?,
        );
        let of = |place: usize| -> Result<Self, Box<dyn Error>> {
            let (program, path) = programs[place];
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            Ok(Self {
                accuracy: accuracy(program, data)?,
                bytes: program.save(path)?,
                one: one[place],
                many: many[place],
            })
        };
        Ok([of(0)?, of(1)?])
    }
}

/// The reference on the first images against the engine: whether all outputs are equal in every bit,
/// and what the reference saw.
pub fn agreement(
    program: &Program,
    data: &impl Dataset,
    count: usize,
) -> Result<(bool, Statistics), Box<dyn Error>> {
    let indices: Vec<usize> = (0..count.min(data.len())).collect();
    let (images, _) = batch(data, &indices)?;
    let count = indices.len();
    let (expected, statistics) = program.model().run(&images, count)?;
    let found = program.run(&images, count)?;
    let same = found
        .iter()
        .zip(&expected)
        .all(|(a, b)| a.to_bits() == b.to_bits());
    Ok((same && found.len() == expected.len(), statistics))
}

/// Percentage of the images with the right label.
pub fn accuracy(program: &Program, data: &impl Dataset) -> Result<f64, Box<dyn Error>> {
    let indices: Vec<usize> = (0..data.len()).collect();
    let bar = Bars::new(indices.len() as u64);
    bar.message("classifying");
    let (mut right, mut done) = (0, 0);
    for chunk in indices.chunks(BATCH) {
        let (images, labels) = batch(data, chunk)?;
        let scores = program.run(&images, chunk.len())?;
        let each = scores.len() / chunk.len();
        let guesses = scores.chunks(each).map(largest);
        right += guesses.zip(labels).filter(|(a, b)| a == b).count();
        done += chunk.len();
        bar.at(done as u64);
    }
    bar.finish();
    Ok(100.0 * right as f64 / indices.len() as f64)
}

// The first of equal ones, as `argmax` does.
fn largest(scores: &[f32]) -> usize {
    let places = scores.iter().enumerate().rev();
    let best = places.max_by(|(_, a), (_, b)| a.total_cmp(b));
    best.map_or(0, |(place, _)| place)
}

// Images in rows, and their labels.
fn batch(data: &impl Dataset, indices: &[usize]) -> Result<(Vec<f32>, Vec<usize>), Box<dyn Error>> {
    let (images, labels) = data.batch(indices, &Device::default());
    let labels: Vec<i64> = labels.into_data().try_into_vec_as()?;
    let labels = labels.into_iter().map(|label| label as usize).collect();
    Ok((images.try_into_vec_as()?, labels))
}

// The fastest call of each, in turns.
fn milliseconds(
    programs: [&Program; 2],
    data: &impl Dataset,
    count: usize,
) -> Result<[f64; 2], Box<dyn Error>> {
    let indices: Vec<usize> = (0..count).map(|index| index % data.len()).collect();
    let (images, _) = batch(data, &indices)?;
    let started = Instant::now();
    let mut least = [f64::INFINITY; 2];
    let mut outputs = [Vec::new(), Vec::new()];
    for (program, output) in programs.iter().zip(&mut outputs) {
        *output = program.run(&images, count)?; // warms up
    }
    while started.elapsed() < TIMED {
        for ((program, output), least) in programs.iter().zip(&mut outputs).zip(&mut least) {
            let start = Instant::now();
            program.run_into(&images, count, output)?;
            *least = least.min(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(least)
}

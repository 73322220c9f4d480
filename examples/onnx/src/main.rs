//! A model of an ONNX file, compressed, compiled, and timed beside Burn.
//!
//! ```text
//! cargo run --release -- --sparsity 0.5 --bits 8
//! ONNX=/path/to/your.onnx cargo run --release -- --inputs inputs.f32
//! ```
//!
//! For a model of your own, change `SHAPE`, `Output` and `forward` below. The page
//! docs/guide/onnx.md goes through it.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use burn_compress::graph::{Fallback, Graph};
use burn_compress::reconstruct::Reconstruction;
use burn_compress::{Activations, Network, Options, Plan, Program, Pruning, Quantization, Scheme};
use clap::Parser;
use indicatif::ProgressBar;

use model::Model;

#[allow(clippy::all, unused)]
mod model {
    include!(concat!(env!("OUT_DIR"), "/model/model.rs"));
}

/// The shape of one input: as in the ONNX file, with a batch of 1.
const SHAPE: [usize; 4] = [1, 3, 32, 32];

/// As many axes as the output has.
type Output = Tensor<2>;

/// The pass through the model. Several outputs: flatten each, and concatenate them along axis 1.
fn forward(model: &Model, input: Tensor<{ SHAPE.len() }>) -> Output {
    model.forward(input)
}

/// Compresses a model of an ONNX file, and times it beside Burn.
#[derive(Parser)]
struct Arguments {
    /// Share of the weights that are removed
    #[arg(long, default_value_t = 0.5)]
    sparsity: f64,
    /// Bits of weights and activations
    #[arg(long, default_value_t = 8)]
    bits: u32,
    /// Remaining weights make up for removed and rounded ones
    #[arg(long)]
    reconstruct: bool,
    /// Inputs as little-endian f32, one after the other; without it, random numbers
    #[arg(long)]
    inputs: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Show each step of the programs
    #[arg(long)]
    table: bool,
    /// Where the two networks are saved
    #[arg(long, default_value = ".")]
    out: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let device = Device::default();
    let model = Model::default();
    let inputs = inputs(&arguments, &device)?;
    let test = inputs.first().ok_or("no input")?.clone();
    let numbers: Vec<f32> = test.clone().into_data().try_to_vec()?;
    let count = test.dims()[0];
    let expected: Vec<f32> = forward(&model, test.clone()).into_data().try_to_vec()?;

    let graph = Graph::capture_with(&model, SHAPE, Fallback::Float, forward)?;
    let floats = graph.simplify().to_float_model(&model)?;

    let plan = Plan::new()
        .prune(Pruning::to(arguments.sparsity))
        .quantize(Quantization::to(Scheme::symmetric(arguments.bits)?));
    let compressed = match arguments.reconstruct {
        false => plan.apply(model.clone())?,
        true => {
            let bar = ProgressBar::new(0);
            let what = Reconstruction::default();
            what.run(&plan, model.clone(), forward, inputs.clone(), |progress| {
                bar.set_length(progress.of as u64);
                bar.set_position(progress.done as u64);
                Ok(())
            })?
        }
    };
    let activations = Activations::bits(arguments.bits)?;
    let integers = compressed.quantized_network(SHAPE, forward, activations, inputs)?;

    let one = &numbers[..numbers.len() / count];
    let input = test.narrow(0, 0, 1);
    let mut pass = || drop(forward(&model, input.clone()).into_data());
    println!("Burn flex: {:.3} ms", least(&mut pass));
    let mut save = |name: &str, network: &Network| -> Result<(), Box<dyn Error>> {
        let bytes = network.save(arguments.out.join(format!("{name}.bcm")))?;
        let options = Options {
            threads: Some(arguments.threads),
            ..Options::default()
        };
        let program = Program::compile(network, options)?;
        let likeness = cosine(&program.run(&numbers, count)?, &expected);
        let ms = least(|| drop(program.run(one, 1)));
        println!("{name}: {ms:.3} ms, {bytes} bytes, cosine to Burn {likeness:.5}");
        for warning in program.warnings(1) {
            println!("  {warning}");
        }
        if arguments.table {
            println!("{}", program.table(1));
        }
        Ok(())
    };
    save("floats", &floats)?;
    save("integers", &integers)
}

/// Batches of 16.
fn inputs(
    arguments: &Arguments,
    device: &Device,
) -> Result<Vec<Tensor<{ SHAPE.len() }>>, Box<dyn Error>> {
    const BATCH: usize = 16;
    let mut shape = SHAPE;
    let Some(path) = &arguments.inputs else {
        shape[0] = BATCH;
        let batch = |_| Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
        return Ok((0..8).map(batch).collect());
    };
    let bytes = std::fs::read(path)?;
    let numbers = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b));
    let numbers: Vec<f32> = numbers.collect();
    let one: usize = SHAPE[1..].iter().product();
    let whole = &numbers[..numbers.len() / one * one];
    let batches = whole.chunks(one * BATCH).map(|batch| {
        shape[0] = batch.len() / one;
        Tensor::from_data(TensorData::new(batch.to_vec(), shape), device)
    });
    Ok(batches.collect())
}

/// The least time of a call within a second, in milliseconds.
fn least(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut least = f64::INFINITY;
    while start.elapsed().as_secs_f64() < 1.0 {
        let began = Instant::now();
        call();
        least = least.min(began.elapsed().as_secs_f64() * 1e3);
    }
    least
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

//! How long a network takes on the processor, pruned and quantized or not, as one line of JSON. See
//! benches/README.md for other engines beside it.
//!
//! ```text
//! cargo run --release --example run_time -- --model resnet20 --sparsity 0.9 --bits 8 --batch 64
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_compress::compress;
use burn_compress::engine::{Options, Program};
use burn_compress::kernel::{Isa, Kernels};
use clap::{Parser, ValueEnum};
use serde::Serialize;

#[path = "support/device.rs"]
mod device;
#[path = "support/isa.rs"]
mod isa;
#[path = "support/lowered.rs"]
mod lowered;
#[path = "models/mod.rs"]
mod models;
#[path = "support/prune_pattern.rs"]
mod prune_pattern;

use device::Backend;
use isa::isa;
use lowered::{images, lowered};
use models::mobilenet::{MobileNetV2, MobileNetV2Config};
use models::resnet::ResNet;
use models::resnet50::{ResNet50, ResNet50Config};
use prune_pattern::{Pattern, pruned};

/// Times a network on the processor.
#[derive(Parser)]
struct Arguments {
    #[arg(long, value_enum)]
    model: Network,
    /// Share of each layer's weights that are removed, the smallest
    #[arg(long, default_value_t = 0.0)]
    sparsity: f64,
    /// What is removed together
    #[arg(long, value_enum, default_value = "unstructured")]
    pattern: Pattern,
    /// 8: weights and activations in integers; 32: floats
    #[arg(long, default_value = "8", value_parser = ["8", "32"])]
    bits: String,
    /// Images of a call
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// For how long calls are timed; at least five are
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// What runs it
    #[arg(long, value_enum, default_value = "own")]
    engine: Engine,
    /// Lists the layers, with what runs them, on standard error
    #[arg(long)]
    layers: bool,
    /// Saves the network in this file, for `benches/web` for one
    #[arg(long)]
    save: Option<PathBuf>,
    /// No other instruction set than this, such as avx2; by default the best of the machine
    #[arg(long, value_parser = isa)]
    isa: Option<Isa>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Network {
    Resnet20,
    Resnet50,
    Mobilenetv2,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The compressed model, by this library
    Own,
    /// The module as it is, by Burn's CPU backend, in dense floats whatever its weights are
    Flex,
}

#[derive(Serialize)]
struct Line {
    model: String,
    sparsity: f64,
    pattern: String,
    bits: u32,
    batch: usize,
    threads: usize,
    engine: &'static str,
    isa: &'static str,
    /// Time to compile, kernels tried on this machine included.
    compile_ms: Option<f64>,
    ms_min: f64,
    ms_median: f64,
    /// At the fastest call.
    images_per_s: f64,
    /// What the model takes in a `.bcm` file.
    file_bytes: usize,
}

const SEED: u64 = 0;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if !(0.0..1.0).contains(&arguments.sparsity) || arguments.batch == 0 || arguments.threads == 0 {
        return Err(
            "--sparsity is 0 or more and below 1, --batch and --threads are at least 1".into(),
        );
    }
    // Burn's backend takes its threads from there.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads);
    pool.build_global()?;
    let device = Backend::Flex.device()?;
    device.seed(SEED);
    match arguments.model {
        Network::Resnet20 => {
            let model = ResNet::new(20, &device)?;
            measure(&arguments, model, 32, ResNet::forward)
        }
        Network::Resnet50 => {
            let model = ResNet50Config::new().init(&device);
            measure(&arguments, model, 224, ResNet50::forward)
        }
        Network::Mobilenetv2 => {
            let model = MobileNetV2Config::new().init(&device);
            measure(&arguments, model, 224, MobileNetV2::forward)
        }
    }
}

fn measure<M: Module>(
    arguments: &Arguments,
    model: M,
    side: usize,
    forward: fn(&M, Tensor<4>) -> Tensor<2>,
) -> Result<(), Box<dyn Error>> {
    let device = Backend::Flex.device()?;
    let model = pruned(model, arguments.sparsity, arguments.pattern);
    let input = images(arguments.batch, side, &device);
    let (engine, file_bytes, seconds, program) = match arguments.engine {
        Engine::Flex => {
            let run = || Ok(forward(&model, input.clone()).into_data());
            let seconds = timed(arguments.seconds, run)?;
            let file = compress::archive(&model)?.to_bytes()?;
            ("burn-flex", file.len(), seconds, None)
        }
        Engine::Own => {
            let integers = arguments.bits == "8";
            let (lowered, file_bytes) = lowered(model, side, forward, integers, &device)?;
            if let Some(path) = &arguments.save {
                lowered.save(path)?;
            }
            let options = Options {
                threads: Some(arguments.threads),
                isa: arguments.isa,
                ..Options::default()
            };
            let started = Instant::now();
            let program = Program::compile(&lowered, options)?;
            let compiled = started.elapsed().as_secs_f64() * 1e3;
            if arguments.layers {
                eprintln!("{}", program.table(arguments.batch));
            }
            let values: Vec<f32> = input.try_into_vec_as()?;
            let mut output = program.run(&values, arguments.batch)?;
            let run = || Ok(program.run_into(&values, arguments.batch, &mut output)?);
            let seconds = timed(arguments.seconds, run)?;
            (
                "burn-compress",
                file_bytes,
                seconds,
                Some((program.isa(), compiled)),
            )
        }
    };
    let (least, median) = (seconds[0], seconds[seconds.len() / 2]);
    let line = Line {
        model: name(&arguments.model),
        sparsity: arguments.sparsity,
        pattern: name(&arguments.pattern),
        bits: match arguments.engine {
            Engine::Own => arguments.bits.parse()?,
            Engine::Flex => 32,
        },
        batch: arguments.batch,
        threads: arguments.threads,
        engine,
        isa: program
            .map_or_else(|| Kernels::detect().isa(), |(isa, _)| isa)
            .name(),
        compile_ms: program.map(|(_, compiled)| compiled),
        ms_min: least * 1e3,
        ms_median: median * 1e3,
        images_per_s: arguments.batch as f64 / least,
        file_bytes,
    };
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
}

/// The time of each call in seconds, the shortest first.
fn timed<T>(
    seconds: f64,
    mut run: impl FnMut() -> Result<T, Box<dyn Error>>,
) -> Result<Vec<f64>, Box<dyn Error>> {
    for _ in 0..3 {
        run()?;
    }
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed().as_secs_f64() < seconds || times.len() < 5 {
        let start = Instant::now();
        let output = run()?;
        times.push(start.elapsed().as_secs_f64());
        drop(output);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// The name of a choice on the command line.
fn name(choice: &impl ValueEnum) -> String {
    let choice = choice.to_possible_value();
    choice.map_or(String::new(), |value| value.get_name().to_string())
}

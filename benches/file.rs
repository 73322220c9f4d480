//! How large the file of a pruned and quantized ResNet-50 is, how long it takes to load, and until the
//! engine is ready to run it.
//!
//! ```text
//! cargo bench --bench file [-- --sparsity 0.9 --bits 8 --rounds 30 --isa avx512-vnni]
//! ```
//!
//! Weights are drawn from a normal distribution, each layer pruned for itself: the size is that of such
//! weights, the time that of any as sparse.

use std::error::Error;
use std::time::Instant;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor};
use burn_compress::compress::{Plan, Pruning, Quantization};
use burn_compress::engine::{Options, Program, TuningCache};
use burn_compress::format::Scheme;
use burn_compress::graph::{Activations, Calibration, Graph};
use burn_compress::kernel::Isa;
use burn_compress::network::Network;
use burn_compress::prune::Scope;
use clap::Parser;

#[path = "../examples/support/isa.rs"]
mod isa;
#[path = "../examples/models/mod.rs"]
mod models;

use isa::isa;
use models::resnet50::{ResNet50, ResNet50Config};

const IMAGES: [usize; 4] = [1, 3, 224, 224];

#[derive(Parser)]
struct Arguments {
    /// Share of the weights that are removed
    #[arg(long, default_value_t = 0.9)]
    sparsity: f64,
    /// Bits of a weight
    #[arg(long, default_value_t = 8)]
    bits: u32,
    /// Times it is loaded
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// No other instruction set than this, such as avx2; by default the best of the machine
    #[arg(long, value_parser = isa)]
    isa: Option<Isa>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Normal weights, as after training, in place of uniform ones.
struct Normal;

impl ModuleMapper for Normal {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dims = parameter.dims();
        if D == 1 {
            return parameter;
        }
        let inputs = dims[1..].iter().product::<usize>() as f64;
        let deviation = (2.0 / inputs).sqrt();
        parameter.map(|weight| {
            Tensor::random(dims, Distribution::Normal(0.0, deviation), &weight.device())
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let device = Device::default();
    let model = ResNet50Config::new().init(&device).map(&mut Normal);
    let pruning = Pruning::to(arguments.sparsity).scope(Scope::Layer);
    let quantization = Quantization::to(Scheme::symmetric(arguments.bits)?);
    let (model, compression) = Plan::new()
        .prune(pruning)
        .quantize(quantization)
        .attach(model)?;
    let graph = Graph::capture(&model, IMAGES, ResNet50::forward)?.simplify();
    let activations = Activations::bits(8)?;
    let mut calibration = Calibration::new(graph, &model, &compression, activations)?;
    let images = Tensor::<4>::random(IMAGES, Distribution::Normal(0.0, 1.0), &device);
    calibration.observe(&model, images)?;
    let integers = calibration.finish(model)?.to_integer()?;

    let start = Instant::now();
    let bytes = integers.to_bytes()?;
    let written = start.elapsed().as_secs_f64();
    let weights: usize = compression
        .layers()
        .iter()
        .map(|layer| layer.view.len())
        .sum();
    println!(
        "{} bytes, {:.4} a weight of {weights}; made in {written:.1} s",
        bytes.len(),
        bytes.len() as f64 / weights as f64
    );
    assert!(Network::from_bytes(&bytes)? == integers, "another model");

    let rounds = arguments.rounds;
    let threads = std::thread::available_parallelism()?;
    let model = time("its model loads", rounds, || Network::from_bytes(&bytes))?;
    drop(model);

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.bcm");
    integers.save(&path)?;
    let options = Options {
        isa: arguments.isa,
        ..Options::default()
    };
    let start = Instant::now();
    let program = Program::load(&path, options)?;
    let first = start.elapsed().as_secs_f64() * 1e3;
    println!("from the file until it is ready, kernels tried: {first:.0} ms");
    let kept = serde_json::to_string(program.tuning_cache())?;
    let choices: TuningCache = serde_json::from_str(&kept)?;
    let again = time("the same with kernels kept", rounds, || {
        Program::load_with(&path, options, &choices)
    })?;
    let image = vec![0.5; IMAGES.iter().product()];
    assert!(
        again.run(&image, 1)? == program.run(&image, 1)?,
        "another program"
    );
    println!(
        "({threads} threads; the tuning cache takes {} bytes)",
        kept.len()
    );
    Ok(())
}

/// Does it some times, and prints the median.
fn time<T, E>(what: &str, rounds: usize, run: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let mut milliseconds = Vec::new();
    let mut made = run()?;
    for _ in 0..rounds.max(1) {
        let start = Instant::now();
        let next = run()?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        made = next;
    }
    milliseconds.sort_by(f64::total_cmp);
    println!(
        "{what}: {:.1} ms, the median of {} times ({:.1} to {:.1})",
        milliseconds[milliseconds.len() / 2],
        milliseconds.len(),
        milliseconds[0],
        milliseconds[milliseconds.len() - 1],
    );
    Ok(made)
}

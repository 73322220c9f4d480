//! How large the file of a pruned and quantized ResNet-50 is, and how long it takes to load.
//!
//! ```text
//! cargo bench --bench file [-- --sparsity 0.9 --bits 8 --rounds 30]
//! ```
//!
//! Weights are drawn from a normal distribution, each layer pruned for itself: the size is that of such
//! weights, the time that of any as sparse.

use std::error::Error;
use std::time::Instant;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor};
use burn_compress::attach::{Plan, Pruning, Quantization};
use burn_compress::format::Scheme;
use burn_compress::graph::integer::IntegerModel;
use burn_compress::graph::{Activations, Calibration, Graph};
use burn_compress::prune::Scope;
use clap::Parser;

#[path = "../examples/models/mod.rs"]
mod models;

use models::resnet50::{ResNet50, ResNet50Config};

const IMAGES: [usize; 4] = [1, 3, 64, 64];

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
    assert!(
        IntegerModel::from_bytes(&bytes)? == integers,
        "another model"
    );

    let mut milliseconds = Vec::new();
    for _ in 0..arguments.rounds.max(1) {
        let start = Instant::now();
        let loaded = IntegerModel::from_bytes(&bytes)?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        drop(loaded);
    }
    milliseconds.sort_by(f64::total_cmp);
    println!(
        "loads in {:.1} ms, the median of {} times ({:.1} to {:.1}), on {} threads",
        milliseconds[milliseconds.len() / 2],
        milliseconds.len(),
        milliseconds[0],
        milliseconds[milliseconds.len() - 1],
        std::thread::available_parallelism()?
    );
    Ok(())
}

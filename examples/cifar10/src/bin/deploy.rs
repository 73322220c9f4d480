//! A compressed ResNet for CIFAR-10 in whole numbers: made from a study's best model, saved, loaded,
//! and run by the engine, next to the original: accuracy, size and time of both.
//!
//! ```text
//! cargo run --release -p cifar10 --bin deploy -- --data CIFAR_FOLDER --weights resnet20.th \
//!     --model target/cifar10/best.bcm
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Tensor;
use burn_compress::compress::{self, Plan, Pruning, Quantization};
use burn_compress::engine::{Options, Program};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::repair::{correct_bias, equalize};
use burn_compress::graph::{Activations, Calibration, Graph, GraphError};
use burn_compress::network::Network;
use clap::Parser;

use cifar10::arguments::ResNetArguments;
use cifar10::cifar::Cifar;
use cifar10::deployed::{BATCH, Deployed, agreement};
use cifar10::models::resnet::ResNet;
use cifar10::support::Dataset;
use cifar10::support::evaluate::accuracy;
use cifar10::support::workload::INPUTS;

/// Takes a ResNet for CIFAR-10 to its integer form.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    of: ResNetArguments,
    /// What a study saved: a model in integer form, or one whose weights alone are compressed (its
    /// activations are quantized here, its zeros kept). Without it, the original is quantized
    #[arg(long)]
    model: Option<PathBuf>,
    /// Bits of a weight, where the model is not in integer form yet
    #[arg(long, default_value_t = 8)]
    bits: u32,
    /// Bits of activations, likewise
    #[arg(long, default_value_t = 8)]
    activation_bits: u32,
    /// One scale for all weights of a layer, likewise; otherwise one for each output channel
    #[arg(long)]
    per_tensor: bool,
    /// Makes the channels' ranges alike before they are quantized, likewise
    #[arg(long)]
    equalize: bool,
    /// Takes out what quantization does to the channels' means, likewise
    #[arg(long)]
    bias_correction: bool,
    /// Finds the weights without training so that the outputs of layers change least, likewise
    #[arg(long)]
    reconstruct: bool,
    /// Share of the weights that a reconstruction removes beyond the zeros that are there
    #[arg(long, requires = "reconstruct")]
    sparsity: Option<f64>,
    /// Rounds the factors and offsets of the integer form to so many significant bits: a smaller file
    #[arg(long)]
    factor_bits: Option<u32>,
    /// Where the integer form goes; the original in floats goes beside it, as original.bcm
    #[arg(long, default_value = "target/deploy/model.bcm")]
    out: PathBuf,
    /// Threads of the engine
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let (device, original) = arguments.of.network()?;
    let (train, test) = arguments.of.images(Some(INPUTS))?;
    let options = Options {
        threads: Some(arguments.threads),
        ..Options::default()
    };
    let floats = capture(&original)?.simplify().to_float_model(&original)?;
    let floats = Program::compile(&floats, options)?;

    let saved = arguments.model.as_ref().map(Network::load);
    let integers = match saved {
        Some(Ok(integers)) => integers,
        _ => {
            let model = match &arguments.model {
                Some(path) => {
                    let model = compress::load(path, ResNet::new(arguments.of.depth, &device)?)?;
                    let score = accuracy(&test, &device, |images| model.forward(images));
                    println!("its weights compressed, in floats: {score:.2} %");
                    model
                }
                None => original,
            };
            quantize(&arguments, model, [&train, &test])?
        }
    };
    let integers = match arguments.factor_bits {
        Some(bits) => integers.with_factor_bits(bits)?,
        None => integers,
    };
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let bytes = integers.save(&arguments.out)?;
    println!("wrote {} ({bytes} bytes)", arguments.out.display());
    // As the deployed program does: from the file alone.
    let integers = Program::load(&arguments.out, options)?;

    let (same, statistics) = agreement(&integers, &test, CHECKED)?;
    println!(
        "the engine {} the reference on the first {} images; {} sums beyond 24 bits",
        match same {
            true => "agrees bit for bit with",
            false => "DIFFERS from",
        },
        CHECKED.min(test.len()),
        statistics.inexact()
    );

    let folder = arguments.out.parent().unwrap_or(Path::new(""));
    let original = folder.join("original.bcm");
    let both = [
        (&floats, original.as_path()),
        (&integers, arguments.out.as_path()),
    ];
    let [before, after] = Deployed::measure(both, &test)?;
    println!("{}", integers.table(1));
    println!(
        "\n{} images, {} threads, {}",
        test.len(),
        integers.threads(),
        integers.isa().name()
    );
    compare(&before, &after);
    Ok(())
}

/// An image.
const SHAPE: [usize; 4] = [1, 3, 32, 32];

/// Images on which the engine is compared with the reference.
const CHECKED: usize = 100;

fn compare(before: &Deployed, after: &Deployed) {
    println!("{:22}{:>12}{:>12}", "", "original", "compressed");
    println!(
        "{:22}{:>12.2}{:>12.2}   {:+.2} points",
        "accuracy, %",
        before.accuracy,
        after.accuracy,
        after.accuracy - before.accuracy
    );
    println!(
        "{:22}{:>12}{:>12}   {:.2} times smaller",
        "file, bytes",
        before.bytes,
        after.bytes,
        before.bytes as f64 / after.bytes as f64
    );
    let times = [(1, before.one, after.one), (BATCH, before.many, after.many)];
    for (images, before, after) in times {
        let name = format!("batch of {images}, ms");
        println!(
            "{name:22}{before:>12.3}{after:>12.3}   {:.2} times faster",
            before / after
        );
    }
}

fn capture(model: &ResNet) -> Result<Graph, GraphError> {
    Graph::capture(model, SHAPE, |model, images: Tensor<4>| {
        model.forward(images)
    })
}

fn quantize(
    arguments: &Arguments,
    mut model: ResNet,
    [train, test]: [&Cifar; 2],
) -> Result<Network, Box<dyn Error>> {
    let device = arguments.of.device.device()?;
    let graph = capture(&model)?;
    if arguments.equalize {
        let equalized = equalize(&graph, model)?;
        for pair in &equalized.pairs {
            println!("equalized: {} with {}", pair.first, pair.second);
        }
        model = equalized.module;
    }
    let granularity = match arguments.per_tensor {
        true => Granularity::Tensor,
        false => Granularity::Channel,
    };
    let scheme = Scheme::new(arguments.bits, Mapping::Symmetric, granularity)?;
    let pruning = arguments
        .sparsity
        .map_or_else(Pruning::existing, Pruning::to);
    let plan = Plan::new()
        .prune(pruning)
        .quantize(Quantization::to(scheme));
    let activations = Activations::bits(arguments.activation_bits)?;
    let indices: Vec<usize> = (0..train.len()).collect();
    let batches = indices.chunks(128);
    let batches: Vec<Tensor<4>> = batches.map(|batch| train.batch(batch, &device).0).collect();
    let forward = |model: &ResNet, images: Tensor<4>| model.forward(images);
    let mut quantized = if arguments.reconstruct {
        let start = Instant::now();
        let compressed = plan.reconstruct(model, forward, batches.clone())?;
        let seconds = start.elapsed().as_secs_f64();
        let score = accuracy(test, &device, |images| compressed.module.forward(images));
        println!("reconstructed in {seconds:.1} s, in floats: {score:.2} %");
        compressed.quantized(SHAPE, forward, activations, batches.clone())?
    } else {
        // The weights as they were stay, for the correction of biases.
        let (model, compression) = plan.attach(model)?;
        let graph = graph.simplify();
        let mut calibration = Calibration::new(graph, &model, &compression, activations)?;
        for batch in &batches {
            calibration.observe(&model, batch.clone())?;
        }
        calibration.finish(model)?
    };
    if arguments.bias_correction {
        quantized = correct_bias(quantized, batches.into_iter().take(CORRECTION))?;
    }
    println!("{}", quantized.table()?);
    for node in quantized.in_float() {
        println!("stays in float: {} ({})", node.layer, node.op.name());
    }
    Ok(quantized.to_integer()?)
}

/// Batches that bias correction sees: it goes through them for each layer.
const CORRECTION: usize = 4;

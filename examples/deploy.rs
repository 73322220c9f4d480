//! A compressed ResNet for CIFAR-10 in whole numbers: made from a study's best model, saved, loaded,
//! and used to classify, next to the original.
//!
//! ```text
//! cargo run --release --example deploy -- --data CIFAR_FOLDER --weights resnet20.th \
//!     --model target/cifar10/best.bcm
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::Tensor;
use burn_compress::attach::{self, Plan, Pruning, Quantization};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::integer::IntegerModel;
use burn_compress::graph::repair::{correct_bias, equalize};
use burn_compress::graph::{Activations, Calibration, Graph};
use clap::Parser;

#[path = "support/mod.rs"]
mod support;

use support::Dataset;
use support::bars::Bars;
use support::cifar::Cifar;
use support::evaluate::accuracy;
use support::resnet::ResNet;
use support::resnet_arguments::ResNetArguments;
use support::workload::CALIBRATION;

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
    /// Where the integer form goes
    #[arg(long, default_value = "target/deploy/model.bcm")]
    out: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let (device, original) = arguments.of.network()?;
    let (train, test) = arguments.of.images(Some(CALIBRATION))?;
    println!(
        "original in floats: {:.2} %",
        accuracy(&test, &device, |images| original.forward(images))
    );

    let saved = arguments.model.as_ref().map(IntegerModel::load);
    let integers = match saved {
        Some(Ok(integers)) => integers,
        _ => {
            let model = match &arguments.model {
                Some(path) => {
                    let model = attach::load(path, ResNet::new(arguments.of.depth, &device)?)?;
                    let score = accuracy(&test, &device, |images| model.forward(images));
                    println!("its weights compressed, in floats: {score:.2} %");
                    model
                }
                None => original,
            };
            quantize(&arguments, model, &train)?
        }
    };
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let bytes = integers.save(&arguments.out)?;
    let integers = IntegerModel::load(&arguments.out)?;
    println!("wrote {} ({bytes} bytes)", arguments.out.display());

    let started = Instant::now();
    let (mut right, mut inexact) = (0, 0);
    let indices: Vec<usize> = (0..test.len()).collect();
    let bar = Bars::new(indices.len() as u64);
    bar.message("classifying in integers");
    for (place, batch) in indices.chunks(100).enumerate() {
        let (images, labels) = test.batch(batch, &device);
        let images: Vec<f32> = images.try_into_vec_as()?;
        let (classes, statistics) = integers.run(&images, batch.len())?;
        inexact += statistics.inexact();
        let classes = Tensor::<1>::from_data(classes.as_slice(), &device);
        let guesses = classes
            .reshape([batch.len(), classes_of(&integers)])
            .argmax(1);
        let hits = guesses.squeeze_dim::<1>(1).equal(labels).int().sum();
        right += hits.into_scalar::<i64>();
        bar.at(((place + 1) * 100).min(indices.len()) as u64);
    }
    bar.finish();
    println!(
        "in integers: {:.2} % of {} images, in {:.0} s; {inexact} sums beyond 24 bits",
        100.0 * right as f64 / indices.len() as f64,
        indices.len(),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

fn classes_of(integers: &IntegerModel) -> usize {
    integers.output_dims().last().map_or(1, |dim| dim.at(1))
}

fn quantize(
    arguments: &Arguments,
    mut model: ResNet,
    train: &Cifar,
) -> Result<IntegerModel, Box<dyn Error>> {
    let device = arguments.of.device.device()?;
    let graph = Graph::capture(&model, [1, 3, 32, 32], |model, images: Tensor<4>| {
        model.forward(images)
    })?;
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
    let plan = Plan::new().prune(Pruning::existing());
    let (model, compression) = plan.quantize(Quantization::to(scheme)).attach(model)?;
    let activations = Activations::bits(arguments.activation_bits)?;
    let graph = graph.simplify();
    let mut calibration = Calibration::new(graph, &model, &compression, activations)?;
    let indices: Vec<usize> = (0..train.len()).collect();
    let batches = indices.chunks(128);
    let batches: Vec<Tensor<4>> = batches.map(|batch| train.batch(batch, &device).0).collect();
    for batch in &batches {
        calibration.observe(&model, batch.clone())?;
    }
    let mut quantized = calibration.finish(model)?;
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

//! Gradual pruning with quantization-aware training in a loop of one's own.
//!
//! ```text
//! cargo run --release --example custom_loop
//! ```

use std::error::Error;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn_compress::compress::{Plan, Pruning, Quantization, load};
use burn_compress::format::Scheme;
use burn_compress::quantize::LeastSquares;
use burn_compress::schedule::Curve;
use burn_compress::train::refine_rate;
use clap::Parser;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

#[path = "support/mod.rs"]
mod support;

use support::bars::Bars;
use support::{cnn::Cnn, device::Backend, digits::Digits, evaluate::accuracy};

/// Trains a network that is 80 % sparse at 4 bits when it is done.
#[derive(Parser)]
struct Arguments {
    /// Where it runs
    #[arg(long, value_enum, default_value_t)]
    device: Backend,
    /// Epochs; the last fifth is refine-tune
    #[arg(long, default_value_t = 20)]
    epochs: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let device = arguments.device.device()?;
    let autodiff = device.clone().autodiff();
    let (train, test) = Digits::load();
    let mut order: Vec<usize> = (0..train.labels.len()).collect();
    let steps = order.len() / 64;

    // What is to become of the model: 80 % sparse by the middle of the training, at 4 bits throughout.
    let middle = arguments.epochs * steps / 2;
    let plan = Plan::new()
        .prune(Pruning::along(Curve::Cubic {
            from: 0.0,
            to: 0.8,
            start: 0,
            end: middle,
        }))
        .quantize(Quantization::to(Scheme::symmetric(4)?).by(LeastSquares));
    let (mut model, mut compression) = plan.attach(Cnn::new(&autodiff))?;

    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    let loss = CrossEntropyLossConfig::new().init(&autodiff);
    let mut random = StdRng::seed_from_u64(0);
    let bars = Bars::new((arguments.epochs * steps) as u64);
    for epoch in 0..arguments.epochs {
        let refine = epoch * 5 >= arguments.epochs * 4;
        let rate = if refine { refine_rate(0.003) } else { 0.003 };
        order.shuffle(&mut random);
        for indices in order.chunks_exact(64) {
            let (images, labels) = train.batch_shifted(indices, 1, &mut random, &autodiff);
            let gradients = loss.forward(model.forward(images), labels).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            model = optimizer.step(rate, model, gradients);
            model = compression.step(model)?; // the one line that compresses
            bars.step();
        }
        let valid = model.valid();
        let score = accuracy(&test, &device, |images| valid.forward(images));
        let level = compression.level()? * 100.0;
        bars.print(&format!(
            "epoch {:2}: {level:4.1} % pruned, accuracy {score:.2} %",
            epoch + 1
        ));
    }
    bars.finish();

    // Pack it, ship it, load it: what was trained is what runs.
    let compressed = compression.finish(model)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("digits.bcm");
    let bytes = compressed.save(&path)?;
    let loaded = load(&path, Cnn::new(&device))?;
    for layer in compressed.layers() {
        let share = 100.0 * layer.removed as f64 / layer.weights as f64;
        println!("{:14} {share:5.1} % zero, {} bits", layer.path, layer.bits);
    }
    let score = accuracy(&test, &device, |images| loaded.forward(images));
    println!(
        "{bytes} bytes in place of {}, accuracy {score:.2} %",
        loaded.num_params() * 4
    );
    Ok(())
}

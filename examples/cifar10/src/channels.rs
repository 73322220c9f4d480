//! Fewer channels, trained on: accuracy and time beside the original's.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_compress::channels::{ChannelError, Channels, Narrowed};
use burn_compress::train::{FineTune, Workload};
use burn_compress::{Plan, Pruning};

use crate::cifar::Cifar;
use crate::models::resnet::ResNet;
use crate::support::workload::Classification;

/// How what is left is trained.
pub struct Stages {
    pub epochs: usize,
    pub refine_epochs: usize,
    pub learning_rate: f64,
}

/// Removes channels, and prints what went and what stays.
pub fn remove(model: &ResNet, channels: &Channels) -> Result<Narrowed<ResNet>, ChannelError> {
    let narrowed = channels.apply(model.clone(), [1, 3, 32, 32], ResNet::forward)?;
    println!("{narrowed}");
    Ok(narrowed)
}

/// Trains what is left, prints what it scores after each stage and how long a batch takes in Burn, and saves
/// it.
pub fn recover(
    original: &ResNet,
    narrowed: Narrowed<ResNet>,
    mut workload: Classification<ResNet, Cifar>,
    stages: Stages,
    saved: &Path,
) -> Result<(), Box<dyn Error>> {
    let score = |workload: &mut Classification<ResNet, Cifar>, what: &str, model: &ResNet| {
        let score = Workload::<ResNet>::score(workload, model);
        let score = score.map_err(|error| -> Box<dyn Error> { error })?;
        println!("{what:<20}{score:>8.2} %");
        Ok::<(), Box<dyn Error>>(())
    };
    score(&mut workload, "original", original)?;
    score(&mut workload, "fewer channels", &narrowed.module)?;
    // Nothing is masked: the stages are those of any compression.
    let plan = Plan::new().prune(Pruning::existing());
    let (mut model, mut compression) = plan.attach(narrowed.module.clone().train())?;
    for (name, epochs, refine) in [
        ("fine-tuned", stages.epochs, false),
        ("refine-tuned", stages.refine_epochs, true),
    ] {
        if epochs == 0 {
            continue;
        }
        let stage = FineTune {
            learning_rate: stages.learning_rate,
            epochs,
            seed: 0,
            refine,
        };
        model = stage.run(model, &mut compression, &mut workload, |_, _| {})?;
        score(&mut workload, name, &model.valid())?;
    }
    let compressed = compression.finish(model)?;
    if let Some(folder) = saved.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let bytes = compressed.save(saved)?;
    println!("wrote {} ({bytes} bytes)", saved.display());
    let (before, after) = narrowed.macs();
    let share = after as f64 / before as f64;
    let device = &workload.device;
    let (all, fewer) = (time(original, device), time(&compressed.module, device));
    println!(
        "batch of 64 in Burn: {:.1} ms, {:.1} ms of the original's channels; {:.2} of the time for \
         {share:.2} of the multiply-adds",
        1e3 * fewer,
        1e3 * all,
        fewer / all
    );
    Ok(())
}

// The least seconds of a few passes.
fn time(model: &ResNet, device: &Device) -> f64 {
    let images = Tensor::<4>::ones([64, 3, 32, 32], device);
    let pass = || {
        let start = Instant::now();
        let _ = model.forward(images.clone()).into_data();
        start.elapsed().as_secs_f64()
    };
    pass();
    (0..10).map(|_| pass()).fold(f64::INFINITY, f64::min)
}

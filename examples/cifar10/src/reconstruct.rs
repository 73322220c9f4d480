//! Compression without training, level by level: accuracy and time of each.

use std::error::Error;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use burn_compress::prune::Pattern;
use burn_compress::{Plan, Pruning, Quantization, Reconstruction, Scheme};

use crate::cifar::Cifar;
use crate::models::resnet::ResNet;
use crate::support::Dataset;
use crate::support::evaluate::accuracy;

/// Images of a batch.
const BATCH: usize = 128;

/// What is to be compared.
pub struct Levels {
    pub sparsity: Vec<f64>,
    pub patterns: Vec<Pattern>,
    pub bits: Vec<u32>,
    /// Each level of single weights with each number of bits, too.
    pub both: bool,
}

impl Levels {
    // Each plan with its name.
    fn plans(&self) -> Result<Vec<(String, Plan)>, Box<dyn Error>> {
        let mut plans = Vec::new();
        for pattern in &self.patterns {
            for level in &self.sparsity {
                let pruning = Pruning::to(*level).pattern(*pattern);
                plans.push((
                    format!("{:.0} % {pattern}", 100.0 * level),
                    Plan::new().prune(pruning),
                ));
            }
        }
        for bits in &self.bits {
            let codes = Quantization::to(Scheme::symmetric(*bits)?);
            plans.push((format!("{bits} bits"), Plan::new().quantize(codes)));
        }
        if self.both {
            for level in &self.sparsity {
                for bits in &self.bits {
                    let codes = Quantization::to(Scheme::symmetric(*bits)?);
                    let plan = Plan::new().prune(Pruning::to(*level)).quantize(codes);
                    plans.push((format!("{:.0} % and {bits} bits", 100.0 * level), plan));
                }
            }
        }
        Ok(plans)
    }
}

/// Compresses a network by each plan on the images of `inputs`, and prints what it scores on `test`.
pub fn compare(
    model: &ResNet,
    levels: &Levels,
    what: Reconstruction,
    inputs: &Cifar,
    test: &Cifar,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let score = |model: &ResNet| accuracy(test, device, |images| model.forward(images));
    println!("{} inputs, {} test images", inputs.len(), test.len());
    println!("{:<24}{:>10}{:>10}", "", "accuracy", "seconds");
    println!("{:<24}{:>10.2}", "original", score(model));
    for (name, plan) in levels.plans()? {
        let indices: Vec<usize> = (0..inputs.len()).collect();
        let batches = indices
            .chunks(BATCH)
            .map(|batch| inputs.batch(batch, device).0);
        let forward = |model: &ResNet, images: Tensor<4>| model.forward(images);
        let start = Instant::now();
        let compressed = what.run(&plan, model.clone(), forward, batches, |_| Ok(()))?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{name:<24}{:>10.2}{seconds:>10.1}",
            score(&compressed.module)
        );
    }
    Ok(())
}

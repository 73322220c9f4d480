//! A search for the compression of each layer within a time: accuracy, time and size of all models.

use std::error::Error;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use burn_compress::search::{Candidate, SearchActivity, SearchOptions};
use burn_compress::{Budget, Search};

use crate::cifar::Cifar;
use crate::deployed::{BATCH, accuracy};
use crate::models::resnet::ResNet;
use crate::support::Dataset;

/// Searches on the images of `inputs` for plans within a share of the time that the first candidate takes,
/// prints all models that were run, and keeps what it measured in a folder.
pub fn search(
    model: ResNet,
    candidates: Vec<Candidate>,
    share: f64,
    inputs: &Cifar,
    test: &Cifar,
    folder: &Path,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let indices: Vec<usize> = (0..inputs.len()).collect();
    let batches = indices
        .chunks(128)
        .map(|batch| inputs.batch(batch, device).0);
    let batches: Vec<Tensor<4>> = batches.collect();
    let options = SearchOptions {
        candidates,
        ..SearchOptions::default()
    };
    let found = Search::new(Budget::share(share, BATCH))
        .options(options)
        .folder(folder)
        .score(|program| accuracy(program, test).map_err(|error| error.to_string().into()))
        .on_progress(|progress| {
            if !matches!(progress.activity, SearchActivity::Reconstruct { .. }) {
                let (done, of) = (progress.done, progress.of);
                eprintln!("{done} of {of}: {:?}", progress.activity);
            }
            Ok(())
        })
        .run(
            model,
            |model: &ResNet, images: Tensor<4>| model.forward(images),
            batches,
        )?;
    let report = found.report();
    println!("{BATCH} images a call, {} test images", test.len());
    println!("{report}");
    for choice in &report.models[report.best].choices {
        println!("{:<28}{}", choice.layer, choice.candidate);
    }
    found.network(report.best)?.save(folder.join("best.bcm"))?;
    Ok(())
}

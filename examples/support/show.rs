//! A study's progress as a bar, and its outcome.

use std::error::Error;
use std::path::Path;

use burn::module::Module;
use burn_compress::prune::Pattern;
use burn_compress::report::{Mode, Stage};
use burn_compress::study::{Activity, Outcome, Progress, Trial};
use indicatif::HumanDuration;

use super::bars::Bars;

const TICKS: f64 = 1000.0;

/// A callback that shows the progress of a study.
pub fn progress() -> impl FnMut(&Progress) {
    let bars = Bars::new(TICKS as u64);
    move |progress| {
        let what = describe(&progress.trial);
        let (done, trials) = progress.trials;
        let text = match progress.activity {
            Activity::Train {
                epoch,
                epochs,
                step,
                steps,
            } => format!("{what}: epoch {}/{epochs}, step {step}/{steps}", epoch + 1),
            Activity::Reconstruct { done, of } => format!("{what}: layer {}/{of}", done + 1),
            Activity::Measure => format!("{what}: scoring"),
            Activity::Done => format!("{what}: done"),
            other => format!("{what}: {other:?}"),
        };
        let left = progress.left.map_or(String::new(), |left| {
            format!(", {} left", HumanDuration(left))
        });
        bars.message(format!("[{done}/{trials}{left}] {text}"));
        bars.at((progress.share * TICKS) as u64);
        if progress.activity == Activity::Done && done == trials {
            bars.finish();
        }
    }
}

/// Prints the report, and writes it and the best model into a folder.
pub fn outcome<M: Module>(outcome: &Outcome<M>, folder: &Path) -> Result<(), Box<dyn Error>> {
    println!("{}", outcome.report());
    for path in outcome.save(folder, "report")? {
        println!("wrote {}", path.display());
    }
    let best = folder.join("best.bcm");
    let bytes = outcome.save_best(&best)?;
    println!("wrote {} ({bytes} bytes)", best.display());
    Ok(())
}

fn describe(trial: &Trial) -> String {
    let pattern = match trial.pattern {
        Pattern::Unstructured => String::new(),
        pattern => format!(" {pattern}"),
    };
    let level = match trial.stage {
        Stage::Baseline => return "baseline".into(),
        Stage::Prune if trial.steered => format!("steered pruning{pattern}"),
        Stage::Prune => format!("{:.0} % pruned{pattern}", trial.level * 100.0),
        Stage::Quantize => format!("{} bits", trial.bits),
        Stage::Combined => format!(
            "{:.0} % pruned{pattern}, {} bits",
            trial.level * 100.0,
            trial.bits
        ),
    };
    let mode = match trial.mode {
        Mode::Aware => "aware",
        Mode::Reconstructed => "reconstructed",
        _ => "post-training",
    };
    let refined = if trial.refined { ", refine-tune" } else { "" };
    let activations = match trial.activation_bits {
        32 => String::new(),
        bits => format!(", activations of {bits}"),
    };
    format!("{level}{activations}, {mode}{refined}")
}

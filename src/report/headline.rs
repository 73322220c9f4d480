use super::units::{Digits, Unit, percent, significant, variant};
use super::{Mode, Report, Stage, Summary};

/// Size and run-time of a trial against the baseline, for people.
pub(super) struct Gain {
    /// Such as `12.3 kB instead of 120 kB (9.8 times smaller)`.
    pub(super) size: String,
    /// Such as `0.40 ms instead of 0.52 ms`.
    pub(super) time: String,
}

impl Report {
    pub(super) fn digits(&self) -> Digits {
        Digits::of(&self.rows, self.budget)
    }

    /// The overall best trial and whether it is within the budget.
    pub(super) fn best_trial(&self) -> Option<(&Summary, bool)> {
        let choice = self.best.overall.as_ref()?;
        Some((self.trial_of(Some(choice))?, choice.within_budget))
    }

    /// The result of the study in a sentence or two.
    pub(super) fn headline(&self) -> String {
        let Some((trial, within)) = self.best_trial() else {
            return "Only the baseline was measured: nothing was compressed.".to_owned();
        };
        let digits = self.digits();
        let score = format!(
            "{} ({})",
            digits.show(trial.mean_score),
            digits.change(-trial.mean_drop)
        );
        let gain = gain(trial, self.baseline());
        let result = format!(
            "{}: {score}, {}, {}.",
            sentence(trial),
            gain.size,
            gain.time
        );
        if within {
            capitalized(&result)
        } else {
            format!(
                "Nothing stays within the budget of {} points. The least loss: {result}",
                self.budget
            )
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Such as `90 % sparse at 8 bits (aware, refined)`.
fn sentence(trial: &Summary) -> String {
    let what = match trial.stage {
        Stage::Baseline => "the baseline".to_owned(),
        Stage::Prune => sparse(trial),
        Stage::Quantize if trial.activation_bits < 32 => format!(
            "weights of {} and activations of {} bits",
            trial.weight_bits, trial.activation_bits
        ),
        Stage::Quantize => format!("weights of {} bits", trial.weight_bits),
        Stage::Combined => format!("{} at {} bits", sparse(trial), trial.weight_bits),
    };
    if trial.mode == Mode::None && !trial.refined {
        what
    } else {
        format!("{what} ({})", variant(trial.mode, trial.refined))
    }
}

fn sparse(trial: &Summary) -> String {
    let level = percent(trial.level);
    match trial.pattern.words() {
        None => format!("{level} % sparse"),
        Some(words) => format!("{level} % sparse {words}"),
    }
}

pub(super) fn gain(trial: &Summary, baseline: Option<&Summary>) -> Gain {
    let size = Unit::bytes(trial.mean_bytes).with_name(trial.mean_bytes);
    let time = format!("{} ms", significant(trial.mean_ms));
    let Some(base) = baseline else {
        return Gain { size, time };
    };
    let factor = base.mean_bytes / trial.mean_bytes;
    let smaller = if factor.is_finite() && factor > 1.0 {
        format!(" ({} times smaller)", significant(factor))
    } else {
        String::new()
    };
    Gain {
        size: format!(
            "{size} instead of {}{smaller}",
            Unit::bytes(base.mean_bytes).with_name(base.mean_bytes)
        ),
        // Times of an engine and of a module do not compare.
        time: match trial.timed == base.timed {
            true => format!("{time} instead of {} ms", significant(base.mean_ms)),
            false => time,
        },
    }
}

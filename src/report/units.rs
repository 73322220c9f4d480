//! How numbers and trials are written for people, the same in the table, the page and the plots.

use super::summary::level_of;
use super::{Mode, Row, Stage, Summary};
use crate::prune::Pattern;

/// Decimals of the scores and drops of a report.
#[derive(Clone, Copy)]
pub(super) struct Digits(usize);

impl Digits {
    /// Enough decimals to see a tenth of the budget and four digits of a score.
    pub(super) fn of(rows: &[Row], budget: f64) -> Self {
        let by_scale = match rows.iter().map(|row| row.score.abs()).fold(0.0, f64::max) {
            s if s >= 1000.0 => 1,
            s if s >= 10.0 => 2,
            s if s >= 1.0 => 3,
            _ => 4,
        };
        let by_budget = if budget > 0.0 {
            (1.0 - budget.log10().floor()).clamp(0.0, 6.0) as usize
        } else {
            0
        };
        Self(by_scale.max(by_budget))
    }

    pub(super) fn show(self, value: f64) -> String {
        let text = format!("{value:.*}", self.0);
        // A drop of -0.001 is no gain once rounded.
        match text.strip_prefix('-') {
            Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_owned(),
            _ => text,
        }
    }

    /// With its sign, as a change.
    pub(super) fn change(self, value: f64) -> String {
        let text = self.show(value);
        match text.strip_prefix('-') {
            Some(rest) => format!("−{rest}"),
            None if text.chars().all(|c| c == '0' || c == '.') => format!("±{text}"),
            None => format!("+{text}"),
        }
    }
}

/// A decimal unit for a whole column, chosen by its largest value.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    factor: f64,
    /// Such as `kB`.
    pub(super) name: &'static str,
}

impl Unit {
    pub(super) fn bytes(largest: f64) -> Self {
        Self::choose(largest, ["B", "kB", "MB", "GB"])
    }

    pub(super) fn count(largest: f64) -> Self {
        Self::choose(largest, ["", "k", "M", "G"])
    }

    fn choose(largest: f64, names: [&'static str; 4]) -> Self {
        // A unit serves up to 10,000 of it, so that the small values keep their digits.
        let [one, kilo, mega, giga] = names;
        let (factor, name) = match largest {
            v if v < 1e4 => (1.0, one),
            v if v < 1e7 => (1e3, kilo),
            v if v < 1e10 => (1e6, mega),
            _ => (1e9, giga),
        };
        Self { factor, name }
    }

    /// The value in this unit.
    #[cfg(feature = "plots")]
    pub(super) fn scale(self, value: f64) -> f64 {
        value / self.factor
    }

    pub(super) fn show(self, value: f64) -> String {
        if self.factor == 1.0 {
            format!("{value:.0}")
        } else {
            significant(value / self.factor)
        }
    }

    pub(super) fn with_name(self, value: f64) -> String {
        format!("{} {}", self.show(value), self.name)
            .trim_end()
            .to_owned()
    }
}

/// About three significant digits, never in exponent form.
pub(super) fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.01 => 3,
        _ => 5,
    };
    format!("{value:.decimals$}")
}

/// A share of 1 in percent, with at most two decimals and none to no purpose.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share of 1 in percent with one decimal, for columns.
pub(super) fn percent1(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// The compression of a trial, such as `90 %, 8 bit` or `90 % block4`.
pub(super) fn compression(stage: Stage, level: f64, pattern: Pattern, bits: u32) -> String {
    let pruned = || match pattern.shown() {
        None => format!("{} %", percent(level)),
        Some(name) => format!("{} % {name}", percent(level)),
    };
    match stage {
        Stage::Baseline => "baseline".to_owned(),
        Stage::Prune => pruned(),
        Stage::Quantize => format!("{bits} bit"),
        Stage::Combined => format!("{}, {bits} bit", pruned()),
    }
}

/// How a trial was compressed, such as `aware, refined`.
pub(super) fn variant(mode: Mode, refined: bool) -> String {
    match (mode, refined) {
        (Mode::None, false) => "–".to_owned(),
        (Mode::None, true) => "refined".to_owned(),
        (mode, false) => mode.to_string(),
        (mode, true) => format!("{mode}, refined"),
    }
}

/// A row in a few words, such as `90 %, 8 bit, aware, refined`.
pub(super) fn describe(row: &Row) -> String {
    let what = compression(row.stage, level_of(row), row.pattern, row.weight_bits);
    with_variant(what, row.mode, row.refined)
}

/// A trial in a few words, as [`describe`].
pub(super) fn label(trial: &Summary) -> String {
    let what = compression(trial.stage, trial.level, trial.pattern, trial.weight_bits);
    with_variant(what, trial.mode, trial.refined)
}

fn with_variant(what: String, mode: Mode, refined: bool) -> String {
    if mode == Mode::None && !refined {
        what
    } else {
        format!("{what}, {}", variant(mode, refined))
    }
}

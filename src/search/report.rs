use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::{Budget, Candidate, Excess, LayerChoice};
use crate::Warning;

/// Where a model of a search comes from.
///
/// ```
/// use burn_compress::search::{Candidate, Origin};
/// let uniform = Origin::Uniform { candidate: Candidate::dense(8) };
/// assert_eq!(uniform.to_string(), "all layers: dense, 8 bits");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// The model as it came, in floats.
    Original,
    /// A candidate in all layers.
    Uniform {
        /// The candidate.
        candidate: Candidate,
    },
    /// A plan that was searched.
    Searched {
        /// Its number, from 1.
        number: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Original => "original".to_string(),
            Self::Uniform { candidate } => format!("all layers: {candidate}"),
            Self::Searched { number } => format!("searched {number}"),
        };
        f.pad(&text)
    }
}

/// A model that was run.
///
/// ```
/// # fn show(model: &burn_compress::search::SearchedModel) {
/// println!("{}: {:.2} ms, {} bytes", model.origin, model.milliseconds, model.bytes);
/// for choice in &model.choices {
///     println!("  {}: {}", choice.layer, choice.candidate);
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SearchedModel {
    /// Where it comes from.
    pub origin: Origin,
    /// What was done to each layer.
    pub choices: Vec<LayerChoice>,
    /// Milliseconds of a call, by the times of layers; none of the original.
    pub predicted_milliseconds: Option<f64>,
    /// Milliseconds of a call, measured.
    pub milliseconds: f64,
    /// Bytes of the network's file.
    pub bytes: u64,
    /// Multiply-adds of a sample, with weights that are not zero.
    pub macs: u64,
    /// The sum of what its layers' outputs lose, each by itself.
    pub damage: f64,
    /// Its score, where there is a scoring function.
    pub score: Option<f64>,
    /// What should be known of weights and program.
    pub warnings: Vec<Warning>,
}

/// A model that could not be made.
///
/// ```
/// # fn show(left_out: &burn_compress::search::LeftOut) {
/// println!("{}: {}", left_out.origin, left_out.reason);
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LeftOut {
    /// Where it would have come from.
    pub origin: Origin,
    /// What was to be done to each layer.
    pub choices: Vec<LayerChoice>,
    /// The layer that does not bear it, and the way out.
    pub reason: String,
}

/// What a search found.
///
/// ```
/// # fn show(report: &burn_compress::search::SearchReport) {
/// println!("{report}");
/// let best = &report.models[report.best];
/// match report.excess.as_slice() {
///     [] => println!("{} keeps the budget", best.origin),
///     [excess, ..] => println!("nothing keeps the budget; nearest: {excess}"),
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SearchReport {
    /// What was asked for.
    pub budget: Budget,
    /// All models that were run: the original, each candidate in all layers, and the searched ones.
    pub models: Vec<SearchedModel>,
    /// The Pareto front of time and score (of time and damage without a score): indices, the fastest first.
    pub front: Vec<usize>,
    /// The model that the budget asks for, or the nearest to it: its index. The original only where a
    /// candidate leaves layers untouched.
    pub best: usize,
    /// The limits that the best exceeds; none where it keeps the budget.
    pub excess: Vec<Excess>,
    /// Models that a layer does not bear.
    pub left_out: Vec<LeftOut>,
    /// What should be known of the times.
    pub warnings: Vec<Warning>,
}

impl SearchReport {
    /// Whether the best model keeps the budget.
    pub fn is_met(&self) -> bool {
        self.excess.is_empty()
    }

    /// Points of the score that a model lost against the original.
    pub fn drop(&self, model: &SearchedModel) -> Option<f64> {
        let original = self.models.first()?;
        Some(original.score? - model.score?)
    }
}

/// A table of all models; `*` is on the front, `>` the best.
impl fmt::Display for SearchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let header = [
            "",
            "model",
            "ms",
            "predicted",
            "bytes",
            "MACs",
            "damage",
            "score",
        ];
        table.set_header(header);
        for (index, model) in self.models.iter().enumerate() {
            let front = if self.front.contains(&index) { "*" } else { "" };
            let best = if index == self.best { ">" } else { "" };
            let number = |value: Option<f64>, digits: usize| {
                value.map_or(String::new(), |value| format!("{value:.digits$}"))
            };
            table.add_row([
                format!("{best}{front}"),
                model.origin.to_string(),
                number(Some(model.milliseconds), 3),
                number(model.predicted_milliseconds, 3),
                model.bytes.to_string(),
                model.macs.to_string(),
                number(Some(model.damage), 4),
                number(model.score, 2),
            ]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        for excess in &self.excess {
            writeln!(f, "Nothing keeps the budget; the nearest has {excess}.")?;
        }
        for left_out in &self.left_out {
            writeln!(f, "Left out: {}: {}.", left_out.origin, left_out.reason)?;
        }
        for warning in &self.warnings {
            writeln!(f, "{warning}.")?;
        }
        Ok(())
    }
}

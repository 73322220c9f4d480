//! The pictures of the page, as SVG whose colours are the page's CSS variables.

mod axis;
mod canvas;
mod layers;
mod levels;
mod trade;

use super::{Report, ReportError, Stage};
use crate::prune::Pattern;
pub(super) use canvas::Paint;
use std::collections::BTreeSet;

/// A picture with what belongs beside it.
pub(super) struct Figure {
    pub(super) title: String,
    /// A complete `svg` element.
    pub(super) svg: String,
    pub(super) keys: Vec<Key>,
    /// What a reader must know to read it rightly; plain text.
    pub(super) caption: String,
    /// Whether it takes the width of the page.
    pub(super) wide: bool,
}

/// An entry of a legend.
pub(super) struct Key {
    pub(super) text: String,
    pub(super) paint: Paint,
    pub(super) line: Stroke,
    pub(super) marker: Option<Marker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stroke {
    None,
    Solid,
    Dashed,
}

/// The sign of a point: hollow or filled, so that colour is never the only difference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) shape: Shape,
    pub(super) filled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
}

/// Every picture that the rows have data for.
pub(super) fn figures(report: &Report) -> Result<Vec<Figure>, ReportError> {
    let trials = report.summaries().iter();
    let pruned = trials.filter(|trial| trial.stage == Stage::Prune);
    let patterns: BTreeSet<Pattern> = pruned.map(|trial| trial.pattern).collect();
    let mut all = Vec::new();
    for pattern in patterns {
        all.push(levels::figure(report, Stage::Prune, pattern)?);
    }
    all.extend([
        levels::figure(report, Stage::Quantize, Pattern::default())?,
        trade::size(report)?,
        trade::time(report)?,
        layers::figure(report)?,
    ]);
    Ok(all.into_iter().flatten().collect())
}

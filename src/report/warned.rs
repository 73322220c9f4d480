#[cfg(feature = "plots")]
use super::units::describe;
use super::{Report, Row};
use crate::Warning;
use serde::{Deserialize, Serialize};

/// A warning of a study, and the models that it is about.
///
/// ```
/// use burn_compress::report::{Report, Row};
///
/// let clipped = |share: f64, seed: u64| format!(
///     r#"{{"stage":"quantize","mode":"post","refined":false,"sparsity":0,"weight_bits":4,
///         "score":97.0,"drop":1.0,"bytes":14000,"macs":30000,"ms":0.2,"seed":{seed},
///         "warnings":[{{"kind":"saturated","layer":"conv1","share":{share}}}]}}"#
/// );
/// let rows: Vec<Row> = serde_json::from_str(&format!("[{},{}]", clipped(0.03, 1), clipped(0.05, 2)))?;
/// let report = Report::new(rows, 0.5)?;
/// let [warned] = report.warnings() else { panic!() };
/// assert!(warned.warning.to_string().starts_with("5.0 %")); // the worse of both
/// assert_eq!(warned.rows, [0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Warned {
    /// The worst of those that are about the same thing.
    pub warning: Warning,
    /// The row whose it is.
    pub worst: usize,
    /// Indices of all rows that have one like it.
    pub rows: Vec<usize>,
}

/// The warnings of all rows, each once.
pub(super) fn gathered(rows: &[Row]) -> Vec<Warned> {
    let mut all: Vec<Warned> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        for warning in &row.warnings {
            let known = all.iter_mut().find(|known| known.warning.is_like(warning));
            let Some(known) = known else {
                all.push(Warned {
                    warning: warning.clone(),
                    worst: index,
                    rows: vec![index],
                });
                continue;
            };
            if known.rows.last() != Some(&index) {
                known.rows.push(index);
            }
            if warning.weight() > known.warning.weight() {
                known.warning = warning.clone();
                known.worst = index;
            }
        }
    }
    all
}

impl Report {
    /// The model that was chosen, else the first: whose warnings are told in full.
    fn chosen(&self) -> usize {
        let best = self.best.overall.as_ref();
        best.map_or(0, |choice| choice.index)
    }

    /// Of the chosen model each warning, of the others how many there are.
    pub(super) fn told(&self) -> Vec<String> {
        let chosen = self.rows.get(self.chosen());
        let own = chosen.map_or(&[][..], |row| &row.warnings);
        let mut lines: Vec<String> = own.iter().map(|warning| format!("! {warning}.")).collect();
        let others = self.warnings.iter();
        let others = others.filter(|warned| !warned.rows.contains(&self.chosen()));
        match others.count() {
            0 => {}
            1 => lines.push("! One more warning is about other models: see the JSON.".to_owned()),
            more => lines.push(format!(
                "! {more} more warnings are about other models: see the JSON."
            )),
        }
        lines
    }

    /// Each warning with the models that it is about, those of the chosen one first.
    #[cfg(feature = "plots")]
    pub(super) fn told_of_all(&self) -> Vec<String> {
        let chosen = self.chosen();
        let (own, others): (Vec<&Warned>, Vec<&Warned>) = self
            .warnings
            .iter()
            .partition(|warned| warned.rows.contains(&chosen));
        let line = |warned: &Warned| {
            let worst = self
                .rows
                .get(warned.worst)
                .map_or_else(String::new, describe);
            match warned.rows.len() {
                1 => format!("{}. ({worst})", warned.warning),
                models => format!("{}. (Worst of {models} models: {worst})", warned.warning),
            }
        };
        own.into_iter().chain(others).map(line).collect()
    }
}

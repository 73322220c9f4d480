//! What a study measured: rows, their means over the seeds, the best of them, and the report as a
//! terminal table, JSON, CSV and a self-contained HTML page.
//!
//! ```
//! use burn_compress::report::{Report, Row};
//!
//! let rows: Vec<Row> = serde_json::from_str(r#"[
//!     {"stage":"baseline","mode":"none","refined":false,"sparsity":0,"weight_bits":32,
//!      "score":98.2,"drop":0,"bytes":120000,"macs":300000,"ms":0.5,"seed":1},
//!     {"stage":"quantize","mode":"post","refined":false,"sparsity":0,"weight_bits":8,
//!      "score":98.1,"drop":0.1,"bytes":31000,"macs":300000,"ms":0.4,"seed":1}]"#)?;
//! let report = Report::new(rows, 0.5)?.with_score_name("accuracy, %");
//! println!("{report}");
//! # let dir = tempfile::tempdir()?;
//! # let folder = dir.path();
//! report.save(folder, "report")?; // report.json, report.csv, report.html
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod choose;
mod columns;
mod csv;
mod error;
mod headline;
#[cfg(feature = "plots")]
mod html;
mod pareto;
#[cfg(feature = "plots")]
mod plot;
mod row;
mod save;
mod sensitivity;
mod summary;
mod table;
mod units;
mod validate;
mod warned;

pub use choose::{Best, Choice, choose};
pub use error::ReportError;
pub use pareto::pareto_front;
pub use row::{LayerRow, Mode, Row, Stage, Timed};
pub use sensitivity::Sensitivity;
#[doc(hidden)]
pub use summary::half_width;
pub use summary::{Summary, summaries};
pub use warned::Warned;

use serde::{Deserialize, Serialize};
use std::fmt;

/// The report of a study.
///
/// Its rows are checked when it is built or read, and its choice and means always follow from
/// them: whatever a JSON file claims for `best`, `summaries` and `warnings` is computed anew.
///
/// ```
/// use burn_compress::report::Report;
///
/// let report = Report::from_json(r#"{"budget": 0.5, "rows": [
///     {"stage":"baseline","mode":"none","refined":false,"sparsity":0,"weight_bits":32,
///      "score":98.2,"drop":0,"bytes":120000,"macs":300000,"ms":0.5,"seed":1}]}"#)?;
/// assert_eq!(report.rows().len(), 1);
/// # Ok::<(), burn_compress::report::ReportError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Report {
    rows: Vec<Row>,
    best: Best,
    recipe: serde_json::Value,
    budget: f64,
    score_name: String,
    notes: Vec<String>,
    summaries: Vec<Summary>,
    sensitivity: Vec<Sensitivity>,
    warnings: Vec<Warned>,
}

/// What is read of a report's JSON.
#[derive(Deserialize)]
struct Parts {
    rows: Vec<Row>,
    budget: f64,
    #[serde(default = "default_score_name")]
    score_name: String,
    #[serde(default = "empty_recipe")]
    recipe: serde_json::Value,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    sensitivity: Vec<Sensitivity>,
}

fn default_score_name() -> String {
    "score".to_owned()
}

fn empty_recipe() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

impl TryFrom<Parts> for Report {
    type Error = ReportError;

    fn try_from(parts: Parts) -> Result<Self, ReportError> {
        if parts.rows.is_empty() {
            return Err(ReportError::NoRows);
        }
        Ok(Self {
            best: choose(&parts.rows, parts.budget)?,
            summaries: summaries(&parts.rows),
            warnings: warned::gathered(&parts.rows),
            rows: parts.rows,
            recipe: parts.recipe,
            budget: parts.budget,
            score_name: parts.score_name,
            notes: parts.notes,
            sensitivity: parts.sensitivity,
        })
    }
}

impl Report {
    /// A report of these rows. `budget` is the drop that the owner accepts, in points of the
    /// score, 0 or more.
    ///
    /// ```
    /// use burn_compress::report::Report;
    ///
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// let report = Report::new(rows, 0.5)?;
    /// assert_eq!(report.budget(), 0.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If there are no rows, or a value in them or the budget is not a number or out of its range.
    pub fn new(rows: Vec<Row>, budget: f64) -> Result<Self, ReportError> {
        Self::try_from(Parts {
            rows,
            budget,
            score_name: default_score_name(),
            recipe: empty_recipe(),
            notes: Vec::new(),
            sensitivity: Vec::new(),
        })
    }

    /// Names the score and its unit, such as `accuracy, %`; it is `score` otherwise.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// let report = Report::new(rows, 0.5)?.with_score_name("accuracy, %");
    /// assert_eq!(report.score_name(), "accuracy, %");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_score_name(mut self, name: impl Into<String>) -> Self {
        self.score_name = name.into();
        self
    }

    /// Adds the recipe that reproduces the study.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// let report = Report::new(rows, 0.5)?.with_recipe(serde_json::json!({"epochs": 5}));
    /// assert_eq!(report.recipe()["epochs"], 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_recipe(mut self, recipe: serde_json::Value) -> Self {
        self.recipe = recipe;
        self
    }

    /// Adds a sentence that a reader should know, such as a reduced test set.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// let report = Report::new(rows, 0.5)?.with_note("Scored on 1,000 test images.");
    /// assert!(report.table().contains("1,000 test images"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what each layer alone loses.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// let layers = serde_json::from_str(
    ///     r#"[{"path":"fc.weight","level":0.8,"prune_drop":0.2,"weight_bits":32,"quantize_drop":null}]"#,
    /// )?;
    /// let report = Report::new(rows, 0.5)?.with_sensitivity(layers);
    /// assert_eq!(report.sensitivity()[0].path, "fc.weight");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_sensitivity(mut self, layers: Vec<Sensitivity>) -> Self {
        self.sensitivity = layers;
        self
    }

    /// What the score loses when one layer alone is compressed; see
    /// [`with_sensitivity`](Self::with_sensitivity). Empty where it was not measured.
    #[must_use]
    pub fn sensitivity(&self) -> &[Sensitivity] {
        &self.sensitivity
    }

    /// Every run of every trial, in the order given.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// # let report = Report::new(rows, 0.5)?;
    /// let scores: Vec<f64> = report.rows().iter().map(|row| row.score).collect();
    /// # assert_eq!(scores, [98.2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The means of each trial over its seeds, in table order; see [`summaries`].
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// # let report = Report::new(rows, 0.5)?;
    /// for trial in report.summaries() {
    ///     println!("{} {}", trial.stage, trial.mean_score);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn summaries(&self) -> &[Summary] {
        &self.summaries
    }

    /// The best trial of each stage; see [`choose`].
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"quantize","mode":"post","refined":false,
    /// #   "sparsity":0,"weight_bits":8,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// # let report = Report::new(rows, 0.5)?;
    /// let best = report.best().quantize.as_ref().unwrap();
    /// assert_eq!(best.row.weight_bits, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn best(&self) -> &Best {
        &self.best
    }

    /// The drop that the owner accepts, in points of the score.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// assert_eq!(Report::new(rows, 1.5)?.budget(), 1.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn budget(&self) -> f64 {
        self.budget
    }

    /// What the score is called.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// assert_eq!(Report::new(rows, 0.5)?.score_name(), "score");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn score_name(&self) -> &str {
        &self.score_name
    }

    /// The recipe that reproduces the study; an empty object if none was given.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// assert_eq!(Report::new(rows, 0.5)?.recipe(), &serde_json::json!({}));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recipe(&self) -> &serde_json::Value {
        &self.recipe
    }

    /// What a reader should know: the choices that break the budget, then the notes added.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"prune","mode":"post","refined":false,
    /// #   "sparsity":0.9,"weight_bits":32,"score":90.2,"drop":8,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// let report = Report::new(rows, 0.5)?;
    /// let note = report.notes().next().unwrap();
    /// assert!(note.starts_with("No pruning level stays within the budget of 0.5 points"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let all = self.best.notes.iter().chain(&self.notes);
        all.map(String::as_str)
    }

    /// What should be known of the models, once for each layer it is about: see [`Warned`].
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// let rows = serde_json::from_str(r#"[{"stage":"prune","mode":"post","refined":false,
    ///   "sparsity":0.9,"weight_bits":32,"score":90.2,"drop":8,"bytes":1,"macs":1,"ms":0.5,"seed":1,
    ///   "warnings":[{"kind":"emptied","layer":"fc1.weight","weights":64}]}]"#)?;
    /// let report = Report::new(rows, 0.5)?;
    /// assert_eq!(report.warnings()[0].rows, [0]);
    /// assert!(report.warnings()[0].warning.to_string().contains("fc1.weight"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn warnings(&self) -> &[Warned] {
        &self.warnings
    }

    /// The report as indented JSON: `rows`, `best`, `recipe`, `budget`, `score_name`, `notes`,
    /// `summaries`, `sensitivity` and `warnings`.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// let report = Report::new(rows, 0.5)?;
    /// assert_eq!(Report::from_json(&report.to_json())?, report);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        // Only a map with keys that are not strings could fail, and a report holds none.
        serde_json::to_string_pretty(self).expect("a report has only string keys")
    }

    /// Reads what [`to_json`](Self::to_json) wrote. Only `rows` and `budget` are required.
    ///
    /// ```
    /// use burn_compress::report::{Report, ReportError};
    ///
    /// assert!(matches!(Report::from_json("{}"), Err(ReportError::Json(_))));
    /// ```
    ///
    /// # Errors
    /// If the text is no JSON of a report, or as [`new`](Self::new).
    pub fn from_json(text: &str) -> Result<Self, ReportError> {
        Self::try_from(serde_json::from_str::<Parts>(text)?)
    }

    /// The trial of the model as its owner handed it over.
    fn baseline(&self) -> Option<&Summary> {
        self.summaries.iter().find(|c| c.stage == Stage::Baseline)
    }

    /// The trial that a choice was made for.
    fn trial_of(&self, choice: Option<&Choice>) -> Option<&Summary> {
        let index = choice?.index;
        self.summaries.iter().find(|c| c.rows.contains(&index))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table())
    }
}

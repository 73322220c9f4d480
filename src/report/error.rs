use std::path::PathBuf;

/// Why a report could not be built, read, drawn or saved.
///
/// ```
/// use burn_compress::report::{Report, ReportError};
///
/// assert!(matches!(Report::new(Vec::new(), 0.5), Err(ReportError::NoRows)));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// There is nothing to report.
    #[error("a report needs at least one row: run the study before reporting it")]
    NoRows,
    /// A measured value makes no sense, so no mean, plot or JSON of it would.
    #[error("row {row} ({label}): {field} is {value}, but must be {expected}")]
    BadValue {
        /// Index of the row.
        row: usize,
        /// What the row is, such as `prune 90 %, 32 bit, post`.
        label: String,
        /// The field; of a layer, with the layer's path in front.
        field: String,
        /// The value found.
        value: f64,
        /// The values allowed.
        expected: &'static str,
    },
    /// The budget is negative, infinite or not a number.
    #[error("the budget is {0} points, but must be a finite number that is not negative")]
    BadBudget(f64),
    /// The text is not the JSON of a report.
    #[error("this is not the JSON of a report: {0}")]
    Json(#[from] serde_json::Error),
    /// The CSV could not be written.
    #[error("could not write the rows as CSV: {0}")]
    Csv(#[from] csv::Error),
    /// A plot could not be drawn.
    #[error("could not draw the plot \"{plot}\": {reason}")]
    Plot {
        /// Title of the plot.
        plot: String,
        /// What the plotting library said.
        reason: String,
    },
    /// The stem names another folder or nothing.
    #[error(
        "\"{0}\" cannot name the report's files: use a plain name without folders, such as \"report\""
    )]
    BadStem(String),
    /// A file could not be written; an older file of that name is as it was.
    #[error("could not write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

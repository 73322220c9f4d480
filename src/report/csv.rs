use super::{Mode, Report, ReportError, Row, Stage, Timed};
use serde::Serialize;

/// A row without its layers, which would not fit a flat table.
#[derive(Serialize)]
struct Flat {
    stage: Stage,
    mode: Mode,
    refined: bool,
    steered: bool,
    level: f64,
    pattern: String,
    sparsity: f64,
    weight_bits: u32,
    activation_bits: u32,
    score: f64,
    drop: f64,
    bytes: u64,
    entropy_bytes: u64,
    macs: u64,
    bit_operations: u64,
    ms: f64,
    ms_min: f64,
    ms_max: f64,
    timed: Timed,
    seconds: f64,
    seed: u64,
}

impl From<&Row> for Flat {
    fn from(row: &Row) -> Self {
        Self {
            stage: row.stage,
            mode: row.mode,
            refined: row.refined,
            steered: row.steered,
            level: super::summary::level_of(row),
            pattern: row.pattern.to_string(),
            sparsity: row.sparsity,
            weight_bits: row.weight_bits,
            activation_bits: row.activation_bits,
            score: row.score,
            drop: row.drop,
            bytes: row.bytes,
            entropy_bytes: row.entropy_bytes,
            macs: row.macs,
            bit_operations: row.bit_operations,
            ms: row.ms,
            ms_min: row.ms_range[0],
            ms_max: row.ms_range[1],
            timed: row.timed,
            seconds: row.seconds,
            seed: row.seed,
        }
    }
}

impl Report {
    /// The rows as CSV with a header line: the keys of a [`Row`] without its layers, the range of
    /// the run-time as `ms_min` and `ms_max`.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// let csv = Report::new(rows, 0.5)?.to_csv()?;
    /// assert!(csv.starts_with("stage,mode,refined,steered,level,pattern,sparsity,weight_bits,activation_bits,score,drop,bytes"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the CSV writer fails.
    pub fn to_csv(&self) -> Result<String, ReportError> {
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        for row in self.rows() {
            writer.serialize(Flat::from(row))?;
        }
        let bytes = writer
            .into_inner()
            .map_err(|error| ::csv::Error::from(error.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

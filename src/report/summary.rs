use super::{Mode, Row, Stage, Timed};
use crate::prune::Pattern;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One trial of the study: the runs of the same compression under several seeds, as means.
///
/// ```
/// use burn_compress::report::{Row, summaries};
///
/// let rows: Vec<Row> = serde_json::from_str(r#"[
///     {"stage":"prune","mode":"post","refined":false,"sparsity":0.9,"weight_bits":32,
///      "score":97.0,"drop":1.0,"bytes":14000,"macs":30000,"ms":0.2,"seed":1},
///     {"stage":"prune","mode":"post","refined":false,"sparsity":0.9,"weight_bits":32,
///      "score":98.0,"drop":0.0,"bytes":14000,"macs":30000,"ms":0.2,"seed":2}]"#)?;
/// let trial = &summaries(&rows)[0];
/// assert_eq!((trial.n, trial.mean_score, trial.mean_drop), (2, 97.5, 0.5));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// Part of the study.
    pub stage: Stage,
    /// When the compression was in force.
    pub mode: Mode,
    /// Whether the refine-tune stage followed.
    pub refined: bool,
    /// Whether the level was found by a steered threshold, not asked for.
    pub steered: bool,
    /// The share of weights that was asked for, 0 to 1.
    pub level: f64,
    /// Which weights were removed together; unstructured where none were.
    pub pattern: Pattern,
    /// Bits a selected weight is stored in; 32 where nothing was quantized.
    pub weight_bits: u32,
    /// Bits of activations; 32 where they are floats.
    pub activation_bits: u32,
    /// Number of runs, one for each seed.
    pub n: usize,
    /// Mean score.
    pub mean_score: f64,
    /// Half the width of the 95 % interval of the mean score (Student t), in points of the score;
    /// none for a single run, which says nothing about the spread.
    pub half_width: Option<f64>,
    /// Mean drop from the baseline, in points of the score.
    pub mean_drop: f64,
    /// Mean share of the selected weights that is exactly zero, 0 to 1.
    pub mean_sparsity: f64,
    /// Mean size of the saved model file, bytes.
    pub mean_bytes: f64,
    /// Mean entropy bound of the weight codes, bytes; 0 where it was not computed.
    pub mean_entropy_bytes: f64,
    /// Mean multiply-adds of one example that remain.
    pub mean_macs: f64,
    /// Mean bit operations of one example; 0 where they were not counted.
    pub mean_bit_operations: f64,
    /// Mean over the runs of the median run-time, milliseconds.
    pub mean_ms: f64,
    /// Fastest and slowest pass of all runs, milliseconds; `[0, 0]` where they were not kept.
    pub ms_range: [f64; 2],
    /// What the run-times are of: the engine only where it ran all of them.
    pub timed: Timed,
    /// Seconds spent on all runs together.
    pub seconds: f64,
    /// Indices of the rows that were summarized.
    pub rows: Vec<usize>,
}

/// What makes two rows runs of the same trial. Its order is that of the table: the variants of one
/// level next to each other, the strongest compression last.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    stage: Stage,
    level: u64,
    pattern: Pattern,
    fewer_bits: std::cmp::Reverse<(u32, u32)>,
    mode: Mode,
    refined: bool,
    steered: bool,
}

/// The level that was asked for, or the sparsity where a pruned row does not say.
pub(super) fn level_of(row: &Row) -> f64 {
    let pruned = matches!(row.stage, Stage::Prune | Stage::Combined);
    if pruned && row.level == 0.0 {
        row.sparsity
    } else {
        row.level
    }
}

impl Key {
    fn of(row: &Row) -> Self {
        Self {
            stage: row.stage,
            // Bits of a float that is not negative order as it does; adding zero turns -0 to 0.
            level: (level_of(row).max(0.0) + 0.0).to_bits(),
            pattern: row.pattern,
            fewer_bits: std::cmp::Reverse((row.weight_bits, row.activation_bits)),
            mode: row.mode,
            refined: row.refined,
            steered: row.steered,
        }
    }
}

/// Gathers the runs of each trial (same stage, mode, refinement, level, pattern and bits), in table
/// order: by stage, then by level, pattern and bits from weak to strong, then post, reconstructed and aware.
///
/// ```
/// assert!(burn_compress::report::summaries(&[]).is_empty());
/// ```
#[must_use]
pub fn summaries(rows: &[Row]) -> Vec<Summary> {
    let mut trials: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        trials.entry(Key::of(row)).or_default().push(index);
    }
    trials
        .into_values()
        .filter_map(|indices| {
            let runs: Vec<&Row> = indices.iter().filter_map(|&i| rows.get(i)).collect();
            summarize(&runs, indices)
        })
        .collect()
}

fn summarize(runs: &[&Row], indices: Vec<usize>) -> Option<Summary> {
    let first = runs.first()?;
    let of = |value: fn(&Row) -> f64| mean(runs.iter().map(|row| value(row)));
    let scores: Vec<f64> = runs.iter().map(|row| row.score).collect();
    Some(Summary {
        stage: first.stage,
        mode: first.mode,
        refined: first.refined,
        steered: first.steered,
        level: level_of(first),
        pattern: first.pattern,
        weight_bits: first.weight_bits,
        activation_bits: first.activation_bits,
        n: runs.len(),
        mean_score: of(|row| row.score),
        half_width: half_width(&scores),
        mean_drop: of(|row| row.drop),
        mean_sparsity: of(|row| row.sparsity),
        mean_bytes: of(|row| row.bytes as f64),
        mean_entropy_bytes: of(|row| row.entropy_bytes as f64),
        mean_macs: of(|row| row.macs as f64),
        mean_bit_operations: of(|row| row.bit_operations as f64),
        mean_ms: of(|row| row.ms),
        ms_range: spread(runs),
        timed: match runs.iter().all(|row| row.timed == Timed::Engine) {
            true => Timed::Engine,
            false => Timed::Module,
        },
        seconds: runs.iter().map(|row| row.seconds).sum(),
        rows: indices,
    })
}

/// Fastest and slowest pass of the runs that kept them.
fn spread(runs: &[&Row]) -> [f64; 2] {
    runs.iter()
        .map(|row| row.ms_range)
        .filter(|range| range[1] > 0.0)
        .reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])])
        .unwrap_or([0.0, 0.0])
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

/// Half the width of the 95 % interval of the mean of independent runs, by Student's t with n - 1
/// degrees of freedom; none for fewer than two values.
///
/// ```
/// use burn_compress::report::half_width;
///
/// assert_eq!(half_width(&[91.0]), None);
/// let half = half_width(&[1.0, 2.0, 3.0]).unwrap();
/// assert!((half - 4.303 / 3f64.sqrt()).abs() < 1e-3); // t = 4.303, deviation 1
/// ```
#[must_use]
pub fn half_width(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let mean = mean(values.iter().copied());
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some(student_t(values.len() - 1) * (variance / n).sqrt())
}

/// The 97.5 % point of Student's t.
fn student_t(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010,
        2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739,
        2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
    ];
    // Beyond the table, the first terms of the expansion around the normal distribution are exact
    // to four digits.
    TABLE
        .get(freedom.saturating_sub(1))
        .copied()
        .unwrap_or_else(|| {
            let (z, v) = (1.959_964_f64, freedom as f64);
            z + (z.powi(3) + z) / (4.0 * v)
                + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * v * v)
        })
}

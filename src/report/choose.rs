use super::units::{Digits, label};
use super::validate::{check_budget, check_rows};
use super::{ReportError, Row, Stage, Summary, Timed, summaries};
use serde::{Deserialize, Serialize};

/// Sums of floats such as 90.01 - 89.71 must not miss a budget of 0.3 by their rounding.
const TOLERANCE: f64 = 1e-9;

/// A chosen trial of the study. In JSON it is the copied row with the other fields beside its own.
///
/// ```
/// use burn_compress::report::{Row, choose};
///
/// let rows: Vec<Row> = serde_json::from_str(r#"[
///     {"stage":"quantize","mode":"post","refined":false,"sparsity":0,"weight_bits":8,
///      "score":97.9,"drop":0.1,"bytes":30000,"macs":120000,"ms":0.2,"seed":1}]"#)?;
/// let choice = choose(&rows, 0.5)?.quantize.unwrap();
/// assert!(choice.within_budget);
/// assert_eq!((choice.row.weight_bits, choice.runs), (8, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Choice {
    /// Index of the row; of several seeds, the one whose score is nearest the mean, because
    /// taking the best would choose by luck.
    pub index: usize,
    /// Whether the mean drop is within the budget.
    pub within_budget: bool,
    /// Mean drop over the seeds, in points of the score.
    pub mean_drop: f64,
    /// Number of seeds.
    pub runs: usize,
    /// The row itself.
    #[serde(flatten)]
    pub row: Row,
}

/// The best trial of each stage.
///
/// ```
/// use burn_compress::report::choose;
///
/// assert!(choose(&[], 0.5)?.overall.is_none());
/// # Ok::<(), burn_compress::report::ReportError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Best {
    /// The highest pruning level within the budget, else the one that loses least. Of several patterns
    /// that the engine timed, each with its highest level within the budget, the fastest.
    pub prune: Option<Choice>,
    /// The fewest bits within the budget, else those that lose least.
    pub quantize: Option<Choice>,
    /// The combination with the fewest bits of non-zero weights within the budget, else the one
    /// that loses least.
    pub combined: Option<Choice>,
    /// Of the three above, the smallest file within the budget, else the one that loses least.
    pub overall: Option<Choice>,
    /// A sentence for each choice that breaks the budget.
    pub notes: Vec<String>,
}

/// Chooses the best pruning, quantization and combination.
///
/// Trials are compared by their mean over the seeds. Post-training, aware and refined variants all
/// compete; of equally strong ones within the budget, the one with the smaller drop wins, and of
/// equal drops the one that took less work. `budget` is the drop that the owner accepts, in points
/// of the score, 0 or more.
///
/// ```
/// use burn_compress::report::{Row, choose};
///
/// let rows: Vec<Row> = serde_json::from_str(r#"[
///     {"stage":"prune","mode":"aware","refined":false,"sparsity":0.5,"weight_bits":32,
///      "score":97.9,"drop":0.1,"bytes":60000,"macs":60000,"ms":0.2,"seed":1},
///     {"stage":"prune","mode":"aware","refined":false,"sparsity":0.9,"weight_bits":32,
///      "score":90.0,"drop":8.0,"bytes":14000,"macs":12000,"ms":0.2,"seed":1}]"#)?;
/// assert_eq!(choose(&rows, 0.5)?.prune.unwrap().row.sparsity, 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If a row holds a value that is not a number or out of its range, or the budget does.
pub fn choose(rows: &[Row], budget: f64) -> Result<Best, ReportError> {
    check_budget(budget)?;
    check_rows(rows)?;
    let trials = summaries(rows);
    let of = |stage| -> Vec<&Summary> { trials.iter().filter(|c| c.stage == stage).collect() };
    let prune = pick_pattern(&of(Stage::Prune), budget);
    let quantize = pick(&of(Stage::Quantize), budget, |c| -f64::from(c.weight_bits));
    let combined = pick(&of(Stage::Combined), budget, |c| {
        -f64::from(c.weight_bits) * (1.0 - c.level)
    });
    let three: Vec<&Summary> = [prune, quantize, combined].into_iter().flatten().collect();
    let overall = pick(&three, budget, |c| -c.mean_bytes);
    let digits = Digits::of(rows, budget);
    let notes = [
        ("pruning level", prune),
        ("quantization level", quantize),
        ("combination", combined),
    ]
    .into_iter()
    .filter_map(|(what, trial)| note(what, trial?, budget, digits))
    .collect();
    let choice = |trial: Option<&Summary>| trial.and_then(|trial| copy(trial, rows, budget));
    Ok(Best {
        prune: choice(prune),
        quantize: choice(quantize),
        combined: choice(combined),
        overall: choice(overall),
        notes,
    })
}

fn within(trial: &Summary, budget: f64) -> bool {
    trial.mean_drop <= budget + TOLERANCE
}

/// The strongest trial within the budget, else the one that loses least. Trials come in table order,
/// so among equals the first took the least work.
fn pick<'a>(
    trials: &[&'a Summary],
    budget: f64,
    strength: impl Fn(&Summary) -> f64,
) -> Option<&'a Summary> {
    let stronger = |a: &Summary, b: &Summary| strength(b).total_cmp(&strength(a));
    let loses_less = |a: &Summary, b: &Summary| a.mean_drop.total_cmp(&b.mean_drop);
    let all = || trials.iter().copied();
    all()
        .filter(|trial| within(trial, budget))
        .min_by(|a, b| stronger(a, b).then(loses_less(a, b)))
        .or_else(|| all().min_by(|a, b| loses_less(a, b).then(stronger(a, b))))
}

/// The strongest trial, or that of another pattern which is faster: a share of weights in blocks is worth
/// more than the same share of single weights.
fn pick_pattern<'a>(trials: &[&'a Summary], budget: f64) -> Option<&'a Summary> {
    let strongest = |of: &[&'a Summary]| pick(of, budget, |trial| trial.level);
    let overall = strongest(trials)?;
    if !within(overall, budget) || trials.iter().any(|trial| trial.timed != Timed::Engine) {
        return Some(overall);
    }
    let own = trials.iter().filter_map(|trial| {
        let same = trials.iter().filter(|other| other.pattern == trial.pattern);
        strongest(&same.copied().collect::<Vec<_>>())
    });
    let fastest = own
        .filter(|trial| within(trial, budget))
        .min_by(|a, b| a.mean_ms.total_cmp(&b.mean_ms));
    fastest
        .filter(|fastest| fastest.mean_ms < overall.mean_ms)
        .or(Some(overall))
}

fn note(what: &str, trial: &Summary, budget: f64, digits: Digits) -> Option<String> {
    if within(trial, budget) {
        return None;
    }
    Some(format!(
        "No {what} stays within the budget of {budget} points; {} loses least: {} points.",
        label(trial),
        digits.show(trial.mean_drop),
    ))
}

fn copy(trial: &Summary, rows: &[Row], budget: f64) -> Option<Choice> {
    let away = |index: usize| -> Option<f64> {
        rows.get(index)
            .map(|row| (row.score - trial.mean_score).abs())
    };
    let index = trial
        .rows
        .iter()
        .copied()
        .filter_map(|index| Some((index, away(index)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1))?
        .0;
    Some(Choice {
        index,
        within_budget: within(trial, budget),
        mean_drop: trial.mean_drop,
        runs: trial.n,
        row: rows.get(index)?.clone(),
    })
}

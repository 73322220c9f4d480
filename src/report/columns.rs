use super::units::{Unit, percent, percent1, significant, variant};
use super::{Choice, Report, Stage, Summary, Timed};

/// One column of the table: its heading, its unit, and a text for each cell.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) unit: String,
    pub(super) values: Vec<String>,
    /// Text columns are flush left, numbers flush right.
    pub(super) text: bool,
}

impl Report {
    /// The columns of the table, here and in the page. Those that were never measured are left out.
    pub(super) fn columns(&self) -> Vec<Column> {
        let trials = self.summaries();
        let largest = |of: fn(&Summary) -> f64| trials.iter().map(of).fold(0.0, f64::max);
        let digits = self.digits();
        let bytes = Unit::bytes(largest(|c| c.mean_bytes));
        let macs = Unit::count(largest(|c| c.mean_macs));
        let operations = Unit::count(largest(|c| c.mean_bit_operations));
        let column = |name, unit: &str, show: &dyn Fn(&Summary) -> String| Column {
            name,
            unit: unit.to_owned(),
            values: trials.iter().map(show).collect(),
            text: false,
        };
        let text = |column| Column {
            text: true,
            ..column
        };
        let mut columns = vec![
            text(column("Stage", "", &|c| c.stage.to_string())),
            column("Level", "%", &|c| match c.stage {
                Stage::Prune | Stage::Combined => percent(c.level),
                Stage::Baseline | Stage::Quantize => "–".to_owned(),
            }),
        ];
        if trials.iter().any(|c| c.pattern.shown().is_some()) {
            columns.push(text(column("Pattern", "", &|c| {
                c.pattern.shown().unwrap_or_else(|| "–".to_owned())
            })));
        }
        columns.extend([
            column("Bits", "", &|c| match c.activation_bits {
                32 => c.weight_bits.to_string(),
                // Of weights and of activations.
                activations => format!("{}/{activations}", c.weight_bits),
            }),
            text(column("Mode", "", &|c| variant(c.mode, c.refined))),
            column("Sparse", "%", &|c| percent1(c.mean_sparsity)),
            column("Score", "", &|c| {
                let score = digits.show(c.mean_score);
                match c.half_width {
                    Some(half) => format!("{score} ± {}", digits.show(half)),
                    None => score,
                }
            }),
            column("Drop", "", &|c| digits.show(c.mean_drop)),
            column("Size", bytes.name, &|c| bytes.show(c.mean_bytes)),
        ]);
        if largest(|c| c.mean_entropy_bytes) > 0.0 {
            columns.push(column("Bound", bytes.name, &|c| {
                bytes.show(c.mean_entropy_bytes)
            }));
        }
        columns.push(column("MACs", macs.name, &|c| macs.show(c.mean_macs)));
        if largest(|c| c.mean_bit_operations) > 0.0 {
            columns.push(column("BitOps", operations.name, &|c| {
                operations.show(c.mean_bit_operations)
            }));
        }
        let mixed = self.timed().is_none();
        columns.push(column("Time", "ms", &|c| {
            let time = significant(c.mean_ms);
            match c.timed {
                Timed::Module if mixed => format!("{time}†"),
                _ => time,
            }
        }));
        if largest(|c| c.ms_range[1]) > 0.0 {
            columns.push(column("from–to", "ms", &|c| {
                let [fast, slow] = c.ms_range;
                if slow > 0.0 {
                    format!("{}–{}", significant(fast), significant(slow))
                } else {
                    "–".to_owned()
                }
            }));
        }
        if largest(|c| c.seconds) > 0.0 {
            columns.push(column("Took", "s", &|c| significant(c.seconds)));
        }
        columns
    }

    /// What the columns mean, in one line; the interval only where there is one.
    pub(super) fn legend(&self) -> String {
        let trials = self.summaries();
        let count = |pick: fn(usize, usize) -> usize| trials.iter().map(|c| c.n).reduce(pick);
        let (least, most) = (count(usize::min), count(usize::max));
        let mut text = format!(
            "Score: {}, more is better. Drop: baseline minus score; accepted up to {} points.",
            self.score_name, self.budget
        );
        if let (Some(least), Some(most @ 2..)) = (least, most) {
            let seeds = if least == most {
                format!("{most}")
            } else {
                format!("{least} to {most}")
            };
            text.push_str(&format!(
                " Means over {seeds} seeds; ± half the 95 % interval of the mean (Student t)."
            ));
        }
        if trials.iter().any(|c| c.mean_entropy_bytes > 0.0) {
            text.push_str(" Bound: entropy of the weight codes.");
        }
        text.push_str(" MACs: multiply-adds that remain, per example.");
        text.push_str(match self.timed() {
            Some(Timed::Engine) => " Time: median of one forward pass by the engine.",
            Some(Timed::Module) => " Time: median of one forward pass of the Burn module.",
            None => {
                " Time: median of one forward pass by the engine; † of the Burn module, not comparable."
            }
        });
        text
    }

    /// What all trials' times are of; none where they differ.
    fn timed(&self) -> Option<Timed> {
        let mut all = self.summaries().iter().map(|trial| trial.timed);
        let first = all.next()?;
        all.all(|timed| timed == first).then_some(first)
    }

    /// The trials that are best in their stage, and whether each is the best of all.
    pub(super) fn is_best(&self, trial: &Summary) -> Option<bool> {
        let same = |choice: &Option<Choice>| {
            let chosen = self.trial_of(choice.as_ref());
            chosen.is_some_and(|chosen| chosen.rows == trial.rows)
        };
        let best = &self.best;
        if same(&best.overall) {
            return Some(true);
        }
        [&best.prune, &best.quantize, &best.combined]
            .into_iter()
            .any(same)
            .then_some(false)
    }
}

use super::units::describe;
use super::{ReportError, Row};

/// Larger magnitudes would overflow in sums of squares and in the scale of a plot.
const LARGEST: f64 = 1e100;

pub(super) fn check_budget(budget: f64) -> Result<(), ReportError> {
    if (0.0..LARGEST).contains(&budget) {
        Ok(())
    } else {
        Err(ReportError::BadBudget(budget))
    }
}

pub(super) fn check_rows(rows: &[Row]) -> Result<(), ReportError> {
    rows.iter()
        .enumerate()
        .try_for_each(|(index, row)| check_row(index, row))
}

fn check_row(index: usize, row: &Row) -> Result<(), ReportError> {
    let ensure = |field: &str, value: f64, kind: Kind| {
        if kind.admits(value) {
            return Ok(());
        }
        Err(ReportError::BadValue {
            row: index,
            label: describe(row),
            field: field.to_owned(),
            value,
            expected: kind.expected(),
        })
    };
    ensure("level", row.level, Kind::Share)?;
    ensure("sparsity", row.sparsity, Kind::Share)?;
    ensure("weight_bits", f64::from(row.weight_bits), Kind::Bits)?;
    ensure("score", row.score, Kind::Finite)?;
    ensure("drop", row.drop, Kind::Finite)?;
    ensure("ms", row.ms, Kind::NotNegative)?;
    ensure("ms_range", row.ms_range[0], Kind::NotNegative)?;
    ensure("ms_range", row.ms_range[1], Kind::NotNegative)?;
    ensure("seconds", row.seconds, Kind::NotNegative)?;
    for layer in &row.layers {
        let field = |name: &str| format!("{}: {name}", layer.path);
        ensure(&field("sparsity"), layer.sparsity, Kind::Share)?;
        ensure(&field("bits"), f64::from(layer.bits), Kind::Bits)?;
        ensure(&field("distortion"), layer.distortion, Kind::NotNegative)?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Finite,
    NotNegative,
    Share,
    Bits,
}

impl Kind {
    fn admits(self, value: f64) -> bool {
        match self {
            Self::Finite => value.abs() < LARGEST,
            Self::NotNegative => (0.0..LARGEST).contains(&value),
            Self::Share => (0.0..=1.0).contains(&value),
            Self::Bits => (1.0..=64.0).contains(&value),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Finite => "a finite number (below 1e100 in magnitude)",
            Self::NotNegative => "a finite number that is not negative (below 1e100)",
            Self::Share => "between 0 and 1",
            Self::Bits => "between 1 and 64",
        }
    }
}

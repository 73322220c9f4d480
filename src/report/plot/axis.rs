use crate::report::Summary;

/// An axis with its labelled ticks. On a logarithmic axis all places are exponents of ten.
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<(f64, String)>,
    log: bool,
}

impl Axis {
    /// From the least to the greatest value with some room, ticks at round values.
    pub(super) fn linear(title: String, least: f64, greatest: f64) -> Self {
        let (low, high) = room(least, greatest, 0.06);
        Self::exact(title, low, high)
    }

    /// As given, ticks at round values.
    pub(super) fn exact(title: String, low: f64, high: f64) -> Self {
        let step = round_up((high - low) / 8.0);
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let first = (low / step).ceil();
        let ticks = (0..12)
            .map(|i| (first + f64::from(i)) * step)
            .filter(|at| *at <= high + step * 1e-6)
            .map(|at| (at, format!("{:.decimals$}", at + 0.0)))
            .collect();
        Self {
            title,
            low,
            high,
            ticks,
            log: false,
        }
    }

    /// Ticks at the values given.
    pub(super) fn at(title: String, ticks: Vec<(f64, String)>) -> Self {
        let places = ticks.iter().map(|tick| tick.0);
        let (low, high) = room(
            places.clone().fold(f64::INFINITY, f64::min),
            places.fold(f64::NEG_INFINITY, f64::max),
            0.08,
        );
        Self {
            title,
            low,
            high,
            ticks,
            log: false,
        }
    }

    /// Logarithmic where the values are positive and span more than a factor of six, else linear.
    pub(super) fn for_costs(title: &str, costs: &[f64]) -> Self {
        let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if least <= 0.0 || greatest / least <= 6.0 {
            return Self::linear(title.to_owned(), least, greatest);
        }
        let (low, high) = room(least.log10(), greatest.log10(), 0.06);
        // Per decade as many as fit; over many decades, not every decade either.
        let mantissas: &[f64] = match high - low {
            span if span < 1.5 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            span if span < 3.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let every = ((high - low) / 8.0).ceil().max(1.0) as usize;
        let decades = (low.floor() as i32..=high.ceil() as i32).step_by(every);
        let ticks = decades
            .flat_map(|decade| mantissas.iter().map(move |m| (*m, decade)))
            .map(|(mantissa, decade)| {
                let value = mantissa * 10f64.powi(decade);
                let digits = -decade + i32::from(mantissa == 1.5);
                let decimals = usize::try_from(digits).unwrap_or(0);
                (value.log10(), format!("{value:.decimals$}"))
            })
            .filter(|(at, _)| (low..=high).contains(at))
            .collect();
        Self {
            title: format!("{title}, log scale"),
            low,
            high,
            ticks,
            log: true,
        }
    }

    /// Where a value stands on the axis.
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    /// Drops the labels that would touch their neighbour; `pixels` is the axis' length.
    pub(super) fn thin(&mut self, pixels: f64) {
        let per_unit = pixels / (self.high - self.low);
        let mut end = f64::NEG_INFINITY;
        // From the right, because the strongest compression matters most.
        let mut kept: Vec<_> = Vec::new();
        for (at, text) in self.ticks.drain(..).rev() {
            let half = text.chars().count() as f64 * 4.0 + 5.0;
            let from_right = (self.high - at) * per_unit;
            if from_right - half >= end {
                end = from_right + half;
                kept.push((at, text));
            }
        }
        kept.reverse();
        self.ticks = kept;
    }
}

/// A range with room on both sides, never empty.
fn room(least: f64, greatest: f64, share: f64) -> (f64, f64) {
    let span = greatest - least;
    let flat = least.abs().max(greatest.abs()).max(1e-3) * 1e-6;
    if span > flat {
        (least - span * share, greatest + span * share)
    } else {
        let pad = (least.abs() * 0.02).max(1e-3);
        (least - pad, greatest + pad)
    }
}

/// The next 1, 2 or 5 times a power of ten.
fn round_up(step: f64) -> f64 {
    let decade = 10f64.powf(step.log10().floor());
    let mantissa = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|m| m * decade >= step * (1.0 - 1e-9));
    mantissa.unwrap_or(10.0) * decade
}

/// The score axis of trials: all of them, unless a few that collapsed would squash the rest.
pub(super) struct Scores {
    pub(super) axis: Axis,
    /// Trials with a lower score are drawn on the lower edge.
    pub(super) floor: f64,
}

impl Scores {
    /// `title` names the score. `baseline` is the score without loss.
    pub(super) fn new(title: &str, trials: &[&Summary], baseline: f64, budget: f64) -> Self {
        let mut drops: Vec<f64> = trials.iter().map(|c| baseline - c.mean_score).collect();
        drops.sort_by(f64::total_cmp);
        let median = drops.get(drops.len() / 2).copied().unwrap_or(0.0);
        let worst = drops.last().copied().unwrap_or(0.0);
        // Ten budgets, or enough for half of the trials, are worth seeing in detail.
        let window = (10.0 * budget).max(2.0 * median);
        let cut = worst > 1.5 * window && window > 0.0;
        let seen = |c: &&&Summary| !cut || baseline - c.mean_score <= window;
        let half = |c: &Summary| c.half_width.unwrap_or(0.0);
        let visible = || trials.iter().filter(seen);
        let least = visible()
            .map(|c| c.mean_score - half(c))
            .fold(baseline - budget, f64::min);
        let greatest = visible()
            .map(|c| c.mean_score + half(c))
            .fold(baseline, f64::max);
        let mut axis = Axis::linear(title.to_owned(), least, greatest);
        if cut {
            // Room for the marks on the lower edge.
            axis = Axis::exact(
                title.to_owned(),
                axis.low - (axis.high - axis.low) * 0.06,
                axis.high,
            );
        }
        let floor = if cut {
            baseline - window
        } else {
            f64::NEG_INFINITY
        };
        Self { axis, floor }
    }

    pub(super) fn below(&self, trial: &Summary) -> bool {
        trial.mean_score < self.floor
    }
}

use serde::{Deserialize, Serialize};

use super::Schedule;

/// A schedule that says no sensible value.
///
/// ```
/// use burn_compress::schedule::{Curve, ScheduleError};
/// let curve = Curve::Steps { values: vec![(10, 0.5), (5, 0.8)] };
/// assert!(matches!(curve.check(), Err(ScheduleError::Unsorted { .. })));
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A value of the curve is NaN or infinite.
    #[error("the schedule has the value {value}: give a finite number")]
    NotFinite {
        /// The value.
        value: f64,
    },
    /// The steps of a curve are out of order, or one is there twice.
    #[error(
        "step {step} comes after step {before}: give the steps of the schedule in order, each once"
    )]
    Unsorted {
        /// The step that is out of order.
        step: usize,
        /// The step before it.
        before: usize,
    },
    /// A curve without a value.
    #[error("the schedule has no step: give at least one")]
    Empty,
    /// A number outside the range that it needs.
    #[error("{name} is {value}: {expected}")]
    Range {
        /// What the number is.
        name: &'static str,
        /// The number.
        value: f64,
        /// What it has to be.
        expected: &'static str,
    },
    /// An exponential curve through zero, or between values of two signs.
    #[error(
        "an exponential schedule cannot go from {from} to {to}: use values of one sign, or another curve"
    )]
    Exponential {
        /// First value.
        from: f64,
        /// Last value.
        to: f64,
    },
}

/// The usual schedules, as data. Steps count from 0; after the last step the last value holds, and
/// (but for [`Steps`](Self::Steps)) before the first the first. Between them the value never leaves
/// the range of the values given.
///
/// ```
/// use burn_compress::schedule::{Curve, Schedule};
/// let sparsity = Curve::Cubic { from: 0.0, to: 0.8, start: 0, end: 100 };
/// assert_eq!(sparsity.at(0), 0.0);
/// assert!((sparsity.at(50) - 0.7).abs() < 1e-12);
/// assert_eq!(sparsity.at(1000), 0.8);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Curve {
    /// One value.
    Constant {
        /// The value.
        value: f64,
    },
    /// A straight line.
    Linear {
        /// Value up to `start`.
        from: f64,
        /// Value from `end` on.
        to: f64,
        /// First step of the line.
        start: usize,
        /// Last step of the line.
        end: usize,
    },
    /// Fast first, then ever slower (Zhu & Gupta 2017, "To prune, or not to prune"):
    /// `to + (from - to) (1 - t)^3`.
    Cubic {
        /// Value up to `start`.
        from: f64,
        /// Value from `end` on.
        to: f64,
        /// First step of the curve.
        start: usize,
        /// Last step of the curve.
        end: usize,
    },
    /// A constant factor a step: `from (to / from)^t`; values of one sign, not zero.
    Exponential {
        /// Value up to `start`.
        from: f64,
        /// Value from `end` on.
        to: f64,
        /// First step of the curve.
        start: usize,
        /// Last step of the curve.
        end: usize,
    },
    /// Each value holds from its step on; before the first, 0 does.
    Steps {
        /// (step, value), steps rising; at least one.
        values: Vec<(usize, f64)>,
    },
    /// A cosine up from `from` to `peak`, then one down to `to` (Smith & Topin 2018,
    /// "Super-Convergence").
    OneCycle {
        /// Value at step 0, where the peak is later.
        from: f64,
        /// Value at `peak_at`.
        peak: f64,
        /// Value from `end` on.
        to: f64,
        /// Step of the peak.
        peak_at: usize,
        /// Last step of the cycle.
        end: usize,
    },
}

impl Curve {
    /// Whether the curve has a finite value at every step, and its steps are in order.
    ///
    /// Fails with [`ScheduleError::NotFinite`], [`ScheduleError::Unsorted`],
    /// [`ScheduleError::Empty`] or [`ScheduleError::Exponential`]. A curve that fails has a value at
    /// every step all the same, but not one to rely on.
    ///
    /// ```
    /// use burn_compress::schedule::{Curve, ScheduleError};
    /// let curve = Curve::Exponential { from: 0.0, to: 0.1, start: 0, end: 10 };
    /// assert_eq!(curve.check(), Err(ScheduleError::Exponential { from: 0.0, to: 0.1 }));
    /// ```
    pub fn check(&self) -> Result<(), ScheduleError> {
        let finite = |values: &[f64]| match values.iter().find(|value| !value.is_finite()) {
            Some(&value) => Err(ScheduleError::NotFinite { value }),
            None => Ok(()),
        };
        let ordered = |before: usize, step: usize| match step < before {
            true => Err(ScheduleError::Unsorted { step, before }),
            false => Ok(()),
        };
        match self {
            Self::Constant { value } => finite(&[*value]),
            Self::Linear {
                from,
                to,
                start,
                end,
            }
            | Self::Cubic {
                from,
                to,
                start,
                end,
            } => {
                finite(&[*from, *to])?;
                ordered(*start, *end)
            }
            Self::Exponential {
                from,
                to,
                start,
                end,
            } => {
                finite(&[*from, *to])?;
                // Not their product, which may be too small to hold.
                if *from == 0.0 || *to == 0.0 || from.signum() != to.signum() {
                    return Err(ScheduleError::Exponential {
                        from: *from,
                        to: *to,
                    });
                }
                ordered(*start, *end)
            }
            Self::Steps { values } => {
                if values.is_empty() {
                    return Err(ScheduleError::Empty);
                }
                for pair in values.windows(2) {
                    let (before, step) = (pair[0].0, pair[1].0);
                    if step <= before {
                        return Err(ScheduleError::Unsorted { step, before });
                    }
                }
                finite(&values.iter().map(|(_, value)| *value).collect::<Vec<_>>())
            }
            Self::OneCycle {
                from,
                peak,
                to,
                peak_at,
                end,
            } => {
                finite(&[*from, *peak, *to])?;
                ordered(*peak_at, *end)
            }
        }
    }
}

// How far `step` is from `start` (0) to `end` (1).
fn progress(step: usize, start: usize, end: usize) -> f64 {
    if step >= end {
        1.0
    } else if step <= start {
        0.0
    } else {
        (step - start) as f64 / (end - start) as f64
    }
}

// Exactly `from` at 0 and exactly `to` at 1, and never outside them.
fn mix(from: f64, to: f64, share: f64) -> f64 {
    between(from, to, from * (1.0 - share) + to * share)
}

// Rounding may carry a value an ulp past the greater of the two.
fn between(from: f64, to: f64, value: f64) -> f64 {
    value.max(from.min(to)).min(from.max(to))
}

fn half_cosine(share: f64) -> f64 {
    (1.0 - (std::f64::consts::PI * share).cos()) / 2.0
}

impl Schedule for Curve {
    fn end(&self) -> Option<usize> {
        match self {
            Self::Constant { .. } => Some(0),
            Self::Linear { end, .. }
            | Self::Cubic { end, .. }
            | Self::Exponential { end, .. }
            | Self::OneCycle { end, .. } => Some(*end),
            Self::Steps { values } => values.last().map(|(step, _)| *step),
        }
    }

    fn at(&self, step: usize) -> f64 {
        match *self {
            Self::Constant { value } => value,
            Self::Linear {
                from,
                to,
                start,
                end,
            } => mix(from, to, progress(step, start, end)),
            Self::Cubic {
                from,
                to,
                start,
                end,
            } => {
                let left = 1.0 - progress(step, start, end);
                mix(from, to, 1.0 - left * left * left)
            }
            Self::Exponential {
                from,
                to,
                start,
                end,
            } => {
                // Not `to / from`, which may be too large to hold.
                let share = progress(step, start, end);
                let size = from.abs().powf(1.0 - share) * to.abs().powf(share);
                between(from, to, size.copysign(from))
            }
            Self::Steps { ref values } => values
                .iter()
                .take_while(|(start, _)| *start <= step)
                .last()
                .map_or(0.0, |(_, value)| *value),
            Self::OneCycle {
                from,
                peak,
                to,
                peak_at,
                end,
            } => {
                if step < peak_at {
                    mix(from, peak, half_cosine(progress(step, 0, peak_at)))
                } else {
                    mix(peak, to, half_cosine(progress(step, peak_at, end)))
                }
            }
        }
    }
}

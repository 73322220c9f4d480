use serde::{Deserialize, Serialize};

use super::{Schedule, ScheduleError};

/// What to do after a score was observed.
///
/// ```
/// use burn_compress::schedule::{Steered, Verdict};
/// let mut steered = Steered::new(0.5, 0.1, 0.02, 90.0)?;
/// assert_eq!(steered.observe(91.0), Verdict::Raise);
/// assert_eq!(steered.observe(80.0), Verdict::RollBack);
/// # Ok::<(), burn_compress::schedule::ScheduleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The score holds: keep this state as the last good one, and train on at the higher value.
    Raise,
    /// The score fell past the floor: return to the last good state, and train on from there at a
    /// value raised by half the increment. Where no score held yet, the last good state is the model
    /// as it came, and the next value half of the one that fell.
    RollBack,
    /// The increment has become too small to matter: return to the last good state and stop.
    Converged,
}

/// A value steered by feedback: it rises while the score holds and, when the score falls past a
/// floor, falls back to the last good value and halves its increment, until the increment is small.
///
/// This is the dynamic adjustment of the pruning threshold's percentile: the value is the share of
/// weights removed, and it ends at the highest that keeps the score, to within the resolution. Plain
/// data: saved with the training state, it goes on where it was.
///
/// ```
/// use burn_compress::schedule::{Schedule, Steered, Verdict};
/// // A model that bears 73 % and no more.
/// let mut steered = Steered::new(0.5, 0.2, 0.01, 90.0)?;
/// while steered.observe(if steered.at(0) <= 0.73 { 91.0 } else { 80.0 }) != Verdict::Converged {}
/// assert!(steered.is_converged() && steered.increment() < 0.01);
/// assert!((steered.best().unwrap() - 0.73).abs() < 0.02);
/// # Ok::<(), burn_compress::schedule::ScheduleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SteeredFields")]
pub struct Steered {
    value: f64,
    increment: f64,
    resolution: f64,
    floor: f64,
    best: Option<f64>,
    converged: bool,
}

// What is read from a file passes the same check as what is built in code.
#[derive(Deserialize)]
#[serde(rename = "Steered", deny_unknown_fields)]
struct SteeredFields {
    value: f64,
    increment: f64,
    resolution: f64,
    floor: f64,
    best: Option<f64>,
    converged: bool,
}

impl TryFrom<SteeredFields> for Steered {
    type Error = ScheduleError;

    fn try_from(fields: SteeredFields) -> Result<Self, ScheduleError> {
        let SteeredFields {
            value,
            increment,
            resolution,
            floor,
            best,
            converged,
        } = fields;
        Self {
            value,
            increment,
            resolution,
            floor,
            best,
            converged,
        }
        .checked()
    }
}

fn share(name: &'static str, value: f64) -> Result<(), ScheduleError> {
    range(
        name,
        value,
        (0.0..1.0).contains(&value),
        "give a share from 0 to below 1",
    )
}

fn range(
    name: &'static str,
    value: f64,
    fits: bool,
    expected: &'static str,
) -> Result<(), ScheduleError> {
    match fits {
        true => Ok(()),
        false => Err(ScheduleError::Range {
            name,
            value,
            expected,
        }),
    }
}

impl Steered {
    /// Starts at `start` (a share, from 0 to below 1), rises by `increment`, stops once the increment
    /// is below `resolution` (positive, and no more than the increment), and holds the score at or
    /// above `floor`. The value stays below 1.
    ///
    /// Fails with [`ScheduleError::Range`] for a share outside its range, and with
    /// [`ScheduleError::NotFinite`] for a floor that is no number.
    pub fn new(
        start: f64,
        increment: f64,
        resolution: f64,
        floor: f64,
    ) -> Result<Self, ScheduleError> {
        Self {
            value: start,
            increment,
            resolution,
            floor,
            best: None,
            converged: false,
        }
        .checked()
    }

    fn checked(self) -> Result<Self, ScheduleError> {
        share("the start", self.value)?;
        share("the best value", self.best.unwrap_or(0.0))?;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let (increment, resolution) = (self.increment, self.resolution);
        let expected = "give a positive share";
        range("the resolution", resolution, positive(resolution), expected)?;
        if !self.converged {
            range("the increment", increment, positive(increment), expected)?;
            let fits = increment >= resolution;
            range(
                "the increment",
                increment,
                fits,
                "give no less than the resolution",
            )?;
        }
        match self.floor.is_finite() {
            true => Ok(self),
            false => Err(ScheduleError::NotFinite { value: self.floor }),
        }
    }

    /// Takes the score that training at the present value reached, and moves the value. A NaN score
    /// counts as fallen. After the end every score gets [`Verdict::Converged`], and nothing moves.
    pub fn observe(&mut self, score: f64) -> Verdict {
        if self.converged {
            return Verdict::Converged;
        }
        let held = score >= self.floor;
        if held {
            self.best = Some(self.value);
        } else if self.best.is_some() {
            self.increment /= 2.0;
        } else {
            // The step that failed was the one from nothing to the start.
            self.increment = self.value / 2.0;
        }
        // Where nothing held yet, the last good state is the model as it came: nothing removed.
        let from = self.best.unwrap_or(0.0);
        let mut next = from + self.increment;
        while next >= 1.0 && self.increment >= self.resolution {
            self.increment /= 2.0;
            next = from + self.increment;
        }
        // Or too small to change the value at all.
        if self.increment < self.resolution || next == from {
            self.converged = true;
            self.value = from;
            return Verdict::Converged;
        }
        self.value = next;
        match held {
            true => Verdict::Raise,
            false => Verdict::RollBack,
        }
    }

    /// The highest value so far at which the score held; none if it never did.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// The increment that the next rise takes.
    pub fn increment(&self) -> f64 {
        self.increment
    }

    /// Whether the search has ended.
    pub fn is_converged(&self) -> bool {
        self.converged
    }
}

impl Schedule for Steered {
    /// The present value, whatever the step: it moves by [`observe`](Steered::observe).
    fn at(&self, _step: usize) -> f64 {
        self.value
    }
}

use serde::{Deserialize, Serialize};

use super::SearchError;

/// What a searched model may cost: any combination; without any, a [`Search`](super::Search) looks for
/// models from the slowest to the fastest.
///
/// ```
/// use burn_compress::Budget;
/// let budget = Budget::milliseconds(2.5, 16).points(0.5).bytes(200_000);
/// assert_eq!(serde_json::from_str::<Budget>(&serde_json::to_string(&budget)?)?, budget);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Time of a call, on the threads of [`SearchOptions::engine`](super::SearchOptions::engine).
    pub time: Option<TimeLimit>,
    /// Samples of that call, at least 1. Models are timed so in any case.
    pub batch: usize,
    /// Bytes of the network's file.
    pub bytes: Option<u64>,
    /// Multiply-adds of a sample.
    pub macs: Option<u64>,
    /// Points of the score below the original's; asks for a score.
    pub points: Option<f64>,
}

/// The longest time of a call.
///
/// ```
/// use burn_compress::search::TimeLimit;
/// assert_eq!(serde_json::to_string(&TimeLimit::Share(0.5))?, r#"{"share":0.5}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeLimit {
    /// In milliseconds.
    Milliseconds(f64),
    /// As a share of the time of the first candidate in all layers.
    Share(f64),
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            time: None,
            batch: 1,
            bytes: None,
            macs: None,
            points: None,
        }
    }
}

impl Budget {
    /// No limit, for a program that is called with so many samples.
    pub fn of_batch(batch: usize) -> Self {
        Self {
            batch,
            ..Self::default()
        }
    }

    /// At most so many milliseconds for a call of so many samples.
    pub fn milliseconds(milliseconds: f64, batch: usize) -> Self {
        Self {
            time: Some(TimeLimit::Milliseconds(milliseconds)),
            ..Self::of_batch(batch)
        }
    }

    /// At most this share of the time that the first candidate takes in all layers, for a call of so many
    /// samples.
    pub fn share(share: f64, batch: usize) -> Self {
        Self {
            time: Some(TimeLimit::Share(share)),
            ..Self::of_batch(batch)
        }
    }

    /// At most so many bytes.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// At most so many multiply-adds of a sample.
    pub fn macs(mut self, macs: u64) -> Self {
        self.macs = Some(macs);
        self
    }

    /// At most so many points lost.
    pub fn points(mut self, points: f64) -> Self {
        self.points = Some(points);
        self
    }

    pub(super) fn check(&self) -> Result<(), SearchError> {
        let value = |name, value: f64, fits: bool, expected| match fits {
            true => Ok(()),
            false => Err(SearchError::Value {
                name,
                value,
                expected,
            }),
        };
        let batch = self.batch as f64;
        value("batch", batch, batch > 0.0, "give at least one sample")?;
        if let Some(TimeLimit::Milliseconds(time) | TimeLimit::Share(time)) = self.time {
            let fits = time > 0.0 && time.is_finite();
            value("time", time, fits, "give a positive number")?;
        }
        if let Some(points) = self.points {
            let fits = points >= 0.0 && points.is_finite();
            value("points", points, fits, "give 0 or more points")?;
        }
        Ok(())
    }
}

/// What a budget limits.
///
/// ```
/// assert_eq!(burn_compress::search::Limit::Time.to_string(), "milliseconds");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// Milliseconds of a call.
    Time,
    /// Bytes of the file.
    Bytes,
    /// Multiply-adds of a sample.
    Macs,
    /// Points of the score.
    Points,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Time => "milliseconds",
            Self::Bytes => "bytes",
            Self::Macs => "multiply-adds",
            Self::Points => "points",
        })
    }
}

/// A limit that a model exceeds.
///
/// ```
/// use burn_compress::search::{Excess, Limit};
/// let excess = Excess { limit: Limit::Bytes, wanted: 1000.0, found: 1500.0 };
/// assert_eq!(excess.to_string(), "1500 bytes, not 1000");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Excess {
    /// Which.
    pub limit: Limit,
    /// What the budget allows.
    pub wanted: f64,
    /// What the model comes to.
    pub found: f64,
}

impl Excess {
    // How far it is, to be compared with excesses of other limits.
    pub(super) fn size(&self) -> f64 {
        let over = self.found - self.wanted;
        match self.limit {
            Limit::Points => over / self.wanted.max(1.0),
            _ => over / self.wanted.max(f64::MIN_POSITIVE),
        }
    }
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |value: f64| match value.abs() < 100.0 {
            true => format!("{}", (value * 1000.0).round() / 1000.0),
            false => format!("{value:.0}"),
        };
        let (found, wanted) = (short(self.found), short(self.wanted));
        write!(f, "{found} {}, not {wanted}", self.limit)
    }
}

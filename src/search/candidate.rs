use std::fmt;

use serde::{Deserialize, Serialize};

use super::SearchError;
use crate::prune::Pattern;

/// Bits of a weight that is a float.
pub(super) const FLOAT_BITS: u32 = 32;

/// What may be done to a layer.
///
/// ```
/// use burn_compress::{prune::Pattern, search::Candidate};
/// let candidate = Candidate::pruned(0.8, Pattern::Block { channels: 4 }, 8);
/// assert_eq!(candidate.to_string(), "80 % block4, 8 bits");
/// assert_eq!(Candidate::dense(32).to_string(), "untouched");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Candidate {
    /// Which weights go together.
    pub pattern: Pattern,
    /// The share of the weights that goes, from 0 to below 1.
    pub level: f64,
    /// Bits of those that stay, 2 to 16; 32 where they stay in float.
    pub bits: u32,
}

impl Default for Candidate {
    /// A layer that is left as it is.
    fn default() -> Self {
        Self::dense(FLOAT_BITS)
    }
}

impl Candidate {
    /// No weight goes.
    pub fn dense(bits: u32) -> Self {
        Self::pruned(0.0, Pattern::default(), bits)
    }

    /// A share of the weights goes.
    pub fn pruned(level: f64, pattern: Pattern, bits: u32) -> Self {
        Self {
            pattern,
            level,
            bits,
        }
    }

    /// Dense, and each pattern at each level, all of it with each number of bits. A pattern that fixes its
    /// level comes once.
    ///
    /// ```
    /// use burn_compress::{prune::Pattern, search::Candidate};
    /// let patterns = [Pattern::Unstructured, Pattern::Block { channels: 4 }];
    /// assert_eq!(Candidate::grid(&patterns, &[0.5, 0.8], &[8, 4]).len(), 10);
    /// ```
    pub fn grid(patterns: &[Pattern], levels: &[f64], bits: &[u32]) -> Vec<Self> {
        let of = |bits: u32| {
            let pruned = patterns.iter().flat_map(move |pattern| {
                let levels = match pattern.level() {
                    Some(level) => vec![level],
                    None => levels.to_vec(),
                };
                let levels = levels.into_iter();
                levels.map(move |level| Self::pruned(level, *pattern, bits))
            });
            std::iter::once(Self::dense(bits)).chain(pruned)
        };
        bits.iter().copied().flat_map(of).collect()
    }

    pub(super) fn prunes(&self) -> bool {
        self.level > 0.0
    }

    pub(super) fn quantizes(&self) -> bool {
        self.bits < FLOAT_BITS
    }

    pub(super) fn check(&self) -> Result<(), SearchError> {
        let Self { pattern, level, .. } = *self;
        if !(0.0..1.0).contains(&level) {
            return Err(SearchError::Value {
                name: "level",
                value: level,
                expected: "give a share from 0 to below 1",
            });
        }
        pattern.check()?;
        Ok(pattern.check_level(level)?)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pattern,
            level,
            bits,
        } = self;
        let percent = (level * 1e4).round() / 100.0;
        let text = match (self.prunes(), self.quantizes()) {
            (false, false) => "untouched".to_string(),
            (false, true) => format!("dense, {bits} bits"),
            (true, false) => format!("{percent} % {pattern}, floats"),
            (true, true) => format!("{percent} % {pattern}, {bits} bits"),
        };
        f.pad(&text)
    }
}

/// What is done to one layer.
///
/// ```
/// use burn_compress::search::{Candidate, LayerChoice};
/// let choice = LayerChoice { layer: "fc.weight".into(), candidate: Candidate::dense(8) };
/// let text = serde_json::to_string(&choice)?;
/// assert_eq!(serde_json::from_str::<LayerChoice>(&text)?, choice);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerChoice {
    /// Path of its weight.
    pub layer: String,
    /// What is done to it.
    pub candidate: Candidate,
}

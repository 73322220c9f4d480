use serde::{Deserialize, Serialize};

use super::share_of;

/// How many weights each layer keeps, whatever the others are: a guard against layers that lose all
/// under one threshold, and with them the whole model.
///
/// The guard moves removals to other layers, but never asks for more than the level leaves of each layer
/// by itself: the level is reached all the same. One weight stays in any case, unless the guard is zero.
///
/// ```
/// use burn_compress::prune::AtLeast;
/// assert_eq!(AtLeast::default(), AtLeast::Share(0.01));
/// assert_eq!(AtLeast::Share(0.01).weights(0.9, 1000), 10);
/// assert_eq!(AtLeast::Share(0.01).weights(0.999, 1000), 1); // the level leaves no more
/// assert_eq!(AtLeast::Weights(3).weights(0.5, 1000), 3);
/// assert_eq!(AtLeast::Weights(0).weights(0.5, 1000), 0); // no guard
/// assert_eq!(serde_json::to_string(&AtLeast::Share(0.05))?, r#"{"share":0.05}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtLeast {
    /// This share of the layer's weights, rounded up: from 0 to 1.
    Share(f64),
    /// This many of the layer's weights.
    Weights(usize),
}

impl Default for AtLeast {
    /// One weight in a hundred.
    fn default() -> Self {
        Self::Share(0.01)
    }
}

impl AtLeast {
    /// Number of weights that stay, of a layer of `count`, where pruning goes to a level.
    pub fn weights(self, level: f64, count: usize) -> usize {
        let wanted = match self {
            Self::Share(share) => (share * count as f64).ceil() as usize,
            Self::Weights(weights) => weights,
        };
        let left = count - share_of(level, count);
        wanted.min(left.max(1)).min(count)
    }
}

use serde::{Deserialize, Serialize};

use super::{Criterion, Ramp, RangeMethod};
use crate::compress::Regrowth;
use crate::format::{Granularity, Mapping};
use crate::graph::{Calibrator, Fallback};
use crate::prune::{AtLeast, Pattern, Scope};

/// The search for the highest sparsity that keeps the budget, by a steered threshold.
///
/// ```
/// let steer = burn_compress::recipe::Steer::default();
/// assert_eq!((steer.start, steer.increment, steer.resolution, steer.rounds), (0.5, 0.1, 0.01, 12));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Steer {
    /// First share of weights removed, 0 to below 1.
    pub start: f64,
    /// First increment of the share, positive.
    pub increment: f64,
    /// The search ends when the increment is below this; positive, and no more than the increment.
    pub resolution: f64,
    /// Most rounds, each of the recipe's epochs; at least 1.
    pub rounds: usize,
}

impl Default for Steer {
    fn default() -> Self {
        Self {
            start: 0.5,
            increment: 0.1,
            resolution: 0.01,
            rounds: 12,
        }
    }
}

/// The pruning half of a study.
///
/// ```
/// use burn_compress::{prune::Pattern, recipe::PruneLevels};
/// let patterns = vec![Pattern::Unstructured, Pattern::Block { channels: 4 }];
/// let prune = PruneLevels { patterns, ..PruneLevels::from([0.5, 0.9]) };
/// assert_eq!(prune.levels, [0.5, 0.9]);
/// assert_eq!(prune.levels_of(Pattern::NOfM { n: 1, m: 4 }), [0.75]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneLevels {
    /// Shares of the selected weights that are removed, rising, above 0 and below 1.
    pub levels: Vec<f64>,
    /// Which weights go first.
    pub criterion: Criterion,
    /// Which weights go together: each level, and the search, with each of these; at least one, each
    /// once. One that fixes its level, such as `2:4`, is studied at that one.
    pub patterns: Vec<Pattern>,
    /// In each layer, or in all together.
    pub scope: Scope,
    /// Whether weights may come back before masks freeze.
    pub regrowth: Regrowth,
    /// How sparsity rises in aware training.
    pub ramp: Ramp,
    /// Share of the training after which the level is reached and masks freeze, 0 to 1.
    pub ramp_share: f64,
    /// Masks move at every n-th step; at least 1.
    pub every: usize,
    /// How many weights each layer keeps, whatever the others are; a share lies from 0 to 1.
    pub at_least: AtLeast,
    /// Whether weights that are zero already stay so.
    pub keep_zeros: bool,
    /// Whether parameters that require no gradient are pruned, too.
    pub prune_frozen: bool,
    /// Also searches for the highest level that keeps the budget.
    pub steer: Option<Steer>,
}

impl Default for PruneLevels {
    fn default() -> Self {
        Self {
            levels: Vec::new(),
            criterion: Criterion::default(),
            patterns: vec![Pattern::default()],
            scope: Scope::default(),
            regrowth: Regrowth::default(),
            ramp: Ramp::default(),
            ramp_share: 0.5,
            every: 10,
            at_least: AtLeast::default(),
            keep_zeros: true,
            prune_frozen: false,
            steer: None,
        }
    }
}

impl PruneLevels {
    /// The levels that are studied in a pattern: all, or the one that it fixes.
    pub fn levels_of(&self, pattern: Pattern) -> Vec<f64> {
        match pattern.level() {
            Some(level) => vec![level],
            None => self.levels.clone(),
        }
    }
}

impl<const N: usize> From<[f64; N]> for PruneLevels {
    fn from(levels: [f64; N]) -> Self {
        Self {
            levels: levels.to_vec(),
            ..Self::default()
        }
    }
}

/// The quantization half of a study.
///
/// ```
/// use burn_compress::{format::Mapping, recipe::QuantizeLevels};
/// let quantize = QuantizeLevels { mapping: Mapping::Affine, ..QuantizeLevels::from([8, 4]) };
/// assert_eq!(quantize.bits, [8, 4]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuantizeLevels {
    /// Numbers of bits, falling, 2 to 16.
    pub bits: Vec<u32>,
    /// Symmetric or affine.
    pub mapping: Mapping,
    /// Which weights share a scale.
    pub granularity: Granularity,
    /// How ranges are picked.
    pub ranges: RangeMethod,
    /// Scales follow the weights at every n-th step; at least 1.
    pub every: usize,
    /// Quantizes activations too.
    pub activations: Option<ActivationLevels>,
}

/// How a study quantizes activations.
///
/// ```
/// use burn_compress::recipe::ActivationLevels;
/// let levels = ActivationLevels::default();
/// assert_eq!((levels.bits, levels.input_bits, levels.learned), (8, 8, true));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActivationLevels {
    /// Bits, 2 to 16.
    pub bits: u32,
    /// Bits of the model's input, 2 to 16.
    pub input_bits: u32,
    /// Symmetric or affine.
    pub mapping: Mapping,
    /// How ranges are found.
    pub calibrator: Calibrator,
    /// Whether training moves the scales.
    pub learned: bool,
    /// Epochs of aware training after which the statistics of batch norms are frozen.
    pub freeze_after: usize,
    /// What becomes of operations that have no integer form.
    pub fallback: Fallback,
}

impl Default for ActivationLevels {
    fn default() -> Self {
        Self {
            bits: 8,
            input_bits: 8,
            mapping: Mapping::Affine,
            calibrator: Calibrator::default(),
            learned: true,
            freeze_after: 1,
            fallback: Fallback::default(),
        }
    }
}

impl Default for QuantizeLevels {
    fn default() -> Self {
        Self {
            bits: Vec::new(),
            mapping: Mapping::Symmetric,
            granularity: Granularity::Channel,
            ranges: RangeMethod::default(),
            every: 10,
            activations: None,
        }
    }
}

impl<const N: usize> From<[u32; N]> for QuantizeLevels {
    fn from(bits: [u32; N]) -> Self {
        Self {
            bits: bits.to_vec(),
            ..Self::default()
        }
    }
}

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::RecipeError;
use crate::prune::{Magnitude, Pruner, Random, Taylor, Wanda};
use crate::quantize::{LearnedStep, LeastSquares, MinMax, Percentile, Quantizer};
use crate::schedule::Curve;

/// A pruning criterion by name.
///
/// ```
/// use burn_compress::recipe::Criterion;
/// let text = serde_json::to_string(&Criterion::Random { seed: 3 })?;
/// assert_eq!(text, r#"{"random":{"seed":3}}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Criterion {
    /// [`Magnitude`].
    #[default]
    Magnitude,
    /// [`Random`].
    Random {
        /// Its seed.
        seed: u64,
    },
    /// [`Taylor::Squared`]: the workload has to show gradients
    /// ([`Workload::observe`](crate::train::Workload::observe)).
    Taylor,
    /// [`Taylor::Absolute`]: as well.
    TaylorAbsolute,
    /// [`Wanda`]: the workload has to show inputs.
    Wanda,
    /// One of the application's own, by [`Pruner::name`].
    Custom(String),
}

impl Criterion {
    pub(crate) fn build(
        &self,
        custom: Option<&Arc<dyn Pruner>>,
    ) -> Result<Arc<dyn Pruner>, RecipeError> {
        match (self, custom) {
            (Self::Magnitude, _) => Ok(Arc::new(Magnitude)),
            (Self::Random { seed }, _) => Ok(Arc::new(Random { seed: *seed })),
            (Self::Taylor, _) => Ok(Arc::new(Taylor::Squared)),
            (Self::TaylorAbsolute, _) => Ok(Arc::new(Taylor::Absolute)),
            (Self::Wanda, _) => Ok(Arc::new(Wanda)),
            (Self::Custom(name), Some(own)) if own.name() == name => Ok(own.clone()),
            (Self::Custom(name), _) => Err(RecipeError::Custom {
                name: name.clone(),
                method: "Study::criterion",
            }),
        }
    }
}

/// A quantizer by name.
///
/// ```
/// use burn_compress::recipe::RangeMethod;
/// assert_eq!(serde_json::to_string(&RangeMethod::LeastSquares)?, r#""least_squares""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum RangeMethod {
    /// [`MinMax`].
    MinMax,
    /// [`Percentile`].
    Percentile {
        /// Share of the values left out at each end, 0 to below 0.5.
        outside: f64,
    },
    /// [`LeastSquares`].
    #[default]
    LeastSquares,
    /// [`LearnedStep`]: learned in aware training; after training alone, its first scales.
    LearnedStep,
    /// One of the application's own, by [`Quantizer::name`].
    Custom(String),
}

impl RangeMethod {
    pub(crate) fn build(
        &self,
        custom: Option<&Arc<dyn Quantizer>>,
    ) -> Result<Arc<dyn Quantizer>, RecipeError> {
        match (self, custom) {
            (Self::MinMax, _) => Ok(Arc::new(MinMax)),
            (Self::Percentile { outside }, _) => Ok(Arc::new(Percentile { outside: *outside })),
            (Self::LeastSquares, _) => Ok(Arc::new(LeastSquares)),
            (Self::LearnedStep, _) => Ok(Arc::new(LearnedStep)),
            (Self::Custom(name), Some(own)) if own.name() == name => Ok(own.clone()),
            (Self::Custom(name), _) => Err(RecipeError::Custom {
                name: name.clone(),
                method: "Study::quantizer",
            }),
        }
    }
}

/// How sparsity rises to a level while fine-tuning.
///
/// ```
/// use burn_compress::{recipe::Ramp, schedule::Schedule};
/// let curve = Ramp::Cubic.curve(0.8, 100);
/// assert_eq!((curve.at(0), curve.at(100)), (0.0, 0.8));
/// assert_eq!(Ramp::AtOnce.curve(0.8, 100).at(0), 0.8);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ramp {
    /// All at the first step.
    AtOnce,
    /// By equal shares.
    Linear,
    /// Fast first, then ever slower.
    #[default]
    Cubic,
}

impl Ramp {
    /// The schedule to this level over this many steps.
    pub fn curve(self, level: f64, steps: usize) -> Curve {
        let (from, to, start, end) = (0.0, level, 0, steps);
        match self {
            Self::AtOnce => Curve::Constant { value: level },
            Self::Linear => Curve::Linear {
                from,
                to,
                start,
                end,
            },
            Self::Cubic => Curve::Cubic {
                from,
                to,
                start,
                end,
            },
        }
    }
}

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that is no error, but that the owner of a model should know: each names the layer, the
/// value and the way out.
///
/// [`Compressed::warnings`](crate::compress::Compressed::warnings) tells of weights,
/// [`Network::inspect`](crate::network::Network::inspect) of activations on some
/// inputs, [`Program::warnings`](crate::engine::Program::warnings) of what runs slowly, and
/// [`Report::warnings`](crate::report::Report::warnings) of all that a study met.
///
/// ```
/// use burn_compress::Warning;
/// let warning = Warning::Emptied { layer: "fc1.weight".into(), weights: 64 };
/// assert!(warning.to_string().starts_with("All 64 weights of layer `fc1.weight` were removed"));
/// assert_eq!(warning.layer(), Some("fc1.weight"));
/// let json = serde_json::to_string(&warning)?;
/// assert_eq!(json, r#"{"kind":"emptied","layer":"fc1.weight","weights":64}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Warning {
    /// Every weight of a layer is zero.
    Emptied {
        /// Path of the layer's weight.
        layer: String,
        /// Its weights.
        weights: usize,
    },
    /// Output channels of which every weight is zero.
    DeadChannels {
        /// Path of the layer's weight.
        layer: String,
        /// Channels without a weight.
        dead: usize,
        /// All output channels.
        channels: usize,
    },
    /// Weights that need few of their codes, so that most are rounded coarsely.
    UnusedCodes {
        /// Path of the layer's weight.
        layer: String,
        /// Codes that occur.
        used: usize,
        /// Codes there are.
        codes: usize,
        /// Bits of a code.
        bits: u32,
    },
    /// An activation that needs few of its codes, so that most values are rounded coarsely.
    UnusedActivationCodes {
        /// The layer whose result it is, or `input`.
        layer: String,
        /// Codes that occurred.
        used: usize,
        /// Codes there are.
        codes: usize,
        /// Bits of a code.
        bits: u32,
    },
    /// An activation whose values often lie beyond the range of its codes.
    Saturated {
        /// The layer whose result it is, or `input`.
        layer: String,
        /// The share of values that were clipped, 0 to 1.
        share: f64,
    },
    /// Channels of an activation that never left one code.
    ConstantChannels {
        /// The layer whose result it is.
        layer: String,
        /// Channels that did not change.
        constant: usize,
        /// All channels.
        channels: usize,
    },
    /// A layer that was left out of pruning, since its weights have no gradient.
    NoGradient {
        /// Path of the layer's weight.
        layer: String,
    },
    /// A layer that would have lost more weights than its guard lets go.
    Guarded {
        /// Path of the layer's weight.
        layer: String,
        /// Weights that the guard kept.
        kept: usize,
        /// All its weights.
        weights: usize,
    },
    /// Training ended before the schedule of the pruning did.
    Unfinished {
        /// Steps taken.
        step: usize,
        /// The step at which the schedule ends; none where it does not say.
        end: Option<usize>,
        /// The level that was reached.
        level: f64,
    },
    /// Times that differ from one measurement to the next.
    Unsteady {
        /// What was timed.
        what: String,
        /// By how much the slower of the two fastest measurements exceeds the other, as a share.
        share: f64,
    },
    /// A step of a program that runs plainly, by the reference's code.
    Plain {
        /// Path of the layer.
        layer: String,
        /// The operation.
        operation: String,
        /// Its share of the time of a pass, 0 to 1; none where nothing was timed.
        share: Option<f64>,
    },
    /// A step in floats of a program whose other products are in whole numbers.
    InFloat {
        /// Path of the layer.
        layer: String,
        /// The operation.
        operation: String,
        /// Its share of the time of a pass, 0 to 1; none where nothing was timed.
        share: Option<f64>,
    },
}

impl Warning {
    /// The layer that it is about; none of one about the whole model.
    pub fn layer(&self) -> Option<&str> {
        match self {
            Self::Emptied { layer, .. }
            | Self::DeadChannels { layer, .. }
            | Self::UnusedCodes { layer, .. }
            | Self::UnusedActivationCodes { layer, .. }
            | Self::Saturated { layer, .. }
            | Self::ConstantChannels { layer, .. }
            | Self::NoGradient { layer }
            | Self::Guarded { layer, .. }
            | Self::Plain { layer, .. }
            | Self::InFloat { layer, .. } => Some(layer),
            Self::Unfinished { .. } | Self::Unsteady { .. } => None,
        }
    }

    /// Whether another is about the same thing, whatever its numbers: two models of a study differ in
    /// them.
    ///
    /// ```
    /// use burn_compress::Warning;
    /// let clipped = |layer: &str, share| Warning::Saturated { layer: layer.into(), share };
    /// assert!(clipped("conv1", 0.02).is_like(&clipped("conv1", 0.03)));
    /// assert!(!clipped("conv1", 0.02).is_like(&clipped("conv2", 0.02)));
    /// ```
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
            && self.layer() == other.layer()
            && self.operation() == other.operation()
    }

    /// Its share of the time of a pass, or of the values.
    pub(crate) fn share(&self) -> Option<f64> {
        match self {
            Self::Plain { share, .. } | Self::InFloat { share, .. } => *share,
            Self::Saturated { share, .. } | Self::Unsteady { share, .. } => Some(*share),
            _ => None,
        }
    }

    /// Adds another step's share of the time.
    pub(crate) fn add_share(&mut self, other: Option<f64>) {
        if let Self::Plain { share, .. } | Self::InFloat { share, .. } = self {
            *share = share.zip(other).map(|(share, other)| share + other);
        }
    }

    fn operation(&self) -> Option<&str> {
        match self {
            Self::Plain { operation, .. } | Self::InFloat { operation, .. } => Some(operation),
            _ => None,
        }
    }

    /// How bad it is among those that are [like](Self::is_like) it: more is worse.
    #[cfg(feature = "compress")]
    pub(crate) fn weight(&self) -> f64 {
        match self {
            Self::DeadChannels { dead, .. } => *dead as f64,
            Self::ConstantChannels { constant, .. } => *constant as f64,
            Self::UnusedCodes { used, codes, .. }
            | Self::UnusedActivationCodes { used, codes, .. } => {
                1.0 - *used as f64 / (*codes).max(1) as f64
            }
            Self::Saturated { .. }
            | Self::Unsteady { .. }
            | Self::Plain { .. }
            | Self::InFloat { .. } => self.share().unwrap_or(0.0),
            Self::Unfinished { level, .. } => -level,
            Self::Emptied { .. } | Self::NoGradient { .. } | Self::Guarded { .. } => 0.0,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emptied { layer, weights } => write!(
                f,
                "All {weights} weights of layer `{layer}` were removed, so that it gives its bias \
                 alone: choose a lower level, `Scope::Layer`, or leave it out"
            ),
            Self::DeadChannels {
                layer,
                dead,
                channels,
            } => write!(
                f,
                "{dead} of the {channels} output channels of layer `{layer}` have no weight left: \
                 choose a lower level, a scale for each channel, or a narrower layer"
            ),
            Self::UnusedCodes {
                layer,
                used,
                codes,
                bits,
            } => write!(
                f,
                "The weights of layer `{layer}` use {used} of the {codes} codes of {bits} bits, as \
                 a few large ones stretch their range: take a scale for each channel or group, or \
                 the range of `LeastSquares`"
            ),
            Self::UnusedActivationCodes {
                layer,
                used,
                codes,
                bits,
            } => write!(
                f,
                "The activation at `{layer}` uses {used} of the {codes} codes of {bits} bits, as a \
                 few large values stretch its range: calibrate with `Calibrator::Percentile`"
            ),
            Self::Saturated { layer, share } => write!(
                f,
                "{:.1} % of the values of the activation at `{layer}` were clipped to its range: \
                 calibrate with more data like this, or with `Calibrator::MinMax`",
                share * 100.0
            ),
            Self::ConstantChannels {
                layer,
                constant,
                channels,
            } => write!(
                f,
                "{constant} of the {channels} channels of the activation at `{layer}` kept one \
                 code for all inputs: show it more inputs, give it more bits, or make the layer \
                 narrower"
            ),
            Self::NoGradient { layer } => write!(
                f,
                "Layer `{layer}` was not pruned, since it has no gradient: select it by its path, \
                 or let it train"
            ),
            Self::Guarded {
                layer,
                kept,
                weights,
            } => write!(
                f,
                "Layer `{layer}` kept {kept} of its {weights} weights by its guard alone: the \
                 threshold would have taken more; choose a lower level, or lower the guard"
            ),
            Self::Unfinished { step, end, level } => {
                match end {
                    Some(end) => write!(f, "Training ended at step {step} of the {end}")?,
                    None => write!(f, "Training ended at step {step}, before the end")?,
                }
                write!(
                    f,
                    " of the pruning's schedule, at a level of {:.1} %: call \
                     `Compression::step` after each step of the optimizer, or shorten the schedule",
                    level * 100.0
                )
            }
            Self::Unsteady { what, share } => write!(
                f,
                "The times of {what} differ by {:.0} % from one measurement to the next: leave the \
                 machine to it alone, or repeat more often",
                share * 100.0
            ),
            Self::Plain {
                layer,
                operation,
                share,
            } => write!(
                f,
                "`{operation}` at `{layer}` runs plainly{}: express it by an operation with a \
                 kernel, if that is much",
                of_time(*share)
            ),
            Self::InFloat {
                layer,
                operation,
                share,
            } => write!(
                f,
                "`{operation}` at `{layer}` runs in floats{}: quantize its weights too, or express \
                 it by an operation with an integer form, if that is much",
                of_time(*share)
            ),
        }
    }
}

fn of_time(share: Option<f64>) -> String {
    share.map_or(String::new(), |share| {
        format!(", for {:.1} % of the time", share * 100.0)
    })
}

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why channels stay.
///
/// ```
/// use burn_compress::channels::Reason;
/// let reason = Reason::Field { layer: "block.depthwise".into(), field: "groups".into() };
/// assert!(reason.to_string().contains("`groups` of block.depthwise"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// They are the model's input.
    Input,
    /// They are the model's output.
    Output,
    /// The forward pass fixes their number: found by recording it with fewer.
    Pass {
        /// The layer, or what the place follows.
        layer: String,
        /// What went wrong with fewer channels.
        what: String,
    },
    /// An operation that does not compute the same with fewer.
    Operation {
        /// The layer, or what the place follows.
        layer: String,
        /// The operation.
        op: String,
    },
    /// A norm whose mean and variance would be those of the remaining channels;
    /// [`Channels::renormalize`](super::Channels::renormalize) allows it.
    Norm {
        /// The layer.
        layer: String,
    },
    /// A sum over channels of which a removed one would not count zero.
    NotZero {
        /// The layer, or what the place follows.
        layer: String,
    },
    /// The layer holds their number in a field that only its owner can set;
    /// [`Channels::apply_with`](super::Channels::apply_with) takes code that does.
    Field {
        /// The layer.
        layer: String,
        /// The field.
        field: String,
    },
    /// A parameter that does not train, beside others that do.
    Frozen {
        /// Its path.
        path: String,
    },
    /// A tensor of this length that the pass makes.
    Constant {
        /// The layer, or what the place follows.
        layer: String,
    },
    /// The selection leaves the layer out.
    NotSelected {
        /// Path of its weight.
        path: String,
    },
    /// Scores are those of norms, and no norm scales these channels.
    NoNorm,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("the model's input"),
            Self::Output => f.write_str("the model's output"),
            Self::Pass { layer, what } => {
                write!(f, "the pass fixes the width at {layer}: {what}")
            }
            Self::Operation { layer, op } => write!(f, "{op} at {layer} needs all of them"),
            Self::Norm { layer } => write!(
                f,
                "the norm {layer} would see fewer channels (`renormalize` allows it)"
            ),
            Self::NotZero { layer } => write!(
                f,
                "the sum at {layer} counts removed channels, for they are not zero"
            ),
            Self::Field { layer, field } => write!(
                f,
                "the field `{field}` of {layer} holds their number (`apply_with` can set it)"
            ),
            Self::Frozen { path } => write!(f, "{path} is frozen"),
            Self::Constant { layer } => write!(f, "a constant of this length at {layer}"),
            Self::NotSelected { path } => write!(f, "{path} is not selected"),
            Self::NoNorm => f.write_str("no norm scales them, so that they have no score"),
        }
    }
}

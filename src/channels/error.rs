use super::Reason;
use crate::compress::CompressError;
use crate::graph::GraphError;

/// What can go wrong where channels are removed.
///
/// ```
/// use burn_compress::channels::ChannelError;
/// let error = ChannelError::Share { share: 1.0 };
/// assert!(error.to_string().contains("above 0 and below 1"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// A share outside its range.
    #[error("the share {share} cannot be removed: choose above 0 and below 1")]
    Share {
        /// The share.
        share: f64,
    },
    /// A network of which no channel can go.
    #[error("no channel can go: {}", listed(fixed))]
    Nothing {
        /// Layers whose channels stay, and why.
        fixed: Vec<(String, Reason)>,
    },
    /// A share that is more than what can go.
    #[error(
        "{share} of the {of} cannot be removed, at most {most:.4}: choose that or less, or lower \
         `at_least` and `multiple_of`; what stays whole: {}",
        listed(fixed)
    )]
    Unreachable {
        /// The share.
        share: f64,
        /// Of what.
        of: &'static str,
        /// The greatest share that can be.
        most: f64,
        /// Layers whose channels stay, and why.
        fixed: Vec<(String, Reason)>,
    },
    /// A weight is NaN or infinite.
    #[error(
        "layer `{layer}` has the weight {value}: repair or retrain the model before removing channels"
    )]
    NotFinite {
        /// Path of the parameter.
        layer: String,
        /// One of the values.
        value: f32,
    },
    /// A score that reads gradients, of a layer without.
    #[error(
        "the score reads gradients, and none of `{layer}` was observed: give `observed` those of some batches"
    )]
    Unobserved {
        /// Path of the weight.
        layer: String,
    },
    /// A module that a removal was not made for.
    #[error(
        "parameter `{path}`: the removal is for dimensions {expected:?}, the module has {}",
        dims(found)
    )]
    Removal {
        /// Path of the parameter.
        path: String,
        /// The module's dimensions; none where it has no such parameter.
        found: Option<Vec<usize>>,
        /// The removal's.
        expected: Vec<usize>,
    },
    /// A tensor that cannot be read from its device.
    #[error("layer `{layer}` cannot be read from its device: {reason}")]
    Device {
        /// Path of the parameter.
        layer: String,
        /// What Burn said.
        reason: String,
    },
    /// The forward pass cannot be captured.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The module, its selection, or a file.
    #[error(transparent)]
    Compress(#[from] CompressError),
}

fn dims(found: &Option<Vec<usize>>) -> String {
    match found {
        Some(dims) => format!("{dims:?}"),
        None => "no such parameter".to_string(),
    }
}

// The first of many.
fn listed(fixed: &[(String, Reason)]) -> String {
    const SHOWN: usize = 8;
    if fixed.is_empty() {
        return "nothing, but each layer keeps a channel".to_string();
    }
    let shown = fixed.iter().take(SHOWN);
    let mut text: Vec<String> = shown
        .map(|(layer, why)| format!("{layer} ({why})"))
        .collect();
    if fixed.len() > SHOWN {
        text.push(format!("and {} more", fixed.len() - SHOWN));
    }
    text.join("; ")
}

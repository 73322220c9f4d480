use crate::network::NetworkError;

/// What can go wrong with a graph.
///
/// ```
/// use burn_compress::graph::GraphError;
/// let error = GraphError::Unsupported {
///     op: "cumulative sum".into(),
///     layer: "encoder".into(),
///     place: 12,
///     in_float: true,
/// };
/// assert!(error.to_string().contains("encoder"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The forward pass cannot be recorded: it panicked, or asked for the value of a tensor.
    #[error(
        "the forward pass cannot be recorded: {reason} (a pass may ask for no tensor's values, and runs at \
         batch sizes of 2 and 3, or of 1)"
    )]
    Capture {
        /// What Burn said.
        reason: String,
    },
    /// Two batch sizes gave different operations.
    #[error(
        "the forward pass does something else for another batch size, at operation {place} ({layer}): {what}"
    )]
    Varies {
        /// Number of the operation.
        place: usize,
        /// The layer, or the one before.
        layer: String,
        /// What differs.
        what: String,
    },
    /// An operation that has no integer form, or one that the graph does not know at all.
    #[error(
        "{op} (operation {place}, at {layer}) is not supported; {}",
        way_out(*in_float)
    )]
    Unsupported {
        /// The operation.
        op: String,
        /// The layer, or the one before.
        layer: String,
        /// Number of the operation in the recording.
        place: usize,
        /// Whether it can stay in float: a [`FloatOp`](crate::network::FloatOp).
        in_float: bool,
    },
    /// An output of another rank than the caller takes.
    #[error(
        "the output is {found:?}, of another rank than {wanted}: take a tensor of rank {}",
        found.len()
    )]
    Output {
        /// Its dimensions.
        found: Vec<usize>,
        /// The rank that was asked for.
        wanted: usize,
    },
    /// A module without a parameter that the graph uses, or with one of other dimensions.
    #[error("parameter {path}: {what}")]
    Parameter {
        /// Its path.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The module's parameters are not all on one device.
    #[error("the module is on {count} devices; move it to one with `to_device`")]
    Devices {
        /// How many.
        count: usize,
    },
    /// A calibration that has seen no data.
    #[error("no data for calibration: `observe` at least one batch")]
    NoData,
    /// The tensors of an input or a parameter could not be read from its device.
    #[error("{what} cannot be read from its device: {reason}")]
    Device {
        /// What was read.
        what: String,
        /// What Burn said.
        reason: String,
    },
    /// An input, an activation, or a network made of the graph.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A scheme, or a file.
    #[error(transparent)]
    Format(#[from] crate::format::FormatError),
}

fn way_out(in_float: bool) -> &'static str {
    match in_float {
        true => {
            "let it stay in float (`Graph::capture_with` and `Fallback::Float`, in a recipe \
             `fallback = \"float\"`), or express it by other operations of the list in `network::Op`"
        }
        false => "express it by operations of the list in `network::Op`",
    }
}

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
        "the forward pass cannot be recorded: {reason}; it must not depend on the values of tensors"
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
        /// Whether it can stay in float: a [`FloatOp`](super::FloatOp).
        in_float: bool,
    },
    /// An input of other dimensions than the graph was recorded for.
    #[error("the input is {found:?}; the graph takes {expected}")]
    Input {
        /// Its dimensions.
        found: Vec<usize>,
        /// Those of the graph.
        expected: String,
    },
    /// A batch without a sample.
    #[error("a batch of 0 samples: a run needs at least 1")]
    EmptyBatch,
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
    /// An activation that cannot be quantized.
    #[error("the activation at {layer}: {what}")]
    Activation {
        /// Its layer.
        layer: String,
        /// What is wrong, and the way out.
        what: String,
    },
    /// A step of an integer model that contradicts itself or the model.
    #[error("the step at {layer}: {what}")]
    Step {
        /// Its layer.
        layer: String,
        /// What is wrong.
        what: String,
    },
    /// Factors cannot be rounded to this number of bits.
    #[error("factors have no {bits} significant bits: choose 1 to 24")]
    FactorBits {
        /// The bits.
        bits: u32,
    },
    /// An input with a number that is none, or infinite.
    #[error(
        "sample {sample} of the batch (from 0) holds {value} at its element {element}: give finite numbers, or leave the sample out"
    )]
    NotFinite {
        /// The first sample of the batch that holds one, from 0.
        sample: usize,
        /// The first such element of the sample.
        element: usize,
        /// What it is.
        value: f32,
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
    /// A scheme, or a file.
    #[error(transparent)]
    Format(#[from] crate::format::FormatError),
    /// What is attached to the module.
    #[error(transparent)]
    Attach(#[from] crate::attach::AttachError),
}

fn way_out(in_float: bool) -> &'static str {
    match in_float {
        true => {
            "let it stay in float (`Graph::capture_with` and `Fallback::Float`, in a recipe \
             `fallback = \"float\"`), or express it by other operations of the list in `graph::Op`"
        }
        false => "express it by operations of the list in `graph::Op`",
    }
}

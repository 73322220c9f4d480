use std::path::PathBuf;

use super::Scheme;

/// What can be wrong with a scheme, a packed weight or a file.
///
/// ```
/// use burn_compress::format::{FormatError, Scheme};
/// assert!(matches!(Scheme::symmetric(1), Err(FormatError::Bits { bits: 1 })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// No code exists at this number of bits.
    #[error(
        "{bits} bits have no code: choose {} to {} bits",
        Scheme::MIN_BITS,
        Scheme::MAX_BITS
    )]
    Bits {
        /// The number asked for.
        bits: u32,
    },
    /// Codes cannot be packed at this number of bits.
    #[error("codes of {bits} bits cannot be packed: choose 1 to 16 bits")]
    Packing {
        /// The number asked for.
        bits: u32,
    },
    /// A code needs more bits than it is to be packed in.
    #[error("code {code} does not fit in {bits} bits")]
    Code {
        /// The code.
        code: u32,
        /// The bits.
        bits: u32,
    },
    /// Codes, scales and zero points of a weight or an activation that contradict their scheme or each
    /// other.
    #[error("not a tensor of codes: {what}")]
    Quantized {
        /// What is wrong.
        what: String,
    },
    /// Dimensions that cannot be seen as a matrix of output channels.
    #[error(
        "dimensions {dims:?} have no output channels on axis {output_axis}: give axis 0 or 1, and dimensions whose product fits in memory"
    )]
    View {
        /// The dimensions.
        dims: Vec<usize>,
        /// The axis asked for.
        output_axis: usize,
    },
    /// Groups of channels that do not fit a weight.
    #[error("{groups} groups do not divide the {} channels of a weight of {dims:?}: give a divisor", dims.first().unwrap_or(&0))]
    Groups {
        /// The dimensions.
        dims: Vec<usize>,
        /// The groups asked for.
        groups: usize,
    },
    /// The group size of a scheme does not divide the rows of a weight.
    #[error(
        "groups of {group} do not divide rows of {columns} weights: choose a divisor of {columns}, or one scale per channel"
    )]
    Group {
        /// Group size asked for.
        group: usize,
        /// Weights in a row (input channels times kernel size).
        columns: usize,
    },
    /// A stored layer contradicts itself.
    #[error("tensor `{path}`: {what}")]
    Tensor {
        /// Path of the tensor.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The bytes are not a file of this library, or were cut or altered.
    #[error("not a readable file of burn-compress: {what}; it may have been cut or altered")]
    Corrupt {
        /// What is wrong.
        what: String,
    },
    /// The file is one that another call reads.
    #[error("{}", other_kind(found, wanted))]
    Kind {
        /// The kind in the file.
        found: String,
        /// The kind that was to be read.
        wanted: String,
    },
    /// The file was written by a newer version of this library.
    #[error(
        "the file has format version {found}, this library reads up to {supported}: update burn-compress"
    )]
    Version {
        /// Version in the file.
        found: u32,
        /// Newest version that this library reads.
        supported: u32,
    },
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

// The kinds of files of this library: what each is, what writes it, and what reads it.
const KINDS: [(&str, &str, &str, &str); 4] = [
    (
        "model",
        "the packed weights of a module",
        "`Compressed::save`",
        "`load` reads it into the module; for a file that `Program::load` reads, save what \
         `Compressed::network` or `Compressed::quantized_network` gives",
    ),
    (
        "network",
        "a network",
        "`Network::save`, `Program::save` or `Outcome::save_best`",
        "`Program::load` or `Network::load` reads it; for a file that `load` reads into a module, \
         save what `Plan::apply` or `Compression::finish` gives",
    ),
    (
        "checkpoint",
        "a checkpoint of training",
        "`Checkpoint::save`",
        "`Checkpoint::load` reads it",
    ),
    (
        "trial",
        "the state of a study",
        "`Study::run`",
        "a study with this folder reads it",
    ),
];

fn other_kind(found: &str, wanted: &str) -> String {
    let of = |kind: &str| KINDS.iter().find(|known| known.0 == kind);
    let wanted = match of(wanted) {
        Some((_, what, by, _)) => format!("{what}, as {by} writes it"),
        None => format!("a `{wanted}`"),
    };
    match of(found) {
        Some((_, what, by, way_out)) => {
            format!("the file holds {what}, written by {by}, not {wanted}: {way_out}")
        }
        None => format!("the file holds a `{found}`, not {wanted}"),
    }
}

impl FormatError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn tensor(path: &str, what: impl Into<String>) -> Self {
        Self::Tensor {
            path: path.to_string(),
            what: what.into(),
        }
    }
}

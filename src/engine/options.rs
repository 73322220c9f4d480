use serde::{Deserialize, Serialize};

use crate::kernel::Isa;

/// How each layer's kernel is chosen.
///
/// ```
/// use burn_compress::engine::Tuning;
/// assert_eq!(Tuning::default(), Tuning::Measured);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tuning {
    /// By running the candidates on this machine. Where it has no clock, as in a browser's WebAssembly, by
    /// counting.
    #[default]
    Measured,
    /// By counting their sparse entries: the same on every machine, and at once.
    Estimated,
}

/// How a model is compiled.
///
/// ```
/// use burn_compress::engine::{Tuning, Options};
/// let options = Options { threads: Some(2), tuning: Tuning::Estimated, ..Options::default() };
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Threads of a run, at least 1; none: as many as the machine has processors.
    pub threads: Option<usize>,
    /// The instruction set; none: the best that the machine has.
    #[serde(with = "super::isa_name::option")]
    pub isa: Option<Isa>,
    /// How kernels are chosen.
    pub tuning: Tuning,
}

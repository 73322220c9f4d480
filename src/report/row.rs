use crate::Warning;
use crate::prune::Pattern;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The part of the study that a row belongs to.
///
/// ```
/// use burn_compress::report::Stage;
///
/// assert_eq!(Stage::Prune.to_string(), "prune");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The model as its owner handed it over.
    Baseline,
    /// A pruning level.
    Prune,
    /// A quantization level.
    Quantize,
    /// The best pruning level and the best quantization level together.
    Combined,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Baseline => "baseline",
            Self::Prune => "prune",
            Self::Quantize => "quantize",
            Self::Combined => "combined",
        })
    }
}

/// When a compression is in force.
///
/// ```
/// use burn_compress::report::Mode;
///
/// assert_eq!(Mode::Aware.to_string(), "aware");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Nothing is compressed (the baseline).
    None,
    /// Applied to the trained model, without training.
    Post,
    /// Applied without training, but so that the outputs of layers change least on inputs without labels.
    Reconstructed,
    /// In force while the model is fine-tuned.
    Aware,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Post => "post",
            Self::Reconstructed => "reconstructed",
            Self::Aware => "aware",
        })
    }
}

/// What was timed.
///
/// ```
/// use burn_compress::report::Timed;
///
/// assert_eq!(Timed::default(), Timed::Module);
/// assert_eq!(Timed::Engine.to_string(), "engine");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Timed {
    /// The model compiled by the [engine](crate::engine), on the processor.
    Engine,
    /// The Burn module on its device, which computes densely.
    #[default]
    Module,
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Engine => "engine",
            Self::Module => "module",
        })
    }
}

/// What one layer came to in one row.
///
/// ```
/// use burn_compress::report::LayerRow;
///
/// let layer = LayerRow {
///     path: "conv1.weight".into(),
///     weights: 432,
///     sparsity: 0.5,
///     bits: 8,
///     macs: 221_184,
///     distortion: 0.12,
/// };
/// assert_eq!(layer.weights as f64 * (1.0 - layer.sparsity), 216.0);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// The parameter's path in the module, such as `conv1.weight`.
    pub path: String,
    /// Number of weights.
    pub weights: usize,
    /// Share of the weights that are exactly zero, 0 to 1.
    pub sparsity: f64,
    /// Bits a weight is stored in; 32 where the layer is not quantized.
    pub bits: u32,
    /// Multiply-adds of one example that remain.
    pub macs: u64,
    /// Root mean square of (compressed weight - original weight) over that of the original weight.
    pub distortion: f64,
}

/// One run of one trial of the study: a model, how it was compressed, and what was measured on it.
///
/// The keys from `stage` to `seed` that have no default are required in JSON; the others may be
/// left out.
///
/// ```
/// use burn_compress::report::{Row, Stage};
///
/// let row: Row = serde_json::from_str(
///     r#"{"stage":"prune","mode":"post","refined":false,"sparsity":0.9,"weight_bits":32,
///         "score":97.5,"drop":0.7,"bytes":14000,"macs":30000,"ms":0.2,"seed":1}"#,
/// )?;
/// assert_eq!((row.stage, row.sparsity, row.layers.len()), (Stage::Prune, 0.9, 0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Part of the study.
    pub stage: Stage,
    /// When the compression was in force.
    pub mode: Mode,
    /// Whether the refine-tune stage followed.
    pub refined: bool,
    /// Whether the level was found by a steered threshold, not asked for.
    #[serde(default)]
    pub steered: bool,
    /// The share of weights that was asked for, 0 to 1; 0 where nothing was pruned. A pruned row
    /// that leaves it out (or has 0 here) counts as asked for its `sparsity`.
    #[serde(default)]
    pub level: f64,
    /// Which weights were removed together; unstructured where none were.
    #[serde(default)]
    pub pattern: Pattern,
    /// The share of the selected weights that is exactly zero, 0 to 1.
    pub sparsity: f64,
    /// Bits a selected weight is stored in; 32 where nothing was quantized.
    pub weight_bits: u32,
    /// Bits of activations; 32 where they are floats.
    #[serde(default = "float_bits")]
    pub activation_bits: u32,
    /// What stays in float although activations are quantized: each layer, with its operation in brackets.
    #[serde(default)]
    pub in_float: Vec<String>,
    /// The owner's score, more is better.
    pub score: f64,
    /// Baseline score minus this score, in points of the score.
    pub drop: f64,
    /// Size in bytes of the saved model file.
    pub bytes: u64,
    /// Least size in bytes that a perfect entropy coder of the weight codes could reach; 0 where
    /// it was not computed.
    #[serde(default)]
    pub entropy_bytes: u64,
    /// Multiply-adds of one example that remain.
    pub macs: u64,
    /// Bit operations of one example: multiply-adds times weight bits times activation bits (32);
    /// 0 where they were not counted.
    #[serde(default)]
    pub bit_operations: u64,
    /// Median run-time of one forward pass on the example input, milliseconds; [`timed`](Self::timed) says
    /// of what.
    pub ms: f64,
    /// Fastest and slowest of the timed passes, milliseconds; `[0, 0]` where they were not kept.
    #[serde(default)]
    pub ms_range: [f64; 2],
    /// What the run-time is of.
    #[serde(default)]
    pub timed: Timed,
    /// Seconds spent on this row (training, evaluation and timing).
    #[serde(default)]
    pub seconds: f64,
    /// The seed that this row was trained with.
    pub seed: u64,
    /// Each selected layer.
    #[serde(default)]
    pub layers: Vec<LayerRow>,
    /// What of this model should be known.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

fn float_bits() -> u32 {
    32
}

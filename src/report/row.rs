use serde::{Deserialize, Serialize};

/// The part of the study that a row belongs to.
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

/// When a compression is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing is compressed (the baseline).
    None,
    /// Applied to the trained model, without training.
    Post,
    /// In force while the model is fine-tuned.
    Aware,
}

/// What one layer came to in one row.
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

/// One cell of the study: a model, how it was compressed, and what was measured on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Part of the study.
    pub stage: Stage,
    /// When the compression was in force.
    pub mode: Mode,
    /// Whether the refine-tune stage followed.
    pub refined: bool,
    /// The share of weights that was asked for, 0 to 1; 0 where nothing was pruned.
    pub level: f64,
    /// The share of the selected weights that is exactly zero, 0 to 1.
    pub sparsity: f64,
    /// Bits a selected weight is stored in; 32 where nothing was quantized.
    pub weight_bits: u32,
    /// The owner's score, more is better.
    pub score: f64,
    /// Baseline score minus this score, in points of the score.
    pub drop: f64,
    /// Size in bytes of the saved model file.
    pub bytes: u64,
    /// Least size in bytes that a perfect entropy coder of the weight codes could reach.
    pub entropy_bytes: u64,
    /// Multiply-adds of one example that remain.
    pub macs: u64,
    /// Bit operations of one example: multiply-adds times weight bits times activation bits (32).
    pub bit_operations: u64,
    /// Median run-time of one forward pass on the example input, milliseconds.
    pub ms: f64,
    /// Fastest and slowest of the timed passes, milliseconds.
    pub ms_range: [f64; 2],
    /// Seconds spent on this row (training, evaluation and timing).
    pub seconds: f64,
    /// The seed that this row was trained with.
    pub seed: u64,
    /// Each selected layer.
    pub layers: Vec<LayerRow>,
}

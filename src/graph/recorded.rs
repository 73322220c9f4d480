//! A recorded forward pass, and what becomes of operations without an integer form.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use burn_ir::{OperationIr, TensorId};
use serde::{Deserialize, Serialize};

/// The batch sizes that are recorded: a length that grows with the batch is a multiple of both.
pub(super) const BATCHES: [usize; 2] = [2, 3];

/// What Burn recorded of one pass.
#[derive(Clone)]
pub(super) struct Recording {
    /// The operations of the pass alone.
    pub operations: Vec<OperationIr>,
    /// All tensors that were given by values.
    pub values: BTreeMap<TensorId, TensorData>,
    pub shape: Vec<usize>,
    pub input: TensorId,
    pub output: TensorId,
    pub parameters: Vec<Recorded>,
}

/// A parameter in a recording.
#[derive(Clone)]
pub(super) struct Recorded {
    pub path: String,
    pub dims: Vec<usize>,
    pub id: TensorId,
    /// Its value, where it is one number that nobody trains: a constant of an imported graph.
    pub number: Option<f32>,
}

/// What becomes of an operation that no integer form exists for: of those that [`FloatOp`] lists.
///
/// [`FloatOp`]: crate::network::FloatOp
///
/// ```
/// use burn_compress::graph::Fallback;
/// assert_eq!(serde_json::from_str::<Fallback>(r#""float""#)?, Fallback::Float);
/// assert_eq!(Fallback::default(), Fallback::Refuse);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fallback {
    /// The capture fails, and names the operation and its layer.
    #[default]
    Refuse,
    /// It stays in float, between parts in integers, and [`Quantized::in_float`] lists it.
    ///
    /// [`Quantized::in_float`]: super::Quantized::in_float
    Float,
}

use serde::{Deserialize, Serialize};

/// The length of an axis.
///
/// ```
/// use burn_compress::network::Dim;
/// assert_eq!(Dim::Fixed(3).at(8), 3);
/// assert_eq!(Dim::Batch(16).at(8), 128); // 16 rows for each image
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dim {
    /// The same for any batch.
    Fixed(usize),
    /// This many for each image of the batch.
    Batch(usize),
}

impl Dim {
    /// The length for a batch of this many images.
    pub fn at(self, batch: usize) -> usize {
        match self {
            Self::Fixed(length) => length,
            Self::Batch(each) => each * batch,
        }
    }
}

/// Where a tensor comes from.
///
/// ```
/// use burn_compress::network::Value;
/// assert!(Value::Node(0).is_activation() && !Value::Parameter(0).is_activation());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// The graph's input.
    Input,
    /// The result of the node at this index.
    Node(usize),
    /// The parameter at this index.
    Parameter(usize),
    /// The constant at this index.
    Constant(usize),
}

impl Value {
    /// Whether it depends on the input.
    pub fn is_activation(self) -> bool {
        matches!(self, Self::Input | Self::Node(_))
    }
}

/// A tensor that the forward pass made itself.
///
/// ```
/// use burn_compress::network::Constant;
/// let constant = Constant { dims: vec![2], values: vec![0.5, 1.5] };
/// # let _ = constant;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Its elements, the last axis fastest.
    pub values: Vec<f32>,
}

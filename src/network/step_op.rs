use serde::{Deserialize, Serialize};

use crate::network::{Binary, Op, Unary};

use super::{Activation, Divide, Rescale, Weights};

/// A step in whole numbers, by its form: how sums and codes become a result. The operation within says
/// what is summed or moved. Where a step ends in a grid, its result `t` is in units of that grid's scale
/// and is requantized; without one it is a float tensor.
///
/// Operands are centred codes, unless said otherwise.
///
/// ```
/// use burn_compress::network::{Op, StepOp, Rescale, Weights};
/// let op = StepOp::Product {
///     op: Op::Linear,
///     weights: Some(Weights { dims: vec![3, 2], codes: vec![1, 0, -7, 3, 0, 2].into() }),
///     rescale: Rescale::by(0.01),
/// };
/// assert_eq!(op.name(), "linear");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepOp {
    /// A float tensor (the input, a constant, a float step) to codes: `t = (x - offset) / scale`.
    Quantize,
    /// Codes to a float tensor: `scale * code + offset`.
    Dequantize,
    /// Sums of products: [`Op::Convolution`], [`Op::TransposedConvolution`], [`Op::Linear`] and
    /// [`Op::MatMul`].
    Product {
        /// The operation.
        op: Op,
        /// Its second operand, in the dimensions that [`Op`] gives; none of [`Op::MatMul`], which
        /// multiplies two activations.
        weights: Option<Weights>,
        /// By output channel; of [`Op::MatMul`] one factor for all.
        rescale: Rescale,
    },
    /// Sums over windows or axes: `t = sum * multiplier`, then the division. [`Op::AveragePool`],
    /// [`Op::AdaptiveAveragePool`] and [`Op::Sum`].
    Sum {
        /// The operation. Its own division is not done, whatever it says of padding.
        op: Op,
        /// The division.
        divide: Divide,
        /// The factor.
        multiplier: f32,
        /// Bounds.
        activation: Option<Activation>,
    },
    /// Two operands that broadcast, element by element.
    Arithmetic {
        /// The formula.
        how: Arithmetic,
        /// Bounds.
        activation: Option<Activation>,
    },
    /// Each channel (axis 1) by its own factor, or all by one: a batch norm that stands alone, or a
    /// change of grid.
    Rescale(Rescale),
    /// A function of one number: the output's centred code for each code of the operand's grid, the
    /// least first.
    Table(Vec<i32>),
    /// Elements that only change places, codes or floats; the grid stays. (Where codes of several scales
    /// are concatenated, they stay as they are too; the scale of the whole is the one that those of its
    /// parts are next to, for which the weights or factors of what reads it make up.) [`Op::MaxPool`],
    /// [`Op::Concatenate`], [`Op::Slice`], [`Op::Pad`] (codes: with zero), [`Op::Reshape`],
    /// [`Op::Permute`], [`Op::Expand`] and [`Op::UpsampleNearest`].
    Move(Op),
    /// Any other operation, in float. Codes are dequantized first; where the step has a grid, the result
    /// is quantized as by [`StepOp::Quantize`].
    Float(Op),
}

/// How two operands become `t`.
///
/// ```
/// use burn_compress::network::{Arithmetic, StepOp};
/// let how = Arithmetic::Add { left: 0.5, right: -0.25 }; // a difference
/// assert_eq!(StepOp::Arithmetic { how, activation: None }.name(), "add");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Arithmetic {
    /// Two tensors of codes: `t = a * left`, `t = t + b * right`. A negative factor subtracts.
    Add {
        /// Factor of the first.
        left: f32,
        /// Factor of the second.
        right: f32,
    },
    /// Codes and a constant in floats: `t = a * multiplier`, `t = t + constant`.
    AddConstant {
        /// The factor.
        multiplier: f32,
    },
    /// Two tensors of codes: `t = (a b) * multiplier`.
    Multiply {
        /// The factor.
        multiplier: f32,
    },
    /// Codes and a constant in floats: `t = a * constant`.
    MultiplyConstant,
}

impl Arithmetic {
    /// Whether the second operand is a constant.
    pub(super) fn has_constant(self) -> bool {
        matches!(self, Self::AddConstant { .. } | Self::MultiplyConstant)
    }

    /// Its factors.
    pub(super) fn factors(self) -> [f32; 2] {
        match self {
            Self::Add { left, right } => [left, right],
            Self::AddConstant { multiplier } | Self::Multiply { multiplier } => [multiplier, 1.0],
            Self::MultiplyConstant => [1.0; 2],
        }
    }
}

/// A tensor of an operation, for the file.
pub(super) enum Stored<'a> {
    Floats(&'a mut Vec<f32>),
    Weights(&'a mut Weights),
    Table(&'a mut Vec<i32>),
}

impl Stored<'_> {
    /// Its numbers.
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(floats) => floats.len(),
            Self::Weights(weights) => weights.codes.len(),
            Self::Table(table) => table.len(),
        }
    }

    /// Takes them out.
    pub fn clear(&mut self) {
        match self {
            Self::Floats(floats) => floats.clear(),
            Self::Weights(weights) => weights.codes = Default::default(),
            Self::Table(table) => table.clear(),
        }
    }
}

impl StepOp {
    /// The name that prints and reports show.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Quantize => "quantize",
            Self::Dequantize => "dequantize",
            Self::Rescale(_) => "rescale",
            Self::Table(_) => "table",
            Self::Arithmetic { how, .. } => match how {
                Arithmetic::Add { .. } => "add",
                Arithmetic::AddConstant { .. } => "add_constant",
                Arithmetic::Multiply { .. } => "multiply",
                Arithmetic::MultiplyConstant => "multiply_constant",
            },
            Self::Product { op, .. } | Self::Sum { op, .. } | Self::Move(op) | Self::Float(op) => {
                op.name()
            }
        }
    }

    /// The operation of a graph that has the same shapes: its own, where it has one.
    pub(crate) fn op(&self) -> &Op {
        const OF_ONE: &Op = &Op::Unary(Unary::Abs);
        const OF_TWO: &Op = &Op::Binary(Binary::Add);
        match self {
            Self::Product { op, .. } | Self::Sum { op, .. } | Self::Move(op) | Self::Float(op) => {
                op
            }
            Self::Arithmetic { .. } => OF_TWO,
            Self::Quantize | Self::Dequantize | Self::Rescale(_) | Self::Table(_) => OF_ONE,
        }
    }

    /// The weights that it holds itself.
    pub(crate) fn weights(&self) -> Option<&Weights> {
        match self {
            Self::Product { weights, .. } => weights.as_ref(),
            _ => None,
        }
    }

    /// How sums become results, where that is by channel.
    pub(super) fn rescale(&self) -> Option<&Rescale> {
        match self {
            Self::Product { rescale, .. } | Self::Rescale(rescale) => Some(rescale),
            _ => None,
        }
    }

    /// What bounds the result.
    pub(super) fn activation(&self) -> Option<Activation> {
        match self {
            Self::Sum { activation, .. } | Self::Arithmetic { activation, .. } => *activation,
            op => op.rescale().and_then(|rescale| rescale.activation),
        }
    }

    /// The tensors it holds, by name.
    pub(super) fn stored(&mut self) -> Vec<(&'static str, Stored<'_>)> {
        match self {
            Self::Product {
                weights, rescale, ..
            } => {
                let weights = weights.iter_mut();
                let mut stored: Vec<_> = weights
                    .map(|weights| ("weight", Stored::Weights(weights)))
                    .collect();
                stored.extend(rescale.stored());
                stored
            }
            Self::Rescale(rescale) => rescale.stored(),
            Self::Table(table) => vec![("table", Stored::Table(table))],
            _ => Vec::new(),
        }
    }
}

use serde::{Deserialize, Serialize};

use crate::network::{Binary, Dim, Op, Unary, Window};

use super::{Activation, Divide, Rescale, Weights};

/// A step in whole numbers. Where it ends in a grid, its result `t` is in units of that grid's scale
/// and is requantized; without one it is a float tensor.
///
/// Operands are centred codes, unless said otherwise.
///
/// ```
/// use burn_compress::network::{StepOp, Rescale, Weights};
/// let op = StepOp::Linear {
///     weights: Weights { dims: vec![3, 2], codes: vec![1, 0, -7, 3, 0, 2].into() },
///     rescale: Rescale::by(0.01),
/// };
/// assert_eq!(op.name(), "linear");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOp {
    /// A float tensor (the input, a constant, a float step) to codes: `t = (x - offset) / scale`.
    Quantize,
    /// Codes to a float tensor: `scale * code + offset`.
    Dequantize,
    /// [`Op::Convolution`]; channels on axis 1.
    Convolution {
        /// Spatial dimensions, 1 or 2.
        rank: usize,
        /// Where the windows lie.
        window: Window,
        /// Groups of channels that do not mix.
        groups: usize,
        /// `[out, in / groups, kernel…]`.
        weights: Weights,
        /// By output channel.
        rescale: Rescale,
    },
    /// [`Op::TransposedConvolution`]; channels on axis 1.
    TransposedConvolution {
        /// Spatial dimensions, 1 or 2.
        rank: usize,
        /// The window of the convolution whose transpose this is.
        window: Window,
        /// Rows and columns added to the output's end.
        output_padding: [usize; 2],
        /// Groups of channels that do not mix.
        groups: usize,
        /// `[in, out / groups, kernel…]`.
        weights: Weights,
        /// By output channel.
        rescale: Rescale,
    },
    /// [`Op::Linear`]; channels on the last axis.
    Linear {
        /// `[in, out]`.
        weights: Weights,
        /// By output.
        rescale: Rescale,
    },
    /// [`Op::MatMul`] of two activations.
    MatMul {
        /// One factor for all.
        rescale: Rescale,
    },
    /// Each channel (axis 1) by its own factor, or all by one: a batch norm that stands alone, or a
    /// change of grid.
    Rescale(Rescale),
    /// Two operands that broadcast: `t = a * left`, `t = t + b * right`. A negative factor subtracts.
    Add {
        /// Factor of the first.
        left: f32,
        /// Factor of the second.
        right: f32,
        /// Bounds.
        activation: Option<Activation>,
    },
    /// An operand and a constant that broadcast: `t = a * multiplier`, `t = t + constant`.
    AddConstant {
        /// The factor.
        multiplier: f32,
        /// Bounds.
        activation: Option<Activation>,
    },
    /// Two operands that broadcast: `t = (a b) * multiplier`.
    Multiply {
        /// The factor.
        multiplier: f32,
        /// Bounds.
        activation: Option<Activation>,
    },
    /// An operand and a constant that broadcast: `t = a * constant`.
    MultiplyConstant {
        /// Bounds.
        activation: Option<Activation>,
    },
    /// The sum of each window: `t = sum * multiplier`, then the division.
    AveragePool {
        /// Spatial dimensions, 1 or 2.
        rank: usize,
        /// Where the windows lie.
        window: Window,
        /// Whether a last window that only partly fits counts.
        ceil: bool,
        /// The division.
        divide: Divide,
        /// The factor.
        multiplier: f32,
        /// Bounds.
        activation: Option<Activation>,
    },
    /// The sum of each of a number of windows that share the input evenly: `t = sum * multiplier`, then
    /// the division.
    AdaptiveAveragePool {
        /// Spatial dimensions, 1 or 2.
        rank: usize,
        /// Height and width of the output; the first is 1 in one dimension.
        output: [usize; 2],
        /// The division.
        divide: Divide,
        /// The factor.
        multiplier: f32,
        /// Bounds.
        activation: Option<Activation>,
    },
    /// The sum over axes, which stay with length 1, or their mean: `t = sum * multiplier`.
    Sum {
        /// The axes, rising; none that grows with the batch.
        axes: Vec<usize>,
        /// The factor.
        multiplier: f32,
        /// Bounds.
        activation: Option<Activation>,
    },
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
            Self::Convolution { groups: 1, .. } => "convolution",
            Self::Convolution { .. } => "grouped_convolution",
            Self::TransposedConvolution { .. } => "transposed_convolution",
            Self::Linear { .. } => "linear",
            Self::MatMul { .. } => "matmul",
            Self::Rescale(_) => "rescale",
            Self::Add { .. } => "add",
            Self::AddConstant { .. } => "add_constant",
            Self::Multiply { .. } => "multiply",
            Self::MultiplyConstant { .. } => "multiply_constant",
            Self::AveragePool { .. } => "average_pool",
            Self::AdaptiveAveragePool { .. } => "adaptive_average_pool",
            Self::Sum { .. } => "sum",
            Self::Table(_) => "table",
            Self::Move(op) | Self::Float(op) => op.name(),
        }
    }

    /// The operation of a graph that has the same shapes, and those of the weights it holds itself.
    pub(super) fn shape(&self) -> (Op, Option<Vec<Dim>>) {
        let fixed =
            |weights: &Weights| Some(weights.dims.iter().copied().map(Dim::Fixed).collect());
        match self {
            Self::Convolution {
                rank,
                window,
                groups,
                weights,
                ..
            } => (
                Op::Convolution {
                    rank: *rank,
                    window: *window,
                    groups: *groups,
                },
                fixed(weights),
            ),
            Self::TransposedConvolution {
                rank,
                window,
                output_padding,
                groups,
                weights,
                ..
            } => (
                Op::TransposedConvolution {
                    rank: *rank,
                    window: *window,
                    output_padding: *output_padding,
                    groups: *groups,
                },
                fixed(weights),
            ),
            Self::Linear { weights, .. } => (Op::Linear, fixed(weights)),
            Self::MatMul { .. } => (Op::MatMul, None),
            Self::Quantize | Self::Dequantize | Self::Rescale(_) | Self::Table(_) => {
                (Op::Unary(Unary::Abs), None)
            }
            Self::Add { .. }
            | Self::AddConstant { .. }
            | Self::Multiply { .. }
            | Self::MultiplyConstant { .. } => (Op::Binary(Binary::Add), None),
            Self::AveragePool {
                rank, window, ceil, ..
            } => (
                Op::AveragePool {
                    rank: *rank,
                    window: *window,
                    include_padding: true,
                    ceil: *ceil,
                },
                None,
            ),
            Self::AdaptiveAveragePool { rank, output, .. } => (
                Op::AdaptiveAveragePool {
                    rank: *rank,
                    output: *output,
                },
                None,
            ),
            Self::Sum { axes, .. } => (Op::Sum { axes: axes.clone() }, None),
            Self::Move(op) | Self::Float(op) => (op.clone(), None),
        }
    }

    /// How sums become results, where that is by channel.
    pub(super) fn rescale(&self) -> Option<&Rescale> {
        match self {
            Self::Convolution { rescale, .. }
            | Self::TransposedConvolution { rescale, .. }
            | Self::Linear { rescale, .. }
            | Self::MatMul { rescale }
            | Self::Rescale(rescale) => Some(rescale),
            _ => None,
        }
    }

    /// What bounds the result.
    pub(super) fn activation(&self) -> Option<Activation> {
        match self {
            Self::Add { activation, .. }
            | Self::AddConstant { activation, .. }
            | Self::Multiply { activation, .. }
            | Self::MultiplyConstant { activation }
            | Self::AveragePool { activation, .. }
            | Self::AdaptiveAveragePool { activation, .. }
            | Self::Sum { activation, .. } => *activation,
            op => op.rescale().and_then(|rescale| rescale.activation),
        }
    }

    /// The tensors it holds, by name.
    pub(super) fn stored(&mut self) -> Vec<(&'static str, Stored<'_>)> {
        match self {
            Self::Convolution {
                weights, rescale, ..
            }
            | Self::TransposedConvolution {
                weights, rescale, ..
            }
            | Self::Linear { weights, rescale } => {
                let mut stored = vec![("weight", Stored::Weights(weights))];
                stored.extend(rescale.stored());
                stored
            }
            Self::MatMul { rescale } | Self::Rescale(rescale) => rescale.stored(),
            Self::Table(table) => vec![("table", Stored::Table(table))],
            _ => Vec::new(),
        }
    }
}

use serde::{Deserialize, Serialize};

use super::{FloatOp, Unary};
use crate::format::WeightView;

/// Where the windows of a convolution or a pooling lie. In one dimension the first axis has length 1:
/// kernel, stride and dilation 1, no padding.
///
/// ```
/// use burn_compress::network::Window;
/// let window = Window { kernel: [3, 3], stride: [2, 2], padding: [(1, 1), (1, 1)], ..Window::default() };
/// assert_eq!(window.output([32, 31]), Some([16, 16]));
/// assert_eq!(window.output([0, 32]), None); // the window does not fit
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Height and width of the kernel, at least 1.
    pub kernel: [usize; 2],
    /// Steps between windows, at least 1.
    pub stride: [usize; 2],
    /// Rows before and after, and columns before and after.
    pub padding: [(usize, usize); 2],
    /// Distance of neighbouring elements in the input, at least 1.
    pub dilation: [usize; 2],
}

impl Default for Window {
    fn default() -> Self {
        Self {
            kernel: [1, 1],
            stride: [1, 1],
            padding: [(0, 0), (0, 0)],
            dilation: [1, 1],
        }
    }
}

impl Window {
    /// Height and width of the output for those of the input; none where the window does not fit.
    pub fn output(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let axis = |axis: usize| {
            let (before, after) = self.padding[axis];
            let extent = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let room = (input[axis] + before + after).checked_sub(extent)?;
            (input[axis] > 0).then_some(room / self.stride[axis] + 1)
        };
        Some([axis(0)?, axis(1)?])
    }
}

/// An operation on two tensors, element by element; an axis of length 1 repeats.
///
/// ```
/// assert_eq!(burn_compress::network::Binary::Multiply.value(2.0, 3.0), 6.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the four operations
pub enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Binary {
    /// The operation's value.
    pub fn value(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
        }
    }
}

/// One step of a forward pass. Operands are in the order given here.
///
/// Shapes: `N` images, `C` channels; convolutions and poolings of one dimension (`rank` 1) take
/// `[N, C, L]`, those of two `[N, C, H, W]`.
///
/// ```
/// use burn_compress::network::{Op, Unary};
/// assert_eq!(Op::Unary(Unary::Relu).name(), "relu");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Op {
    /// Input, weight `[out, in / groups, kernel…]`.
    Convolution {
        /// Spatial dimensions, 1 or 2.
        rank: usize,
        /// Where the windows lie.
        window: Window,
        /// Groups of channels that do not mix; as many as channels in a depthwise convolution.
        groups: usize,
    },
    /// Input, weight `[in, out / groups, kernel…]`.
    TransposedConvolution {
        /// Spatial dimensions, 1 or 2.
        rank: usize,
        /// The window of the convolution whose transpose this is.
        window: Window,
        /// Rows and columns added to the output's end.
        output_padding: [usize; 2],
        /// Groups of channels that do not mix.
        groups: usize,
    },
    /// Input `[…, in]`, weight `[in, out]` as the pass reads it: a parameter of `[out, in]` is
    /// transposed.
    Linear,
    /// `[…, m, k]` times `[…, k, n]`, of two activations.
    MatMul,
    /// Input, gamma, beta, mean, variance, each `[C]`: by the given statistics.
    BatchNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// Input, gamma, beta: over the last axis.
    LayerNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// Input, gamma, beta (`[C]`): over the channels of a group and all positions.
    GroupNorm {
        /// Groups of channels.
        groups: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Each element alone.
    Unary(Unary),
    /// Two tensors.
    Binary(Binary),
    /// Exponentials that sum to 1 along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// The greatest of each window.
    MaxPool {
        /// Spatial dimensions, 1 or 2.
        rank: usize,
        /// Where the windows lie.
        window: Window,
        /// Whether a last window that only partly fits counts.
        ceil: bool,
    },
    /// The mean of each window (no dilation).
    AveragePool {
        /// Spatial dimensions, 1 or 2.
        rank: usize,
        /// Where the windows lie.
        window: Window,
        /// Whether padding counts into the mean.
        include_padding: bool,
        /// Whether a last window that only partly fits counts.
        ceil: bool,
    },
    /// The mean of each of a number of windows that share the input evenly.
    AdaptiveAveragePool {
        /// Spatial dimensions, 1 or 2.
        rank: usize,
        /// Height and width of the output; the first is 1 in one dimension.
        output: [usize; 2],
    },
    /// The mean over axes, which stay with length 1.
    Mean {
        /// The axes, rising.
        axes: Vec<usize>,
    },
    /// The sum over axes, which stay with length 1.
    Sum {
        /// The axes, rising.
        axes: Vec<usize>,
    },
    /// Any number of tensors, one after the other along an axis.
    Concatenate {
        /// The axis.
        axis: usize,
    },
    /// A part of each axis.
    Slice {
        /// First element, end (exclusive; none: to the end of an axis that grows with the batch) and
        /// step of each axis.
        ranges: Vec<(usize, Option<usize>, usize)>,
    },
    /// A constant around each axis.
    Pad {
        /// Elements before and after, for each axis.
        padding: Vec<(usize, usize)>,
        /// The constant.
        value: f32,
    },
    /// The same elements in the node's dimensions.
    Reshape,
    /// The axes in another order.
    Permute {
        /// The input's axis for each axis of the output.
        axes: Vec<usize>,
    },
    /// Axes of length 1 repeated to the node's dimensions.
    Expand,
    /// Repeats the nearest element, `[N, C, H, W]` to the node's height and width.
    UpsampleNearest,
    /// Interpolates linearly, `[N, C, H, W]` to the node's height and width.
    UpsampleBilinear {
        /// Whether the corners of input and output coincide.
        align_corners: bool,
    },
    /// One that has no integer form; a capture admits it where it is told to.
    Float(FloatOp),
}

impl Op {
    /// The name that prints and reports show.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Convolution { groups: 1, .. } => "convolution",
            Self::Convolution { .. } => "grouped_convolution",
            Self::TransposedConvolution { .. } => "transposed_convolution",
            Self::Linear => "linear",
            Self::MatMul => "matmul",
            Self::BatchNorm { .. } => "batch_norm",
            Self::LayerNorm { .. } => "layer_norm",
            Self::GroupNorm { .. } => "group_norm",
            Self::Unary(unary) => unary.name(),
            Self::Binary(Binary::Add) => "add",
            Self::Binary(Binary::Subtract) => "subtract",
            Self::Binary(Binary::Multiply) => "multiply",
            Self::Binary(Binary::Divide) => "divide",
            Self::Softmax { .. } => "softmax",
            Self::MaxPool { .. } => "max_pool",
            Self::AveragePool { .. } => "average_pool",
            Self::AdaptiveAveragePool { .. } => "adaptive_average_pool",
            Self::Mean { .. } => "mean",
            Self::Sum { .. } => "sum",
            Self::Concatenate { .. } => "concatenate",
            Self::Slice { .. } => "slice",
            Self::Pad { .. } => "pad",
            Self::Reshape => "reshape",
            Self::Permute { .. } => "permute",
            Self::Expand => "expand",
            Self::UpsampleNearest => "upsample_nearest",
            Self::UpsampleBilinear { .. } => "upsample_bilinear",
            Self::Float(op) => op.name(),
        }
    }

    /// Where the channels lie in the weight of a product that has one, of these dimensions. None of
    /// another operation, and where the weight does not fit.
    pub(crate) fn weight_layout(&self, dims: &[usize]) -> Option<WeightView> {
        let (output_axis, groups) = match self {
            Self::Convolution { groups, .. } => (0, *groups),
            Self::TransposedConvolution { groups, .. } => (1, *groups),
            Self::Linear => (1, 1),
            _ => return None,
        };
        WeightView::grouped(dims.to_vec(), output_axis, groups).ok()
    }

    /// The axis of the output channels in a result of this rank.
    pub(crate) fn channel_axis(&self, rank: usize) -> usize {
        match self {
            Self::Linear | Self::MatMul => rank.saturating_sub(1),
            _ => 1.min(rank.saturating_sub(1)),
        }
    }

    /// Whether its second operand is a weight: a product, but not of two activations.
    pub(crate) fn has_weights(&self) -> bool {
        self.is_product() && *self != Self::MatMul
    }

    /// Whether it only moves elements, and fills with a number.
    pub(crate) fn is_move(&self) -> bool {
        self.is_movement() || matches!(self, Self::Pad { .. })
    }

    /// Whether it only moves elements, and zeros.
    pub(crate) fn is_movement(&self) -> bool {
        match self {
            Self::MaxPool { .. }
            | Self::Concatenate { .. }
            | Self::Slice { .. }
            | Self::Reshape
            | Self::Permute { .. }
            | Self::Expand
            | Self::UpsampleNearest => true,
            Self::Pad { value, .. } => *value == 0.0,
            _ => false,
        }
    }

    /// Whether it multiplies by weights or by another activation and sums up: what quantization makes
    /// fast.
    pub fn is_product(&self) -> bool {
        matches!(
            self,
            Self::Convolution { .. }
                | Self::TransposedConvolution { .. }
                | Self::Linear
                | Self::MatMul
        )
    }
}

// What capture and simulation ask.
#[cfg(feature = "compress")]
impl Op {
    /// Whether each element of the result is a sum over all weights of its channel: what a constant adds
    /// to it is then the same everywhere. Padding, and what a transposed convolution leaves out at its
    /// edges, are zeros.
    pub(crate) fn sums_all_weights(&self) -> bool {
        match self {
            Self::Convolution { window, .. } => window.padding == [(0, 0); 2],
            op => *op == Self::Linear,
        }
    }
}

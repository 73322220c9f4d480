//! A model as the engine sees it: what it runs on vector blocks, and what it runs plainly.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::kernel::{ChannelStep, Function, InputGrid, PackedWeights, VectorBlock, lock};
use crate::network::{Value, Window};

/// One step, or several that were joined.
#[derive(Debug, Clone)]
pub(in crate::engine) struct FusedNode<'m> {
    pub work: NodeWork<'m>,
    /// Operands on vector blocks, or of the plain step.
    pub inputs: Vec<Value>,
    /// The step whose result it gives.
    pub output: usize,
    pub layer: String,
}

#[derive(Debug, Clone)]
pub(in crate::engine) enum NodeWork<'m> {
    /// The model's input, to codes.
    Quantize,
    /// Sums of products; a residual comes last.
    Product(Weighted<'m>),
    /// The greatest or the sum of windows.
    Pool(Pool),
    /// A step on each element.
    Elementwise(PerElement),
    /// Channels, rows and columns at other places.
    Rearrange(Rearrange),
    /// A step over the channels of each position.
    Channels(OverChannels),
    /// The product of two activations.
    Matrix(Matrix),
    /// A tensor that is the same for each sample.
    Constant(Vec<f32>),
    /// Elements at other places, planes torn apart.
    Assemble(Assemble),
    /// Weighted sums of a few places of a plane, of floats.
    Resample(Resample),
    /// Codes to floats, and back.
    Convert(Conversion),
    /// The step of this number, as the reference has it.
    Plain,
}

/// A convolution, or a linear layer as one.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Weighted<'m> {
    pub window: Window,
    pub groups: usize,
    /// Channels of the input in a group.
    pub channels: usize,
    pub weights: WeightValues<'m>,
    /// Of each filter: the factor of its sum and what is added.
    pub filters: Vec<(f32, f32)>,
    /// Which of the weights' filters comes first, and so on; empty: as they are.
    pub filter_order: Vec<usize>,
    /// The same of channels.
    pub channel_order: Vec<usize>,
    /// The factor of the last operand, where that is a residual.
    pub residual: Option<f32>,
    /// Bounds in units of the result.
    pub bounds: (f32, f32),
    pub found: Arc<Found>,
}

/// What is found in weights once their order is known, for all plans that they are packed for, and for all
/// nodes that have the same.
#[derive(Debug, Default)]
pub(in crate::engine) struct Found {
    /// Weights that are not zero.
    pub kept: OnceLock<usize>,
    /// Tiles of sixteen filters, which lie alike in every layout.
    pub tiles: OnceLock<Arc<Vec<VectorBlock>>>,
    /// Taps transformed for two and for four results in a line, which do too.
    pub taps: [OnceLock<Arc<Vec<f32>>>; 2],
    /// Sparse entries by layout, as long as a kernel has them.
    packed: Mutex<Vec<(Packing, Weak<PackedWeights>)>>,
}

/// Which places filters have: their own, the same for four, or the taps of their own channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Form {
    Filter,
    Shared,
    Depthwise,
}

/// What sparse entries depend on beside the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Packing {
    /// Which places filters have.
    pub form: Form,
    /// Channels of a vector block.
    pub unit: usize,
    /// Vector blocks from a plane of the input to the next, and from a line.
    pub apart: [usize; 2],
    pub interleaved: bool,
}

impl Found {
    /// The sparse entries of a packing: those of another kernel, or new ones.
    pub fn entries(
        &self,
        packing: Packing,
        pack: impl FnOnce() -> PackedWeights,
    ) -> Arc<PackedWeights> {
        let find = |all: &[(Packing, Weak<PackedWeights>)]| {
            let mut of = all.iter().filter(|(known, _)| *known == packing);
            of.find_map(|(_, entries)| entries.upgrade())
        };
        if let Some(known) = find(&lock(&self.packed)) {
            return known;
        }
        let made = Arc::new(pack());
        let mut all = lock(&self.packed);
        // Another thread may have been faster.
        if let Some(known) = find(&all) {
            return known;
        }
        all.retain(|(_, entries)| entries.strong_count() > 0);
        all.push((packing, Arc::downgrade(&made)));
        made
    }
}

/// `[filter][channel][row][column]`.
#[derive(Debug, Clone)]
pub(in crate::engine) enum WeightValues<'m> {
    Codes(Cow<'m, [i8]>),
    Floats(Vec<f32>),
}

#[derive(Debug, Clone)]
pub(in crate::engine) struct Pool {
    /// None: all rows and columns.
    pub window: Option<Window>,
    /// The factor of the sum; none: the greatest.
    pub sum: Option<f32>,
    /// What each sum is divided by: a number of its row times one of its column.
    pub divisors: Option<[Vec<usize>; 2]>,
    pub bounds: (f32, f32),
}

#[derive(Debug, Clone)]
pub(in crate::engine) enum PerElement {
    Add {
        factors: (f32, f32),
        bounds: (f32, f32),
    },
    /// The product of two tensors.
    Multiply {
        factor: f32,
        bounds: (f32, f32),
    },
    /// The sum with a constant that has a number for each element of a sample.
    AddConstant(Vec<f32>),
    /// The product with such a constant.
    MultiplyConstant(Vec<f32>),
    /// Of floats.
    Function(Function),
    Scale {
        factor: f32,
        bounds: (f32, f32),
    },
    /// Centred codes, the operand's least first.
    Table(Vec<i32>),
}

/// A step over the channels of each position, in groups.
#[derive(Debug, Clone)]
pub(in crate::engine) struct OverChannels {
    pub step: ChannelStep,
    pub groups: usize,
    /// Channels of a group.
    pub group: usize,
    /// By channel of a group, a factor and a term; none: 1 and 0.
    pub affine: Vec<[f32; 2]>,
    /// Grids of operand and result; none: floats.
    pub source: Option<InputGrid>,
    pub sink: Option<InputGrid>,
}

/// A product of two activations, of each head apart. Positions of the left one lie in the lanes.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Matrix {
    pub groups: usize,
    /// Elements of a sum.
    pub inner: usize,
    /// Channels of the result in a group.
    pub filters: usize,
    /// Whether the right operand's channels are summed over, or its positions.
    pub inner_is_channel: bool,
    /// The factor of sums.
    pub multiplier: f32,
    pub bounds: (f32, f32),
    /// Grids of operands and result; none: floats.
    pub left: Option<InputGrid>,
    pub right: Option<InputGrid>,
    pub sink: Option<InputGrid>,
}

impl FusedNode<'_> {
    /// Whether its lanes must be positions of one sample.
    pub fn needs_one_sample(&self) -> bool {
        matches!(self.work, NodeWork::Matrix(_))
    }
}

/// Where elements of the result come from; where nowhere, they are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Rearrange {
    /// For each channel, the operand and its channel.
    pub channels: Vec<Option<(usize, usize)>>,
    pub rows: Vec<Option<usize>>,
    pub columns: Vec<Option<usize>>,
    /// Whether places keep their order row by row instead, in rows of another length.
    pub in_order: bool,
    /// Rows and columns of each further operand, of the same channels, where operands lie beside each other.
    pub beside: Vec<[Vec<Option<usize>>; 2]>,
}

/// For each place of a plane, which of the planes that it is made of the element comes from, and its place
/// there, row by row; none: from nowhere.
pub(in crate::engine) type Pattern = Vec<Option<(u32, u32)>>;

/// Planes that are made of places of several others.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) struct Assemble {
    pub patterns: Vec<Pattern>,
    /// For each channel, its pattern, and the operands and channels that it is made of.
    pub channels: Vec<(usize, Vec<(usize, usize)>)>,
    /// Rows and columns of each operand.
    pub operands: Vec<[usize; 2]>,
    /// What comes from nowhere; of codes always zero.
    pub fill: f32,
}

/// For each row and each column, those of the operand that are summed, each times a factor.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) struct Resample {
    pub rows: Vec<Vec<(usize, f32)>>,
    pub columns: Vec<Vec<(usize, f32)>>,
}

/// A change between codes and floats.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) enum Conversion {
    /// Codes of this grid to what they stand for.
    Floats(InputGrid),
    /// Codes to a float each, of the least code first.
    Table(Vec<f32>),
    /// Floats to codes of this grid.
    Codes(InputGrid),
}

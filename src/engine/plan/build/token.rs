//! Steps of transformers: over channels, and products of two activations.

use super::Builder;
use crate::engine::EngineError;
use crate::engine::layout::{Fill, Halo, Layout};
use crate::engine::lower::node::{Matrix, OverChannels};
use crate::engine::lower::shape::{Kind, Shape};
use crate::engine::plan::gathered::{Converted, floats_of};
use crate::engine::plan::operation::{OperationWork, ScheduledOperation};
use crate::engine::table::LayerProfile;
use crate::kernel::{
    ChannelStep, Channels, Edges, InputGrid, MatrixProduct, PackedRight, VectorBlock, VectorBlocks,
};

impl Builder<'_> {
    pub(in crate::engine) fn channels(
        &mut self,
        over: &OverChannels,
        from: &Layout,
        reads: Vec<usize>,
        to: usize,
        layer: &str,
    ) {
        let layout = self.tensors.all[to].layout;
        let name = match over.step {
            ChannelStep::LayerNorm { .. } => "layer norm",
            ChannelStep::RmsNorm { .. } => "rms norm",
            ChannelStep::Softmax => "softmax",
        };
        let row = LayerProfile {
            in_float: over.source.is_none(),
            ..LayerProfile::named(layer, name)
        };
        let work = OperationWork::Channels(Channels {
            step: over.step,
            groups: over.groups,
            group: over.group,
            affine: over.affine.clone(),
            rows: layout.tile[0],
            columns: layout.tile[1],
            from: from.inner(),
            to: layout.inner(),
            source: over.source,
            sink: over.sink,
        });
        let costs = vec![1; layout.planes()];
        self.on_blocks(work, reads, to, costs, layer, row);
    }

    /// The right operand is packed, the left one made floats; then the product.
    pub(in crate::engine) fn matrix(
        &mut self,
        matrix: &Matrix,
        layouts: &[Layout],
        reads: Vec<usize>,
        to: usize,
        layer: &str,
    ) {
        let layout = self.tensors.all[to].layout;
        let right = &layouts[1];
        let packed = PackedRight {
            groups: matrix.groups,
            inner: matrix.inner,
            filters: matrix.filters,
            inner_is_channel: matrix.inner_is_channel,
            from: right.inner(),
            tile: right.tile[1],
            source: matrix.right,
        };
        let each = packed.block();
        let (mut left, mut left_read) = (layouts[0], reads[0]);
        if let Some(grid) = matrix.left {
            (left, left_read) = self.floats(grid, &left, left_read, layer);
        }
        let product = MatrixProduct {
            groups: matrix.groups,
            inner: matrix.inner,
            filters: matrix.filters,
            columns: layout.tile[1],
            left: left.inner(),
            to: layout.inner(),
            multiplier: matrix.multiplier,
            bounds: matrix.bounds,
            sink: matrix.sink,
        };
        let blocks = product.blocks();
        let weights = self.buffer(blocks * each);
        let operation = ScheduledOperation {
            work: OperationWork::PackRight(packed),
            reads: vec![reads[1]],
            write: weights,
            edges: Edges::none(),
            costs: vec![1; blocks],
            unit: each,
            layer: layer.to_string(),
        };
        self.push(operation, LayerProfile::named(layer, "pack right"));
        let positions = layout.shape.columns as u64;
        let multiply_adds = (matrix.groups * matrix.inner * matrix.filters) as u64 * positions;
        let peak = self.tuner.peak(self.kernels, false);
        let row = LayerProfile {
            in_float: matrix.left.is_none(),
            multiply_adds,
            limit: peak.is_finite().then(|| multiply_adds as f64 / peak * 1e6),
            ..LayerProfile::named(layer, "matrix product")
        };
        let work = OperationWork::Matrix(product);
        let reads = vec![left_read, weights];
        self.on_blocks(work, reads, to, vec![1; blocks], layer, row);
    }

    // A tensor of codes in floats, without a halo, and its buffer.
    fn floats(
        &mut self,
        grid: InputGrid,
        from: &Layout,
        read: usize,
        layer: &str,
    ) -> (Layout, usize) {
        let layout = Layout {
            shape: Shape {
                kind: Kind::Floats,
                ..from.shape
            },
            halo: Halo::default(),
            fill: Fill::Any,
            interleaved: None,
            ..*from
        };
        let write = self.buffer(layout.blocks());
        let operation = ScheduledOperation {
            work: OperationWork::Convert(Converted::new(floats_of(grid), from, &layout)),
            reads: vec![read],
            write,
            edges: Edges::none(),
            costs: vec![1; layout.planes()],
            unit: layout.plane(),
            layer: layer.to_string(),
        };
        self.push(operation, LayerProfile::named(layer, "convert"));
        (layout, write)
    }

    /// A constant of one sample, as a tensor that lies so.
    ///
    /// Fails with [`EngineError::Kernel`].
    pub(in crate::engine) fn constant(
        &self,
        values: &[f32],
        layout: &Layout,
        layer: &str,
    ) -> Result<VectorBlocks, EngineError> {
        let samples = self.lanes.samples();
        let mut blocks = VectorBlocks::new(layout.blocks());
        blocks.fill(VectorBlock::default());
        let written = layout.frame(samples).write(
            self.kernels,
            &values.repeat(samples),
            None,
            0..layout.shape.channels,
            &mut blocks,
        );
        let named = |source| EngineError::Kernel {
            layer: layer.to_string(),
            source,
        };
        written.map(|_| blocks).map_err(named)
    }
}

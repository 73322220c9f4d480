//! From nodes to operations on buffers.

use std::collections::HashMap;

use crate::engine::EngineError;
use crate::engine::layout::Layout;
use crate::engine::layout::arguments::{elementwise, windows};
use crate::engine::layout::demand::Tensors;
use crate::engine::layout::lanes::LaneMapping;
use crate::engine::layout::part::{Begin, Part};
use crate::engine::lower::node::{FusedNode, NodeWork, PerElement};
use crate::engine::lower::shape::Kind;
use crate::engine::lower::token::input_grid;
use crate::engine::lower::viewed::Viewed;
use crate::engine::plan::gathered::{Assembled, resampling};
use crate::engine::plan::interleaved::{Halo, InterleavedPool, InterleavedProduct, Lines};
use crate::engine::plan::operation::{OperationWork, ScheduledOperation};
use crate::engine::plan::rows::Rows;
use crate::engine::table::LayerProfile;
use crate::engine::tune::cache::TunedKernel;
use crate::engine::tune::choose::TunedProduct;
use crate::engine::tune::tuner::Tuner;
use crate::kernel::{Edges, Kernels, PackedWeights, Product, VectorBlock, Windows};
use crate::network::Value;

mod movement;
mod token;

pub(in crate::engine) struct Builder<'a> {
    model: &'a Viewed<'a>,
    lanes: LaneMapping,
    kernels: Kernels,
    tuner: Tuner<'a>,
    tensors: Tensors,
    begin: Option<Begin>,
    /// The buffer of each tensor in vector blocks that was made, and of each plain one.
    made: HashMap<usize, usize>,
    plain: HashMap<Value, usize>,
    prepared: HashMap<usize, TunedProduct>,
    built: Built,
}

#[derive(Default)]
pub(in crate::engine) struct Built {
    pub operations: Vec<ScheduledOperation>,
    /// Vector blocks of each.
    pub buffers: Vec<usize>,
    pub output: usize,
    pub whole_input: bool,
    pub layers: Vec<LayerProfile>,
    pub tuned: Vec<TunedKernel>,
    /// How many operations there are after each node.
    pub ends: Vec<usize>,
    /// The tensors as their nodes make them: value, buffer, layout.
    pub owns: Vec<(Value, usize, Layout)>,
}

impl<'a> Builder<'a> {
    /// `prepared`: products that were made before, by step.
    pub fn new(
        part: Part<'a>,
        kernels: Kernels,
        tuner: Tuner<'a>,
        tensors: Tensors,
        prepared: HashMap<usize, TunedProduct>,
    ) -> Self {
        Self {
            model: part.model,
            lanes: part.lanes,
            kernels,
            tuner,
            tensors,
            begin: part.begin,
            made: HashMap::new(),
            plain: HashMap::new(),
            prepared,
            built: Built::default(),
        }
    }

    pub fn build(mut self, nodes: &[FusedNode]) -> Result<Built, EngineError> {
        for node in nodes {
            self.node(node)?;
            self.built.ends.push(self.built.operations.len());
        }
        self.built.output = self.output()?;
        let all = self.tensors.all.iter().enumerate();
        let owns = all.filter(|(_, tensor)| tensor.is_own);
        self.built.owns = owns
            .filter_map(|(index, own)| Some((own.value, *self.made.get(&index)?, own.layout)))
            .collect();
        self.built.tuned = self.tuner.tuned;
        Ok(self.built)
    }

    // The tensor as its node makes it, where that was made in vector blocks.
    fn held(&self, value: Value) -> Option<usize> {
        let index = self.tensors.find_own(value)?;
        self.made.contains_key(&index).then_some(index)
    }

    fn buffer(&mut self, blocks: usize) -> usize {
        self.built.buffers.push(blocks);
        self.built.buffers.len() - 1
    }

    fn push(&mut self, operation: ScheduledOperation, row: LayerProfile) {
        let samples = self.lanes.samples();
        self.built.operations.push(operation);
        self.built.layers.push(LayerProfile { samples, ..row });
    }

    // An operation on planes of vector blocks.
    fn on_blocks(
        &mut self,
        work: OperationWork,
        reads: Vec<usize>,
        tensor: usize,
        costs: Vec<usize>,
        layer: &str,
        row: LayerProfile,
    ) {
        let layout = self.tensors.all[tensor].layout;
        let write = self.buffer(layout.blocks());
        // Units are alike: planes, blocks of filters of them, those of a line, or all.
        let unit = layout.blocks().checked_div(costs.len()).unwrap_or(0);
        let whole = match &work {
            OperationWork::Rearrange { fill, .. } => *fill == layout.fill_block(),
            OperationWork::Load { lines, .. } => lines.is_some(),
            OperationWork::ConvertLayout { .. }
            | OperationWork::InterleavedProduct(_)
            | OperationWork::InterleavedPool(_) => true,
            _ => false,
        };
        self.made.insert(tensor, write);
        let edges = match whole {
            // It has written halos too, or another operation does.
            true => Edges::none(),
            false => layout.edges(),
        };
        let operation = ScheduledOperation {
            work,
            reads,
            write,
            edges,
            costs,
            unit,
            layer: layer.to_string(),
        };
        self.push(operation, row);
    }

    // By blocks of filters, or by lines, of which so many are made together.
    fn product(
        &mut self,
        (product, together): (Product, usize),
        reads: Vec<usize>,
        to: usize,
        layer: &str,
        row: LayerProfile,
    ) {
        let layout = self.tensors.all[to].layout;
        if layout.interleaved.is_none() {
            let filter_blocks = 0..product.entries().filter_blocks();
            // An epilogue costs about as much as three sparse entries for each filter.
            let costs = filter_blocks.map(|filter_block| product.entries().cost(filter_block) + 12);
            let costs = costs.collect();
            let work = OperationWork::Product(product);
            return self.on_blocks(work, reads, to, costs, layer, row);
        }
        let filter_blocks = product.entries().filter_blocks();
        let lines = lines(&layout);
        let work = OperationWork::InterleavedProduct(InterleavedProduct {
            product,
            lines,
            together,
        });
        self.interleaved(work, reads, to, filter_blocks, layer, row);
    }

    // By planes, or by lines.
    fn pool(
        &mut self,
        windows: Windows,
        reads: Vec<usize>,
        to: usize,
        layer: &str,
        row: LayerProfile,
    ) {
        let layout = self.tensors.all[to].layout;
        let planes = layout.planes();
        if layout.interleaved.is_none() {
            let work = OperationWork::Pool(windows);
            return self.on_blocks(work, reads, to, vec![1; planes], layer, row);
        }
        let work = OperationWork::InterleavedPool(InterleavedPool {
            windows,
            planes,
            lines: lines(&layout),
        });
        self.interleaved(work, reads, to, 1, layer, row);
    }

    // With so many units of each line.
    fn interleaved(
        &mut self,
        work: OperationWork,
        reads: Vec<usize>,
        to: usize,
        units: usize,
        layer: &str,
        row: LayerProfile,
    ) {
        let layout = self.tensors.all[to].layout;
        let [before, after] = layout.halo.rows;
        let costs = [(before, 0), (layout.tile[0], 1), (after, 0)];
        let costs = costs.map(|(lines, cost)| vec![cost; lines * units]);
        self.on_blocks(work, reads, to, costs.concat(), layer, row);
        self.halo(to, layer);
    }

    // The lines above and below others, of a tensor that was made row-interleaved.
    fn halo(&mut self, tensor: usize, layer: &str) {
        let layout = self.tensors.all[tensor].layout;
        let lines = layout.halo_lines();
        let costs: Vec<usize> = lines.iter().map(|line| line.is_some().into()).collect();
        if costs.iter().all(|&cost| cost == 0) {
            return;
        }
        let [before, _] = layout.halo.rows;
        let operation = ScheduledOperation {
            work: OperationWork::Halo(Halo {
                lines,
                between: before..before + layout.tile[0],
                fill: layout.fill_block(),
            }),
            reads: Vec::new(),
            write: self.made[&tensor],
            edges: Edges::none(),
            costs,
            unit: layout.pitch(),
            layer: layer.to_string(),
        };
        self.push(operation, LayerProfile::named(layer, "halo"));
    }

    fn node(&mut self, node: &FusedNode) -> Result<(), EngineError> {
        if !node.is_on_blocks() {
            return self.plain_node(node);
        }
        let value = Value::Node(node.output);
        let samples = self.lanes.samples();
        let fault = || EngineError::TooLarge {
            layer: node.layer.clone(),
            samples,
        };
        let to = self
            .tensors
            .own(self.model, value, self.lanes)
            .ok_or_else(fault)?;
        if node.work_loads() {
            let grid = self.model.grid(value).map(input_grid);
            self.load(to, Value::Input, grid);
            return Ok(());
        }
        let mut inputs = Vec::new();
        for (place, &value) in node.inputs.iter().enumerate() {
            let demand = node.demand(self.model, place, self.lanes);
            inputs.push(self.blocks(value, demand, &node.layer)?);
        }
        let layouts: Vec<Layout> = inputs.iter().map(|&i| self.tensors.all[i].layout).collect();
        let layout = self.tensors.all[to].layout;
        let largest = layouts.iter().chain([&layout]).map(Layout::blocks).max();
        if largest.unwrap_or(0) > u32::MAX as usize / VectorBlock::BYTES {
            return Err(fault());
        }
        let reads: Vec<usize> = inputs.iter().map(|input| self.made[input]).collect();
        let in_float = layouts.iter().all(|of| of.shape.kind == Kind::Floats);
        let named = |kernel: &str| LayerProfile {
            in_float,
            ..LayerProfile::named(&node.layer, kernel)
        };
        match &node.work {
            NodeWork::Product(weighted) => {
                let tuned = self.tuner.known(self.tuner.tuned.len(), &node.layer);
                let again = match (self.prepared.remove(&node.output), tuned) {
                    // An operand that comes from a plain step was not known to be in vector blocks.
                    (None, Some(tuned)) => node.again(weighted, &layouts, &layout, tuned)?,
                    (prepared, _) => prepared,
                };
                let chosen = match again {
                    Some(chosen) => chosen,
                    None => {
                        let mode = self.tuner.mode();
                        node.product(weighted, &layouts, &layout, self.kernels, mode)?
                    }
                };
                let codes = matches!(layouts[0].shape.kind, Kind::Codes { .. });
                let peak = match chosen.is_timed() {
                    true if chosen.is_tiled() => self.tuner.matrix_peak(self.kernels),
                    true => self.tuner.peak(self.kernels, codes),
                    false => f64::INFINITY,
                };
                let row = chosen.row(&node.layer, weighted, &layouts, &layout, peak);
                let TunedProduct {
                    product,
                    kernel,
                    blocking,
                    ..
                } = chosen;
                self.tuner.tuned.push(TunedKernel {
                    layer: node.layer.clone(),
                    kernel: kernel.to_string(),
                    blocking,
                });
                let together = match product.entries() {
                    PackedWeights::Winograd { side, .. } => weighted.window_lines(*side),
                    _ => 1,
                };
                self.product((product, together), reads, to, &node.layer, row);
            }
            NodeWork::Pool(pool) => {
                let windows = windows(pool, &layout, &layouts[0], self.lanes);
                let name = if pool.sum.is_some() {
                    "sum pool"
                } else {
                    "max pool"
                };
                let row = named(name);
                self.pool(windows, reads, to, &node.layer, row);
            }
            NodeWork::Elementwise(step) => {
                let constant = match step {
                    PerElement::AddConstant(values) | PerElement::MultiplyConstant(values) => {
                        Some(self.constant(values, &layout, &node.layer)?)
                    }
                    _ => None,
                };
                let step = elementwise(step, &layout, &layouts);
                // A constant lies as the result.
                let constants = constant.iter().map(|_| &layout);
                let all = layouts.iter().chain(constants).chain([&layout]);
                let one = layouts
                    .get(1)
                    .filter(|one| one.is_one() && !layout.is_one());
                let rows = Rows {
                    rows: layout.tile[0],
                    columns: layout.tile[1],
                    planes: all.clone().map(Layout::plane).collect(),
                    firsts: all.clone().map(|layout| layout.block(0, 0)).collect(),
                    pitches: all.map(Layout::pitch).collect(),
                    one: one.map(Layout::spread),
                };
                let work = OperationWork::Elementwise {
                    step,
                    rows,
                    constant,
                };
                let row = named("elementwise");
                let planes = vec![1; layout.planes()];
                self.on_blocks(work, reads, to, planes, &node.layer, row);
            }
            NodeWork::Rearrange(rearrange) => {
                self.rearrange(rearrange, &layouts, reads, to, &node.layer);
            }
            NodeWork::Channels(over) => self.channels(over, &layouts[0], reads, to, &node.layer),
            NodeWork::Matrix(matrix) => self.matrix(matrix, &layouts, reads, to, &node.layer),
            NodeWork::Constant(values) => {
                let blocks = self.constant(values, &layout, &node.layer)?;
                let costs = vec![1; layout.planes()];
                let work = OperationWork::Constant(blocks);
                self.on_blocks(work, reads, to, costs, &node.layer, named("constant"));
            }
            NodeWork::Assemble(assemble) => {
                let work = OperationWork::Assemble(Assembled::new(assemble, &layouts, &layout));
                self.on_blocks(
                    work,
                    reads,
                    to,
                    vec![1; layout.planes()],
                    &node.layer,
                    named("assemble"),
                );
            }
            NodeWork::Resample(resample) => {
                let resampling = resampling(resample, &layouts[0], &layout);
                let work = OperationWork::Resample(resampling, layouts[0].plane());
                self.on_blocks(
                    work,
                    reads,
                    to,
                    vec![1; layout.planes()],
                    &node.layer,
                    named("resample"),
                );
            }
            NodeWork::Convert(conversion) => {
                // The output is read of codes.
                if !self.is_output_alone(value) {
                    self.convert(node, conversion, (reads, layouts[0]), to);
                }
            }
            NodeWork::Quantize | NodeWork::Plain => {}
        }
        Ok(())
    }
}

fn lines(layout: &Layout) -> Lines {
    Lines {
        before: layout.halo.rows[0],
        columns: layout.tile[1],
        edges: layout.line_edges(),
    }
}

impl FusedNode<'_> {
    fn work_loads(&self) -> bool {
        matches!(self.work, NodeWork::Quantize)
    }
}

//! From stages to operations on buffers.

use std::collections::HashMap;

use crate::engine::EngineError;
use crate::engine::layout::Layout;
use crate::engine::layout::arguments::{elementwise, windows};
use crate::engine::layout::demand::Tensors;
use crate::engine::layout::lanes::Sites;
use crate::engine::layout::part::{Begin, Part};
use crate::engine::lower::node::{Stage, StageWork};
use crate::engine::lower::shape::Kind;
use crate::engine::plan::interleaved::{Halo, Lines, PoolByLine, ProductByLine};
use crate::engine::plan::operation::{Operation, OperationWork, Rows};
use crate::engine::table::LayerRow;
use crate::engine::tune::cache::Kept;
use crate::engine::tune::choose::Chosen;
use crate::engine::tune::tuner::Chooser;
use crate::kernel::{Cell, Edges, InputGrid, Kernels, Product, Records, Windows};
use crate::network::Network;
use crate::network::Value;

mod movement;

pub(in crate::engine) struct Builder<'a> {
    model: &'a Network,
    sites: Sites,
    kernels: Kernels,
    chooser: Chooser<'a>,
    tensors: Tensors,
    begin: Option<Begin>,
    /// The buffer of each tensor in cells that was made, and of each plain one.
    made: HashMap<usize, usize>,
    plain: HashMap<Value, usize>,
    prepared: HashMap<usize, Chosen>,
    built: Built,
}

#[derive(Default)]
pub(in crate::engine) struct Built {
    pub operations: Vec<Operation>,
    /// Cells of each.
    pub buffers: Vec<usize>,
    pub output: usize,
    pub whole_input: bool,
    pub layers: Vec<LayerRow>,
    pub kept: Vec<Kept>,
    /// How many operations there are after each stage.
    pub ends: Vec<usize>,
    /// The tensors as their stages make them: value, buffer, layout.
    pub owns: Vec<(Value, usize, Layout)>,
}

impl<'a> Builder<'a> {
    /// `prepared`: products that were made before, by step.
    pub fn new(
        part: Part<'a>,
        kernels: Kernels,
        chooser: Chooser<'a>,
        tensors: Tensors,
        prepared: HashMap<usize, Chosen>,
    ) -> Self {
        Self {
            model: part.model,
            sites: part.sites,
            kernels,
            chooser,
            tensors,
            begin: part.begin,
            made: HashMap::new(),
            plain: HashMap::new(),
            prepared,
            built: Built::default(),
        }
    }

    pub fn build(mut self, stages: &[Stage]) -> Result<Built, EngineError> {
        for stage in stages {
            self.stage(stage)?;
            self.built.ends.push(self.built.operations.len());
        }
        self.built.output = self.output()?;
        let all = self.tensors.all.iter().enumerate();
        let owns = all.filter(|(_, tensor)| tensor.is_own);
        self.built.owns = owns
            .filter_map(|(index, own)| Some((own.value, *self.made.get(&index)?, own.layout)))
            .collect();
        self.built.kept = self.chooser.kept;
        Ok(self.built)
    }

    // The tensor as its stage makes it, where that was made in cells.
    fn held(&self, value: Value) -> Option<usize> {
        let index = self.tensors.find_own(value)?;
        self.made.contains_key(&index).then_some(index)
    }

    fn buffer(&mut self, cells: usize) -> usize {
        self.built.buffers.push(cells);
        self.built.buffers.len() - 1
    }

    fn push(&mut self, operation: Operation, row: LayerRow) {
        let images = self.sites.images();
        self.built.operations.push(operation);
        self.built.layers.push(LayerRow { images, ..row });
    }

    // An operation on planes of cells.
    fn on_cells(
        &mut self,
        work: OperationWork,
        reads: Vec<usize>,
        tensor: usize,
        costs: Vec<usize>,
        layer: &str,
        row: LayerRow,
    ) {
        let layout = self.tensors.all[tensor].layout;
        let write = self.buffer(layout.cells());
        // Units are alike: planes, quads of them, those of a line, or all.
        let unit = layout.cells().checked_div(costs.len()).unwrap_or(0);
        let whole = match &work {
            OperationWork::Rearrange { fill, .. } => *fill == layout.fill_cell(),
            OperationWork::Load { lines, .. } => lines.is_some(),
            OperationWork::Regroup { .. }
            | OperationWork::ProductByLine(_)
            | OperationWork::PoolByLine(_) => true,
            _ => false,
        };
        self.made.insert(tensor, write);
        let edges = match whole {
            // It has written halos too, or another operation does.
            true => Edges::none(),
            false => layout.edges(),
        };
        let operation = Operation {
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

    // By quads of filters, or by lines, of which so many are made together.
    fn product(
        &mut self,
        (product, together): (Product, usize),
        reads: Vec<usize>,
        to: usize,
        layer: &str,
        row: LayerRow,
    ) {
        let layout = self.tensors.all[to].layout;
        if layout.by_line.is_none() {
            let quads = 0..product.records().quads();
            // An epilogue costs about as much as three records for each filter.
            let costs = quads.map(|quad| product.records().cost(quad) + 12);
            let costs = costs.collect();
            let work = OperationWork::Product(product);
            return self.on_cells(work, reads, to, costs, layer, row);
        }
        let quads = product.records().quads();
        let lines = lines(&layout);
        let work = OperationWork::ProductByLine(ProductByLine {
            product,
            lines,
            together,
        });
        self.by_line(work, reads, to, quads, layer, row);
    }

    // By planes, or by lines.
    fn pool(&mut self, windows: Windows, reads: Vec<usize>, to: usize, layer: &str, row: LayerRow) {
        let layout = self.tensors.all[to].layout;
        let planes = layout.planes();
        if layout.by_line.is_none() {
            let work = OperationWork::Pool(windows);
            return self.on_cells(work, reads, to, vec![1; planes], layer, row);
        }
        let work = OperationWork::PoolByLine(PoolByLine {
            windows,
            planes,
            lines: lines(&layout),
        });
        self.by_line(work, reads, to, 1, layer, row);
    }

    // With so many units of each line.
    fn by_line(
        &mut self,
        work: OperationWork,
        reads: Vec<usize>,
        to: usize,
        units: usize,
        layer: &str,
        row: LayerRow,
    ) {
        let layout = self.tensors.all[to].layout;
        let [before, after] = layout.halo.rows;
        let costs = [(before, 0), (layout.tile[0], 1), (after, 0)];
        let costs = costs.map(|(lines, cost)| vec![cost; lines * units]);
        self.on_cells(work, reads, to, costs.concat(), layer, row);
        self.halo(to, layer);
    }

    // The lines above and below others, of a tensor that was made line by line.
    fn halo(&mut self, tensor: usize, layer: &str) {
        let layout = self.tensors.all[tensor].layout;
        let lines = layout.halo_lines();
        let costs: Vec<usize> = lines.iter().map(|line| line.is_some().into()).collect();
        if costs.iter().all(|&cost| cost == 0) {
            return;
        }
        let [before, _] = layout.halo.rows;
        let operation = Operation {
            work: OperationWork::Halo(Halo {
                lines,
                between: before..before + layout.tile[0],
                fill: layout.fill_cell(),
            }),
            reads: Vec::new(),
            write: self.made[&tensor],
            edges: Edges::none(),
            costs,
            unit: layout.pitch(),
            layer: layer.to_string(),
        };
        self.push(operation, LayerRow::named(layer, "halo"));
    }

    fn stage(&mut self, stage: &Stage) -> Result<(), EngineError> {
        if !stage.is_on_cells() {
            return self.plain_stage(stage);
        }
        let value = Value::Node(stage.output);
        let images = self.sites.images();
        let fault = || EngineError::TooLarge {
            layer: stage.layer.clone(),
            images,
        };
        let to = self
            .tensors
            .own(self.model, value, self.sites)
            .ok_or_else(fault)?;
        if stage.work_loads() {
            let grid = self.model.grid(value).map(|grid| InputGrid {
                scale: grid.scale(),
                offset: grid.offset(),
                low: grid.low(),
                high: grid.high(),
            });
            self.load(to, Value::Input, grid);
            return Ok(());
        }
        let mut inputs = Vec::new();
        for (place, &value) in stage.inputs.iter().enumerate() {
            let demand = stage.demand(self.model, place, self.sites);
            inputs.push(self.cells(value, demand, &stage.layer)?);
        }
        let layouts: Vec<Layout> = inputs.iter().map(|&i| self.tensors.all[i].layout).collect();
        let layout = self.tensors.all[to].layout;
        let largest = layouts.iter().chain([&layout]).map(Layout::cells).max();
        if largest.unwrap_or(0) > u32::MAX as usize / Cell::BYTES {
            return Err(fault());
        }
        let reads: Vec<usize> = inputs.iter().map(|input| self.made[input]).collect();
        let in_float = layouts.iter().all(|of| of.shape.kind == Kind::Floats);
        let named = |kernel: &str| LayerRow {
            in_float,
            ..LayerRow::named(&stage.layer, kernel)
        };
        match &stage.work {
            StageWork::Product(weighted) => {
                let kept = self.chooser.known(self.chooser.kept.len(), &stage.layer);
                let again = match (self.prepared.remove(&stage.output), kept) {
                    // An operand that comes from a plain step was not known to be in cells.
                    (None, Some(kept)) => stage.again(weighted, &layouts, &layout, kept)?,
                    (prepared, _) => prepared,
                };
                let chosen = match again {
                    Some(chosen) => chosen,
                    None => {
                        let how = self.chooser.how();
                        stage.product(weighted, &layouts, &layout, self.kernels, how)?
                    }
                };
                let codes = matches!(layouts[0].shape.kind, Kind::Codes { .. });
                let peak = match chosen.is_timed() {
                    true if chosen.is_tiled() => self.chooser.matrix_peak(self.kernels),
                    true => self.chooser.peak(self.kernels, codes),
                    false => f64::INFINITY,
                };
                let row = chosen.row(&stage.layer, weighted, &layouts, &layout, peak);
                let Chosen {
                    product,
                    kernel,
                    way,
                    ..
                } = chosen;
                self.chooser.kept.push(Kept {
                    layer: stage.layer.clone(),
                    kernel: kernel.to_string(),
                    way,
                });
                let together = match product.records() {
                    Records::Winograd { side, .. } => weighted.window_lines(*side),
                    _ => 1,
                };
                self.product((product, together), reads, to, &stage.layer, row);
            }
            StageWork::Pool(pool) => {
                let windows = windows(pool, &layout, &layouts[0], self.sites);
                let name = if pool.sum.is_some() {
                    "sum pool"
                } else {
                    "max pool"
                };
                let row = named(name);
                self.pool(windows, reads, to, &stage.layer, row);
            }
            StageWork::Elementwise(step) => {
                let step = elementwise(step, &layout, &layouts);
                let all = layouts.iter().chain([&layout]);
                let rows = Rows {
                    rows: layout.tile[0],
                    columns: layout.tile[1],
                    planes: all.clone().map(Layout::plane).collect(),
                    firsts: all.clone().map(|layout| layout.cell(0, 0)).collect(),
                    pitches: all.map(Layout::pitch).collect(),
                };
                let work = OperationWork::Elementwise { step, rows };
                let row = named("elementwise");
                let planes = vec![1; layout.planes()];
                self.on_cells(work, reads, to, planes, &stage.layer, row);
            }
            StageWork::Rearrange(rearrange) => {
                self.rearrange(rearrange, &layouts, reads, to, &stage.layer);
            }
            StageWork::Quantize | StageWork::Plain => {}
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

impl Stage<'_> {
    fn work_loads(&self) -> bool {
        matches!(self.work, StageWork::Quantize)
    }
}

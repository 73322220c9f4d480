//! From stages to operations on buffers.

use std::collections::HashMap;

use super::EngineError;
use super::arguments::{elementwise, sink, windows};
use super::choices::{Chooser, Kept};
use super::choose::Chosen;
use super::demand::{Demand, Tensors};
use super::layout::{Fill, Layout, Sites};
use super::operation::{Operation, OperationWork, PlainOperand, PlainSource, Rows};
use super::stage::{Kind, Rearrange, Stage, StageWork};
use super::table::LayerRow;
use crate::graph::integer::{IntegerModel, IntegerOp};
use crate::graph::{Dim, Value};
use crate::kernel::{Cell, Edges, InputGrid, Kernels};

pub(super) struct Builder<'a> {
    model: &'a IntegerModel,
    sites: Sites,
    kernels: Kernels,
    chooser: Chooser<'a>,
    tensors: Tensors,
    /// The buffer of each tensor in cells that was made, and of each plain one.
    made: HashMap<usize, usize>,
    plain: HashMap<Value, usize>,
    /// Products that are made already, by step.
    prepared: HashMap<usize, Chosen>,
    built: Built,
}

#[derive(Default)]
pub(super) struct Built {
    pub operations: Vec<Operation>,
    /// Cells of each.
    pub buffers: Vec<usize>,
    pub output: usize,
    pub whole_input: bool,
    pub layers: Vec<LayerRow>,
    pub kept: Vec<Kept>,
}

impl<'a> Builder<'a> {
    pub fn new(
        model: &'a IntegerModel,
        sites: Sites,
        kernels: Kernels,
        chooser: Chooser<'a>,
        tensors: Tensors,
    ) -> Self {
        Self {
            model,
            sites,
            kernels,
            chooser,
            tensors,
            made: HashMap::new(),
            plain: HashMap::new(),
            prepared: HashMap::new(),
            built: Built::default(),
        }
    }

    /// With products that were made before, by step.
    pub fn with(mut self, prepared: HashMap<usize, Chosen>) -> Self {
        self.prepared = prepared;
        self
    }

    pub fn build(mut self, stages: &[Stage]) -> Result<Built, EngineError> {
        for stage in stages {
            self.stage(stage)?;
        }
        self.built.output = self.output()?;
        self.built.kept = self.chooser.kept;
        Ok(self.built)
    }

    // Floats of all images of a pass.
    fn output(&mut self) -> Result<usize, EngineError> {
        let output = self.model.output();
        if let Value::Node(index) = output {
            let step = &self.model.steps()[index];
            let scale = match (&step.op, step.inputs.first()) {
                (IntegerOp::Dequantize, Some(&source)) => {
                    self.model.grid(source).map(|grid| (source, grid.scale()))
                }
                _ => None,
            };
            if let Some((source, scale)) = scale
                && let Some(tensor) = self.held(source)
            {
                return Ok(self.unpack(tensor, Some(scale)));
            }
        }
        self.plain(output)
    }

    // The tensor as its stage makes it, where that was made in cells.
    fn held(&self, value: Value) -> Option<usize> {
        let all = self.tensors.all.iter().enumerate();
        let mut own = all.filter(|(_, tensor)| tensor.value == value && tensor.is_own);
        let (index, _) = own.next()?;
        self.made.contains_key(&index).then_some(index)
    }

    fn buffer(&mut self, cells: usize) -> usize {
        self.built.buffers.push(cells);
        self.built.buffers.len() - 1
    }

    fn push(&mut self, operation: Operation, row: LayerRow) {
        self.built.operations.push(operation);
        self.built.layers.push(row);
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
        // Units are alike: planes, quads of them, or all.
        let unit = layout.cells().checked_div(costs.len()).unwrap_or(0);
        let whole = matches!(work, OperationWork::Rearrange { .. });
        self.made.insert(tensor, write);
        let edges = match whole {
            // It has written halos too.
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
            let grid = self.model.grid(value);
            self.load(
                to,
                Value::Input,
                grid.map(|grid| (grid.scale(), grid.low(), grid.high())),
            );
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
        let planes = vec![1; layout.planes()];
        match &stage.work {
            StageWork::Product(weighted) => {
                let prepared = self.prepared.remove(&stage.output);
                let chosen = prepared.map_or_else(
                    || {
                        let how = self.chooser.how(&stage.layer);
                        stage.product(weighted, &layouts, &layout, self.kernels, &how)
                    },
                    Ok,
                )?;
                let codes = matches!(layouts[0].shape.kind, Kind::Codes { .. });
                let peak = match chosen.is_timed() {
                    true => self.chooser.peak(self.kernels, codes),
                    false => f64::INFINITY,
                };
                let row = chosen.row(&stage.layer, weighted, &layout, peak);
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
                let quads = 0..product.records().quads();
                // An epilogue costs about as much as three records for each filter.
                let costs = quads
                    .map(|quad| product.records().cost(quad) + 12)
                    .collect();
                let work = OperationWork::Product(product);
                self.on_cells(work, reads, to, costs, &stage.layer, row);
            }
            StageWork::Pool(pool) => {
                let windows = windows(pool, &layout, &layouts[0], self.sites);
                let work = OperationWork::Pool(windows);
                let name = if pool.sum.is_some() {
                    "sum pool"
                } else {
                    "max pool"
                };
                let row = LayerRow::named(&stage.layer, name);
                self.on_cells(work, reads, to, planes, &stage.layer, row);
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
                let row = LayerRow::named(&stage.layer, "elementwise");
                self.on_cells(work, reads, to, planes, &stage.layer, row);
            }
            StageWork::Rearrange(rearrange) => {
                self.rearrange(rearrange, &layouts, reads, to, &stage.layer);
            }
            StageWork::Quantize | StageWork::Plain => {}
        }
        Ok(())
    }

    // From images to cells.
    fn load(&mut self, to: usize, value: Value, grid: Option<(f32, i32, i32)>) {
        let layout = self.tensors.all[to].layout;
        let grid = grid.map(|(scale, low, high)| InputGrid { scale, low, high });
        let costs = vec![1; layout.planes()];
        match value {
            Value::Input => {
                let frames = (1..=self.sites.images()).map(|images| layout.frame(images));
                let work = OperationWork::Load {
                    frames: frames.collect(),
                    grid,
                };
                let row = LayerRow::named("input", "load");
                self.on_cells(work, Vec::new(), to, costs, "input", row);
            }
            value => {
                let from = self.plain[&value];
                let work = OperationWork::Pack {
                    frame: layout.frame(self.sites.images()),
                    grid,
                };
                let row = LayerRow::named("", "pack");
                self.on_cells(work, vec![from], to, vec![1], "pack", row);
            }
        }
    }

    // The tensor of an operand in cells that meets a demand, made where it is not there.
    fn cells(&mut self, value: Value, demand: Demand, layer: &str) -> Result<usize, EngineError> {
        let images = self.sites.images();
        let missing = || EngineError::TooLarge {
            layer: layer.to_string(),
            images,
        };
        let own = self
            .tensors
            .own(self.model, value, self.sites)
            .ok_or_else(missing)?;
        if !self.made.contains_key(&own) {
            let grid = self.model.grid(value);
            // Plain codes are whole already.
            let grid = grid.map(|grid| (1.0, grid.low(), grid.high()));
            self.load(own, value, grid);
        }
        let found = self.tensors.find(value, demand).ok_or_else(missing)?;
        if !self.made.contains_key(&found) {
            let layout = self.tensors.all[own].layout;
            let all = |length: usize| (0..length).map(Some).collect();
            let copy = Rearrange {
                channels: (0..layout.shape.channels)
                    .map(|channel| Some((0, channel)))
                    .collect(),
                rows: all(layout.shape.rows),
                columns: all(layout.shape.columns),
            };
            let reads = vec![self.made[&own]];
            self.rearrange(&copy, &[layout], reads, found, layer);
        }
        Ok(found)
    }

    fn rearrange(
        &mut self,
        rearrange: &Rearrange,
        from: &[Layout],
        reads: Vec<usize>,
        to: usize,
        layer: &str,
    ) {
        let layout = self.tensors.all[to].layout;
        let unit = layout.shape.kind.unit();
        let gathers = from
            .iter()
            .map(|from| layout.gather(from, &rearrange.rows, &rearrange.columns));
        let gathers = gathers.collect();
        let first = |group: &[Option<(usize, usize)>]| {
            group[0].map(|(operand, channel)| (operand, channel / unit))
        };
        let mut planes: Vec<_> = rearrange.channels.chunks(unit).map(first).collect();
        planes.resize(layout.planes(), None);
        let costs = vec![1; planes.len()];
        let zero = Layout {
            fill: Fill::Zero,
            ..layout
        };
        let fill = match layout.fill {
            Fill::Any => zero.fill_cell(),
            _ => layout.fill_cell(),
        };
        let work = OperationWork::Rearrange {
            gathers,
            planes,
            sizes: from.iter().map(Layout::plane).collect(),
            fill,
        };
        let row = LayerRow::named(layer, "rearrange");
        self.on_cells(work, reads, to, costs, layer, row);
    }

    // Whole numbers or floats of a tensor, in one buffer.
    fn plain(&mut self, value: Value) -> Result<usize, EngineError> {
        if let Some(&buffer) = self.plain.get(&value) {
            return Ok(buffer);
        }
        match self.held(value) {
            Some(tensor) => {
                let buffer = self.unpack(tensor, None);
                self.plain.insert(value, buffer);
                Ok(buffer)
            }
            None => Err(EngineError::TooLarge {
                layer: "the output".to_string(),
                images: self.sites.images(),
            }),
        }
    }

    fn unpack(&mut self, tensor: usize, scale: Option<f32>) -> usize {
        let layout = self.tensors.all[tensor].layout;
        let images = self.sites.images();
        let frame = layout.frame(images);
        let cells = (frame.image * images).div_ceil(Cell::SITES);
        let write = self.buffer(cells);
        let sink = sink(layout.shape.kind);
        let operation = Operation {
            work: OperationWork::Unpack { frame, sink, scale },
            reads: vec![self.made[&tensor]],
            write,
            edges: Edges::none(),
            costs: vec![1],
            unit: cells,
            layer: "unpack".to_string(),
        };
        self.push(operation, LayerRow::named("", "unpack"));
        write
    }

    fn plain_stage(&mut self, stage: &Stage) -> Result<(), EngineError> {
        let step = &self.model.steps()[stage.output];
        let images = self.sites.images();
        let too_large = || EngineError::TooLarge {
            layer: stage.layer.clone(),
            images,
        };
        let elements = |dims: &[Dim]| {
            let each = dims.iter().map(|dim| dim.at(images));
            each.clone()
                .try_fold(1usize, |all, length| all.checked_mul(length))
                .filter(|&all| all <= u32::MAX as usize / 4)
        };
        let (mut reads, mut operands) = (Vec::new(), Vec::new());
        for &value in &step.inputs {
            let dims = self.model.dims(value);
            let count = elements(&dims).ok_or_else(too_large)?;
            let source = match value {
                Value::Constant(index) => PlainSource::Constant(index),
                Value::Input => {
                    self.built.whole_input = true;
                    PlainSource::Input
                }
                value => {
                    let buffer = self.plain(value)?;
                    let known = reads.iter().position(|&read| read == buffer);
                    let place = known.unwrap_or_else(|| {
                        reads.push(buffer);
                        reads.len() - 1
                    });
                    PlainSource::Read(place, count)
                }
            };
            operands.push(PlainOperand {
                dims: dims.iter().map(|dim| dim.at(images)).collect(),
                grid: self.model.grid(value),
                source,
            });
        }
        let cells = elements(&step.dims)
            .ok_or_else(too_large)?
            .div_ceil(Cell::SITES);
        let write = self.buffer(cells);
        self.plain.insert(Value::Node(stage.output), write);
        let operation = Operation {
            work: OperationWork::Plain {
                step: stage.output,
                operands,
                images,
            },
            reads,
            write,
            edges: Edges::none(),
            costs: vec![1],
            unit: cells,
            layer: stage.layer.clone(),
        };
        let name = format!("plain {}", step.op.name());
        self.push(operation, LayerRow::named(&stage.layer, &name));
        Ok(())
    }
}

impl Stage<'_> {
    fn work_loads(&self) -> bool {
        matches!(self.work, StageWork::Quantize)
    }
}

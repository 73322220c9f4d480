//! Tensors that change their place or form: into cells, out of them, from layout to layout.

use super::{Builder, lines};
use crate::engine::EngineError;
use crate::engine::layout::arguments::sink;
use crate::engine::layout::demand::Demand;
use crate::engine::layout::{Fill, Layout};
use crate::engine::lower::node::{Rearrange, Stage};
use crate::engine::plan::operation::{Operation, OperationWork, PlainOperand, PlainSource};
use crate::engine::table::{LayerRow, PLAIN, REGROUP};
use crate::kernel::{Cell, Edges, InputGrid};
use crate::network::{Dim, Value};
use crate::network::{Grid, StepOp};

/// Cells of an input that threads share out.
const LARGE: usize = 512;

impl Builder<'_> {
    // Floats of all images of a pass.
    pub(in crate::engine) fn output(&mut self) -> Result<usize, EngineError> {
        let output = self.model.output();
        if let Value::Node(index) = output {
            let step = &self.model.steps()[index];
            let grid = match (&step.op, step.inputs.first()) {
                (StepOp::Dequantize, Some(&source)) => {
                    self.model.grid(source).map(|grid| (source, grid))
                }
                _ => None,
            };
            if let Some((source, grid)) = grid
                && let Some(tensor) = self.held(source)
            {
                return Ok(self.unpack(tensor, Some(grid)));
            }
        }
        self.plain(output)
    }

    // From images to cells.
    pub(in crate::engine) fn load(&mut self, to: usize, value: Value, grid: Option<InputGrid>) {
        let layout = self.tensors.all[to].layout;
        match value {
            Value::Input => {
                let frames = (1..=self.sites.images()).map(|images| layout.frame(images));
                // A small one is loaded sooner than threads meet again.
                let by_line = layout.planes() == 1 && layout.cells() >= LARGE;
                let work = OperationWork::Load {
                    frames: frames.collect(),
                    grid,
                    lines: by_line.then(|| lines(&layout)),
                };
                let row = LayerRow::named("input", "load");
                match by_line {
                    true => self.by_line(work, Vec::new(), to, 1, "input", row),
                    false => {
                        let costs = vec![1; layout.planes()];
                        self.on_cells(work, Vec::new(), to, costs, "input", row);
                    }
                }
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

    // The tensor that another plan made, from tiles of each image; tells whether it is one.
    fn regroup(&mut self, value: Value) -> bool {
        let begin = self.begin.filter(|begin| begin.value == value);
        let to = self.tensors.own(self.model, value, self.sites);
        let (Some(begin), Some(to)) = (begin, to) else {
            return false;
        };
        let layout = self.tensors.all[to].layout;
        let work = OperationWork::Regroup {
            gathers: layout.regroup(&begin.layout),
            by_line: layout.by_line.is_some(),
            planes: [begin.layout.plane(), layout.plane()],
            fill: layout.fill_cell(),
        };
        let units = match layout.by_line {
            Some(_) => layout.lines(),
            None => layout.planes(),
        };
        let costs = vec![1; units];
        let row = LayerRow::named("", REGROUP);
        self.on_cells(work, Vec::new(), to, costs, REGROUP, row);
        true
    }

    // The tensor of an operand in cells that meets a demand, made where it is not there.
    pub(in crate::engine) fn cells(
        &mut self,
        value: Value,
        demand: Demand,
        layer: &str,
    ) -> Result<usize, EngineError> {
        let images = self.sites.images();
        let missing = || EngineError::TooLarge {
            layer: layer.to_string(),
            images,
        };
        let own = self
            .tensors
            .own(self.model, value, self.sites)
            .ok_or_else(missing)?;
        if !self.made.contains_key(&own) && !self.regroup(value) {
            // Plain codes are whole already.
            let grid = self.model.grid(value).map(|grid| InputGrid {
                scale: 1.0,
                offset: 0.0,
                low: grid.low(),
                high: grid.high(),
            });
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

    pub(in crate::engine) fn rearrange(
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
        // Elements from nowhere are zeros, whatever lies in the halo.
        let fill = match rearrange.makes_zeros() {
            true => Fill::Zero.cell(layout.shape.kind),
            false => layout.fill_cell(),
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
        if self.held(value).is_none() {
            self.regroup(value);
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

    fn unpack(&mut self, tensor: usize, grid: Option<Grid>) -> usize {
        let layout = self.tensors.all[tensor].layout;
        let images = self.sites.images();
        let frame = layout.frame(images);
        let cells = (frame.image * images).div_ceil(Cell::SITES);
        let write = self.buffer(cells);
        let sink = sink(layout.shape.kind);
        let operation = Operation {
            work: OperationWork::Unpack { frame, sink, grid },
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

    pub(in crate::engine) fn plain_stage(&mut self, stage: &Stage) -> Result<(), EngineError> {
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
        let name = format!("{PLAIN}{}", step.op.name());
        let row = LayerRow {
            in_float: matches!(step.op, StepOp::Float(_)),
            ..LayerRow::named(&stage.layer, &name)
        };
        self.push(operation, row);
        Ok(())
    }
}

//! Tensors that change their place or form: into vector blocks, out of them, from layout to layout.

use super::{Builder, lines};
use crate::engine::EngineError;
use crate::engine::layout::arguments::sink;
use crate::engine::layout::demand::Demand;
use crate::engine::layout::places::Places;
use crate::engine::layout::{Fill, Layout};
use crate::engine::lower::node::{Conversion, FusedNode, Rearrange};
use crate::engine::lower::token::input_grid;
use crate::engine::plan::gathered::{Converted, floats_of};
use crate::engine::plan::operation::{
    OperationWork, PlainOperand, PlainSource, ScheduledOperation,
};
use crate::engine::table::{LAYOUT_CONVERSION, LayerProfile, PLAIN};
use crate::kernel::{Convert, Edges, InputGrid, VectorBlock};
use crate::network::{Dim, Value};
use crate::network::{Grid, StepOp};

/// Vector blocks of an input that threads share out.
const LARGE: usize = 512;

impl Builder<'_> {
    // Floats of all samples of a pass.
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

    /// Whether a tensor is codes that become the output, and nothing else.
    pub(in crate::engine) fn is_output_alone(&self, value: Value) -> bool {
        let Value::Node(index) = value else {
            return false;
        };
        let steps = self.model.steps();
        matches!(steps[index].op, StepOp::Dequantize)
            && self.model.output() == value
            && !steps.iter().any(|step| step.inputs.contains(&value))
    }

    // Codes to floats, or back.
    pub(in crate::engine) fn convert(
        &mut self,
        node: &FusedNode,
        conversion: &Conversion,
        (reads, from): (Vec<usize>, Layout),
        to: usize,
    ) {
        let layout = self.tensors.all[to].layout;
        let convert = match conversion {
            Conversion::Floats(grid) => floats_of(*grid),
            Conversion::Table(values) => {
                let value = |byte: usize| values.get(byte).copied().unwrap_or(0.0);
                Convert::Table(Box::new(std::array::from_fn(value)))
            }
            Conversion::Codes(grid) => Convert::Codes(*grid),
        };
        let work = OperationWork::Convert(Converted::new(convert, &from, &layout));
        let row = LayerProfile::named(&node.layer, "convert");
        let planes = vec![1; layout.planes()];
        self.on_blocks(work, reads, to, planes, &node.layer, row);
    }

    // From samples to vector blocks.
    pub(in crate::engine) fn load(&mut self, to: usize, value: Value, grid: Option<InputGrid>) {
        let layout = self.tensors.all[to].layout;
        match value {
            Value::Input => {
                let frames = (1..=self.lanes.samples()).map(|samples| layout.frame(samples));
                let frames: Vec<Places> = frames.collect();
                // A small one is loaded sooner than threads meet again.
                let interleaved = layout.planes() == 1
                    && layout.blocks() >= LARGE
                    && frames.iter().all(Places::is_in_front);
                let work = OperationWork::Load {
                    frames,
                    grid,
                    lines: interleaved.then(|| lines(&layout)),
                };
                let row = LayerProfile::named("input", "load");
                match interleaved {
                    true => self.interleaved(work, Vec::new(), to, 1, "input", row),
                    false => {
                        let costs = vec![1; layout.planes()];
                        self.on_blocks(work, Vec::new(), to, costs, "input", row);
                    }
                }
            }
            value => {
                let from = self.plain[&value];
                let work = OperationWork::Pack {
                    frame: layout.frame(self.lanes.samples()),
                    grid,
                };
                let row = LayerProfile::named("", "pack");
                self.on_blocks(work, vec![from], to, vec![1], "pack", row);
            }
        }
    }

    // The tensor that another plan made, from tiles of each sample; tells whether it is one.
    fn convert_layout(&mut self, value: Value) -> bool {
        let begin = self.begin.filter(|begin| begin.value == value);
        let to = self.tensors.own(self.model, value, self.lanes);
        let (Some(begin), Some(to)) = (begin, to) else {
            return false;
        };
        let layout = self.tensors.all[to].layout;
        let work = OperationWork::ConvertLayout {
            gathers: layout.convert_layout(&begin.layout),
            interleaved: layout.interleaved.is_some(),
            planes: [begin.layout.plane(), layout.plane()],
            fill: layout.fill_block(),
        };
        let units = match layout.interleaved {
            Some(_) => layout.lines(),
            None => layout.planes(),
        };
        let costs = vec![1; units];
        let row = LayerProfile::named("", LAYOUT_CONVERSION);
        self.on_blocks(work, Vec::new(), to, costs, LAYOUT_CONVERSION, row);
        true
    }

    // The tensor of an operand in vector blocks that meets a demand, made where it is not there.
    pub(in crate::engine) fn blocks(
        &mut self,
        value: Value,
        demand: Demand,
        layer: &str,
    ) -> Result<usize, EngineError> {
        let samples = self.lanes.samples();
        let missing = || EngineError::TooLarge {
            layer: layer.to_string(),
            samples,
        };
        let own = self
            .tensors
            .own(self.model, value, self.lanes)
            .ok_or_else(missing)?;
        if !self.made.contains_key(&own) && !self.convert_layout(value) {
            // Plain codes are whole already.
            let grid = self.model.grid(value).map(|grid| InputGrid {
                scale: 1.0,
                offset: 0.0,
                ..input_grid(grid)
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
                in_order: false,
                beside: Vec::new(),
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
        let gathers = from.iter().enumerate().map(|(operand, from)| {
            let further = operand.checked_sub(1);
            let further = further.and_then(|further| rearrange.beside.get(further));
            match (rearrange.in_order, further) {
                (true, _) => layout.gather_in_order(from),
                (false, None) => layout.gather(from, &rearrange.rows, &rearrange.columns),
                (false, Some([rows, columns])) => layout.gather(from, rows, columns),
            }
        });
        let gathers = gathers.collect();
        let first = |group: &[Option<(usize, usize)>]| {
            group[0].map(|(operand, channel)| (operand, channel / unit))
        };
        let mut planes: Vec<_> = rearrange.channels.chunks(unit).map(first).collect();
        planes.resize(layout.planes(), None);
        let costs = vec![1; planes.len()];
        // Elements from nowhere are zeros, whatever lies in the halo.
        let fill = match rearrange.makes_zeros() {
            true => Fill::Zero.block(layout.shape.kind),
            false => layout.fill_block(),
        };
        let work = OperationWork::Rearrange {
            gathers,
            planes,
            sizes: from.iter().map(Layout::plane).collect(),
            fill,
            beside: !rearrange.beside.is_empty(),
        };
        let row = LayerProfile::named(layer, "rearrange");
        self.on_blocks(work, reads, to, costs, layer, row);
    }

    // Whole numbers or floats of a tensor, in one buffer.
    fn plain(&mut self, value: Value) -> Result<usize, EngineError> {
        if let Some(&buffer) = self.plain.get(&value) {
            return Ok(buffer);
        }
        if self.held(value).is_none() {
            self.convert_layout(value);
        }
        match self.held(value) {
            Some(tensor) => {
                let buffer = self.unpack(tensor, None);
                self.plain.insert(value, buffer);
                Ok(buffer)
            }
            None => Err(EngineError::TooLarge {
                layer: "the output".to_string(),
                samples: self.lanes.samples(),
            }),
        }
    }

    fn unpack(&mut self, tensor: usize, grid: Option<Grid>) -> usize {
        let layout = self.tensors.all[tensor].layout;
        let samples = self.lanes.samples();
        let frame = layout.frame(samples);
        let blocks = (frame.sample() * samples).div_ceil(VectorBlock::LANES);
        let write = self.buffer(blocks);
        let sink = sink(layout.shape.kind);
        let operation = ScheduledOperation {
            work: OperationWork::Unpack { frame, sink, grid },
            reads: vec![self.made[&tensor]],
            write,
            edges: Edges::none(),
            costs: vec![1],
            unit: blocks,
            layer: "unpack".to_string(),
        };
        self.push(operation, LayerProfile::named("", "unpack"));
        write
    }

    pub(in crate::engine) fn plain_node(&mut self, node: &FusedNode) -> Result<(), EngineError> {
        let step = &self.model.steps()[node.output];
        let samples = self.lanes.samples();
        let too_large = || EngineError::TooLarge {
            layer: node.layer.clone(),
            samples,
        };
        let elements = |dims: &[Dim]| {
            let each = dims.iter().map(|dim| dim.at(samples));
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
                dims: dims.iter().map(|dim| dim.at(samples)).collect(),
                grid: self.model.grid(value),
                source,
            });
        }
        let blocks = elements(&step.dims)
            .ok_or_else(too_large)?
            .div_ceil(VectorBlock::LANES);
        let write = self.buffer(blocks);
        self.plain.insert(Value::Node(node.output), write);
        let operation = ScheduledOperation {
            work: OperationWork::Plain {
                step: node.output,
                operands,
                samples,
            },
            reads,
            write,
            edges: Edges::none(),
            costs: vec![1],
            unit: blocks,
            layer: node.layer.clone(),
        };
        let name = format!("{PLAIN}{}", step.op.name());
        let row = LayerProfile {
            in_float: matches!(step.op, StepOp::Float(_)),
            ..LayerProfile::named(&node.layer, &name)
        };
        self.push(operation, row);
        Ok(())
    }
}

//! What a plan runs, one after the other.

use std::ops::Range;

use super::interleaved::{Halo, InterleavedPool, InterleavedProduct, Lines};
use super::rows::Rows;
use crate::engine::EngineError;
use crate::engine::layout::places::Places;
use crate::kernel::{
    Channels, Edges, Element, Elementwise, Gather, InputGrid, Kernels, MatrixProduct, PackedRight,
    Product, Sink, VectorBlock, VectorBlocks, Windows,
};
use crate::network::{Elements, Grid, Network, Operand, execute_alone};

/// One operation: what it does, on what, and how it can be shared out.
#[derive(Debug)]
pub(in crate::engine) struct ScheduledOperation {
    pub work: OperationWork,
    /// Buffers read, and the one written.
    pub reads: Vec<usize>,
    pub write: usize,
    /// What makes written planes whole.
    pub edges: Edges,
    /// The cost of each unit of the output.
    pub costs: Vec<usize>,
    /// Vector blocks of a unit.
    pub unit: usize,
    pub layer: String,
}

#[derive(Debug)]
pub(in crate::engine) enum OperationWork {
    /// The model's input; a frame for each number of samples.
    Load {
        frames: Vec<Places>,
        grid: Option<InputGrid>,
        /// Of the one plane, where units are lines, not planes.
        lines: Option<Lines>,
    },
    /// Tensors that another plan has made, one after the other. Units are planes, or lines of all planes.
    ConvertLayout {
        /// How a plane is made, or each of its lines.
        gathers: Vec<Gather>,
        interleaved: bool,
        /// Vector blocks from a plane of them to the next, and of the result.
        planes: [usize; 2],
        fill: VectorBlock,
    },
    Halo(Halo),
    Product(Product),
    InterleavedProduct(InterleavedProduct),
    Pool(Windows),
    InterleavedPool(InterleavedPool),
    /// Row by row.
    Elementwise {
        step: Elementwise,
        rows: Rows,
        /// The second operand, where it is no tensor but a constant.
        constant: Option<VectorBlocks>,
    },
    /// Units are planes.
    Channels(Channels),
    /// The right operand of a product of two activations. Units are blocks of filters.
    PackRight(PackedRight),
    /// Units are blocks of filters.
    Matrix(MatrixProduct),
    Rearrange {
        /// By operand.
        gathers: Vec<Gather>,
        /// Operand and plane of each plane.
        planes: Vec<Option<(usize, usize)>>,
        /// Vector blocks from a plane of each operand to the next.
        sizes: Vec<usize>,
        fill: VectorBlock,
        /// Whether all operands are parts of each plane.
        beside: bool,
    },
    /// What is the same in each pass.
    Constant(VectorBlocks),
    /// Vector blocks to whole numbers or floats, `[N, C, H, W]`.
    Unpack {
        frame: Places,
        sink: Sink,
        /// Codes become floats by this grid.
        grid: Option<Grid>,
    },
    /// The way back.
    Pack {
        frame: Places,
        grid: Option<InputGrid>,
    },
    /// A step as the reference has it.
    Plain {
        step: usize,
        operands: Vec<PlainOperand>,
        samples: usize,
    },
}

#[derive(Debug, Clone)]
pub(in crate::engine) struct PlainOperand {
    pub dims: Vec<usize>,
    pub grid: Option<Grid>,
    pub source: PlainSource,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum PlainSource {
    /// One of the buffers read, and its elements.
    Read(usize, usize),
    Constant(usize),
    Input,
}

/// What a run gives to all operations.
pub(in crate::engine) struct Context<'a> {
    pub model: &'a Network,
    pub kernels: Kernels,
    /// The samples of this pass.
    pub input: &'a [f32],
    pub samples: usize,
    /// What another plan has made of each sample.
    pub made: &'a [VectorBlock],
}

impl ScheduledOperation {
    /// Units of the output.
    pub fn units(&self) -> usize {
        self.costs.len()
    }

    // The first unit after this one that another thread may begin with.
    fn next(&self, unit: usize) -> usize {
        match &self.work {
            OperationWork::Product(product) => unit + product.entries().together(),
            OperationWork::InterleavedProduct(interleaved) => interleaved.next(unit),
            OperationWork::Channels(channels) => {
                let each = if channels.sink.is_some() { 4 } else { 1 };
                match channels.group.is_multiple_of(each) {
                    true => (unit / (channels.group / each) + 1) * (channels.group / each),
                    // Planes of several groups.
                    false => self.units(),
                }
            }
            _ => unit + 1,
        }
    }

    /// The part of the first buffer that some units read, where they do not need all of it.
    pub fn part(&self, units: &Range<usize>) -> Option<Range<usize>> {
        match &self.work {
            OperationWork::InterleavedProduct(interleaved) => Some(interleaved.reads(units)),
            _ => None,
        }
    }

    /// Units of the buffer written that are read and stay, where several threads lie around them.
    pub fn between(&self, threads: usize) -> Option<Range<usize>> {
        match &self.work {
            OperationWork::Halo(halo) if threads > 1 => Some(halo.between.clone()),
            _ => None,
        }
    }

    /// The units of each of so many threads, of about the same cost. Those above units that stay are the
    /// first thread's, as the first lines of what follows are, and those below the last one's.
    pub fn shares(&self, threads: usize) -> Vec<Range<usize>> {
        let Some(between) = self.between(threads) else {
            return self.share(0..self.units(), threads);
        };
        let mut shares = vec![between.start..between.start; threads];
        shares[0] = 0..between.start;
        shares[threads - 1] = between.end..self.units();
        shares
    }

    fn share(&self, units: Range<usize>, threads: usize) -> Vec<Range<usize>> {
        let total: usize = self.costs[units.clone()].iter().sum();
        let mut shares = Vec::with_capacity(threads);
        let (mut start, mut spent) = (units.start, 0);
        for thread in 1..=threads {
            let goal = total * thread / threads;
            let mut end = start;
            while end < units.end {
                let next = self.next(end).min(units.end);
                let cost: usize = self.costs[end..next].iter().sum();
                if thread < threads && spent + cost / 2 >= goal {
                    break;
                }
                spent += cost;
                end = next;
            }
            shares.push(start..end);
            start = end;
        }
        shares
    }

    /// Makes some units of the output. Tells whether the input was finite, where it was read.
    pub fn run(
        &self,
        context: &Context<'_>,
        units: Range<usize>,
        reads: &[&[VectorBlock]],
        write: &mut [VectorBlock],
    ) -> Result<bool, EngineError> {
        if units.is_empty() {
            return Ok(true);
        }
        let mut finite = true;
        self.work(context, units, reads, write, &mut finite)?;
        self.edges.run(context.kernels, write)?;
        Ok(finite)
    }

    fn work(
        &self,
        context: &Context<'_>,
        units: Range<usize>,
        reads: &[&[VectorBlock]],
        write: &mut [VectorBlock],
        finite: &mut bool,
    ) -> Result<(), EngineError> {
        let kernels = context.kernels;
        match &self.work {
            OperationWork::Load {
                frames,
                grid,
                lines,
            } => {
                let frame = &frames[context.samples.clamp(1, frames.len()) - 1];
                let (first, input) = (units.start, context.input);
                match lines {
                    Some(lines) => {
                        *finite = frame.write_lines(kernels, input, *grid, units, write)?;
                        lines.end(kernels, first, write, self.unit)?;
                    }
                    None => *finite = frame.write(kernels, input, *grid, units, write)?,
                }
            }
            OperationWork::ConvertLayout {
                gathers,
                interleaved,
                planes: [from, to],
                fill,
            } => {
                for (unit, write) in units.zip(write.chunks_exact_mut(self.unit)) {
                    let (line, first) = if *interleaved { (unit, 0) } else { (0, unit) };
                    for (plane, write) in (first..).zip(write.chunks_exact_mut(*to)) {
                        let from = context.made.get(plane * from..).unwrap_or(&[]);
                        gathers[line].run(kernels, from, write, fill)?;
                    }
                }
            }
            OperationWork::Halo(halo) => {
                let read = reads.first().copied();
                halo.run(kernels, units, read, (write, self.unit))?;
            }
            OperationWork::Product(product) => {
                let residual = reads.get(1).copied().unwrap_or(&[]);
                product.run(kernels, units, reads[0], residual, write)?;
            }
            OperationWork::InterleavedProduct(interleaved) => {
                interleaved.run(kernels, units, reads, (write, self.unit))?;
            }
            OperationWork::Pool(windows) => {
                // Their planes may lie row-interleaved.
                let first = units.start * windows.planes.0;
                let part = (units.len(), 0..windows.positions.len());
                windows.run_part(kernels, part, &reads[0][first..], (write, 0))?;
            }
            OperationWork::InterleavedPool(interleaved) => {
                interleaved.run(kernels, units, reads[0], (write, self.unit))?;
            }
            OperationWork::Elementwise {
                step,
                rows,
                constant: None,
            } => rows.run(kernels, step, units, reads, write)?,
            OperationWork::Elementwise {
                step,
                rows,
                constant: Some(constant),
            } => rows.run(kernels, step, units, &[reads[0], constant], write)?,
            OperationWork::Channels(channels) => {
                let each = if channels.sink.is_some() { 4 } else { 1 };
                let group = |unit: usize| (unit * each).div_ceil(channels.group.max(1));
                // Planes beyond the last channel are nobody's.
                let groups =
                    group(units.start).min(channels.groups)..group(units.end).min(channels.groups);
                channels.run(kernels, groups, reads[0], write)?;
            }
            OperationWork::PackRight(right) => right.pack(units, reads[0], write)?,
            OperationWork::Matrix(product) => {
                product.run(kernels, units, reads[0], reads[1], write)?;
            }
            OperationWork::Rearrange {
                gathers,
                planes,
                sizes,
                fill,
                beside,
            } => {
                for (plane, write) in units.zip(write.chunks_exact_mut(self.unit)) {
                    match planes[plane] {
                        None => write.fill(*fill),
                        Some((operand, plane)) => {
                            let from = &reads[operand][plane * sizes[operand]..];
                            gathers[operand].run(kernels, from, write, fill)?;
                            let further = gathers.iter().zip(reads).zip(sizes).skip(1);
                            for ((gather, read), size) in further.filter(|_| *beside) {
                                let from = &read[plane * size..];
                                gather.run_over(kernels, from, write)?;
                            }
                        }
                    }
                }
            }
            OperationWork::Constant(blocks) => {
                let unit = self.unit;
                write.copy_from_slice(&blocks[units.start * unit..units.end * unit]);
            }
            OperationWork::Unpack { frame, sink, grid } => match (sink, grid) {
                (Sink::Codes { .. }, None) => {
                    let to = VectorBlock::integers_mut(write);
                    frame.read(reads[0], *sink, |place, element| {
                        if let Element::Code(code) = element {
                            to[place] = code;
                        }
                    })?;
                }
                (_, grid) => {
                    let to = VectorBlock::floats_mut(write);
                    frame.read(reads[0], *sink, |place, element| {
                        to[place] = match element {
                            Element::Code(code) => match grid {
                                Some(grid) => grid.dequantize(code),
                                None => code as f32,
                            },
                            Element::Float(value) => value,
                        };
                    })?;
                }
            },
            OperationWork::Pack { frame, grid } => {
                let planes = 0..write.len() / frame.plane().max(1);
                match grid {
                    None => {
                        frame.write(kernels, VectorBlock::floats(reads[0]), None, planes, write)?;
                    }
                    Some(grid) => {
                        let codes = VectorBlock::integers(reads[0])
                            .iter()
                            .map(|&code| code as f32);
                        let codes: Vec<f32> = codes.collect();
                        frame.write(kernels, &codes, Some(*grid), planes, write)?;
                    }
                }
            }
            OperationWork::Plain {
                step,
                operands,
                samples,
            } => {
                let step = &context.model.steps()[*step];
                let views = operands.iter().map(|operand| operand.view(context, reads));
                let views: Vec<Operand<'_>> = views.collect();
                let dims: Vec<usize> = step.dims.iter().map(|dim| dim.at(*samples)).collect();
                match execute_alone(step, &views, &dims)? {
                    Elements::Codes(codes) => {
                        VectorBlock::integers_mut(write)[..codes.len()].copy_from_slice(&codes);
                    }
                    Elements::Values(values) => {
                        VectorBlock::floats_mut(write)[..values.len()].copy_from_slice(&values);
                    }
                }
            }
        }
        Ok(())
    }
}

impl PlainOperand {
    fn view<'a>(&self, context: &Context<'a>, reads: &[&'a [VectorBlock]]) -> Operand<'a> {
        let dims = self.dims.clone();
        match self.source {
            PlainSource::Read(index, elements) => match self.grid {
                Some(grid) => {
                    Operand::of_codes(dims, grid, &VectorBlock::integers(reads[index])[..elements])
                }
                None => Operand::of_values(dims, &VectorBlock::floats(reads[index])[..elements]),
            },
            PlainSource::Constant(index) => {
                Operand::of_values(dims, &context.model.constants()[index].values)
            }
            PlainSource::Input => Operand::of_values(dims, context.input),
        }
    }
}

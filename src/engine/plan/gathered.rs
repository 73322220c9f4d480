//! Operations whose elements come from other places, planes or kinds, and how they are made of layouts.

use std::collections::HashMap;
use std::ops::Range;

use crate::engine::EngineError;
use crate::engine::layout::Layout;
use crate::engine::lower::node::{Assemble, Resample};
use crate::kernel::{
    Assembly, Convert, InputGrid, Kernels, LaneSources, Planes, Resample as Resampling, VectorBlock,
};

/// Planes made of places of several others.
#[derive(Debug)]
pub(in crate::engine) struct Assembled {
    assemblies: Vec<Assembly>,
    planes: Vec<AssembledPlane>,
    fill: VectorBlock,
}

/// Where a source lies: the operand, and its first vector block.
type Source = (usize, usize);

#[derive(Debug)]
enum AssembledPlane {
    Fill,
    Whole(usize, Vec<Source>),
    /// For each byte the assembly, its sources, and the byte of each.
    Bytes(Vec<(usize, Vec<Source>, Vec<u8>)>),
}

/// A channel: its pattern, and operands and channels.
type Channel = (usize, Vec<(usize, usize)>);

impl Assembled {
    pub fn new(assemble: &Assemble, from: &[Layout], to: &Layout) -> Self {
        let unit = to.shape.kind.unit();
        let mut making = Making {
            assemble,
            from,
            to,
            assemblies: Vec::new(),
            known: HashMap::new(),
        };
        let channels = assemble.channels.chunks(unit);
        let mut planes: Vec<AssembledPlane> = channels
            .map(|channels| making.plane(channels, unit))
            .collect();
        planes.resize_with(to.planes(), || AssembledPlane::Fill);
        let fill = match to.shape.kind.unit() {
            1 => VectorBlock::of_floats(assemble.fill),
            _ => crate::engine::layout::Fill::Zero.block(to.shape.kind),
        };
        Self {
            assemblies: making.assemblies,
            planes,
            fill,
        }
    }

    pub fn run(
        &self,
        kernels: Kernels,
        units: Range<usize>,
        reads: &[&[VectorBlock]],
        (write, blocks): (&mut [VectorBlock], usize),
    ) -> Result<(), EngineError> {
        for (plane, write) in self.planes[units]
            .iter()
            .zip(write.chunks_exact_mut(blocks))
        {
            match plane {
                AssembledPlane::Fill => write.fill(self.fill),
                AssembledPlane::Whole(assembly, starts) => {
                    let assembly = &self.assemblies[*assembly];
                    assembly.run(kernels, reads, starts, write, &self.fill)?;
                }
                AssembledPlane::Bytes(bytes) => {
                    write.fill(self.fill);
                    for (byte, (assembly, starts, of)) in bytes.iter().enumerate() {
                        let assembly = &self.assemblies[*assembly];
                        assembly.run_byte(kernels, reads, (starts, of), write, byte)?;
                    }
                }
            }
        }
        Ok(())
    }
}

struct Making<'a> {
    assemble: &'a Assemble,
    from: &'a [Layout],
    to: &'a Layout,
    assemblies: Vec<Assembly>,
    /// By pattern and operands.
    known: HashMap<(usize, Vec<usize>), usize>,
}

impl Making<'_> {
    fn plane(&mut self, channels: &[Channel], unit: usize) -> AssembledPlane {
        if channels.iter().all(|(_, sources)| sources.is_empty()) {
            return AssembledPlane::Fill;
        }
        let (pattern, first) = &channels[0];
        // Whether all channels of the plane come from planes in the same way.
        let whole = channels.iter().enumerate().all(|(place, (of, sources))| {
            let follows =
                |(&(operand, start), &(other, channel)): (&(usize, usize), &(usize, usize))| {
                    operand == other && start % unit == 0 && channel == start + place
                };
            of == pattern && first.len() == sources.len() && first.iter().zip(sources).all(follows)
        });
        let start = |&(operand, channel): &(usize, usize)| {
            (operand, channel / unit * self.from[operand].plane())
        };
        if whole {
            let starts = first.iter().map(start).collect();
            return AssembledPlane::Whole(self.assembly(*pattern, first), starts);
        }
        let bytes = channels.iter().map(|(pattern, sources)| {
            let starts = sources.iter().map(start).collect();
            let bytes = sources.iter().map(|(_, channel)| (channel % unit) as u8);
            (*pattern, sources, starts, bytes.collect())
        });
        let bytes: Vec<_> = bytes.collect();
        let bytes = bytes.into_iter().map(|(pattern, sources, starts, bytes)| {
            (self.assembly(pattern, sources), starts, bytes)
        });
        AssembledPlane::Bytes(bytes.collect())
    }

    fn assembly(&mut self, pattern: usize, sources: &[(usize, usize)]) -> usize {
        let operands: Vec<usize> = sources.iter().map(|(operand, _)| *operand).collect();
        if let Some(&known) = self.known.get(&(pattern, operands.clone())) {
            return known;
        }
        let mut assembly = Assembly::default();
        let places = &self.assemble.patterns[pattern];
        let Self { from, to, .. } = self;
        for [row, column] in inner(to) {
            let lanes: LaneSources = std::array::from_fn(|lane| {
                let [row, column] = to.place(lane, row, column)?;
                let (source, place) = places[row * to.shape.columns + column]?;
                let from = &from[operands[source as usize]];
                let columns = from.shape.columns;
                let place = [place as usize / columns, place as usize % columns];
                let block = usize::try_from(from.source(lane, Some(place), 0)).ok()?;
                Some((source as usize, block))
            });
            assembly.push(to.block(row, column) as u32, &lanes);
        }
        self.assemblies.push(assembly);
        let index = self.assemblies.len() - 1;
        self.known.insert((pattern, operands), index);
        index
    }
}

// Rows and columns of a tile.
fn inner(to: &Layout) -> impl Iterator<Item = [isize; 2]> + use<> {
    let [rows, columns] = to.tile.map(|length| length as isize);
    (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
}

/// Weighted sums of places of a plane, from one layout to another.
pub(in crate::engine) fn resampling(resample: &Resample, from: &Layout, to: &Layout) -> Resampling {
    let longest = |axis: &[Vec<(usize, f32)>]| axis.iter().map(Vec::len).max().unwrap_or(0);
    let (down, beside) = (longest(&resample.rows), longest(&resample.columns));
    let mut made = Resampling::default();
    for [row, column] in inner(to) {
        let places: [Option<[usize; 2]>; 16] =
            std::array::from_fn(|lane| to.place(lane, row, column));
        let taps = (0..down).flat_map(|y| (0..beside).map(move |x| [y, x]));
        let taps = taps.map(|[y, x]| {
            let tap = |lane: usize| {
                let [row, column] = places[lane]?;
                Some((
                    *resample.rows[row].get(y)?,
                    *resample.columns[column].get(x)?,
                ))
            };
            let lanes: LaneSources = std::array::from_fn(|lane| {
                let ((row, _), (column, _)) = tap(lane)?;
                let block = usize::try_from(from.source(lane, Some([row, column]), 0)).ok()?;
                Some((0, block))
            });
            let row = std::array::from_fn(|lane| tap(lane).map_or(0.0, |((_, factor), _)| factor));
            let column =
                std::array::from_fn(|lane| tap(lane).map_or(0.0, |(_, (_, factor))| factor));
            (lanes, column, row)
        });
        let taps: Vec<_> = taps.collect();
        made.push(to.block(row, column) as u32, &taps);
    }
    made
}

/// Codes to floats or back, plane by plane.
#[derive(Debug)]
pub(in crate::engine) struct Converted {
    convert: Convert,
    /// Rows and columns of a tile.
    tile: [usize; 2],
    from: Planes,
    to: Planes,
}

/// Codes of a grid to what they stand for.
pub(in crate::engine) fn floats_of(grid: InputGrid) -> Convert {
    Convert::Floats {
        scale: grid.scale,
        offset: grid.offset,
        low: grid.low,
    }
}

impl Converted {
    pub fn new(convert: Convert, from: &Layout, to: &Layout) -> Self {
        Self {
            convert,
            tile: to.tile,
            from: from.inner(),
            to: to.inner(),
        }
    }

    /// Units are the result's planes.
    pub fn run(
        &self,
        kernels: Kernels,
        units: Range<usize>,
        read: &[VectorBlock],
        write: &mut [VectorBlock],
    ) -> Result<(), EngineError> {
        let Self { convert, tile, .. } = self;
        let row = |of: &Planes, plane: usize, row: usize| {
            let start = plane * of.plane + of.first + row * of.pitch;
            start..start + tile[1]
        };
        for (place, plane) in units.enumerate() {
            // Floats of four planes make one of codes.
            let (bytes, apart) = match convert.makes_floats() {
                true => (plane % 4..plane % 4 + 1, plane / 4),
                false => (0..4, 4 * plane),
            };
            for line in 0..tile[0] {
                for byte in bytes.clone() {
                    let source = match convert.makes_floats() {
                        true => apart,
                        false => apart + byte,
                    };
                    let to = &mut write[row(&self.to, place, line)];
                    convert.run(kernels, byte, &read[row(&self.from, source, line)], to)?;
                }
            }
        }
        Ok(())
    }
}

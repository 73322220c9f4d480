//! Planes made of several others: elements whose plane depends on where they go.

use std::collections::HashMap;

use super::lanes::Lanes;
use super::places::LaneMap;
use super::{KernelError, Kernels, VectorBlock, Work};

const LANES: usize = VectorBlock::LANES;

// Vector blocks that one is made of by permuting each: of more, lane by lane.
const PERMUTED: usize = 3;

/// Where each lane of a vector block comes from: a source, and there `block * 16 + lane`; none: the fill.
pub type LaneSources = [Option<(usize, usize)>; VectorBlock::LANES];

/// One plane made of several, the sources: for each of its vector blocks, the sources and lanes that it is made
/// of. Each source may be another plane for each plane that is made.
///
/// ```
/// use burn_compress_kernel::{Assembly, Kernels, VectorBlock};
/// // Two vector blocks: of the first source, and of the second.
/// let mut assembly = Assembly::default();
/// for block in 0..2 {
///     assembly.push(block as u32, &std::array::from_fn(|lane| Some((block, lane))));
/// }
/// let read = [1.0, 2.0, 3.0].map(VectorBlock::of_floats);
/// let mut to = [VectorBlock::default(); 2];
/// // The sources start at the third and at the first vector block of what is read.
/// assembly.run(Kernels::detect(), &[&read], &[(0, 2), (0, 0)], &mut to, &VectorBlock::default())?;
/// assert_eq!(to, [3.0, 1.0].map(VectorBlock::of_floats));
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assembly {
    parts: Vec<Part>,
    maps: Maps,
    // Of vector blocks of many: by lane the source and its element, or none.
    scattered: Vec<[Option<(u32, u32)>; LANES]>,
    // Vector blocks that must be there of each source, and to write.
    reads: Vec<usize>,
    writes: usize,
}

// A vector block, or those of its lanes that one of a source gives.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    to: u32,
    from: u32,
    source: u32,
    lanes: PartLanes,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum PartLanes {
    /// The fill in all.
    Fill,
    /// All as they are.
    Whole,
    /// Those of a map, the fill in the others.
    First(u32),
    /// Those of a map, the others as they are.
    Further(u32),
    /// Each from somewhere else.
    Scattered(u32),
}

/// Maps of lanes, each there once.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Maps {
    pub all: Vec<LaneMap>,
    known: HashMap<LaneMap, u32>,
}

impl Maps {
    pub fn index(&mut self, map: LaneMap) -> u32 {
        let next = self.all.len() as u32;
        let index = *self.known.entry(map).or_insert(next);
        if index == next {
            self.all.push(map);
        }
        index
    }
}

/// The vector blocks that lanes come from, each with its map, in the order of lanes.
pub(super) fn by_block(sources: &LaneSources) -> Vec<((usize, usize), LaneMap)> {
    let mut parts: Vec<((usize, usize), LaneMap)> = Vec::new();
    for (lane, source) in sources.iter().enumerate() {
        let Some((source, place)) = *source else {
            continue;
        };
        let of = (source, place / LANES);
        let index = match parts.iter().position(|(known, _)| *known == of) {
            Some(index) => index,
            None => {
                parts.push((of, [-1; LANES]));
                parts.len() - 1
            }
        };
        parts[index].1[lane] = (place % LANES) as i32;
    }
    parts
}

impl Assembly {
    /// One more vector block to write, and where its lanes come from.
    pub fn push(&mut self, to: u32, sources: &LaneSources) {
        self.writes = self.writes.max((to as usize).saturating_add(1));
        let parts = by_block(sources);
        if parts.is_empty() {
            self.parts.push(Part {
                to,
                from: 0,
                source: 0,
                lanes: PartLanes::Fill,
            });
        }
        for ((source, from), _) in &parts {
            if self.reads.len() <= *source {
                self.reads.resize(source + 1, 0);
            }
            self.reads[*source] = self.reads[*source].max(from + 1);
        }
        if parts.len() > PERMUTED {
            self.parts.push(Part {
                to,
                from: 0,
                source: 0,
                lanes: PartLanes::Scattered(self.scattered.len() as u32),
            });
            let place = |(source, element): (usize, usize)| (source as u32, element as u32);
            self.scattered.push(sources.map(|lane| lane.map(place)));
            return;
        }
        for (index, ((source, from), map)) in parts.into_iter().enumerate() {
            let whole = (map.iter().enumerate()).all(|(lane, &from)| from == lane as i32);
            let lanes = match (whole, index) {
                (true, _) => PartLanes::Whole,
                (false, 0) => PartLanes::First(self.maps.index(map)),
                (false, _) => PartLanes::Further(self.maps.index(map)),
            };
            self.parts.push(Part {
                to,
                from: from as u32,
                source: source as u32,
                lanes,
            });
        }
    }

    // Whether all that is read and written is there.
    fn fits(
        &self,
        reads: &[&[VectorBlock]],
        starts: &[(usize, usize)],
        to: &[VectorBlock],
    ) -> bool {
        let holds = |(&needed, &(read, start)): (&usize, &(usize, usize))| {
            let blocks = reads.get(read).map_or(0, |blocks| blocks.len());
            start
                .checked_add(needed)
                .is_some_and(|needed| needed <= blocks)
        };
        starts.len() >= self.reads.len()
            && self.reads.iter().zip(starts).all(holds)
            && to.len() >= self.writes
    }

    /// Makes one plane. `starts`: for each source, which of what is read has it, and its first vector block
    /// there.
    ///
    /// Fails with [`KernelError::Memory`] where a vector block lies outside.
    pub fn run(
        &self,
        kernels: Kernels,
        reads: &[&[VectorBlock]],
        starts: &[(usize, usize)],
        to: &mut [VectorBlock],
        fill: &VectorBlock,
    ) -> Result<(), KernelError> {
        if !self.fits(reads, starts, to) {
            return Err(KernelError::Memory);
        }
        kernels.dispatch(Run {
            assembly: self,
            reads,
            starts,
            to,
            fill,
        });
        Ok(())
    }

    /// Makes one of the four channels of a plane of codes, the byte `byte` of each lane; the others stay, and so
    /// does what is of the fill. `bytes`: for each source the byte that is its channel.
    ///
    /// Fails with [`KernelError::Memory`] where a vector block lies outside or there is no such byte.
    pub fn run_byte(
        &self,
        kernels: Kernels,
        reads: &[&[VectorBlock]],
        (starts, bytes): (&[(usize, usize)], &[u8]),
        to: &mut [VectorBlock],
        byte: usize,
    ) -> Result<(), KernelError> {
        let there = bytes.len() >= self.reads.len() && bytes.iter().all(|&byte| byte < 4);
        if !self.fits(reads, starts, to) || !there || byte > 3 {
            return Err(KernelError::Memory);
        }
        kernels.dispatch(RunByte {
            assembly: self,
            reads,
            starts,
            bytes,
            to,
            byte,
        });
        Ok(())
    }
}

struct Run<'a> {
    assembly: &'a Assembly,
    reads: &'a [&'a [VectorBlock]],
    starts: &'a [(usize, usize)],
    to: &'a mut [VectorBlock],
    fill: &'a VectorBlock,
}

impl Work for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let Self {
            assembly,
            reads,
            starts,
            to,
            fill,
        } = self;
        for part in &assembly.parts {
            let to = &mut to[part.to as usize];
            if part.lanes == PartLanes::Fill {
                *to = *fill;
                continue;
            }
            if let PartLanes::Scattered(index) = part.lanes {
                *to = *fill;
                let to = VectorBlock::integers_mut(std::slice::from_mut(to));
                let lanes = &assembly.scattered[index as usize];
                for (to, lane) in to.iter_mut().zip(lanes) {
                    if let Some(place) = *lane {
                        *to = scattered(reads, starts, place);
                    }
                }
                continue;
            }
            let (read, start) = starts[part.source as usize];
            let from = &reads[read][start + part.from as usize];
            let (map, others) = match part.lanes {
                PartLanes::First(map) => (map, *fill),
                PartLanes::Further(map) => (map, *to),
                _ => {
                    *to = *from;
                    continue;
                }
            };
            // SAFETY: all three are whole aligned vector blocks.
            unsafe {
                let others = S::load_integers(std::ptr::from_ref(&others).cast());
                let from = S::load_integers(std::ptr::from_ref(from).cast());
                let made = S::permute(from, &assembly.maps.all[map as usize], others);
                S::store_integers(std::ptr::from_mut(to).cast(), made);
            }
        }
    }
}

// The four bytes of an element of a source.
#[inline(always)]
fn scattered(
    reads: &[&[VectorBlock]],
    starts: &[(usize, usize)],
    (source, element): (u32, u32),
) -> i32 {
    let (read, start) = starts[source as usize];
    VectorBlock::integers(reads[read])[start * LANES + element as usize]
}

struct RunByte<'a> {
    assembly: &'a Assembly,
    reads: &'a [&'a [VectorBlock]],
    starts: &'a [(usize, usize)],
    bytes: &'a [u8],
    to: &'a mut [VectorBlock],
    byte: usize,
}

impl Work for RunByte<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let Self {
            assembly,
            reads,
            starts,
            bytes,
            to,
            byte,
        } = self;
        let shift = 8 * byte as u32;
        for part in &assembly.parts {
            if part.lanes == PartLanes::Fill {
                continue;
            }
            if let PartLanes::Scattered(index) = part.lanes {
                let to = VectorBlock::integers_mut(&mut to[part.to as usize..][..1]);
                let lanes = &assembly.scattered[index as usize];
                for (to, lane) in to.iter_mut().zip(lanes) {
                    if let Some(place) = *lane {
                        let from = scattered(reads, starts, place);
                        let of = 8 * u32::from(bytes[place.0 as usize]);
                        *to = (*to & !(0xff << shift)) | ((from >> of) & 0xff) << shift;
                    }
                }
                continue;
            }
            let (read, start) = starts[part.source as usize];
            let from = &reads[read][start + part.from as usize];
            let of = 8 * u32::from(bytes[part.source as usize]);
            let (mut moved, mut lanes) = ([*from], [i32::MAX; LANES]);
            if let PartLanes::First(map) | PartLanes::Further(map) = part.lanes {
                lanes = assembly.maps.all[map as usize];
                // SAFETY: both are whole aligned vector blocks.
                unsafe {
                    let from = S::load_integers(std::ptr::from_ref(from).cast());
                    let made = S::permute(from, &lanes, S::splat_integer(0));
                    S::store_integers(std::ptr::from_mut(&mut moved[0]).cast(), made);
                }
            }
            let to = VectorBlock::integers_mut(&mut to[part.to as usize..][..1]);
            let moved = VectorBlock::integers(&moved);
            for ((to, &from), &lane) in to.iter_mut().zip(moved).zip(&lanes) {
                // All bits where the lane is one of the map's.
                let here = !(lane >> 31) & (0xff << shift);
                let one = ((from >> of) & 0xff) << shift;
                *to = (*to & !here) | (one & here);
            }
        }
    }
}

//! Vector blocks that only change places: halos, strides, tiles.

use super::lanes::Lanes;
use super::{KernelError, Kernels, VectorBlock, Work};

/// For each lane, the lane it takes from; a negative number: the fill.
pub type LaneMap = [i32; VectorBlock::LANES];

/// One vector block made of another one of the same plane.
///
/// ```
/// use burn_compress_kernel::Move;
/// let first = Move { to: 0, from: 3, map: 0 };
/// # let _ = first;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The vector block that is written.
    pub to: u32,
    /// The vector block that is read.
    pub from: u32,
    /// Which of the maps its lanes follow.
    pub map: u32,
}

/// What makes a plane whole after its inner vector blocks were written: the halo, from neighbouring tiles or of
/// the fill, and lanes beyond the sample.
///
/// ```
/// use burn_compress_kernel::{VectorBlock, Edges, Kernels, Move};
/// // Each lane's first vector block is the second of the lane before it.
/// let map = std::array::from_fn(|lane| lane as i32 - 1);
/// let edges = Edges {
///     plane: 2,
///     moves: vec![Move { to: 0, from: 1, map: 0 }],
///     maps: vec![map],
///     fills: vec![],
///     fill: VectorBlock::of_floats(9.0),
/// };
/// let mut blocks = [VectorBlock::default(); 2];
/// VectorBlock::floats_mut(&mut blocks)[16..].copy_from_slice(&std::array::from_fn::<f32, 16, _>(|x| x as f32));
/// edges.run(Kernels::detect(), &mut blocks)?;
/// assert_eq!(VectorBlock::floats(&blocks)[..3], [9.0, 0.0, 1.0]);
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Edges {
    /// Vector blocks of a plane.
    pub plane: usize,
    /// In this order.
    pub moves: Vec<Move>,
    /// How lanes change.
    pub maps: Vec<LaneMap>,
    /// Ranges of vector blocks that are the fill alone.
    pub fills: Vec<std::ops::Range<u32>>,
    /// The fill.
    pub fill: VectorBlock,
}

impl Edges {
    /// Nothing to do.
    pub fn none() -> Self {
        Self {
            plane: 0,
            moves: Vec::new(),
            maps: Vec::new(),
            fills: Vec::new(),
            fill: VectorBlock::default(),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.fills.is_empty()
    }

    /// All planes of the vector blocks. Fails with [`KernelError::Memory`] where a move, a map or a fill lies
    /// outside.
    pub fn run(&self, kernels: Kernels, blocks: &mut [VectorBlock]) -> Result<(), KernelError> {
        let inside = |block: u32| (block as usize) < self.plane;
        let moves = self
            .moves
            .iter()
            .all(|to| inside(to.to) && inside(to.from) && (to.map as usize) < self.maps.len());
        // Instruction sets differ in what a map names beyond the lanes.
        let lanes = self
            .maps
            .iter()
            .flatten()
            .all(|&lane| lane < VectorBlock::LANES as i32);
        let fills = self
            .fills
            .iter()
            .all(|range| range.start <= range.end && range.end as usize <= self.plane);
        if !moves || !lanes || !fills {
            return Err(KernelError::Memory);
        }
        if !self.is_empty() {
            kernels.dispatch(RunEdges {
                edges: self,
                blocks,
            });
        }
        Ok(())
    }
}

struct RunEdges<'a> {
    edges: &'a Edges,
    blocks: &'a mut [VectorBlock],
}

impl Work for RunEdges<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let edges = self.edges;
        for plane in self.blocks.chunks_exact_mut(edges.plane.max(1)) {
            for fill in &edges.fills {
                plane[fill.start as usize..fill.end as usize].fill(edges.fill);
            }
            // SAFETY: a vector block is aligned; its integers are its sixteen lanes.
            unsafe {
                let fill = S::load_integers(std::ptr::from_ref(&edges.fill).cast());
                for to in &edges.moves {
                    let from = std::ptr::from_ref(&plane[to.from as usize]);
                    let map = &edges.maps[to.map as usize];
                    let block = S::permute(S::load_integers(from.cast()), map, fill);
                    let to = std::ptr::from_mut(&mut plane[to.to as usize]);
                    S::store_integers(to.cast(), block);
                }
            }
        }
    }
}

/// One plane made of another: for each written vector block, by lane, the vector block and lane it takes from
/// (`block * 16 + lane`; negative: the fill).
///
/// ```
/// use burn_compress_kernel::{VectorBlock, Gather, Kernels};
/// let mut gather = Gather::default();
/// gather.push(1, std::array::from_fn(|lane| 15 - lane as i32));
/// let mut from = [VectorBlock::default()];
/// VectorBlock::floats_mut(&mut from)[15] = 7.0;
/// let mut to = [VectorBlock::default(); 2];
/// gather.run(Kernels::detect(), &from, &mut to, &VectorBlock::default())?;
/// assert_eq!(VectorBlock::floats(&to)[16], 7.0);
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gather {
    // Whole vector blocks, (to, from); those whose lanes come from one vector block or are the fill; those of
    // the fill alone; and what is written over such, whose lanes come from several: each with its map.
    copies: Vec<(u32, u32)>,
    moves: Vec<Move>,
    fills: Vec<u32>,
    mixed: Vec<Move>,
    maps: Vec<LaneMap>,
    // Vector blocks whose lanes come from so many that each lane alone is less work.
    scattered: Vec<(u32, LaneMap)>,
    // Vector blocks that must be there to read and to write.
    needs: (usize, usize),
}

impl Gather {
    /// One more vector block to write, and where its lanes come from.
    pub fn push(&mut self, to: u32, map: LaneMap) {
        const LANES: i32 = VectorBlock::LANES as i32;
        // Parts of a vector block that take as long as its lanes one by one.
        const FEW: usize = 4;
        let furthest = map.iter().filter_map(|&place| usize::try_from(place).ok());
        let read = furthest
            .max()
            .map_or(0, |place| place / VectorBlock::LANES + 1);
        self.needs.0 = self.needs.0.max(read);
        self.needs.1 = self.needs.1.max((to as usize).saturating_add(1));
        let first = map[0];
        let whole = first >= 0
            && first % LANES == 0
            && (map.iter().enumerate()).all(|(lane, &place)| place == first + lane as i32);
        if whole {
            self.copies.push((to, (first / LANES) as u32));
            return;
        }
        let mut sources: Vec<i32> = map.iter().filter(|&&place| place >= 0).copied().collect();
        sources.iter_mut().for_each(|place| *place /= LANES);
        sources.sort_unstable();
        sources.dedup();
        if sources.len() > FEW {
            self.scattered.push((to, map));
            return;
        }
        let alone = sources.len() == 1;
        if !alone {
            self.fills.push(to);
        }
        for from in sources {
            let part = map.map(|place| match place >= 0 && place / LANES == from {
                true => place % LANES,
                false => -1,
            });
            let known = self.maps.iter().position(|known| *known == part);
            let map = known.unwrap_or_else(|| {
                self.maps.push(part);
                self.maps.len() - 1
            });
            let parts = match alone {
                true => &mut self.moves,
                false => &mut self.mixed,
            };
            parts.push(Move {
                to,
                from: from as u32,
                map: map as u32,
            });
        }
    }

    /// One plane. Fails with [`KernelError::Memory`] where a vector block lies outside.
    pub fn run(
        &self,
        kernels: Kernels,
        from: &[VectorBlock],
        to: &mut [VectorBlock],
        fill: &VectorBlock,
    ) -> Result<(), KernelError> {
        self.gathered(kernels, from, to, Some(fill))
    }

    /// The same into a plane that others have written, whose lanes stay where no map names another one.
    ///
    /// Fails as [`run`](Self::run).
    pub fn run_over(
        &self,
        kernels: Kernels,
        from: &[VectorBlock],
        to: &mut [VectorBlock],
    ) -> Result<(), KernelError> {
        self.gathered(kernels, from, to, None)
    }

    fn gathered(
        &self,
        kernels: Kernels,
        from: &[VectorBlock],
        to: &mut [VectorBlock],
        fill: Option<&VectorBlock>,
    ) -> Result<(), KernelError> {
        if from.len() < self.needs.0 || to.len() < self.needs.1 {
            return Err(KernelError::Memory);
        }
        kernels.dispatch(RunGather {
            gather: self,
            from,
            to,
            fill,
        });
        Ok(())
    }
}

struct RunGather<'a> {
    gather: &'a Gather,
    from: &'a [VectorBlock],
    to: &'a mut [VectorBlock],
    // None: what lies there stays.
    fill: Option<&'a VectorBlock>,
}

impl Work for RunGather<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let Self {
            gather,
            from,
            to,
            fill,
        } = self;
        for &(place, source) in &gather.copies {
            to[place as usize] = from[source as usize];
        }
        let stays = fill.is_none();
        let block = fill.copied().unwrap_or_default();
        // SAFETY: a vector block is aligned; its integers are its sixteen lanes.
        let filled = unsafe { S::load_integers(std::ptr::from_ref(&block).cast()) };
        for part in &gather.moves {
            let to = std::ptr::from_mut(&mut to[part.to as usize]).cast();
            let from = std::ptr::from_ref(&from[part.from as usize]).cast();
            let map = &gather.maps[part.map as usize];
            // SAFETY: both are whole aligned vector blocks.
            unsafe {
                let others = if stays { S::load_integers(to) } else { filled };
                S::store_integers(to, S::permute(S::load_integers(from), map, others));
            }
        }
        for &place in &gather.fills {
            if let Some(fill) = fill {
                to[place as usize] = *fill;
            }
        }
        for part in &gather.mixed {
            let to = std::ptr::from_mut(&mut to[part.to as usize]).cast();
            let from = std::ptr::from_ref(&from[part.from as usize]).cast();
            // SAFETY: both are whole aligned vector blocks.
            unsafe {
                let others = S::load_integers(to);
                let map = &gather.maps[part.map as usize];
                S::store_integers(to, S::permute(S::load_integers(from), map, others));
            }
        }
        let from = VectorBlock::integers(from);
        for (place, map) in &gather.scattered {
            let to = std::ptr::from_mut(&mut to[*place as usize]);
            // SAFETY: it is a whole aligned vector block; `Gather::run` has checked what is read against the
            // furthest place of all maps.
            unsafe {
                let others = if stays {
                    S::load_integers(to.cast())
                } else {
                    filled
                };
                S::store_integers(to.cast(), S::gather(from.as_ptr(), map, others));
            }
        }
    }
}

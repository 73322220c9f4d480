//! Cells that only change places: halos, strides, tiles.

use super::lanes::Lanes;
use super::{Cell, KernelError, Kernels, Work};

/// For each site, the site it takes from; a negative number: the fill.
pub type SiteMap = [i32; Cell::SITES];

/// One cell made of another one of the same plane.
///
/// ```
/// use burn_compress::kernel::Move;
/// let first = Move { to: 0, from: 3, map: 0 };
/// # let _ = first;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The cell that is written.
    pub to: u32,
    /// The cell that is read.
    pub from: u32,
    /// Which of the maps its sites follow.
    pub map: u32,
}

/// What makes a plane whole after its inner cells were written: the halo, from neighbouring tiles or of
/// the fill, and sites beyond the image.
///
/// ```
/// use burn_compress::kernel::{Cell, Edges, Kernels, Move};
/// // Each site's first cell is the second of the site before it.
/// let map = std::array::from_fn(|site| site as i32 - 1);
/// let edges = Edges {
///     plane: 2,
///     moves: vec![Move { to: 0, from: 1, map: 0 }],
///     maps: vec![map],
///     fills: vec![],
///     fill: Cell::of_floats(9.0),
/// };
/// let mut cells = [Cell::default(); 2];
/// Cell::floats_mut(&mut cells)[16..].copy_from_slice(&std::array::from_fn::<f32, 16, _>(|x| x as f32));
/// edges.run(Kernels::detect(), &mut cells)?;
/// assert_eq!(Cell::floats(&cells)[..3], [9.0, 0.0, 1.0]);
/// # Ok::<(), burn_compress::kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Edges {
    /// Cells of a plane.
    pub plane: usize,
    /// In this order.
    pub moves: Vec<Move>,
    /// How sites change.
    pub maps: Vec<SiteMap>,
    /// Ranges of cells that are the fill alone.
    pub fills: Vec<std::ops::Range<u32>>,
    /// The fill.
    pub fill: Cell,
}

impl Edges {
    /// Nothing to do.
    pub fn none() -> Self {
        Self {
            plane: 0,
            moves: Vec::new(),
            maps: Vec::new(),
            fills: Vec::new(),
            fill: Cell::default(),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.fills.is_empty()
    }

    /// All planes of the cells. Fails with [`KernelError::Memory`] where a move, a map or a fill lies outside.
    pub fn run(&self, kernels: Kernels, cells: &mut [Cell]) -> Result<(), KernelError> {
        let inside = |cell: u32| (cell as usize) < self.plane;
        let moves = self
            .moves
            .iter()
            .all(|to| inside(to.to) && inside(to.from) && (to.map as usize) < self.maps.len());
        // Instruction sets differ in what a map names beyond the sites.
        let sites = self
            .maps
            .iter()
            .flatten()
            .all(|&site| site < Cell::SITES as i32);
        let fills = self
            .fills
            .iter()
            .all(|range| range.start <= range.end && range.end as usize <= self.plane);
        if !moves || !sites || !fills {
            return Err(KernelError::Memory);
        }
        if !self.is_empty() {
            kernels.dispatch(RunEdges { edges: self, cells });
        }
        Ok(())
    }
}

struct RunEdges<'a> {
    edges: &'a Edges,
    cells: &'a mut [Cell],
}

impl Work for RunEdges<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let edges = self.edges;
        for plane in self.cells.chunks_exact_mut(edges.plane.max(1)) {
            for fill in &edges.fills {
                plane[fill.start as usize..fill.end as usize].fill(edges.fill);
            }
            // SAFETY: a cell is aligned; its integers are its sixteen sites.
            unsafe {
                let fill = S::load_integers(std::ptr::from_ref(&edges.fill).cast());
                for to in &edges.moves {
                    let from = std::ptr::from_ref(&plane[to.from as usize]);
                    let map = &edges.maps[to.map as usize];
                    let cell = S::permute(S::load_integers(from.cast()), map, fill);
                    let to = std::ptr::from_mut(&mut plane[to.to as usize]);
                    S::store_integers(to.cast(), cell);
                }
            }
        }
    }
}

/// One plane made of another: for each written cell, by site, the cell and site it takes from
/// (`cell * 16 + site`; negative: the fill).
///
/// ```
/// use burn_compress::kernel::{Cell, Gather};
/// let mut gather = Gather::default();
/// gather.push(1, std::array::from_fn(|site| 15 - site as i32));
/// let mut from = [Cell::default()];
/// Cell::floats_mut(&mut from)[15] = 7.0;
/// let mut to = [Cell::default(); 2];
/// gather.run(&from, &mut to, &Cell::default())?;
/// assert_eq!(Cell::floats(&to)[16], 7.0);
/// # Ok::<(), burn_compress::kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gather {
    // Whole cells, (to, from); those of the fill; and those whose sites come from several.
    copies: Vec<(u32, u32)>,
    fills: Vec<u32>,
    mixed: Vec<(u32, SiteMap)>,
}

impl Gather {
    /// One more cell to write, and where its sites come from.
    pub fn push(&mut self, to: u32, map: SiteMap) {
        let first = map[0];
        let whole = first >= 0
            && first % Cell::SITES as i32 == 0
            && map
                .iter()
                .enumerate()
                .all(|(site, &place)| place == first + site as i32);
        if whole {
            self.copies.push((to, first as u32 / Cell::SITES as u32));
        } else if map.iter().all(|&place| place < 0) {
            self.fills.push(to);
        } else {
            self.mixed.push((to, map));
        }
    }

    /// One plane. Fails with [`KernelError::Memory`] where a cell lies outside.
    pub fn run(&self, from: &[Cell], to: &mut [Cell], fill: &Cell) -> Result<(), KernelError> {
        for &(place, source) in &self.copies {
            let source = from.get(source as usize).ok_or(KernelError::Memory)?;
            *to.get_mut(place as usize).ok_or(KernelError::Memory)? = *source;
        }
        for &place in &self.fills {
            *to.get_mut(place as usize).ok_or(KernelError::Memory)? = *fill;
        }
        let from = Cell::integers(from);
        let fill = Cell::integers(std::slice::from_ref(fill));
        for (cell, map) in &self.mixed {
            let to = to.get_mut(*cell as usize).ok_or(KernelError::Memory)?;
            let sites = Cell::integers_mut(std::slice::from_mut(to)).iter_mut();
            for (site, (to, &place)) in sites.zip(map).enumerate() {
                *to = match usize::try_from(place) {
                    Ok(place) => *from.get(place).ok_or(KernelError::Memory)?,
                    Err(_) => fill[site],
                };
            }
        }
        Ok(())
    }
}

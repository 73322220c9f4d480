//! How a tensor lies in cells.

pub(super) mod arguments;
pub(super) mod budget;
pub(super) mod demand;
pub(super) mod interleave;
pub(super) mod lanes;
pub(super) mod part;

use crate::engine::lower::shape::{Kind, Shape};
use crate::kernel::{Cell, Edges, Frame, Gather, Move, SiteMap};
use lanes::Sites;

/// Rows before and after, columns before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) struct Halo {
    pub rows: [usize; 2],
    pub columns: [usize; 2],
}

impl Halo {
    /// What suffices for both.
    pub fn union(self, other: Self) -> Self {
        let most = |a: [usize; 2], b: [usize; 2]| [a[0].max(b[0]), a[1].max(b[1])];
        Self {
            rows: most(self.rows, other.rows),
            columns: most(self.columns, other.columns),
        }
    }
}

/// What lies in the halo outside the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) enum Fill {
    /// Nobody looks there.
    #[default]
    Any,
    Zero,
    /// No greater than anything.
    Least,
}

impl Fill {
    /// What suffices for both; none where there is no such.
    pub fn union(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, fill) | (fill, Self::Any) => Some(fill),
            (a, b) => (a == b).then_some(a),
        }
    }

    pub fn cell(self, kind: Kind) -> Cell {
        match (self, kind) {
            (Self::Least, Kind::Codes { .. }) => Cell::of_bytes(0),
            (Self::Least, Kind::Floats) => Cell::of_floats(f32::NEG_INFINITY),
            (_, Kind::Codes { low }) => Cell::of_bytes(low.wrapping_neg() as u8),
            (_, Kind::Floats) => Cell::of_floats(0.0),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::engine) struct Layout {
    pub sites: Sites,
    pub shape: Shape,
    /// Rows and columns of a tile.
    pub tile: [usize; 2],
    pub halo: Halo,
    pub fill: Fill,
    /// Where the first lines of all planes come first, then the second ones, and so on: how many each
    /// thread makes, at least. Else plane comes after plane.
    pub by_line: Option<usize>,
}

impl Layout {
    /// Cells of a line of one plane.
    pub fn width(&self) -> usize {
        self.tile[1] + self.halo.columns[0] + self.halo.columns[1]
    }

    /// Cells from a line of a plane to its next.
    pub fn pitch(&self) -> usize {
        match self.by_line {
            Some(_) => self.planes() * self.plane(),
            None => self.width(),
        }
    }

    /// Cells from a plane to the next: an odd number, since planes a power of two apart would share few
    /// sets of a cache.
    pub fn plane(&self) -> usize {
        match self.by_line {
            Some(_) => self.width() | 1,
            None => (self.lines() * self.width()) | 1,
        }
    }

    /// Lines of a plane, those of the halo included.
    pub fn lines(&self) -> usize {
        self.tile[0] + self.halo.rows[0] + self.halo.rows[1]
    }

    /// Planes; of floats, as many as whole quads have.
    pub fn planes(&self) -> usize {
        match self.shape.kind {
            Kind::Codes { .. } => self.shape.channels.div_ceil(4),
            Kind::Floats => self.shape.channels.next_multiple_of(4),
        }
    }

    pub fn cells(&self) -> usize {
        match self.by_line {
            Some(_) => self.lines() * self.pitch(),
            None => self.planes() * self.plane(),
        }
    }

    /// The cell of an inner row and column; they may lie in the halo.
    pub fn cell(&self, row: isize, column: isize) -> usize {
        let row = row + self.halo.rows[0] as isize;
        let column = column + self.halo.columns[0] as isize;
        row as usize * self.pitch() + column as usize
    }

    pub fn fill_cell(&self) -> Cell {
        self.fill.cell(self.shape.kind)
    }

    fn size(&self) -> [usize; 2] {
        [self.shape.rows, self.shape.columns]
    }

    /// Where a cell of a site lies in the image: none outside.
    pub fn place(&self, site: usize, row: isize, column: isize) -> Option<[usize; 2]> {
        let [first_row, first_column] = self.sites.origin(site, self.tile);
        let row = usize::try_from(first_row as isize + row).ok()?;
        let column = usize::try_from(first_column as isize + column).ok()?;
        (row < self.shape.rows && column < self.shape.columns).then_some([row, column])
    }

    /// The site and cell that hold a place of an image, the site being one of those that `site` may
    /// read: of its own image.
    fn holder(&self, site: usize, [row, column]: [usize; 2]) -> (usize, usize) {
        let [rows, columns] = self.tile.map(|length| length.max(1));
        let image = self.sites.image(site);
        let site = self.sites.site(image, [row / rows, column / columns]);
        let inner = [row % rows, column % columns].map(|at| at as isize);
        (site, self.cell(inner[0], inner[1]))
    }

    /// All rows and columns of a plane, the halo included.
    fn all(&self) -> impl Iterator<Item = (isize, isize)> + '_ {
        self.all_rows().flat_map(|row| self.line(row))
    }

    fn all_rows(&self) -> std::ops::Range<isize> {
        let [before, after] = self.halo.rows;
        -(before as isize)..(self.tile[0] + after) as isize
    }

    /// All columns of a row, the halo included.
    fn line(&self, row: isize) -> impl Iterator<Item = (isize, isize)> + use<> {
        let [before, after] = self.halo.columns;
        let columns = -(before as isize)..(self.tile[1] + after) as isize;
        columns.map(move |column| (row, column))
    }

    /// What makes a plane whole after its inner cells were written; not of one line by line.
    pub fn edges(&self) -> Edges {
        self.edges_of(self.all(), self.plane(), 0)
    }

    /// What makes a line of all planes whole, for each that is no halo, after its inner cells were
    /// written; of one plane, or a layout line by line, as what follows.
    pub fn line_edges(&self) -> Vec<Edges> {
        let rows = 0..self.tile[0] as isize;
        let plane = if self.by_line.is_some() {
            self.plane()
        } else {
            self.width()
        };
        let edges = rows.map(|row| {
            let first = self.cell(row, -(self.halo.columns[0] as isize));
            self.edges_of(self.line(row), plane, first)
        });
        edges.collect()
    }

    /// How each line of the halo, of all planes, is made of the lines between, which have none.
    pub fn halo_lines(&self) -> Vec<Option<Gather>> {
        let first = self.cell(0, -(self.halo.columns[0] as isize));
        let lines = self.all_rows().map(|row| {
            let is_halo = !(0..self.tile[0] as isize).contains(&row);
            is_halo.then(|| {
                let mut gather = Gather::default();
                let line = self.line(row).enumerate();
                let maps = line.map(|(column, (row, of))| {
                    let map: SiteMap = std::array::from_fn(|site| {
                        self.source(site, self.place(site, row, of), first)
                    });
                    (column, map)
                });
                let maps: Vec<_> = maps.collect();
                for start in (0..self.planes()).map(|plane| plane * self.plane()) {
                    let further = (start * Cell::SITES) as i32;
                    for (column, map) in &maps {
                        let map = map.map(|from| if from < 0 { from } else { from + further });
                        gather.push((start + column) as u32, map);
                    }
                }
                gather
            })
        });
        lines.collect()
    }

    // Where the content of a place is taken from, as `Gather` has it: cells are counted from `first`.
    fn source(&self, site: usize, place: Option<[usize; 2]>, first: usize) -> i32 {
        place.map_or(-1, |place| {
            let (site, cell) = self.holder(site, place);
            ((cell - first) * Cell::SITES + site) as i32
        })
    }

    // What makes these places of a plane whole; cells are counted from the first one.
    fn edges_of(
        &self,
        places: impl Iterator<Item = (isize, isize)>,
        plane: usize,
        first: usize,
    ) -> Edges {
        let mut edges = Edges {
            plane,
            moves: Vec::new(),
            maps: Vec::new(),
            fills: Vec::new(),
            fill: self.fill_cell(),
        };
        let any = self.fill == Fill::Any && self.halo == Halo::default();
        if any {
            return edges;
        }
        for (row, column) in places {
            let cell = (self.cell(row, column) - first) as u32;
            let inner = (0..self.tile[0] as isize).contains(&row)
                && (0..self.tile[1] as isize).contains(&column);
            let mut from = None;
            let map: SiteMap = std::array::from_fn(|site| {
                let Some(place) = self.place(site, row, column) else {
                    return -1;
                };
                let (site, cell) = self.holder(site, place);
                from = Some((cell - first) as u32);
                site as i32
            });
            match from {
                None => match edges.fills.last_mut() {
                    Some(last) if last.end == cell => last.end += 1,
                    _ => edges.fills.push(cell..cell + 1),
                },
                Some(_) if inner && map.iter().all(|&site| site >= 0) => {}
                Some(from) => {
                    let known = edges.maps.iter().position(|known| *known == map);
                    let map = known.unwrap_or_else(|| {
                        edges.maps.push(map);
                        edges.maps.len() - 1
                    });
                    edges.moves.push(Move {
                        to: cell,
                        from,
                        map: map as u32,
                    });
                }
            }
        }
        edges
    }

    /// A plane of this layout made of one of another, whose rows and columns are given for each of
    /// this one's; halo and sites beyond the image included.
    pub fn gather(&self, from: &Self, rows: &[Option<usize>], columns: &[Option<usize>]) -> Gather {
        self.made_of(self.all(), 0, |site, [row, column]| {
            let place = rows[row].zip(columns[column]);
            from.source(site, place.map(|(row, column)| [row, column]), 0)
        })
    }

    /// The same, of all images made of tensors of fewer each, which lie one after the other in another layout;
    /// each line of a plane, where this lies line by line.
    pub fn regroup(&self, from: &Self) -> Vec<Gather> {
        let source = |site: usize, place| {
            let image = self.sites.image(site);
            let (tensor, image) = (image / from.sites.images(), image % from.sites.images());
            let before = tensor * from.cells() * Cell::SITES;
            before as i32 + from.source(image * from.sites.tiles(), Some(place), 0)
        };
        if self.by_line.is_none() {
            return vec![self.made_of(self.all(), 0, source)];
        }
        let lines = self.all_rows().map(|row| {
            let first = self.cell(row, -(self.halo.columns[0] as isize));
            self.made_of(self.line(row), first, source)
        });
        lines.collect()
    }

    // Places of a plane, whose cells are counted from the first one; given is where a site takes a place of
    // its image from.
    fn made_of(
        &self,
        places: impl Iterator<Item = (isize, isize)>,
        first: usize,
        source: impl Fn(usize, [usize; 2]) -> i32,
    ) -> Gather {
        let mut gather = Gather::default();
        for (row, column) in places {
            let to = (self.cell(row, column) - first) as u32;
            let map: SiteMap = std::array::from_fn(|site| {
                let place = self.place(site, row, column);
                place.map_or(-1, |place| source(site, place))
            });
            gather.push(to, map);
        }
        gather
    }

    /// Where the sites lie in images `[N, C, H, W]`, of which there may be fewer than sites.
    pub fn frame(&self, images: usize) -> Frame {
        let [rows, columns] = self.size();
        let image = self.shape.channels * rows * columns;
        let sites = (0..Cell::SITES).map(|site| {
            let [row, column] = self.sites.origin(site, self.tile);
            let inside =
                |length: usize, first: usize, tile: usize| length.saturating_sub(first).min(tile);
            let part = (
                inside(rows, row, self.tile[0]),
                inside(columns, column, self.tile[1]),
            );
            let of = self.sites.image(site);
            let first = of * image + row.min(rows) * columns + column.min(columns);
            (of < images).then_some((first, part))
        });
        Frame {
            channels: self.shape.channels,
            image,
            channel: rows * columns,
            row: columns,
            sites: sites.collect(),
            rows: self.tile[0],
            columns: self.tile[1],
            pitch: self.pitch(),
            first: self.cell(0, 0),
            plane: self.plane(),
        }
    }
}

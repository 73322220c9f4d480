//! How a tensor lies in vector blocks.

pub(super) mod arguments;
pub(super) mod budget;
pub(super) mod demand;
pub(super) mod interleave;
pub(super) mod lanes;
pub(super) mod part;
pub(super) mod places;

use crate::engine::lower::shape::{Kind, Shape};
use crate::kernel::{Edges, Frame, Gather, LaneMap, Move, Planes, Strided, VectorBlock};
use lanes::LaneMapping;
use places::Places;

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

/// What lies in the halo outside the sample.
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

    pub fn block(self, kind: Kind) -> VectorBlock {
        match (self, kind) {
            (Self::Least, Kind::Codes { .. }) => VectorBlock::of_bytes(0),
            (Self::Least, Kind::Floats) => VectorBlock::of_floats(f32::NEG_INFINITY),
            (_, Kind::Codes { low }) => VectorBlock::of_bytes(low.wrapping_neg() as u8),
            (_, Kind::Floats) => VectorBlock::of_floats(0.0),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::engine) struct Layout {
    pub lanes: LaneMapping,
    pub shape: Shape,
    /// Tiles of a sample in a column, and in a row.
    pub grid: [usize; 2],
    /// Rows and columns of a tile.
    pub tile: [usize; 2],
    pub halo: Halo,
    pub fill: Fill,
    /// Row-interleaved: the first lines of all planes come first, then the second ones, and so on. The number
    /// is how many lines each thread makes, at least. None: planar, plane after plane.
    pub interleaved: Option<usize>,
}

impl Layout {
    /// Vector blocks of a line of one plane.
    pub fn width(&self) -> usize {
        self.tile[1] + self.halo.columns[0] + self.halo.columns[1]
    }

    /// Vector blocks from a line of a plane to its next.
    pub fn pitch(&self) -> usize {
        match self.interleaved {
            Some(_) => self.planes() * self.plane(),
            None => self.width(),
        }
    }

    /// Vector blocks from a plane to the next: an odd number, since planes a power of two apart would share few
    /// sets of a cache.
    pub fn plane(&self) -> usize {
        match self.interleaved {
            Some(_) => self.width() | 1,
            None => (self.lines() * self.width()) | 1,
        }
    }

    /// Lines of a plane, those of the halo included.
    pub fn lines(&self) -> usize {
        self.tile[0] + self.halo.rows[0] + self.halo.rows[1]
    }

    /// Planes; of floats, as many as whole blocks of filters have.
    pub fn planes(&self) -> usize {
        match self.shape.kind {
            Kind::Codes { .. } => self.shape.channels.div_ceil(4),
            Kind::Floats => self.shape.channels.next_multiple_of(4),
        }
    }

    pub fn blocks(&self) -> usize {
        match self.interleaved {
            Some(_) => self.lines() * self.pitch(),
            None => self.planes() * self.plane(),
        }
    }

    /// The vector block of an inner row and column; they may lie in the halo.
    pub fn block(&self, row: isize, column: isize) -> usize {
        let row = row + self.halo.rows[0] as isize;
        let column = column + self.halo.columns[0] as isize;
        row as usize * self.pitch() + column as usize
    }

    pub fn fill_block(&self) -> VectorBlock {
        self.fill.block(self.shape.kind)
    }

    /// Where its inner vector blocks lie.
    pub fn inner(&self) -> Planes {
        Planes {
            plane: self.plane(),
            first: self.block(0, 0),
            pitch: self.pitch(),
        }
    }

    // The first row and column of a lane's tile.
    fn origin(&self, lane: usize) -> [usize; 2] {
        let of = lane % self.lanes.tiles();
        let [_, columns] = self.grid;
        [of / columns * self.tile[0], of % columns * self.tile[1]]
    }

    /// Where a vector block of a lane lies in the sample: none outside.
    pub fn place(&self, lane: usize, row: isize, column: isize) -> Option<[usize; 2]> {
        let [first_row, first_column] = self.origin(lane);
        let row = usize::try_from(first_row as isize + row).ok()?;
        let column = usize::try_from(first_column as isize + column).ok()?;
        (row < self.shape.rows && column < self.shape.columns).then_some([row, column])
    }

    /// The lane and vector block that hold a place of a sample, the lane being one of those that `lane` may
    /// read: of its own sample.
    fn holder(&self, lane: usize, [row, column]: [usize; 2]) -> (usize, usize) {
        let [rows, columns] = self.tile.map(|length| length.max(1));
        let sample = self.lanes.sample(lane);
        let tile = row / rows * self.grid[1] + column / columns;
        let lane = sample * self.lanes.tiles() + tile;
        let inner = [row % rows, column % columns].map(|at| at as isize);
        (lane, self.block(inner[0], inner[1]))
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

    /// Whether it has one row and one column.
    pub fn is_one(&self) -> bool {
        self.shape.size() == [1, 1]
    }

    /// A vector block that holds in each lane the one place of the lane's sample, made of a plane.
    pub fn spread(&self) -> Gather {
        let mut gather = Gather::default();
        gather.push(
            0,
            std::array::from_fn(|lane| self.source(lane, Some([0, 0]), 0)),
        );
        gather
    }

    /// What makes a plane whole after its inner vector blocks were written; not of one row-interleaved.
    pub fn edges(&self) -> Edges {
        self.edges_of(self.all(), self.plane(), 0)
    }

    /// What makes a line of all planes whole, for each that is no halo, after its inner vector blocks were
    /// written; of one plane, or a layout row-interleaved, as what follows.
    pub fn line_edges(&self) -> Vec<Edges> {
        let rows = 0..self.tile[0] as isize;
        let plane = if self.interleaved.is_some() {
            self.plane()
        } else {
            self.width()
        };
        let edges = rows.map(|row| {
            let first = self.block(row, -(self.halo.columns[0] as isize));
            self.edges_of(self.line(row), plane, first)
        });
        edges.collect()
    }

    /// How each line of the halo, of all planes, is made of the lines between, which have none.
    pub fn halo_lines(&self) -> Vec<Option<Gather>> {
        let first = self.block(0, -(self.halo.columns[0] as isize));
        let lines = self.all_rows().map(|row| {
            let is_halo = !(0..self.tile[0] as isize).contains(&row);
            is_halo.then(|| {
                let mut gather = Gather::default();
                let line = self.line(row).enumerate();
                let maps = line.map(|(column, (row, of))| {
                    let map: LaneMap = std::array::from_fn(|lane| {
                        self.source(lane, self.place(lane, row, of), first)
                    });
                    (column, map)
                });
                let maps: Vec<_> = maps.collect();
                for start in (0..self.planes()).map(|plane| plane * self.plane()) {
                    let further = (start * VectorBlock::LANES) as i32;
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

    // Where the content of a place is taken from, as `Gather` has it: vector blocks are counted from `first`.
    fn source(&self, lane: usize, place: Option<[usize; 2]>, first: usize) -> i32 {
        place.map_or(-1, |place| {
            let (lane, block) = self.holder(lane, place);
            ((block - first) * VectorBlock::LANES + lane) as i32
        })
    }

    // What makes these places of a plane whole; vector blocks are counted from the first one.
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
            fill: self.fill_block(),
        };
        let any = self.fill == Fill::Any && self.halo == Halo::default();
        if any {
            return edges;
        }
        for (row, column) in places {
            let block = (self.block(row, column) - first) as u32;
            let inner = (0..self.tile[0] as isize).contains(&row)
                && (0..self.tile[1] as isize).contains(&column);
            let mut from = None;
            let map: LaneMap = std::array::from_fn(|lane| {
                let Some(place) = self.place(lane, row, column) else {
                    return -1;
                };
                let (lane, block) = self.holder(lane, place);
                from = Some((block - first) as u32);
                lane as i32
            });
            match from {
                None => match edges.fills.last_mut() {
                    Some(last) if last.end == block => last.end += 1,
                    _ => edges.fills.push(block..block + 1),
                },
                Some(_) if inner && map.iter().all(|&lane| lane >= 0) => {}
                Some(from) => {
                    let known = edges.maps.iter().position(|known| *known == map);
                    let map = known.unwrap_or_else(|| {
                        edges.maps.push(map);
                        edges.maps.len() - 1
                    });
                    edges.moves.push(Move {
                        to: block,
                        from,
                        map: map as u32,
                    });
                }
            }
        }
        edges
    }

    /// A plane of this layout made of one of another, whose rows and columns are given for each of
    /// this one's; halo and lanes beyond the sample included.
    pub fn gather(&self, from: &Self, rows: &[Option<usize>], columns: &[Option<usize>]) -> Gather {
        self.made_of(self.all(), 0, |lane, [row, column]| {
            let place = rows[row].zip(columns[column]);
            from.source(lane, place.map(|(row, column)| [row, column]), 0)
        })
    }

    /// The same of a sample whose places are those of another one in the same order, row by row.
    pub fn gather_in_order(&self, from: &Self) -> Gather {
        let columns = from.shape.columns.max(1);
        self.made_of(self.all(), 0, |lane, [row, column]| {
            let place = row * self.shape.columns + column;
            from.source(lane, Some([place / columns, place % columns]), 0)
        })
    }

    /// The same, of all samples made of tensors of fewer each, which lie one after the other in another layout;
    /// each line of a plane, where this lies row-interleaved.
    pub fn convert_layout(&self, from: &Self) -> Vec<Gather> {
        let source = |lane: usize, place| {
            let sample = self.lanes.sample(lane);
            let (tensor, sample) = (sample / from.lanes.samples(), sample % from.lanes.samples());
            let before = tensor * from.blocks() * VectorBlock::LANES;
            before as i32 + from.source(sample * from.lanes.tiles(), Some(place), 0)
        };
        if self.interleaved.is_none() {
            return vec![self.made_of(self.all(), 0, source)];
        }
        let lines = self.all_rows().map(|row| {
            let first = self.block(row, -(self.halo.columns[0] as isize));
            self.made_of(self.line(row), first, source)
        });
        lines.collect()
    }

    // Places of a plane, whose vector blocks are counted from the first one; given is where a lane takes a
    // place of its sample from.
    fn made_of(
        &self,
        places: impl Iterator<Item = (isize, isize)>,
        first: usize,
        source: impl Fn(usize, [usize; 2]) -> i32,
    ) -> Gather {
        let mut gather = Gather::default();
        for (row, column) in places {
            let to = (self.block(row, column) - first) as u32;
            let map: LaneMap = std::array::from_fn(|lane| {
                let place = self.place(lane, row, column);
                place.map_or(-1, |place| source(lane, place))
            });
            gather.push(to, map);
        }
        gather
    }

    /// Where the lanes lie in samples, of which there may be fewer than lanes.
    pub fn frame(&self, samples: usize) -> Places {
        let [rows, columns] = self.shape.size();
        let strides = self.shape.axes.strides();
        let sample = self.shape.channels * rows * columns;
        let lanes = (0..VectorBlock::LANES).map(|lane| {
            let [row, column] = self.origin(lane);
            let inside =
                |length: usize, first: usize, tile: usize| length.saturating_sub(first).min(tile);
            let part = (
                inside(rows, row, self.tile[0]),
                inside(columns, column, self.tile[1]),
            );
            let of = self.lanes.sample(lane);
            let first =
                of * sample + row.min(rows) * strides.row + column.min(columns) * strides.column;
            (of < samples).then_some((first, part))
        });
        let lanes = lanes.collect();
        let places = rows * columns;
        let in_front = strides.channels.iter().enumerate();
        let in_front = in_front.clone().all(|(c, &first)| first == c * places)
            && (columns == 1 || strides.column == 1)
            && (rows == 1 || strides.row == columns);
        match in_front {
            true => Places::InFront(Frame {
                channels: self.shape.channels,
                sample,
                channel: places,
                row: columns,
                lanes,
                rows: self.tile[0],
                columns: self.tile[1],
                pitch: self.pitch(),
                first: self.block(0, 0),
                plane: self.plane(),
            }),
            false => Places::Strided(Strided {
                sample,
                channels: strides.channels,
                row: strides.row,
                column: strides.column,
                lanes,
                tile: self.tile,
                planes: self.inner(),
            }),
        }
    }
}

//! What lies in the lanes: samples, or tiles of them.

use crate::kernel::VectorBlock;

/// What the sixteen lanes of a pass are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum LaneMapping {
    /// Sixteen samples.
    Samples,
    /// Four samples, each in tiles, two by two.
    Quarters,
    /// Tiles of one sample, four by four.
    Tiles,
}

impl LaneMapping {
    /// Samples of a pass.
    pub fn samples(self) -> usize {
        VectorBlock::LANES / self.tiles()
    }

    /// Tiles of a sample, in neighbouring lanes.
    pub fn tiles(self) -> usize {
        self.side() * self.side()
    }

    /// Tiles in a row, and in a column.
    fn side(self) -> usize {
        match self {
            Self::Samples => 1,
            Self::Quarters => 2,
            Self::Tiles => 4,
        }
    }

    /// Rows and columns of a tile of a sample of this size.
    pub fn tile(self, size: [usize; 2]) -> [usize; 2] {
        size.map(|length| length.div_ceil(self.side()))
    }

    /// The first row and column of a lane's tile.
    pub fn origin(self, lane: usize, tile: [usize; 2]) -> [usize; 2] {
        let of = lane % self.tiles();
        [of / self.side() * tile[0], of % self.side() * tile[1]]
    }

    /// The sample of a lane.
    pub fn sample(self, lane: usize) -> usize {
        lane / self.tiles()
    }

    /// The lane of a sample's tile.
    pub fn lane(self, sample: usize, [row, column]: [usize; 2]) -> usize {
        sample * self.tiles() + row * self.side() + column
    }
}

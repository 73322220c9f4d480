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

    fn side(self) -> usize {
        match self {
            Self::Samples => 1,
            Self::Quarters => 2,
            Self::Tiles => 4,
        }
    }

    /// Tiles in a column, and in a row, of a sample of this size: of one row or column alone, all lie in it.
    pub fn grid(self, size: [usize; 2]) -> [usize; 2] {
        match size {
            [1, _] => [1, self.tiles()],
            [_, 1] => [self.tiles(), 1],
            _ => [self.side(); 2],
        }
    }

    /// The sample of a lane.
    pub fn sample(self, lane: usize) -> usize {
        lane / self.tiles()
    }
}

/// Rows and columns of a tile of a sample of this size.
pub(in crate::engine) fn tile(grid: [usize; 2], size: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|axis| size[axis].div_ceil(grid[axis]))
}

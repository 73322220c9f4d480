//! What lies in the lanes: images, or tiles of them.

use crate::kernel::Cell;

/// What the sixteen sites of a pass are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Sites {
    /// Sixteen images.
    Images,
    /// Four images, each in tiles, two by two.
    Quarters,
    /// Tiles of one image, four by four.
    Tiles,
}

impl Sites {
    /// Images of a pass.
    pub fn images(self) -> usize {
        Cell::SITES / self.tiles()
    }

    /// Tiles of an image, in neighbouring sites.
    pub fn tiles(self) -> usize {
        self.side() * self.side()
    }

    /// Tiles in a row, and in a column.
    fn side(self) -> usize {
        match self {
            Self::Images => 1,
            Self::Quarters => 2,
            Self::Tiles => 4,
        }
    }

    /// Rows and columns of a tile of an image of this size.
    pub fn tile(self, size: [usize; 2]) -> [usize; 2] {
        size.map(|length| length.div_ceil(self.side()))
    }

    /// The first row and column of a site's tile.
    pub fn origin(self, site: usize, tile: [usize; 2]) -> [usize; 2] {
        let of = site % self.tiles();
        [of / self.side() * tile[0], of % self.side() * tile[1]]
    }

    /// The image of a site.
    pub fn image(self, site: usize) -> usize {
        site / self.tiles()
    }

    /// The site of an image's tile.
    pub fn site(self, image: usize, [row, column]: [usize; 2]) -> usize {
        image * self.tiles() + row * self.side() + column
    }
}

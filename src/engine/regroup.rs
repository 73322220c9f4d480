//! From tiles of one image, sixteen times, to sixteen images in the lanes.

use std::ops::Range;

use super::layout::{Layout, Sites};
use crate::kernel::Cell;

/// A tensor of each of sixteen images in tiles, and the same of all of them.
#[derive(Debug)]
pub(super) struct Regroup {
    /// A cell of a plane that is read, and the cell of a plane that is written for each of its sites;
    /// none beyond the image.
    cells: Vec<(usize, [Option<usize>; Cell::SITES])>,
    /// Cells of an image, and of a plane that is read and written.
    image: usize,
    planes: (usize, usize),
}

impl Regroup {
    pub fn new(from: &Layout, to: &Layout) -> Self {
        let mut cells = Vec::with_capacity(from.tile[0] * from.tile[1]);
        for row in 0..from.tile[0] {
            for column in 0..from.tile[1] {
                let place = |site: usize| {
                    let place = from.place(site, row as isize, column as isize);
                    place.map(|[row, column]| to.cell(row as isize, column as isize))
                };
                let read = from.cell(row as isize, column as isize);
                cells.push((read, std::array::from_fn(place)));
            }
        }
        debug_assert_eq!((from.sites, to.sites), (Sites::Tiles, Sites::Images));
        Self {
            cells,
            image: from.cells(),
            planes: (from.plane(), to.plane()),
        }
    }

    /// Makes some planes: `from` holds the tensors of sixteen images, one after the other.
    pub fn run(&self, from: &[Cell], planes: Range<usize>, write: &mut [Cell]) {
        let (read, written) = self.planes;
        for (plane, to) in planes.zip(write.chunks_exact_mut(written)) {
            let to = Cell::integers_mut(to);
            for (cell, places) in &self.cells {
                let images: [&[i32]; Cell::SITES] = std::array::from_fn(|image| {
                    let cell = &from[image * self.image + plane * read + cell];
                    Cell::integers(std::slice::from_ref(cell))
                });
                for (site, place) in places.iter().enumerate() {
                    if let Some(place) = place {
                        let to = &mut to[place * Cell::SITES..][..Cell::SITES];
                        for (to, image) in to.iter_mut().zip(&images) {
                            *to = image[site];
                        }
                    }
                }
            }
        }
    }
}

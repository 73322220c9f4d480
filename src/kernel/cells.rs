//! The memory of runs.

use std::ops::{Deref, DerefMut};

use super::Cell;

/// Bytes from which on memory is asked for in huge pages: less hardly fills one.
#[cfg(all(target_os = "linux", not(miri)))]
const LARGE: usize = 1 << 20;

/// Cells, zeros at first. Many lie in huge pages, where the system gives any: windows read here and
/// there, and a processor knows the addresses of few small pages at a time.
#[derive(Debug)]
pub(crate) struct Cells(Source);

#[derive(Debug)]
enum Source {
    Heap(Vec<Cell>),
    #[cfg(all(target_os = "linux", not(miri)))]
    Pages(memmap2::MmapMut),
}

impl Cells {
    /// So many zeros.
    pub fn new(count: usize) -> Self {
        #[cfg(all(target_os = "linux", not(miri)))]
        if let Some(pages) = pages(count) {
            return Self(Source::Pages(pages));
        }
        Self(Source::Heap(vec![Cell::default(); count]))
    }
}

// None where they are few, or the system has no room or no such pages.
#[cfg(all(target_os = "linux", not(miri)))]
fn pages(count: usize) -> Option<memmap2::MmapMut> {
    let bytes = count.checked_mul(Cell::BYTES)?;
    if bytes < LARGE {
        return None;
    }
    let pages = memmap2::MmapMut::map_anon(bytes).ok()?;
    pages.advise(memmap2::Advice::HugePage).ok()?;
    Some(pages)
}

impl Deref for Cells {
    type Target = [Cell];

    fn deref(&self) -> &[Cell] {
        match &self.0 {
            Source::Heap(cells) => cells,
            #[cfg(all(target_os = "linux", not(miri)))]
            Source::Pages(pages) => {
                // SAFETY: pages begin at a multiple of a page's size, and so of a cell's; they are
                // whole cells; any bytes are cells.
                unsafe {
                    std::slice::from_raw_parts(pages.as_ptr().cast(), pages.len() / Cell::BYTES)
                }
            }
        }
    }
}

impl DerefMut for Cells {
    fn deref_mut(&mut self) -> &mut [Cell] {
        match &mut self.0 {
            Source::Heap(cells) => cells,
            #[cfg(all(target_os = "linux", not(miri)))]
            Source::Pages(pages) => {
                let count = pages.len() / Cell::BYTES;
                // SAFETY: as above.
                unsafe { std::slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), count) }
            }
        }
    }
}

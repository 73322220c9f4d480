//! The memory of runs.

use std::ops::{Deref, DerefMut};

use super::Cell;

/// Bytes of a huge page.
#[cfg(all(target_os = "linux", not(miri)))]
const PAGE: usize = 2 << 20;

/// Cells, zeros at first. Many lie in huge pages, where the system gives any: windows read here and
/// there, and a processor knows the addresses of few small pages at a time.
#[derive(Debug)]
pub struct Cells(Source);

#[derive(Debug)]
enum Source {
    Heap(Vec<Cell>),
    #[cfg(all(target_os = "linux", not(miri)))]
    Pages {
        map: memmap2::MmapMut,
        // The byte where cells begin, and how many they are.
        start: usize,
        count: usize,
    },
}

impl Cells {
    /// So many zeros.
    pub fn new(count: usize) -> Self {
        #[cfg(all(target_os = "linux", not(miri)))]
        if let Some((map, start)) = pages(count) {
            return Self(Source::Pages { map, start, count });
        }
        Self(Source::Heap(vec![Cell::default(); count]))
    }
}

// Pages and the first byte in them that begins a huge one. None where cells fill less than half of one, or
// the system has no room or no such pages.
#[cfg(all(target_os = "linux", not(miri)))]
fn pages(count: usize) -> Option<(memmap2::MmapMut, usize)> {
    let bytes = count.checked_mul(Cell::BYTES)?;
    if bytes < PAGE / 2 {
        return None;
    }
    // Only whole huge pages are given as such; what is left over at both ends is never touched.
    let length = bytes.checked_next_multiple_of(PAGE)?.checked_add(PAGE)?;
    let pages = memmap2::MmapMut::map_anon(length).ok()?;
    pages.advise(memmap2::Advice::HugePage).ok()?;
    let start = pages.as_ptr().align_offset(PAGE);
    (start <= PAGE).then_some((pages, start))
}

impl Deref for Cells {
    type Target = [Cell];

    fn deref(&self) -> &[Cell] {
        match &self.0 {
            Source::Heap(cells) => cells,
            #[cfg(all(target_os = "linux", not(miri)))]
            Source::Pages { map, start, count } => {
                // SAFETY: `map` holds at least so many cells from `start` on, which is aligned to more
                // than a cell; any bytes are cells.
                unsafe { std::slice::from_raw_parts(map.as_ptr().add(*start).cast(), *count) }
            }
        }
    }
}

impl DerefMut for Cells {
    fn deref_mut(&mut self) -> &mut [Cell] {
        match &mut self.0 {
            Source::Heap(cells) => cells,
            #[cfg(all(target_os = "linux", not(miri)))]
            Source::Pages { map, start, count } => {
                // SAFETY: as above.
                unsafe {
                    std::slice::from_raw_parts_mut(map.as_mut_ptr().add(*start).cast(), *count)
                }
            }
        }
    }
}

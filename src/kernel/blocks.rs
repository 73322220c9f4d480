//! The memory of runs.

use std::ops::{Deref, DerefMut};

use super::VectorBlock;

/// Bytes of a huge page.
#[cfg(all(target_os = "linux", not(miri)))]
const PAGE: usize = 2 << 20;

/// Vector blocks, zeros at first. Many lie in huge pages, where the system gives any: windows read here and
/// there, and a processor knows the addresses of few small pages at a time.
#[derive(Debug)]
pub struct VectorBlocks(Source);

#[derive(Debug)]
enum Source {
    Heap(Vec<VectorBlock>),
    #[cfg(all(target_os = "linux", not(miri)))]
    Pages {
        map: memmap2::MmapMut,
        // The byte where vector blocks begin, and how many they are.
        start: usize,
        count: usize,
    },
}

impl VectorBlocks {
    /// So many zeros.
    pub fn new(count: usize) -> Self {
        #[cfg(all(target_os = "linux", not(miri)))]
        if let Some((map, start)) = pages(count) {
            return Self(Source::Pages { map, start, count });
        }
        Self(Source::Heap(vec![VectorBlock::default(); count]))
    }
}

// Pages and the first byte in them that begins a huge one. None where vector blocks fill less than half of
// one, or the system has no room or no such pages.
#[cfg(all(target_os = "linux", not(miri)))]
fn pages(count: usize) -> Option<(memmap2::MmapMut, usize)> {
    let bytes = count.checked_mul(VectorBlock::BYTES)?;
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

impl Deref for VectorBlocks {
    type Target = [VectorBlock];

    fn deref(&self) -> &[VectorBlock] {
        match &self.0 {
            Source::Heap(blocks) => blocks,
            #[cfg(all(target_os = "linux", not(miri)))]
            Source::Pages { map, start, count } => {
                // SAFETY: `map` holds at least so many vector blocks from `start` on, which is aligned to more
                // than a vector block; any bytes are vector blocks.
                unsafe { std::slice::from_raw_parts(map.as_ptr().add(*start).cast(), *count) }
            }
        }
    }
}

impl DerefMut for VectorBlocks {
    fn deref_mut(&mut self) -> &mut [VectorBlock] {
        match &mut self.0 {
            Source::Heap(blocks) => blocks,
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

//! What a processor can do at most, measured.

use std::hint::black_box;
use std::time::Instant;

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::lanes::Lanes;
use super::{Kernels, VectorBlock, Work};

/// Vector blocks that are read without waiting for each other.
const CELLS: usize = 8;
const ROUNDS: usize = 4096;

impl Kernels {
    /// Multiply-adds a second of one thread, of bytes or of floats, where nothing waits for memory: what
    /// a layer's speed is compared with. Takes about a millisecond.
    ///
    /// ```
    /// use burn_compress_kernel::Kernels;
    /// let kernels = Kernels::detect();
    /// assert!(kernels.peak(true) > 1e6 && kernels.peak(false) > 1e6);
    /// ```
    pub fn peak(self, codes: bool) -> f64 {
        // As many as hide how long a sum takes, of what the registers hold.
        let speeds = [
            self.speed::<4>(codes),
            self.speed::<8>(codes),
            self.speed::<12>(codes),
        ];
        speeds.into_iter().fold(0.0, f64::max)
    }

    /// Multiply-adds a second of one thread's matrix unit, of bytes; none where it has none. Takes less than
    /// a millisecond.
    ///
    /// ```
    /// use burn_compress_kernel::Kernels;
    /// let kernels = Kernels::detect();
    /// assert_eq!(kernels.matrix_peak().is_some(), kernels.has_matrix_unit());
    /// ```
    pub fn matrix_peak(self) -> Option<f64> {
        #[cfg(target_arch = "x86_64")]
        if self.has_matrix_unit() {
            use super::TILE;
            // SAFETY: the unit is there.
            let unit = unsafe { amx::Unit::new(TILE) };
            let each = TILE * TILE * VectorBlock::BYTES;
            return Some((ROUNDS * each) as f64 / least(50, || unit.multiply(ROUNDS)));
        }
        None
    }

    // With so many sums that do not wait for each other.
    fn speed<const APART: usize>(self, codes: bool) -> f64 {
        let least = least(50, || self.dispatch(Peak::<APART> { codes }));
        let each = if codes {
            VectorBlock::BYTES
        } else {
            VectorBlock::LANES
        };
        (APART * ROUNDS * each) as f64 / least
    }
}

impl Kernels {
    /// Bytes a second that one thread reads from these vector blocks, again and again for some milliseconds.
    ///
    /// ```
    /// use burn_compress_kernel::{VectorBlock, Kernels};
    /// assert!(Kernels::detect().bandwidth(&vec![VectorBlock::default(); 256]) > 1e6);
    /// ```
    pub fn bandwidth(self, blocks: &[VectorBlock]) -> f64 {
        const BYTES: usize = 8 << 20;
        let bytes = size_of_val(blocks);
        let rounds = BYTES.div_ceil(bytes.max(1)).min(BYTES);
        let least = least(10, || self.dispatch(Read { blocks, rounds }));
        (rounds * bytes) as f64 / least
    }
}

// Seconds of the fastest of some runs: a processor takes a while to its full speed.
fn least(times: usize, run: impl Fn()) -> f64 {
    let timed = (0..times).map(|_| {
        let started = Instant::now();
        run();
        started.elapsed().as_secs_f64()
    });
    timed.fold(f64::INFINITY, f64::min).max(f64::MIN_POSITIVE)
}

struct Read<'a> {
    blocks: &'a [VectorBlock],
    rounds: usize,
}

impl Work for Read<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        // SAFETY: a vector block is aligned; the set is there by the contract of `Work`.
        unsafe {
            let mut sums = [S::splat_integer(0); CELLS];
            for _ in 0..self.rounds {
                for blocks in black_box(self.blocks).chunks_exact(CELLS) {
                    for (sum, block) in sums.iter_mut().zip(blocks) {
                        *sum = S::add_integers(
                            *sum,
                            S::load_integers(std::ptr::from_ref(block).cast()),
                        );
                    }
                }
            }
            black_box(sums);
        }
    }
}

struct Peak<const APART: usize> {
    codes: bool,
}

impl<const APART: usize> Work for Peak<APART> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let block = black_box(VectorBlock::of_bytes(1));
        // SAFETY: a vector block is aligned; the set is there by the contract of `Work`.
        unsafe {
            if self.codes {
                let bytes = S::bytes(VectorBlock::bytes(std::slice::from_ref(&block)).as_ptr());
                let weights = S::weights(black_box(0x0101_0101));
                let mut sums = [S::sums(0); APART];
                for _ in 0..ROUNDS {
                    for sum in &mut sums {
                        *sum = S::dot(*sum, bytes, weights);
                    }
                }
                black_box(sums);
            } else {
                let values = S::load(VectorBlock::floats(std::slice::from_ref(&block)).as_ptr());
                let weight = S::splat(black_box(1.0));
                let mut sums = [S::splat(0.0); APART];
                for _ in 0..ROUNDS {
                    for sum in &mut sums {
                        *sum = S::multiply_add(values, weight, *sum);
                    }
                }
                black_box(sums);
            }
        }
    }
}

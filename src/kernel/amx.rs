//! The matrix unit of x86-64, AMX, for bytes: tiles of sixteen filters by up to sixteen vector blocks times
//! tiles of up to sixteen vector blocks by sixteen lanes.
//!
//! Its intrinsics are not stable, so that it is written in assembly.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use super::tiled::{Multiply, Sums, TileRun};

/// Whether processor and system have it; asks the system for leave to use it, as Linux demands.
pub(super) fn is_here() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILES_AND_BYTES: u32 = 1 << 24 | 1 << 25;
    const STATE: u64 = 1 << 17 | 1 << 18;
    // An interpreter of Rust has no such instructions.
    if cfg!(miri) || __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    if __cpuid_count(7, 0).edx & TILES_AND_BYTES != TILES_AND_BYTES {
        return false;
    }
    // SAFETY: OSXSAVE tells that the instruction is there.
    let state = unsafe { enabled() };
    state & STATE == STATE && leave()
}

// What of the processor's state the system keeps.
#[target_feature(enable = "xsave")]
fn enabled() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}

// Linux gives the large state of tiles to a process that asks for it, for all its threads.
#[cfg(target_os = "linux")]
fn leave() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const REQUEST: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let result: i64;
    // SAFETY: a system call that reads and writes no memory of this program.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn leave() -> bool {
    false
}

// What the eight tiles hold.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start: u8,
    zeros: [u8; 14],
    // Bytes of a row, and rows.
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// The unit, made ready for tiles of so many vector blocks; its state is dropped with it.
pub(super) struct Unit(());

impl Unit {
    /// # Safety
    ///
    /// [`is_here`] has said so, and `depth` is 1 to 16.
    pub unsafe fn new(depth: usize) -> Self {
        let mut config = Config {
            palette: 1,
            start: 0,
            zeros: [0; 14],
            bytes: [0; 16],
            rows: [0; 16],
        };
        // Four of sums, two of weights, two of vector blocks.
        config.bytes[..8].copy_from_slice(&[64, 64, 64, 64, 0, 0, 64, 64]);
        config.bytes[4..6].fill(4 * depth as u16);
        config.rows[..6].fill(16);
        config.rows[6..8].fill(depth as u8);
        // SAFETY: 64 bytes that name palette 1, with rows and bytes that it has.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack)) };
        Self(())
    }

    /// Multiplies about so many times, in four sums, whatever lies in the tiles.
    pub fn multiply(&self, times: usize) {
        for _ in 0..times.div_ceil(4) {
            // SAFETY: as of `Multiply::sums`; no memory is used.
            unsafe {
                asm!(
                    "tdpbsud tmm0, tmm4, tmm6",
                    "tdpbsud tmm1, tmm4, tmm7",
                    "tdpbsud tmm2, tmm5, tmm6",
                    "tdpbsud tmm3, tmm5, tmm7",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    options(nostack, nomem),
                );
            }
        }
    }
}

impl Multiply for Unit {
    #[inline(always)]
    unsafe fn sums<const F: usize, const P: usize>(&self, run: &TileRun<F, P>, sums: *mut Sums) {
        // SAFETY: each `tileloadd` reads rows that the contract names, each `tilestored` writes one of
        // `sums`; tiles are registers that compiled code does not use.
        unsafe {
            if run.blocks.is_empty() {
                // Only a product without weights has none.
                return sums.write_bytes(0, F * P);
            }
            match (F, P) {
                (2, 2) => two_by_two(run, sums),
                _ => {
                    for place in 0..F * P {
                        one_by_one(run, place / P, place % P, sums.add(place));
                    }
                }
            }
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // SAFETY: the unit is there, and nothing waits in its tiles.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }
}

// What the loops have no register for.
#[repr(C)]
struct Rest {
    sums: *mut Sums,
    tile: usize,
    // Bytes from row to row of sums that go on, or none.
    more: usize,
}

#[inline(always)]
unsafe fn two_by_two<const F: usize, const P: usize>(run: &TileRun<F, P>, sums: *mut Sums) {
    let rest = Rest {
        sums,
        tile: run.depth * 64,
        more: if run.more { 64 } else { 0 },
    };
    // SAFETY: by the callers.
    unsafe {
        asm!(
            "mov {at}, qword ptr [{rest} + 16]",
            "test {at}, {at}",
            "jz 3f",
            "mov {x}, qword ptr [{rest}]",
            "tileloadd tmm0, [{x} + {at}*1]",
            "tileloadd tmm1, [{x} + {at}*1 + 1024]",
            "tileloadd tmm2, [{x} + {at}*1 + 2048]",
            "tileloadd tmm3, [{x} + {at}*1 + 3072]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "mov {at:e}, dword ptr [{blocks}]",
            "shl {at}, 6",
            "tileloadd tmm4, [{w0} + {row}*1]",
            "lea {x}, [{x0} + {at}]",
            "tileloadd tmm6, [{x} + {apart}*1]",
            "tdpbsud tmm0, tmm4, tmm6",
            "lea {x}, [{x1} + {at}]",
            "tileloadd tmm7, [{x} + {apart}*1]",
            "tdpbsud tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{w1} + {row}*1]",
            "tdpbsud tmm2, tmm5, tmm6",
            "tdpbsud tmm3, tmm5, tmm7",
            "add {w0}, qword ptr [{rest} + 8]",
            "add {w1}, qword ptr [{rest} + 8]",
            "add {blocks}, 4",
            "dec {left}",
            "jnz 2b",
            "mov {x}, qword ptr [{rest}]",
            "mov {at}, 64",
            "tilestored [{x} + {at}*1], tmm0",
            "tilestored [{x} + {at}*1 + 1024], tmm1",
            "tilestored [{x} + {at}*1 + 2048], tmm2",
            "tilestored [{x} + {at}*1 + 3072], tmm3",
            at = out(reg) _,
            x = out(reg) _,
            blocks = inout(reg) run.blocks.as_ptr() => _,
            left = inout(reg) run.blocks.len() => _,
            w0 = inout(reg) run.weights[0] => _,
            w1 = inout(reg) run.weights[F - 1] => _,
            x0 = in(reg) run.starts[0],
            x1 = in(reg) run.starts[P - 1],
            row = in(reg) run.depth * 4,
            apart = in(reg) run.apart * 64,
            rest = in(reg) &rest,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

#[inline(always)]
unsafe fn one_by_one<const F: usize, const P: usize>(
    run: &TileRun<F, P>,
    f: usize,
    p: usize,
    sums: *mut Sums,
) {
    // SAFETY: by the callers.
    unsafe {
        asm!(
            "mov {at}, 64",
            "test {more}, {more}",
            "jz 3f",
            "tileloadd tmm0, [{sums} + {at}*1]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "2:",
            "mov {at:e}, dword ptr [{blocks}]",
            "shl {at}, 6",
            "add {at}, {x0}",
            "tileloadd tmm4, [{w0} + {row}*1]",
            "tileloadd tmm6, [{at} + {apart}*1]",
            "tdpbsud tmm0, tmm4, tmm6",
            "add {w0}, {tile}",
            "add {blocks}, 4",
            "dec {left}",
            "jnz 2b",
            "mov {at}, 64",
            "tilestored [{sums} + {at}*1], tmm0",
            at = out(reg) _,
            blocks = inout(reg) run.blocks.as_ptr() => _,
            left = inout(reg) run.blocks.len() => _,
            w0 = inout(reg) run.weights[f] => _,
            x0 = in(reg) run.starts[p],
            row = in(reg) run.depth * 4,
            apart = in(reg) run.apart * 64,
            tile = in(reg) run.depth * 64,
            sums = in(reg) sums,
            more = in(reg) usize::from(run.more),
            out("tmm0") _, out("tmm4") _, out("tmm6") _,
            options(nostack),
        );
    }
}

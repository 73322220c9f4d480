use super::Work;
#[cfg(target_arch = "x86_64")]
use super::amx;
#[cfg(target_arch = "x86_64")]
use super::avx2::{Avx2, AvxVnni};
#[cfg(target_arch = "x86_64")]
use super::avx512::{Avx512, Avx512Vnni};
use super::lanes::Lanes;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use super::neon::{Neon, NeonDotprod, NeonI8mm};
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use super::portable::Portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::simd128::Simd128;

/// An instruction set, the plainest first.
///
/// ```
/// use burn_compress_kernel::Isa;
/// assert!(Isa::Portable < Isa::Avx2);
/// assert_eq!(Isa::Avx512Vnni.name(), "avx512-vnni");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// What every processor of the kind has: mostly whatever the compiler makes of fixed arrays. A module of
    /// WebAssembly that is compiled with vectors has no others, to be small.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX2, FMA, and dot products of bytes in 256 bits.
    AvxVnni,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// The same, and dot products of bytes.
    Avx512Vnni,
    /// The same, and a matrix unit for bytes, AMX. Linux lets a process use it that asks, which looking
    /// for it does.
    Amx,
    /// The vectors that every aarch64 processor has.
    Neon,
    /// The same, and dot products of bytes with signs.
    NeonDotprod,
    /// The same, and dot products of bytes without and with signs.
    NeonI8mm,
    /// The vectors of WebAssembly. A module is compiled with or without them.
    Simd128,
}

impl Isa {
    /// All of them, the plainest of each kind of processor first.
    pub const ALL: [Self; 10] = [
        Self::Portable,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512,
        Self::Avx512Vnni,
        Self::Amx,
        Self::Neon,
        Self::NeonDotprod,
        Self::NeonI8mm,
        Self::Simd128,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Amx => "amx",
            Self::Neon => "neon",
            Self::NeonDotprod => "neon-dotprod",
            Self::NeonI8mm => "neon-i8mm",
            Self::Simd128 => "simd128",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_here(self) -> bool {
        let avx2 = || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = || {
            avx2()
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
        };
        match self {
            Self::Portable => true,
            Self::Avx2 => avx2(),
            Self::AvxVnni => avx2() && is_x86_feature_detected!("avxvnni"),
            Self::Avx512 => avx512(),
            Self::Avx512Vnni => avx512() && is_x86_feature_detected!("avx512vnni"),
            Self::Amx => Self::Avx512Vnni.is_here() && amx::is_here(),
            _ => false,
        }
    }

    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    fn is_here(self) -> bool {
        use std::arch::is_aarch64_feature_detected;
        let neon = || is_aarch64_feature_detected!("neon");
        let dotprod = || neon() && is_aarch64_feature_detected!("dotprod");
        match self {
            Self::Portable => true,
            Self::Neon => neon(),
            Self::NeonDotprod => dotprod(),
            Self::NeonI8mm => dotprod() && is_aarch64_feature_detected!("i8mm"),
            _ => false,
        }
    }

    // What a module of WebAssembly needs was compared with the machine when it was loaded.
    #[cfg(target_arch = "wasm32")]
    fn is_here(self) -> bool {
        match cfg!(target_feature = "simd128") {
            true => self == Self::Simd128,
            false => self == Self::Portable,
        }
    }

    #[cfg(not(any(
        target_arch = "x86_64",
        all(target_arch = "aarch64", target_endian = "little"),
        target_arch = "wasm32"
    )))]
    fn is_here(self) -> bool {
        self == Self::Portable
    }
}

/// The kernels of an instruction set that this machine has.
///
/// ```
/// use burn_compress_kernel::{Isa, Kernels};
/// let best = Kernels::detect();
/// assert_eq!(Kernels::of(best.isa()), Some(best));
/// assert!(Kernels::of(Isa::Portable).is_some());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernels {
    // Only made where the machine has it.
    isa: Isa,
}

impl Kernels {
    /// The best that this machine has.
    pub fn detect() -> Self {
        let here = Isa::ALL.into_iter().rev().find(|isa| isa.is_here());
        Self {
            isa: here.unwrap_or(Isa::Portable),
        }
    }

    /// Those of one set; none where the machine has it not.
    pub fn of(isa: Isa) -> Option<Self> {
        isa.is_here().then_some(Self { isa })
    }

    /// The set.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// Whether it has a matrix unit for bytes, for which [`PackedWeights::Tiles`](super::PackedWeights) are.
    ///
    /// ```
    /// use burn_compress_kernel::{Isa, Kernels};
    /// let best = Kernels::detect();
    /// assert_eq!(best.has_matrix_unit(), best.isa() == Isa::Amx);
    /// ```
    pub fn has_matrix_unit(self) -> bool {
        self.isa == Isa::Amx
    }

    /// Whether [`PackedWeights::Depthwise`](super::PackedWeights) are faster with it than sparse entries.
    ///
    /// ```
    /// use burn_compress_kernel::{Isa, Kernels};
    /// let portable = Kernels::of(Isa::Portable).unwrap();
    /// assert!(!portable.has_depthwise());
    /// ```
    pub fn has_depthwise(self) -> bool {
        let mut has = false;
        self.dispatch(HasDepthwise(&mut has));
        has
    }

    pub(super) fn dispatch(self, work: impl Work) {
        // SAFETY: a value of this type exists only where the machine has its set.
        unsafe {
            match self.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Amx | Isa::Avx512Vnni => with_avx512_vnni(work),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => with_avx512(work),
                #[cfg(target_arch = "x86_64")]
                Isa::AvxVnni => with_avx_vnni(work),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => with_avx2(work),
                #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
                Isa::NeonI8mm => with_neon_i8mm(work),
                #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
                Isa::NeonDotprod => with_neon_dotprod(work),
                #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
                Isa::Neon => work.run::<Neon>(),
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                _ => work.run::<Simd128>(),
                #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
                _ => work.run::<Portable>(),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn with_avx512_vnni(work: impl Work) {
    // SAFETY: by the caller.
    unsafe { work.run::<Avx512Vnni>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn with_avx512(work: impl Work) {
    // SAFETY: by the caller.
    unsafe { work.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn with_avx_vnni(work: impl Work) {
    // SAFETY: by the caller.
    unsafe { work.run::<AvxVnni>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn with_avx2(work: impl Work) {
    // SAFETY: by the caller.
    unsafe { work.run::<Avx2>() }
}

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn with_neon_i8mm(work: impl Work) {
    // SAFETY: by the caller.
    unsafe { work.run::<NeonI8mm>() }
}

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
#[target_feature(enable = "neon,dotprod")]
unsafe fn with_neon_dotprod(work: impl Work) {
    // SAFETY: by the caller.
    unsafe { work.run::<NeonDotprod>() }
}

struct HasDepthwise<'a>(&'a mut bool);

impl Work for HasDepthwise<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        *self.0 = S::DOT_TAPS;
    }
}

//! Functions of one float, in loops that compilers make vectors of: no branches, no calls.

/// A function of one float. Errors are those beside the function in real numbers, for operands that are
/// numbers; what is smaller than the least normal float may be zero.
///
/// ```
/// use burn_compress_kernel::Function;
/// assert_eq!(Function::HardSwish.value(3.0), 3.0);
/// assert!((Function::Sigmoid.value(1.0) - 0.731_058_6).abs() < 1e-6);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// `x + c`.
    Add(f32),
    /// `x x`.
    Square,
    /// `|x|`.
    Abs,
    /// The root.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// `x` where it is not negative, else `slope x`.
    LeakyRelu {
        /// The slope.
        slope: f32,
    },
    /// `x clamp(x / 6 + 1 / 2, 0, 1)`.
    HardSwish,
    /// `clamp(alpha x + beta, 0, 1)`.
    HardSigmoid {
        /// The factor.
        alpha: f32,
        /// The term.
        beta: f32,
    },
    /// `e^x`, within 2 units in the last place.
    Exp,
    /// `1 / (1 + e^-x)`, within 4 units in the last place.
    Sigmoid,
    /// `x sigmoid(x)`, within 4 units in the last place.
    Silu,
    /// The hyperbolic tangent, within 4 units in the last place.
    Tanh,
    /// The error function, within `3e-7`.
    Erf,
    /// `x/2 (1 + erf(x/√2))`, within `3e-7 |x|`.
    Gelu,
    /// GELU by the hyperbolic tangent, within `3e-7 |x|`.
    GeluTanh,
}

impl Function {
    /// Its value.
    pub fn value(self, x: f32) -> f32 {
        let mut to = [0.0];
        self.each(&[x], &mut to);
        to[0]
    }

    /// Of each element.
    #[inline(always)]
    pub(super) fn each(self, from: &[f32], to: &mut [f32]) {
        // No closures: a compiler may leave those calls, without the instruction set.
        macro_rules! map {
            ($x:ident => $value:expr) => {
                for (to, &$x) in to.iter_mut().zip(from) {
                    *to = $value;
                }
            };
        }
        match self {
            Self::Add(term) => map!(x => x + term),
            Self::Square => map!(x => x * x),
            Self::Abs => map!(x => x.abs()),
            Self::Sqrt => map!(x => x.sqrt()),
            Self::Reciprocal => map!(x => 1.0 / x),
            Self::LeakyRelu { slope } => map!(x => if x < 0.0 { x * slope } else { x }),
            Self::HardSwish => map!(x => x * unit(x / 6.0 + 0.5)),
            Self::HardSigmoid { alpha, beta } => map!(x => unit(alpha * x + beta)),
            Self::Exp => map!(x => exp(x)),
            Self::Sigmoid => map!(x => sigmoid(x)),
            Self::Silu => map!(x => x * sigmoid(x)),
            Self::Tanh => map!(x => tanh(x)),
            Self::Erf => map!(x => erf(x)),
            Self::Gelu => {
                map!(x => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)))
            }
            Self::GeluTanh => map!(x => 0.5 * x * (1.0 + tanh(cubic(x)))),
        }
    }
}

#[inline(always)]
fn cubic(x: f32) -> f32 {
    const ROOT: f32 = 0.797_884_6;
    ROOT * (x + 0.044_715 * x * x * x)
}

#[inline(always)]
fn unit(x: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    if x < 1.0 { x } else { 1.0 }
}

// Above it the result is infinite, below minus that zero.
const LARGEST: f32 = 88.722_83;
// Added and taken away, it rounds; its low bits are then the whole number.
const ROUND: f32 = 12_582_912.0;

// Cephes, expf: `2^n e^r`, of the nearest whole number and a polynomial within half of ln 2.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let bounded = if x < LARGEST { x } else { LARGEST };
    let bounded = if bounded > -LARGEST {
        bounded
    } else {
        -LARGEST
    };
    let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, of which the first times any n is exact.
    let r = bounded - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_2e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    // 2^n by halves: n is up to 128, which no exponent holds.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    let value = p * power(half) * power(n - half);
    if x > LARGEST { f32::INFINITY } else { value }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

// Cephes, tanhf: an odd polynomial near zero, exponentials beyond.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let p = -5.704_988_7e-3;
    let p = p * square + 2.063_908_8e-2;
    let p = p * square - 5.373_971_6e-2;
    let p = p * square + 1.333_144_2e-1;
    let p = p * square - 3.333_328e-1;
    let near = p * square * x + x;
    let bounded = if size < 10.0 { size } else { 10.0 };
    let far = (1.0 - 2.0 / (exp(2.0 * bounded) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

// The series near zero; Abramowitz and Stegun, 7.1.26, beyond.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let p = 1.205_533_3e-4;
    let p = p * square - 8.548_327e-4;
    let p = p * square + 5.223_977_5e-3;
    let p = p * square - 2.686_617e-2;
    let p = p * square + 1.128_379_2e-1;
    let p = p * square - 3.761_263_8e-1;
    let near = p * square * x + std::f32::consts::FRAC_2_SQRT_PI * x;
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let p = 1.061_405_4;
    let p = p * t - 1.453_152;
    let p = p * t + 1.421_413_7;
    let p = p * t - 0.284_496_74;
    let p = p * t + 0.254_829_6;
    let far = (1.0 - p * t * exp(-size * size)).copysign(x);
    if size < 0.65 { near } else { far }
}

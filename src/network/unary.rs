//! Functions of one number.

use serde::{Deserialize, Serialize};

/// A function of one number, applied to each element.
///
/// ```
/// use burn_compress::network::Unary;
/// assert_eq!(Unary::Relu.value(-1.0), 0.0);
/// assert_eq!(Unary::Clamp { min: 0.0, max: 6.0 }.value(7.0), 6.0);
/// assert_eq!(Unary::HardSwish.value(3.0), 3.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // each is a textbook's function of that name
#[non_exhaustive]
pub enum Unary {
    Relu,
    /// Between two bounds; ReLU6 is `0.0` to `6.0`. A bound may be infinite.
    Clamp {
        #[serde(with = "super::bound")]
        min: f32,
        #[serde(with = "super::bound")]
        max: f32,
    },
    LeakyRelu {
        slope: f32,
    },
    Sigmoid,
    Tanh,
    /// `x/2 (1 + erf(x/√2))`.
    Gelu,
    /// The approximation of GELU by the hyperbolic tangent.
    GeluTanh,
    /// `x sigmoid(x)`.
    Silu,
    /// `x clamp(x/6 + 1/2, 0, 1)`.
    HardSwish,
    /// `clamp(alpha x + beta, 0, 1)`.
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x + c`.
    AddScalar(f32),
    /// `x c`.
    MulScalar(f32),
    /// `x^c`.
    Power(f32),
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Erf,
    Abs,
    /// `ln(1 + x)`.
    LogOnePlus,
    /// `ln(sigmoid(x))`.
    LogSigmoid,
    Sin,
    Cos,
    /// -1, 0 or 1.
    Sign,
    Floor,
    Ceil,
    /// To the nearest whole number, ties to even.
    Round,
}

impl Unary {
    /// The function's value.
    pub fn value(self, x: f32) -> f32 {
        match self {
            Self::Relu => x.max(0.0),
            Self::Clamp { min, max } => x.max(min).min(max),
            Self::LeakyRelu { slope } => match x < 0.0 {
                true => x * slope,
                false => x,
            },
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Gelu => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => {
                let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::AddScalar(c) => x + c,
            Self::MulScalar(c) => x * c,
            Self::Power(c) => x.powf(c),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => 1.0 / x,
            Self::Erf => erf(x),
            Self::Abs => x.abs(),
            Self::LogOnePlus => x.ln_1p(),
            Self::LogSigmoid => x.min(0.0) - (-x.abs()).exp().ln_1p(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Sign => match x == 0.0 {
                true => 0.0,
                false => x.signum(),
            },
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Round => x.round_ties_even(),
        }
    }

    /// The name that prints and reports show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Clamp { .. } => "clamp",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Gelu | Self::GeluTanh => "gelu",
            Self::Silu => "silu",
            Self::HardSwish => "hard_swish",
            Self::HardSigmoid { .. } => "hard_sigmoid",
            Self::AddScalar(_) => "add_scalar",
            Self::MulScalar(_) => "multiply_scalar",
            Self::Power(_) => "power",
            Self::Exp => "exp",
            Self::Log => "log",
            Self::Sqrt => "sqrt",
            Self::Reciprocal => "reciprocal",
            Self::Erf => "erf",
            Self::Abs => "abs",
            Self::LogOnePlus => "log_one_plus",
            Self::LogSigmoid => "log_sigmoid",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Sign => "sign",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Round => "round",
        }
    }
}

// Abramowitz and Stegun 7.1.26 in double precision: within 1.5e-7, the precision of f32.
fn erf(x: f32) -> f32 {
    let x = f64::from(x);
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let polynomial = t
        * (0.254_829_592
            + t * (-0.284_496_736
                + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    (x.signum() * (1.0 - polynomial * (-x * x).exp())) as f32
}

//! Functions of one number, and operations that stay in float.

use burn::tensor::activation::{
    gelu, gelu_approximate, hard_sigmoid, hard_swish, leaky_relu, log_sigmoid, mish, relu, relu6,
    sigmoid, silu, softplus,
};
use burn::tensor::{Int, Tensor};

/// A function, where need be of what lies in its domain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    Relu,
    Relu6,
    Clamp(f32, f32),
    ClampMin(f32),
    ClampMax(f32),
    LeakyRelu(f64),
    Sigmoid,
    Tanh,
    Gelu,
    GeluTanh,
    Silu,
    HardSwish,
    HardSigmoid(f64, f64),
    Add(f32),
    Multiply(f32),
    Negate,
    OneMinus,
    Square,
    Cube,
    PowerOfPositive(f32),
    ExpOfSmall,
    LogOfPositive,
    SqrtOfPositive,
    ReciprocalOfPositive,
    Erf,
    Abs,
    LogOnePlus,
    LogSigmoid,
    Softplus,
    Mish,
    Sin,
    Cos,
    Sign,
    Floor,
    Ceil,
    Round,
}

impl Function {
    pub const ALL: [Self; 36] = [
        Self::Relu,
        Self::Relu6,
        Self::Clamp(-0.5, 0.75),
        Self::ClampMin(-0.25),
        Self::ClampMax(0.5),
        Self::LeakyRelu(0.1),
        Self::Sigmoid,
        Self::Tanh,
        Self::Gelu,
        Self::GeluTanh,
        Self::Silu,
        Self::HardSwish,
        Self::HardSigmoid(0.2, 0.5),
        Self::Add(-0.7),
        Self::Multiply(1.7),
        Self::Negate,
        Self::OneMinus,
        Self::Square,
        Self::Cube,
        Self::PowerOfPositive(0.6),
        Self::ExpOfSmall,
        Self::LogOfPositive,
        Self::SqrtOfPositive,
        Self::ReciprocalOfPositive,
        Self::Erf,
        Self::Abs,
        Self::LogOnePlus,
        Self::LogSigmoid,
        Self::Softplus,
        Self::Mish,
        Self::Sin,
        Self::Cos,
        Self::Sign,
        Self::Floor,
        Self::Ceil,
        Self::Round,
    ];

    /// Those after which a value is still exact, however it was computed.
    pub fn keeps_bits(self) -> bool {
        use Function::{Abs, Ceil, Clamp, ClampMax, ClampMin, Floor, Relu, Relu6, Round, Sign};
        matches!(
            self,
            Relu | Relu6
                | Clamp(..)
                | ClampMin(_)
                | ClampMax(_)
                | Abs
                | Sign
                | Floor
                | Ceil
                | Round
        )
    }

    /// Those that an error of one rounding can make differ by 1.
    pub fn jumps(self) -> bool {
        matches!(self, Self::Sign | Self::Floor | Self::Ceil | Self::Round)
    }

    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        let positive = |x: Tensor<D>| x.abs() + 0.5;
        match self {
            Self::Relu => relu(x),
            Self::Relu6 => relu6(x),
            Self::Clamp(low, high) => x.clamp(low, high),
            Self::ClampMin(low) => x.clamp_min(low),
            Self::ClampMax(high) => x.clamp_max(high),
            Self::LeakyRelu(slope) => leaky_relu(x, slope),
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_approximate(x),
            Self::Silu => silu(x),
            Self::HardSwish => hard_swish(x),
            Self::HardSigmoid(alpha, beta) => hard_sigmoid(x, alpha, beta),
            Self::Add(c) => x + c,
            Self::Multiply(c) => x * c,
            Self::Negate => -x,
            Self::OneMinus => Tensor::ones_like(&x) - x,
            Self::Square => x.clone() * x,
            Self::Cube => x.powi_scalar(3),
            Self::PowerOfPositive(c) => positive(x).powf_scalar(c),
            Self::ExpOfSmall => x.clamp(-3.0, 2.0).exp(),
            Self::LogOfPositive => positive(x).log(),
            Self::SqrtOfPositive => positive(x).sqrt(),
            Self::ReciprocalOfPositive => positive(x).recip(),
            Self::Erf => x.erf(),
            Self::Abs => x.abs(),
            Self::LogOnePlus => x.abs().log1p(),
            Self::LogSigmoid => log_sigmoid(x),
            Self::Softplus => softplus(x, 1.0),
            Self::Mish => mish(x),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Sign => x.sign(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Round => x.round(),
        }
    }
}

/// An operation along an axis that has no integer form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Along {
    Max,
    Min,
    Product,
    CumulativeSum,
    CumulativeProduct,
    CumulativeMax,
    CumulativeMin,
    LogSoftmax,
    Sort,
    SortDescending,
    /// The last element, then the first.
    Select,
    /// Each element's place from the end.
    Gather,
}

impl Along {
    pub const ALL: [Self; 12] = [
        Self::Max,
        Self::Min,
        Self::Product,
        Self::CumulativeSum,
        Self::CumulativeProduct,
        Self::CumulativeMax,
        Self::CumulativeMin,
        Self::LogSoftmax,
        Self::Sort,
        Self::SortDescending,
        Self::Select,
        Self::Gather,
    ];

    pub fn apply<const D: usize>(self, x: Tensor<D>, axis: usize) -> Tensor<D> {
        let (dims, device) = (x.dims(), x.device());
        let last = dims[axis] as i64 - 1;
        match self {
            Self::Max => x.max_dim(axis),
            Self::Min => x.min_dim(axis),
            Self::Product => x.prod_dim(axis),
            Self::CumulativeSum => x.cumsum(axis),
            Self::CumulativeProduct => x.cumprod(axis),
            Self::CumulativeMax => x.cummax(axis),
            Self::CumulativeMin => x.cummin(axis),
            Self::LogSoftmax => burn::tensor::activation::log_softmax(x, axis),
            Self::Sort => x.sort(axis),
            Self::SortDescending => x.sort_descending(axis),
            Self::Select => x.select(axis, Tensor::from_data([last, 0], &device)),
            Self::Gather => {
                let places: Vec<i64> = (0..=last).rev().collect();
                let mut shape = [1; D];
                shape[axis] = dims[axis];
                let places = Tensor::<1, Int>::from_data(places.as_slice(), &device);
                x.gather(axis, places.reshape(shape).expand(dims))
            }
        }
    }
}

/// An operation on two tensors that has no integer form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pair {
    PowerOfPositive,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Equal,
    NotEqual,
    Where,
    Fill,
}

impl Pair {
    pub const ALL: [Self; 9] = [
        Self::PowerOfPositive,
        Self::Greater,
        Self::GreaterEqual,
        Self::Less,
        Self::LessEqual,
        Self::Equal,
        Self::NotEqual,
        Self::Where,
        Self::Fill,
    ];

    /// Whether an error of one rounding can make the result differ by much.
    pub fn jumps(self) -> bool {
        self != Self::PowerOfPositive
    }

    pub fn apply<const D: usize>(self, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
        match self {
            Self::PowerOfPositive => (a.abs() + 0.5).powf(b.clamp(-2.0, 2.0)),
            Self::Greater => a.greater(b).float(),
            Self::GreaterEqual => a.greater_equal(b).float(),
            Self::Less => a.lower(b).float(),
            Self::LessEqual => a.lower_equal(b).float(),
            Self::Equal => a.equal(b).float(),
            Self::NotEqual => a.not_equal(b).float(),
            Self::Where => b.clone().mask_where(a.clone().greater_elem(0.0), a * 0.5),
            Self::Fill => b.mask_fill(a.lower_elem(0.25), 0.75),
        }
    }
}

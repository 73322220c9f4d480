//! What a node of a random network computes, as a user of Burn writes it.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::conv::{
    Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, ConvTranspose1d, ConvTranspose1dConfig,
    ConvTranspose2d, ConvTranspose2dConfig,
};
use burn::nn::{
    BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig,
    LayerNorm, LayerNormConfig, Linear, LinearConfig, PRelu, PReluConfig, PaddingConfig1d,
    PaddingConfig2d,
};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn_compress::network::Binary;

use super::any::{Any, map};
use super::function::{Along, Function, Pair};
use super::movement::Movement;
use super::pool::Pool;
use crate::backends::device::device;
use crate::backends::models::spread;

/// Rows and columns; of a tensor with rows alone, the second.
pub type Two = [usize; 2];

/// Before and after.
pub type Padding = [(usize, usize); 2];

#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::enum_variant_names, reason = "as Burn names it")]
pub enum Layer {
    Convolution {
        out: usize,
        kernel: Two,
        stride: Two,
        dilation: Two,
        padding: Padding,
        groups: usize,
        bias: bool,
    },
    Transposed {
        out: usize,
        kernel: Two,
        stride: Two,
        dilation: Two,
        padding: Two,
        more: Two,
        groups: usize,
        bias: bool,
    },
    Linear {
        out: usize,
        bias: bool,
    },
    /// Of the channels of all images as rows.
    LinearOfRows {
        out: usize,
    },
    BatchNorm,
    LayerNorm {
        bias: bool,
    },
    GroupNorm {
        groups: usize,
        affine: bool,
    },
    InstanceNorm,
    PRelu {
        each: bool,
    },
    Function(Function),
    /// Two values; axes of length 1 repeat.
    Binary(Binary),
    /// A value and a constant of the pass, which has these axes.
    WithConstant(Binary, Vec<bool>),
    /// `sigmoid` of the mean over all places as a factor.
    Gate,
    /// Of two values.
    MatMul,
    /// Of a value and itself transposed.
    Gram,
    Softmax {
        axis: usize,
    },
    Pool(Pool),
    Mean {
        axes: Vec<usize>,
    },
    Sum {
        axes: Vec<usize>,
    },
    /// Any number of values.
    Concatenate {
        axis: usize,
    },
    Movement(Movement),
    Along(Along, usize),
    /// Two values.
    Pair(Pair),
}

/// The parameters of a node.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Part {
    Conv1d(Conv1d),
    Conv2d(Conv2d),
    Up1d(ConvTranspose1d),
    Up2d(ConvTranspose2d),
    Linear(Linear),
    BatchNorm(BatchNorm),
    LayerNorm(LayerNorm),
    GroupNorm(GroupNorm),
    InstanceNorm(InstanceNorm),
    PRelu(PRelu),
}

impl Layer {
    /// Its parameters for an input of these dimensions, other numbers for each salt.
    pub fn part(&self, dims: &[usize], salt: usize) -> Option<Part> {
        let device = &device();
        let channels = dims[1];
        let part = match *self {
            Self::Convolution {
                out,
                kernel,
                stride,
                dilation,
                padding: [(top, bottom), (left, right)],
                groups,
                bias,
            } => match dims.len() {
                3 => Part::Conv1d(
                    Conv1dConfig::new(channels, out, kernel[1])
                        .with_stride(stride[1])
                        .with_dilation(dilation[1])
                        .with_padding(PaddingConfig1d::Explicit(left, right))
                        .with_groups(groups)
                        .with_bias(bias)
                        .init(device),
                ),
                _ => Part::Conv2d(
                    Conv2dConfig::new([channels, out], kernel)
                        .with_stride(stride)
                        .with_dilation(dilation)
                        .with_padding(PaddingConfig2d::Explicit(top, left, bottom, right))
                        .with_groups(groups)
                        .with_bias(bias)
                        .init(device),
                ),
            },
            Self::Transposed {
                out,
                kernel,
                stride,
                dilation,
                padding,
                more,
                groups,
                bias,
            } => match dims.len() {
                3 => Part::Up1d(
                    ConvTranspose1dConfig::new([channels, out], kernel[1])
                        .with_stride(stride[1])
                        .with_dilation(dilation[1])
                        .with_padding(padding[1])
                        .with_padding_out(more[1])
                        .with_groups(groups)
                        .with_bias(bias)
                        .init(device),
                ),
                _ => Part::Up2d(
                    ConvTranspose2dConfig::new([channels, out], kernel)
                        .with_stride(stride)
                        .with_dilation(dilation)
                        .with_padding(padding)
                        .with_padding_out(more)
                        .with_groups(groups)
                        .with_bias(bias)
                        .init(device),
                ),
            },
            Self::Linear { out, bias } => {
                let config = LinearConfig::new(dims[dims.len() - 1], out).with_bias(bias);
                Part::Linear(config.init(device))
            }
            Self::LinearOfRows { out } => {
                let each = dims[2..].iter().product();
                Part::Linear(LinearConfig::new(each, out).init(device))
            }
            Self::BatchNorm => Part::BatchNorm(BatchNormConfig::new(channels).init(device)),
            Self::LayerNorm { bias } => Part::LayerNorm(
                LayerNormConfig::new(dims[dims.len() - 1])
                    .with_bias(bias)
                    .init(device),
            ),
            Self::GroupNorm { groups, affine } => Part::GroupNorm(
                GroupNormConfig::new(groups, channels)
                    .with_affine(affine)
                    .init(device),
            ),
            Self::InstanceNorm => {
                Part::InstanceNorm(InstanceNormConfig::new(channels).init(device))
            }
            Self::PRelu { each } => {
                let config =
                    PReluConfig::new().with_num_parameters(if each { channels } else { 1 });
                Part::PRelu(config.init(device))
            }
            _ => return None,
        };
        Some(part.map(&mut Fill {
            salt: salt * 7_000_003,
            name: String::new(),
        }))
    }

    /// Whether it has parameters.
    pub fn has_part(&self) -> bool {
        let norms = matches!(
            self,
            Self::BatchNorm
                | Self::LayerNorm { .. }
                | Self::GroupNorm { .. }
                | Self::InstanceNorm
                | Self::PRelu { .. }
        );
        norms || self.is_product()
    }

    /// Whether it gives the same bits of the same, however it is computed.
    pub fn keeps_bits(&self) -> bool {
        match self {
            Self::Function(function) => function.keeps_bits(),
            Self::Pool(Pool::Max { .. }) | Self::Concatenate { .. } => true,
            Self::Movement(movement) => !matches!(movement, Movement::Bilinear(..)),
            Self::Pair(pair) => pair.jumps() && *pair != Pair::Where,
            _ => false,
        }
    }

    /// Whether it has a weight.
    pub fn is_product(&self) -> bool {
        matches!(
            self,
            Self::Convolution { .. }
                | Self::Transposed { .. }
                | Self::Linear { .. }
                | Self::LinearOfRows { .. }
        )
    }

    pub fn apply(&self, part: Option<&Part>, inputs: Vec<Any>) -> Any {
        let mut inputs = inputs.into_iter();
        let x = inputs.next().expect("a node has an input");
        match (self, part) {
            (Self::LinearOfRows { out }, Some(Part::Linear(linear))) => {
                let dims = x.dims();
                let each: usize = dims[2..].iter().product();
                let rows = x.reshape(&[dims[0] * dims[1], each]);
                let y = linear.forward(rows.rank::<2>());
                Any::of(y.reshape([dims[0], dims[1], *out]))
            }
            (_, Some(part)) => part.apply(x),
            (Self::Function(function), _) => map!(x, x => function.apply(x)),
            (Self::Binary(binary), _) => match (x, inputs.next().expect("two values")) {
                (Any::Two(a), b) => Any::of(arithmetic(*binary, a, b.rank())),
                (Any::Three(a), b) => Any::of(arithmetic(*binary, a, b.rank())),
                (Any::Four(a), b) => Any::of(arithmetic(*binary, a, b.rank())),
            },
            (Self::WithConstant(binary, axes), _) => {
                map!(x, x => { let c = constant(&x, axes); arithmetic(*binary, x, c) })
            }
            (Self::Gate, _) => match x {
                Any::Three(x) => {
                    Any::of(x.clone() * burn::tensor::activation::sigmoid(x.mean_dim(2)))
                }
                x => {
                    let x = x.rank::<4>();
                    Any::of(x.clone() * burn::tensor::activation::sigmoid(x.mean_dims(&[2, 3])))
                }
            },
            (Self::MatMul, _) => match (x, inputs.next().expect("two values")) {
                (Any::Two(a), b) => Any::of(a.matmul(b.rank())),
                (Any::Three(a), b) => Any::of(a.matmul(b.rank())),
                (Any::Four(a), b) => Any::of(a.matmul(b.rank())),
            },
            (Self::Gram, _) => match x {
                Any::Three(x) => Any::of(x.clone().matmul(x.swap_dims(1, 2))),
                x => {
                    let x = x.rank::<4>();
                    Any::of(x.clone().matmul(x.swap_dims(2, 3)))
                }
            },
            (Self::Softmax { axis }, _) => map!(x, x => softmax(x, *axis)),
            (Self::Pool(pool), _) => pool.apply(x),
            (Self::Mean { axes }, _) => map!(x, x => x.mean_dims(&signed(axes))),
            (Self::Sum { axes }, _) => map!(x, x => x.sum_dims(&signed(axes))),
            (Self::Concatenate { axis }, _) => {
                Any::concatenate(std::iter::once(x).chain(inputs).collect(), *axis)
            }
            (Self::Movement(movement), _) => movement.apply(x),
            (Self::Along(along, axis), _) => map!(x, x => along.apply(x, *axis)),
            (Self::Pair(pair), _) => match (x, inputs.next().expect("two values")) {
                (Any::Two(a), b) => Any::of(pair.apply(a, b.rank())),
                (Any::Three(a), b) => Any::of(pair.apply(a, b.rank())),
                (Any::Four(a), b) => Any::of(pair.apply(a, b.rank())),
            },
            _ => unreachable!("a layer without its parameters"),
        }
    }
}

impl Part {
    fn apply(&self, x: Any) -> Any {
        match self {
            Self::Conv1d(conv) => Any::of(conv.forward(x.rank())),
            Self::Conv2d(conv) => Any::of(conv.forward(x.rank())),
            Self::Up1d(conv) => Any::of(conv.forward(x.rank())),
            Self::Up2d(conv) => Any::of(conv.forward(x.rank())),
            Self::Linear(linear) => map!(x, x => linear.forward(x)),
            Self::BatchNorm(norm) => map!(x, x => norm.forward(x)),
            Self::LayerNorm(norm) => map!(x, x => norm.forward(x)),
            Self::GroupNorm(norm) => map!(x, x => norm.forward(x)),
            Self::InstanceNorm(norm) => map!(x, x => norm.forward(x)),
            Self::PRelu(function) => map!(x, x => function.forward(x)),
        }
    }
}

fn signed(axes: &[usize]) -> Vec<isize> {
    axes.iter().map(|&axis| axis as isize).collect()
}

fn arithmetic<const D: usize>(binary: Binary, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    match binary {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / (b.abs() + 0.5),
    }
}

// Numbers that differ along the axes that it has.
fn constant<const D: usize>(x: &Tensor<D>, axes: &[bool]) -> Tensor<D> {
    let mut dims = x.dims();
    dims[0] = 1;
    for (length, has) in dims.iter_mut().zip(axes) {
        if !has {
            *length = 1;
        }
    }
    let count: usize = dims.iter().product();
    let numbers: Vec<f32> = (0..count).map(|i| 2.0 * spread(i + 91) - 0.8).collect();
    let options = (&x.device(), x.dtype());
    Tensor::<1>::from_data(numbers.as_slice(), options).reshape(dims)
}

// Weights as large as He et al. 2015 would have them, statistics and factors that a norm cannot ignore.
struct Fill {
    salt: usize,
    name: String,
}

impl ModuleMapper for Fill {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.name = name.to_string();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dims = param.dims();
        let count: usize = dims.iter().product();
        let inputs = match D {
            2 => dims[0], // of a linear layer: [in, out]
            _ => count / dims[0],
        };
        let (low, high) = match self.name.as_str() {
            "running_var" | "gamma" => (0.5, 1.5),
            _ if D == 1 => (-0.3, 0.3),
            _ => {
                let bound = (6.0 / inputs as f32).sqrt();
                (-bound, bound)
            }
        };
        self.salt += 1_000_003;
        let numbers = (0..count).map(|index| low + (high - low) * spread(self.salt + index));
        let data = burn::tensor::TensorData::new(numbers.collect::<Vec<f32>>(), dims);
        param.map(|tensor| {
            let required = tensor.is_require_grad();
            Tensor::from_data(data, &tensor.device()).set_require_grad(required)
        })
    }
}

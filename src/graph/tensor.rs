use std::any::Any;

use burn::tensor::{Device, Tensor};

use super::GraphError;

/// A float tensor of rank 1 to 6, known only at run time.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub(crate) enum AnyTensor {
    R1(Tensor<1>),
    R2(Tensor<2>),
    R3(Tensor<3>),
    R4(Tensor<4>),
    R5(Tensor<5>),
    R6(Tensor<6>),
}

/// Does the same with a tensor of any rank: `with_rank!(any, tensor => expression)`.
macro_rules! with_rank {
    ($any:expr, $tensor:ident => $body:expr) => {
        match $any {
            $crate::graph::tensor::AnyTensor::R1($tensor) => $body,
            $crate::graph::tensor::AnyTensor::R2($tensor) => $body,
            $crate::graph::tensor::AnyTensor::R3($tensor) => $body,
            $crate::graph::tensor::AnyTensor::R4($tensor) => $body,
            $crate::graph::tensor::AnyTensor::R5($tensor) => $body,
            $crate::graph::tensor::AnyTensor::R6($tensor) => $body,
        }
    };
}
/// The same, giving a tensor of the same rank.
macro_rules! map_rank {
    ($any:expr, $tensor:ident => $body:expr) => {
        $crate::graph::tensor::with_rank!($any, $tensor => $crate::graph::tensor::AnyTensor::from($body))
    };
}
pub(crate) use {map_rank, with_rank};

macro_rules! ranks {
    ($($variant:ident $rank:literal),*) => {
        $(
            impl From<Tensor<$rank>> for AnyTensor {
                fn from(tensor: Tensor<$rank>) -> Self {
                    Self::$variant(tensor)
                }
            }
        )*

        impl AnyTensor {
            /// The tensor, whose rank is known here. A graph checks ranks when it is built; a tensor of
            /// another rank with as many elements is reshaped by its leading axes.
            pub fn rank<const D: usize>(self) -> Tensor<D> {
                let dims = self.dims();
                let mut wanted = [1; D];
                for (to, from) in wanted.iter_mut().rev().zip(dims.iter().rev()) {
                    *to = *from;
                }
                if dims.len() > D {
                    wanted[0] = dims[..=dims.len() - D].iter().product();
                }
                with_rank!(self, tensor => match same_type(tensor.clone()) {
                    Some(tensor) => tensor,
                    None => tensor.reshape(wanted),
                })
            }

            /// A tensor of a rank that a caller chose; none above [`MAX_RANK`].
            pub fn of<const D: usize>(tensor: Tensor<D>) -> Option<Self> {
                match D {
                    $($rank => same_type(tensor).map(Self::$variant),)*
                    _ => None,
                }
            }

            /// The same elements in other dimensions, at most six.
            pub fn reshape(self, dims: &[usize]) -> Self {
                match dims.len() {
                    $(
                        $rank => {
                            let mut shape = [0; $rank];
                            shape.copy_from_slice(dims);
                            with_rank!(self, tensor => Self::$variant(tensor.reshape(shape)))
                        }
                    )*
                    // Checked when the graph is built.
                    _ => self,
                }
            }

            /// Axes of length 1 repeated; missing axes come first.
            pub fn expand(self, dims: &[usize]) -> Self {
                match dims.len() {
                    $(
                        $rank => {
                            let mut shape = [0; $rank];
                            shape.copy_from_slice(dims);
                            Self::$variant(self.rank::<$rank>().expand(shape))
                        }
                    )*
                    _ => self,
                }
            }

            /// The axes in another order.
            pub fn permute(self, axes: &[usize]) -> Self {
                match axes.len() {
                    $(
                        $rank => {
                            let mut order = [0isize; $rank];
                            for (to, from) in order.iter_mut().zip(axes) {
                                *to = *from as isize;
                            }
                            Self::$variant(self.rank::<$rank>().permute(order))
                        }
                    )*
                    _ => self,
                }
            }

            /// One after the other along an axis; all of the rank of the first.
            pub fn concatenate(tensors: Vec<Self>, axis: usize) -> Self {
                match tensors.first().map_or(0, |tensor| tensor.dims().len()) {
                    $(
                        $rank => {
                            let tensors = tensors.into_iter().map(Self::rank::<$rank>).collect();
                            Self::$variant(Tensor::cat(tensors, axis))
                        }
                    )*
                    _ => unreachable!("a graph concatenates at least one tensor of rank 1 to 6"),
                }
            }
        }
    };
}
ranks!(R1 1, R2 2, R3 3, R4 4, R5 5, R6 6);

// The same tensor, if the types are the same after all.
fn same_type<A: 'static, B: 'static>(tensor: A) -> Option<B> {
    let tensor: Box<dyn Any> = Box::new(tensor);
    tensor.downcast().ok().map(|tensor| *tensor)
}

impl AnyTensor {
    /// Where it is.
    pub fn device(&self) -> Device {
        with_rank!(self, tensor => tensor.device())
    }

    /// Its elements in the processor's memory, the last axis fastest; `what` it is, for the error.
    pub fn read(self, what: &str) -> Result<Vec<f32>, GraphError> {
        let values = with_rank!(self, tensor => tensor.try_into_vec_as::<f32>());
        values.map_err(|error| GraphError::Device {
            what: what.to_string(),
            reason: error.to_string(),
        })
    }

    /// Whether a gradient flows through it.
    pub fn is_tracked(&self) -> bool {
        with_rank!(self, tensor => tensor.is_tracked())
    }

    /// Whether it is on a device that can track gradients.
    pub fn is_autodiff(&self) -> bool {
        with_rank!(self, tensor => tensor.is_autodiff())
    }

    /// On the same device with gradients, if it is not and is asked to be.
    pub fn tracked(self, autodiff: bool) -> Self {
        match autodiff && !self.is_autodiff() {
            true => map_rank!(self, tensor => Tensor::from_inner(tensor)),
            false => self,
        }
    }

    /// The greater of two, element by element, or the lesser; of equal dimensions.
    pub fn extreme(self, other: Self, greater: bool) -> Self {
        let dims = self.dims();
        macro_rules! apply {
            ($d:literal) => {{
                let (a, b) = (self.rank::<$d>(), other.rank::<$d>());
                Self::from(match greater {
                    true => a.max_pair(b),
                    false => a.min_pair(b),
                })
            }};
        }
        match dims.len() {
            1 => apply!(1),
            2 => apply!(2),
            3 => apply!(3),
            4 => apply!(4),
            5 => apply!(5),
            _ => apply!(6),
        }
    }

    /// Its dimensions.
    pub fn dims(&self) -> Vec<usize> {
        with_rank!(self, tensor => tensor.dims().to_vec())
    }

    /// From elements in order, the last axis fastest.
    pub fn from_values(values: &[f32], dims: &[usize], device: &Device) -> Self {
        Self::from(Tensor::<1>::from_data(values, device)).reshape(dims)
    }

    /// Elementwise on two tensors of dimensions that broadcast.
    pub fn binary(self, other: Self, f: crate::network::Binary) -> Self {
        use crate::network::Binary;
        let rank = self.dims().len().max(other.dims().len());
        macro_rules! apply {
            ($d:literal) => {{
                let (a, b) = (self.rank::<$d>(), other.rank::<$d>());
                AnyTensor::from(match f {
                    Binary::Add => a + b,
                    Binary::Subtract => a - b,
                    Binary::Multiply => a * b,
                    Binary::Divide => a / b,
                })
            }};
        }
        match rank {
            1 => apply!(1),
            2 => apply!(2),
            3 => apply!(3),
            4 => apply!(4),
            5 => apply!(5),
            _ => apply!(6),
        }
    }
}

/// A vector of one number for each channel, in a form that broadcasts.
pub(crate) fn along(vector: AnyTensor, axis: usize, rank: usize) -> AnyTensor {
    let mut dims = vec![1; rank];
    dims[axis] = vector.dims().iter().product();
    vector.reshape(&dims)
}

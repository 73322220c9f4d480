//! Tensors whose rank a network decides.

use burn::tensor::{Tensor, TensorData};

use crate::backends::device::device;

/// A tensor of two to four axes.
#[derive(Debug, Clone)]
pub enum Any {
    Two(Tensor<2>),
    Three(Tensor<3>),
    Four(Tensor<4>),
}

/// Does the same with a tensor of any rank.
macro_rules! with {
    ($any:expr, $x:ident => $body:expr) => {
        match $any {
            Any::Two($x) => $body,
            Any::Three($x) => $body,
            Any::Four($x) => $body,
        }
    };
}

/// The same, giving a tensor again.
macro_rules! map {
    ($any:expr, $x:ident => $body:expr) => {
        match $any {
            $crate::fuzz::any::Any::Two($x) => $crate::fuzz::any::Any::of($body),
            $crate::fuzz::any::Any::Three($x) => $crate::fuzz::any::Any::of($body),
            $crate::fuzz::any::Any::Four($x) => $crate::fuzz::any::Any::of($body),
        }
    };
}

pub(super) use map;

impl Any {
    pub fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        match D {
            2 => Self::Two(same(tensor)),
            3 => Self::Three(same(tensor)),
            _ => Self::Four(same(tensor)),
        }
    }

    /// The tensor, of this rank.
    pub fn rank<const D: usize>(self) -> Tensor<D> {
        with!(self, x => same(x))
    }

    pub fn new(values: Vec<f32>, dims: &[usize]) -> Self {
        let data = TensorData::new(values, dims);
        match dims.len() {
            2 => Self::Two(Tensor::from_data(data, &device())),
            3 => Self::Three(Tensor::from_data(data, &device())),
            _ => Self::Four(Tensor::from_data(data, &device())),
        }
    }

    pub fn dims(&self) -> Vec<usize> {
        with!(self, x => x.dims().to_vec())
    }

    pub fn values(&self) -> Vec<f32> {
        with!(self, x => x.clone().into_data().try_to_vec::<f32>().unwrap())
    }

    pub fn reshape(self, dims: &[usize]) -> Self {
        match *dims {
            [a, b] => Self::Two(with!(self, x => x.reshape([a, b]))),
            [a, b, c] => Self::Three(with!(self, x => x.reshape([a, b, c]))),
            [a, b, c, d] => Self::Four(with!(self, x => x.reshape([a, b, c, d]))),
            _ => panic!("{dims:?}"),
        }
    }

    pub fn permute(self, axes: &[usize]) -> Self {
        let axes: Vec<isize> = axes.iter().map(|&axis| axis as isize).collect();
        match self {
            Self::Two(x) => Self::Two(x.permute([axes[0], axes[1]])),
            Self::Three(x) => Self::Three(x.permute([axes[0], axes[1], axes[2]])),
            Self::Four(x) => Self::Four(x.permute([axes[0], axes[1], axes[2], axes[3]])),
        }
    }

    /// One after the other along an axis.
    pub fn concatenate(all: Vec<Self>, axis: usize) -> Self {
        match all[0] {
            Self::Two(_) => Self::of(Tensor::cat(
                all.into_iter().map(Self::rank::<2>).collect(),
                axis,
            )),
            Self::Three(_) => Self::of(Tensor::cat(
                all.into_iter().map(Self::rank::<3>).collect(),
                axis,
            )),
            Self::Four(_) => Self::of(Tensor::cat(
                all.into_iter().map(Self::rank::<4>).collect(),
                axis,
            )),
        }
    }
}

fn same<const D: usize, const E: usize>(tensor: Tensor<D>) -> Tensor<E> {
    let tensor: Box<dyn std::any::Any> = Box::new(tensor);
    *tensor.downcast().expect("the rank is known")
}

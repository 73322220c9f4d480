//! Elements that change their place.

use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, PadMode};
use burn::tensor::{Slice, Tensor};

use super::any::{Any, map};
use super::layer::Two;

#[derive(Debug, Clone, PartialEq)]
pub enum Movement {
    /// Elements before and after, of each axis.
    Pad(Vec<(usize, usize)>, f32),
    /// Channels of zeros before and after.
    ZerosBeside(usize, usize),
    /// First element, end and step of each axis but the first.
    Slice(Vec<(usize, usize, usize)>),
    Flip(usize),
    /// The axes in another order.
    Permute(Vec<usize>),
    /// The dimensions of an image.
    Reshape(Vec<usize>),
    /// Channels to so many rows and columns each, of images.
    PixelShuffle(usize),
    /// The way back.
    PixelUnshuffle(usize),
    /// Channels in so many groups, one of each in turns.
    ChannelShuffle(usize),
    /// All of an axis, so many times.
    Repeat(usize, usize),
    Nearest(Two),
    Bilinear(Two, bool),
}

impl Movement {
    pub fn apply(&self, x: Any) -> Any {
        match self {
            Self::Pad(padding, value) => {
                map!(x, x => x.pad(padding.as_slice(), PadMode::Constant(*value)))
            }
            Self::ZerosBeside(before, after) => {
                let zeros = |count: usize| match &x {
                    Any::Two(x) => Any::of(zeros_like(x, count)),
                    Any::Three(x) => Any::of(zeros_like(x, count)),
                    Any::Four(x) => Any::of(zeros_like(x, count)),
                };
                let mut all = Vec::new();
                all.extend((*before > 0).then(|| zeros(*before)));
                all.push(x.clone());
                all.extend((*after > 0).then(|| zeros(*after)));
                Any::concatenate(all, 1)
            }
            Self::Slice(ranges) => {
                let all = std::iter::once(Slice::new(0, None, 1));
                let rest = ranges.iter().map(|&(start, end, step)| {
                    Slice::new(start as isize, Some(end as isize), step as isize)
                });
                let ranges: Vec<Slice> = all.chain(rest).collect();
                map!(x, x => x.slice(ranges.as_slice()))
            }
            Self::Flip(axis) => map!(x, x => x.flip([*axis as isize])),
            Self::Permute(axes) => x.permute(axes),
            Self::Reshape(dims) => {
                let images = x.dims()[0];
                x.reshape(&[&[images], &dims[..]].concat())
            }
            Self::PixelShuffle(times) => shuffled(x, |[n, c, h, w]| {
                let (s, c) = (*times, c / (times * times));
                let (apart, turned) = ([n, c, s, s, h, w], [0, 1, 4, 2, 5, 3]);
                (apart, turned, [n, c, s * h, s * w])
            }),
            Self::PixelUnshuffle(times) => shuffled(x, |[n, c, h, w]| {
                let (s, h, w) = (*times, h / times, w / times);
                let (apart, turned) = ([n, c, h, s, w, s], [0, 1, 3, 5, 2, 4]);
                (apart, turned, [n, c * s * s, h, w])
            }),
            Self::ChannelShuffle(groups) => shuffled(x, |[n, c, h, w]| {
                let apart = [n, *groups, c / groups, 1, h, w];
                (apart, [0, 2, 1, 3, 4, 5], [n, c, h, w])
            }),
            Self::Repeat(axis, times) => map!(x, x => x.repeat_dim(*axis, *times)),
            Self::Nearest(size) => upsample(x, *size, InterpolateMode::Nearest, true),
            Self::Bilinear(size, align) => upsample(x, *size, InterpolateMode::Bilinear, *align),
        }
    }
}

// In six axes for a while.
fn shuffled(x: Any, of: impl Fn([usize; 4]) -> ([usize; 6], [isize; 6], [usize; 4])) -> Any {
    let x: Tensor<4> = x.rank();
    let (apart, axes, to) = of(x.dims());
    Any::of(x.reshape(apart).permute(axes).reshape(to))
}

fn zeros_like<const D: usize>(x: &Tensor<D>, channels: usize) -> Tensor<D> {
    let mut dims = x.dims();
    dims[1] = channels;
    Tensor::zeros(dims, (&x.device(), x.dtype()))
}

fn upsample(x: Any, size: Two, mode: InterpolateMode, align: bool) -> Any {
    let options = InterpolateOptions::new(mode)
        .with_align_corners(align)
        .with_output_size(size);
    Any::of(interpolate(x.rank(), options))
}

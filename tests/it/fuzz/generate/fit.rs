//! A layer of a kind that fits a tensor, with random sizes.

use burn_compress::network::Binary;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::Making;
use crate::fuzz::function::Function;
use crate::fuzz::layer::{Layer, Padding, Two};
use crate::fuzz::movement::Movement;
use crate::fuzz::pool::Pool;

impl Making<'_> {
    pub(super) fn with_constant(&mut self, dims: &[usize]) -> Layer {
        let binary = [
            Binary::Add,
            Binary::Subtract,
            Binary::Multiply,
            Binary::Divide,
        ];
        let binary = *binary.choose(self.rng).unwrap_or(&Binary::Add);
        let axes = match self.rng.random_range(0..4) {
            // One for each channel.
            0 | 1 => (0..dims.len()).map(|axis| axis == 1).collect(),
            2 => (0..dims.len()).map(|axis| axis > 0).collect(),
            _ => (0..dims.len()).map(|_| self.rng.random_bool(0.5)).collect(),
        };
        Layer::WithConstant(binary, axes)
    }

    pub(super) fn function(&mut self, exact: bool) -> Option<Layer> {
        let often = [Function::Relu, Function::Relu6, Function::Clamp(-0.5, 0.75)];
        let function = match self.rng.random_bool(0.3) {
            true => *often.choose(self.rng)?,
            false => *Function::ALL.choose(self.rng)?,
        };
        (exact || !function.jumps()).then_some(Layer::Function(function))
    }

    pub(super) fn norm(&mut self, dims: &[usize]) -> Option<Layer> {
        let of_groups = (1..=dims[1]).filter(|groups| dims[1].is_multiple_of(*groups));
        let of_groups: Vec<usize> = of_groups.collect();
        let bias = self.rng.random_bool(0.7);
        let affine = self.rng.random_bool(0.8);
        Some(match self.rng.random_range(0..6) {
            0..3 => Layer::BatchNorm,
            3 => Layer::LayerNorm { bias },
            // Burn takes no fewer elements.
            _ if dims.len() < 3 || dims[1..].iter().product::<usize>() < 3 => return None,
            4 => Layer::GroupNorm {
                groups: *of_groups.choose(self.rng)?,
                affine,
            },
            _ => match self.rng.random_bool(0.5) {
                true => Layer::InstanceNorm,
                false => Layer::PRelu { each: affine },
            },
        })
    }

    pub(super) fn reduced(&mut self, dims: &[usize]) -> Layer {
        let mut axes: Vec<usize> = match self.rng.random_bool(0.5) && dims.len() > 2 {
            true => (2..dims.len()).collect(),
            false => (1..dims.len())
                .filter(|_| self.rng.random_bool(0.5))
                .collect(),
        };
        if axes.is_empty() {
            axes.push(dims.len() - 1);
        }
        match self.rng.random_bool(0.7) {
            true => Layer::Mean { axes },
            false => Layer::Sum { axes },
        }
    }

    // Of the lengths of an axis, a window that fits: kernel, stride, dilation, padding.
    fn window(&mut self, length: usize, largest: usize) -> (usize, usize, usize, (usize, usize)) {
        let kernel = self.rng.random_range(1..=largest);
        let stride = *[1, 1, 1, 2, 2, 3].choose(self.rng).unwrap_or(&1);
        let dilation = *[1, 1, 1, 1, 2, 3].choose(self.rng).unwrap_or(&1);
        let half = kernel * dilation / 2;
        let padding = match self.rng.random_range(0..4) {
            0 => (0, 0),
            1 | 2 => (half, half),
            _ => (
                self.rng.random_range(0..=half),
                self.rng.random_range(0..=half),
            ),
        };
        match (kernel - 1) * dilation < length + padding.0 + padding.1 {
            true => (kernel, stride, dilation, padding),
            false => (1, stride, 1, (0, 0)),
        }
    }

    fn windows(&mut self, dims: &[usize], largest: usize) -> (Two, Two, Two, Padding) {
        let all = match dims.len() {
            3 => [(1, 1, 1, (0, 0)), self.window(dims[2], largest)],
            _ if self.rng.random_bool(0.6) && dims[2] == dims[3] => {
                [self.window(dims[2], largest); 2]
            }
            _ => [self.window(dims[2], largest), self.window(dims[3], largest)],
        };
        (
            all.map(|w| w.0),
            all.map(|w| w.1),
            all.map(|w| w.2),
            all.map(|w| w.3),
        )
    }

    pub(super) fn product(&mut self, dims: &[usize]) -> Option<Layer> {
        let bias = self.rng.random_bool(0.7);
        let out = self.rng.random_range(1..=self.size.channels);
        let rank = dims.len();
        let each: usize = dims[1..].iter().product();
        if rank == 2 || self.rng.random_bool(0.12) {
            let of_rows = rank > 2 && self.rng.random_bool(0.3);
            let layer = match of_rows {
                true => Layer::LinearOfRows { out },
                false => Layer::Linear { out, bias },
            };
            return (each * out <= self.size.products).then_some(layer);
        }
        let channels = dims[1];
        let transposed = self.rng.random_bool(0.2);
        // Dense ones, depthwise ones, and groups of any number.
        let (groups, out) = match self.rng.random_range(0..6) {
            0..3 => (1, out),
            3 => (channels, channels * self.rng.random_range(1..=2)),
            _ => {
                let divisors: Vec<usize> = (1..=channels)
                    .filter(|g| channels.is_multiple_of(*g))
                    .collect();
                let groups = *divisors.choose(self.rng)?;
                (groups, groups * out.div_ceil(groups))
            }
        };
        // Some keep the size, as in networks with sums of branches.
        let keeps = self.rng.random_bool(0.3);
        let (kernel, stride, dilation, padding) = match keeps {
            true => (
                [1 + 2 * usize::from(rank == 4), 3],
                [1; 2],
                [1; 2],
                [(usize::from(rank == 4), usize::from(rank == 4)), (1, 1)],
            ),
            false => self.windows(dims, 5),
        };
        let (groups, out) = match keeps && self.rng.random_bool(0.7) {
            true => (groups, channels),
            false => (groups, out),
        };
        let taps: usize = kernel.iter().product();
        let sites: usize = match transposed {
            false => each / channels / stride.iter().product::<usize>(),
            true => each / channels,
        };
        if sites * taps * (channels / groups) * out > self.size.products {
            return None;
        }
        if !transposed {
            return Some(Layer::Convolution {
                out,
                kernel,
                stride,
                dilation,
                padding,
                groups,
                bias,
            });
        }
        let padding = padding.map(|(before, after)| before.min(after));
        let mut more = [0; 2];
        for (axis, more) in more.iter_mut().enumerate() {
            // One dimension has no rows.
            if rank == 4 || axis == 1 {
                *more = self.rng.random_range(0..stride[axis]);
            }
        }
        let lengths = [if rank == 4 { dims[2] } else { 1 }, dims[rank - 1]];
        let grows = (0..2).all(|axis| {
            let full = (lengths[axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1;
            full + more[axis] > 2 * padding[axis]
        });
        grows.then_some(Layer::Transposed {
            out,
            kernel,
            stride,
            dilation,
            padding,
            more,
            groups,
            bias,
        })
    }

    pub(super) fn pool(&mut self, dims: &[usize]) -> Option<Layer> {
        if dims.len() == 2 {
            return None;
        }
        let (kernel, stride, dilation, padding) = self.windows(dims, 3);
        let ceil = self.rng.random_bool(0.2);
        // As PyTorch, at most half of the kernel.
        let half = |axis: usize| {
            (
                padding[axis].0.min(kernel[axis] / 2),
                padding[axis].1.min(kernel[axis] / 2),
            )
        };
        let padding = [half(0), half(1)];
        let fits = (0..2).all(|axis| {
            let length = if dims.len() == 4 {
                dims[2 + axis]
            } else if axis == 1 {
                dims[2]
            } else {
                1
            };
            let (before, after) = padding[axis];
            (kernel[axis] - 1) * dilation[axis] < length + before + after
        });
        if !fits {
            return None;
        }
        let output = [
            if dims.len() == 4 {
                self.rng.random_range(1..=dims[2].min(4))
            } else {
                1
            },
            self.rng.random_range(1..=dims[dims.len() - 1].min(4)),
        ];
        Some(Layer::Pool(match self.rng.random_range(0..5) {
            0 | 1 => Pool::Max {
                kernel,
                stride,
                dilation,
                padding,
                ceil,
            },
            2 | 3 => Pool::Average {
                kernel,
                stride,
                padding,
                include: self.rng.random_bool(0.5),
                ceil,
            },
            _ => match self.rng.random_bool(0.4) {
                true => Pool::Adaptive { output: [1, 1] },
                false => Pool::Adaptive { output },
            },
        }))
    }

    pub(super) fn movement(&mut self, dims: &[usize]) -> Option<Layer> {
        let rank = dims.len();
        let movement = match self.rng.random_range(0..11) {
            10 => self.shuffle(dims)?,
            0 | 1 => {
                let mut padding = vec![(0, 0); rank];
                for (axis, padding) in padding.iter_mut().enumerate().skip(1) {
                    let most = if axis == 1 { 4 } else { 2 };
                    if self.rng.random_bool(0.6) {
                        *padding = (
                            self.rng.random_range(0..=most),
                            self.rng.random_range(0..=most),
                        );
                    }
                }
                let value = *[0.0, 0.0, 0.0, 0.5, -1.0].choose(self.rng)?;
                Movement::Pad(padding, value)
            }
            2 => Movement::ZerosBeside(self.rng.random_range(0..=5), self.rng.random_range(0..=5)),
            3 | 4 => {
                let range = |rng: &mut StdRng, length: usize| {
                    if rng.random_bool(0.4) {
                        return (0, length, 1);
                    }
                    let start = rng.random_range(0..length);
                    (
                        start,
                        rng.random_range(start + 1..=length),
                        rng.random_range(1..=2),
                    )
                };
                Movement::Slice(
                    dims[1..]
                        .iter()
                        .map(|&length| range(self.rng, length))
                        .collect(),
                )
            }
            5 => Movement::Flip(self.axis(dims)),
            6 if rank > 2 => {
                let orders: &[&[usize]] = match rank {
                    3 => &[&[0, 2, 1]],
                    _ => &[
                        &[0, 1, 3, 2],
                        &[0, 2, 1, 3],
                        &[0, 2, 3, 1],
                        &[0, 3, 1, 2],
                        &[0, 3, 2, 1],
                    ],
                };
                Movement::Permute(orders.choose(self.rng)?.to_vec())
            }
            7 => self.reshape(dims)?,
            8 => Movement::Repeat(self.axis(dims), self.rng.random_range(2..=3)),
            _ if rank == 4 => {
                let size = [dims[2], dims[3]].map(|length| match self.rng.random_bool(0.5) {
                    true => 2 * length,
                    false => self.rng.random_range(1..=2 * length),
                });
                match self.rng.random_bool(0.6) {
                    true => Movement::Nearest(size),
                    false => Movement::Bilinear(size, self.rng.random_bool(0.5)),
                }
            }
            _ => return None,
        };
        Some(Layer::Movement(movement))
    }

    fn shuffle(&mut self, dims: &[usize]) -> Option<Movement> {
        let [_, channels, rows, columns] = *dims else {
            return None;
        };
        let mut all = Vec::new();
        for times in 2..=3 {
            let pixels = channels.is_multiple_of(times * times);
            all.extend(pixels.then_some(Movement::PixelShuffle(times)));
            let apart = rows.is_multiple_of(times) && columns.is_multiple_of(times);
            all.extend(apart.then_some(Movement::PixelUnshuffle(times)));
            let groups = channels.is_multiple_of(times) && channels > times;
            all.extend(groups.then_some(Movement::ChannelShuffle(times)));
        }
        all.choose(self.rng).cloned()
    }

    fn reshape(&mut self, dims: &[usize]) -> Option<Movement> {
        let each: usize = dims[1..].iter().product();
        let divisors = |of: usize| {
            (1..=of.min(64))
                .filter(move |d| of.is_multiple_of(*d))
                .collect::<Vec<_>>()
        };
        let first = *divisors(each).choose(self.rng)?;
        let second = *divisors(each / first).choose(self.rng)?;
        Some(Movement::Reshape(match self.rng.random_range(0..3) {
            0 => vec![each],
            1 => vec![first, each / first],
            _ => vec![first, second, each / first / second],
        }))
    }
}

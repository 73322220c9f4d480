//! A convolution over sixteen samples in plain arrays, and how it lies in vector blocks.

use burn_compress::kernel::{
    FILTER_BLOCK, PackedWeights, Position, SharedEntry, SparseEntry, TILE, TapEntry, VectorBlock,
};
use proptest::prelude::*;

use super::{marked, weight_blocks};
use crate::noise::Noise;

/// Where rows and columns lie in a plane of vector blocks.
#[derive(Debug, Clone, Copy)]
pub struct Plane {
    pub first: usize,
    pub pitch: usize,
    pub blocks: usize,
}

impl Plane {
    /// Rows and columns with so many vector blocks before, after each row, and at the end.
    pub fn new([rows, columns]: [usize; 2], [before, between, after]: [usize; 3]) -> Self {
        let pitch = columns + between;
        Self {
            first: before,
            pitch,
            blocks: before + rows * pitch + after,
        }
    }

    pub fn block(&self, y: usize, x: usize) -> usize {
        self.first + y * self.pitch + x
    }
}

/// Sizes of an array `[lane][channel][y][x]`.
#[derive(Debug, Clone, Copy)]
pub struct Dims {
    pub channels: usize,
    pub size: [usize; 2],
}

impl Dims {
    pub fn count(&self) -> usize {
        VectorBlock::LANES * self.channels * self.size[0] * self.size[1]
    }

    pub fn at(&self, lane: usize, channel: usize, y: usize, x: usize) -> usize {
        ((lane * self.channels + channel) * self.size[0] + y) * self.size[1] + x
    }

    /// All channels and places: lane, channel, row, column.
    pub fn all(&self) -> impl Iterator<Item = [usize; 4]> {
        let ([rows, columns], channels) = (self.size, self.channels);
        (0..VectorBlock::LANES * channels * rows * columns).map(move |at| {
            let (pixel, map) = (at % (rows * columns), at / (rows * columns));
            [
                map / channels,
                map % channels,
                pixel / columns,
                pixel % columns,
            ]
        })
    }

    /// Planes of four channels as bytes.
    pub fn bytes(&self, values: &[u8], plane: &Plane) -> Vec<VectorBlock> {
        let mut blocks = marked(self.channels.div_ceil(FILTER_BLOCK) * plane.blocks);
        self.put_bytes(&mut blocks, plane, |at| values[at]);
        blocks
    }

    /// Writes the bytes of planes where they belong.
    pub fn put_bytes(
        &self,
        blocks: &mut [VectorBlock],
        plane: &Plane,
        value: impl Fn(usize) -> u8,
    ) {
        let bytes = VectorBlock::bytes_mut(blocks);
        for (at, [lane, channel, y, x]) in self.all().enumerate() {
            let block = channel / FILTER_BLOCK * plane.blocks + plane.block(y, x);
            bytes[block * 64 + lane * 4 + channel % FILTER_BLOCK] = value(at);
        }
    }

    /// Planes of one channel as floats.
    pub fn floats(&self, values: &[f32], plane: &Plane) -> Vec<VectorBlock> {
        let mut blocks = marked(self.channels * plane.blocks);
        self.put_floats(&mut blocks, plane, |at| values[at]);
        blocks
    }

    /// Writes the floats of planes where they belong.
    pub fn put_floats(
        &self,
        blocks: &mut [VectorBlock],
        plane: &Plane,
        value: impl Fn(usize) -> f32,
    ) {
        let floats = VectorBlock::floats_mut(blocks);
        for (at, [lane, channel, y, x]) in self.all().enumerate() {
            floats[(channel * plane.blocks + plane.block(y, x)) * 16 + lane] = value(at);
        }
    }
}

/// How weights lie.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    Filter,
    Shared,
    /// Each filter reads the channel of its own place.
    Depthwise,
    /// Of so many vector blocks.
    Tiles(usize),
}

/// How weights that are floats lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatForm {
    Filter,
    Shared,
    /// Three by three taps, transformed for so many results in a line.
    Winograd(usize),
}

/// A convolution without padding: its weights are `[filter][channel][tap]`.
#[derive(Debug, Clone)]
pub struct Layer {
    pub filters: usize,
    pub input: Dims,
    pub output: Dims,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pub from: Plane,
    pub to: Plane,
    pub residual: Plane,
    /// Share of weights that are 0, in percent.
    pub sparsity: usize,
    pub block: usize,
    /// Vector blocks of the input that are taken at a time.
    pub slice: usize,
    pub seed: u64,
}

impl Layer {
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    pub fn weights(&self) -> usize {
        self.filters * self.input.channels * self.taps()
    }

    pub fn weight(&self, filter: usize, channel: usize, tap: usize) -> usize {
        (filter * self.input.channels + channel) * self.taps() + tap
    }

    /// Row and column that a tap of an output's window reads.
    pub fn reads(&self, [y, x]: [usize; 2], tap: usize) -> [usize; 2] {
        let (row, column) = (tap / self.kernel[1], tap % self.kernel[1]);
        [
            y * self.stride[0] + row * self.dilation[0],
            x * self.stride[1] + column * self.dilation[1],
        ]
    }

    /// A tap's vector block from a window's start, in one plane.
    pub fn tap(&self, tap: usize) -> usize {
        let [row, column] = self.reads([0, 0], tap);
        row * self.from.pitch + column
    }

    pub fn positions(&self) -> Vec<Position> {
        let [rows, columns] = self.output.size;
        let position = |y: usize, x: usize| Position {
            input: self.from.block(y * self.stride[0], x * self.stride[1]) as u32,
            output: self.to.block(y, x) as u32,
            residual: self.residual.block(y, x) as u32,
        };
        let all = (0..rows).flat_map(|y| (0..columns).map(move |x| position(y, x)));
        all.collect()
    }

    /// The same, window by window of so many rows and columns, which are as far apart as the taps.
    pub fn windows(&self, side: usize) -> Vec<Position> {
        let columns = self.output.size[1];
        let all = self.positions();
        let places = self.window_places(side).into_iter().flatten();
        places.map(|[y, x]| all[y * columns + x]).collect()
    }

    /// The rows and columns of each window's results.
    pub fn window_places(&self, side: usize) -> Vec<Vec<[usize; 2]>> {
        let [[rows, columns], [down, right]] = [self.output.size, self.dilation];
        let starts = |length: usize, step: usize| {
            (0..length).filter(move |start| start % (side * step) < step)
        };
        let firsts = starts(rows, down).flat_map(|y| starts(columns, right).map(move |x| [y, x]));
        let windows = firsts.map(|[top, left]| {
            let row = |y: usize| (0..side).map(move |x| [top + y * down, left + x * right]);
            (0..side).flat_map(row).collect()
        });
        windows.collect()
    }

    // For each group of channels and tap, its place from a window's start.
    fn places(&self, unit: usize) -> Vec<(usize, usize, u32)> {
        let groups = self.input.channels / unit;
        let place = |group: usize, tap: usize| {
            let block = group * self.from.blocks + self.tap(tap);
            (group * unit, tap, block as u32)
        };
        let all = (0..groups).flat_map(|group| (0..self.taps()).map(move |tap| place(group, tap)));
        all.collect()
    }

    /// Sparse entries of weights that are bytes, those of four zeros left out but in tiles.
    pub fn code_entries(&self, weights: &[i8], form: Form) -> PackedWeights {
        let four = |filter: usize, channel: usize, tap: usize| -> [i8; 4] {
            std::array::from_fn(|c| weights[self.weight(filter, channel + c, tap)])
        };
        let places = self.places(4);
        match form {
            Form::Filter => self.by_filter(|filter| {
                let each = places.iter().map(|&(channel, tap, block)| {
                    let four = four(filter, channel, tap);
                    (four != [0; 4]).then(|| SparseEntry::of_bytes(block, four))
                });
                each.flatten().collect()
            }),
            Form::Shared => self.shared(|first| {
                let each = places.iter().map(|&(channel, tap, block)| {
                    let all = std::array::from_fn(|f| four(first + f, channel, tap));
                    (all != [[0; 4]; FILTER_BLOCK]).then(|| SharedEntry::of_bytes(block, all))
                });
                each.flatten().collect()
            }),
            Form::Depthwise => self.depthwise(weights),
            Form::Tiles(depth) => self.tiles(depth, four),
        }
    }

    /// The same with as many channels as filters, and each filter's weights those of its own channel.
    pub fn depthwise_layer(self) -> Self {
        let input = Dims {
            channels: self.filters,
            ..self.input
        };
        Self { input, ..self }
    }

    /// Zeros but for each filter's own channel.
    pub fn own_channels(&self, weights: &mut [i8]) {
        for filter in 0..self.filters {
            for channel in (0..self.input.channels).filter(|&channel| channel != filter) {
                weights[self.weight(filter, channel, 0)..][..self.taps()].fill(0);
            }
        }
    }

    fn depthwise(&self, weights: &[i8]) -> PackedWeights {
        let mut entries = Vec::new();
        for first in (0..self.filters).step_by(FILTER_BLOCK) {
            for taps in (0..self.taps()).step_by(4) {
                let of = |tap: usize| (taps + tap < self.taps()).then_some(taps + tap);
                let start = first / FILTER_BLOCK * self.from.blocks;
                let blocks =
                    [0, 1, 2, 3].map(|tap| (start + self.tap(of(tap).unwrap_or(0))) as u32);
                let weights = [0, 1, 2, 3].map(|place| {
                    let own = first + place;
                    [0, 1, 2, 3]
                        .map(|tap| of(tap).map_or(0, |tap| weights[self.weight(own, own, tap)]))
                });
                entries.push(TapEntry::of_bytes(blocks, weights));
            }
        }
        PackedWeights::Depthwise {
            taps: self.taps(),
            entries,
        }
    }

    // Tiles of so many groups of channels, the last of them from where they end in time.
    fn tiles(&self, depth: usize, four: impl Fn(usize, usize, usize) -> [i8; 4]) -> PackedWeights {
        let groups = self.input.channels / 4;
        let depth = depth.clamp(1, groups.min(TILE));
        let parts = (0..groups).step_by(depth);
        let all: Vec<(usize, usize)> = (0..self.taps())
            .flat_map(|tap| parts.clone().map(move |part| (tap, part)))
            .collect();
        let first = |part: usize| part.min(groups - depth);
        let mut weights = Vec::new();
        for sixteen in (0..self.filters).step_by(TILE) {
            for &(tap, part) in &all {
                for filter in sixteen..sixteen + TILE {
                    weights.extend((first(part)..first(part) + depth).map(|group| {
                        match filter < self.filters && group >= part {
                            true => four(filter, group * 4, tap),
                            false => [0; 4],
                        }
                    }));
                }
            }
        }
        let block = |&(tap, part): &(usize, usize)| first(part) * self.from.blocks + self.tap(tap);
        PackedWeights::Tiles {
            filter_blocks: self.filters / FILTER_BLOCK,
            depth,
            apart: self.from.blocks as u32,
            blocks: all.iter().map(|tile| block(tile) as u32).collect(),
            weights: weight_blocks(&weights).into(),
        }
    }

    /// Sparse entries of weights that are floats, zeros left out where weights are not transformed.
    pub fn float_entries(&self, weights: &[f32], form: FloatForm) -> PackedWeights {
        let places = self.places(1);
        match form {
            FloatForm::Winograd(side) => {
                let below = self.dilation[0] * self.from.pitch;
                let steps = [self.from.blocks, below, self.dilation[1]];
                let taps = |filter, channel| {
                    std::array::from_fn(|tap| weights[self.weight(filter, channel, tap)])
                };
                PackedWeights::winograd(
                    side,
                    [self.filters, self.input.channels],
                    steps.map(|blocks| blocks as u32),
                    taps,
                )
            }
            FloatForm::Filter => self.by_filter(|filter| {
                let each = places.iter().map(|&(channel, tap, block)| {
                    let weight = weights[self.weight(filter, channel, tap)];
                    (weight != 0.0).then(|| SparseEntry::of_float(block, weight))
                });
                each.flatten().collect()
            }),
            FloatForm::Shared => self.shared(|first| {
                let each = places.iter().map(|&(channel, tap, block)| {
                    let all: [f32; FILTER_BLOCK] =
                        std::array::from_fn(|f| weights[self.weight(first + f, channel, tap)]);
                    (all != [0.0; FILTER_BLOCK]).then(|| SharedEntry::of_floats(block, all))
                });
                each.flatten().collect()
            }),
        }
    }

    fn by_filter(&self, of: impl Fn(usize) -> Vec<SparseEntry>) -> PackedWeights {
        let (mut entries, mut starts) = (Vec::new(), vec![0]);
        for filter in 0..self.filters {
            entries.extend(of(filter));
            starts.push(entries.len() as u32);
        }
        PackedWeights::Filter { entries, starts }
    }

    fn shared(&self, of: impl Fn(usize) -> Vec<SharedEntry>) -> PackedWeights {
        let (mut entries, mut starts) = (Vec::new(), vec![0]);
        for first in (0..self.filters).step_by(FILTER_BLOCK) {
            entries.extend(of(first));
            starts.push(entries.len() as u32);
        }
        PackedWeights::Shared { entries, starts }
    }
}

/// Weights, of which some share is 0.
pub fn sparse<T: Default>(
    layer: &Layer,
    noise: &mut Noise,
    of: impl Fn(&mut Noise) -> T,
) -> Vec<T> {
    let weight = |noise: &mut Noise| match noise.below(100) < layer.sparsity {
        true => T::default(),
        false => of(noise),
    };
    (0..layer.weights()).map(|_| weight(noise)).collect()
}

prop_compose! {
    /// Layers of up to so many blocks of filters, whose input has so many times `unit` channels at most.
    pub fn layers(filter_blocks: usize, unit: usize, most: usize)(
        (filter_blocks, groups) in (1..=filter_blocks, 1..=most),
        (kernel, stride, dilation) in ([1..=3usize, 1..=3], [1..=2usize, 1..=2], [1..=2usize, 1..=2]),
        size in [1..=5usize, 1..=8],
        slack in [[0..3usize, 0..3, 0..3], [0..3, 0..3, 0..3], [0..3, 0..3, 0..3]],
        sparsity in prop::sample::select(vec![0usize, 50, 90, 100]),
        (block, slice) in (1..=48usize, 1..=90usize),
        seed in any::<u64>(),
    ) -> Layer {
        let reach = |axis: usize| {
            (size[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        };
        let input = Dims { channels: groups * unit, size: [reach(0), reach(1)] };
        let output = Dims { channels: filter_blocks * FILTER_BLOCK, size };
        Layer {
            filters: filter_blocks * FILTER_BLOCK,
            from: Plane::new(input.size, slack[0]),
            to: Plane::new(size, slack[1]),
            residual: Plane::new(size, slack[2]),
            input, output, kernel, stride, dilation, sparsity, block, slice, seed,
        }
    }
}

prop_compose! {
    /// Layers of three by three taps, whose results fill windows of so many in a line.
    pub fn windowed_layers(side: usize)(
        layer in layers(2, 1, 1),
        // So that kernels take any number of windows at a time that they know.
        channels in prop::sample::select(
            [1, 2, 3, 5, 10, 16, 21, 32, 42, 64, 144].map(|c: usize| c.min(PackedWeights::winograd_channels(side))).to_vec(),
        ),
        (windows, dilation) in ([1..=3usize, 1..=3], [1..=3usize, 1..=3]),
        slack in [[0..3usize, 0..3, 0..3], [0..3, 0..3, 0..3], [0..3, 0..3, 0..3]],
    ) -> Layer {
        let size = [0, 1].map(|axis| side * windows[axis] * dilation[axis]);
        let input = Dims { channels, size: [0, 1].map(|axis| size[axis] + 2 * dilation[axis]) };
        Layer {
            kernel: [3, 3],
            stride: [1, 1],
            dilation,
            input,
            output: Dims { size, ..layer.output },
            from: Plane::new(input.size, slack[0]),
            to: Plane::new(size, slack[1]),
            residual: Plane::new(size, slack[2]),
            ..layer
        }
    }
}

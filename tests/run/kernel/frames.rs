//! Samples to vector blocks and back: sixteen samples, and sixteen tiles of one.

use std::ops::Range;

use burn_compress::kernel::{Element, Frame, InputGrid, Kernels, Sink, VectorBlock};
use proptest::prelude::*;

use super::layer::Plane;
use super::{all, byte, cases, marked, real};
use crate::noise::Noise;

#[derive(Debug, Clone)]
struct Samples {
    tiles: bool,
    samples: usize,
    channels: usize,
    size: [usize; 2],
    tile: [usize; 2],
    plane: Plane,
    seed: u64,
}

prop_compose! {
    fn samples()(
        tiles in any::<bool>(),
        samples in 1..=16usize,
        channels in 1..=6usize,
        size in [1..=9usize, 1..=21],
        slack in [0..3usize, 0..3, 0..3],
        seed in any::<u64>(),
    ) -> Samples {
        let parts = if tiles { 4 } else { 1 };
        let tile = size.map(|length| length.div_ceil(parts));
        let samples = if tiles { 1 } else { samples };
        Samples { tiles, samples, channels, size, tile, plane: Plane::new(tile, slack), seed }
    }
}

impl Samples {
    fn count(&self) -> usize {
        self.samples * self.channels * self.size[0] * self.size[1]
    }

    fn at(&self, sample: usize, channel: usize, [row, column]: [usize; 2]) -> usize {
        ((sample * self.channels + channel) * self.size[0] + row) * self.size[1] + column
    }

    // The sample, row and column of a place of a lane's tile; none beyond it.
    fn place(&self, lane: usize, y: usize, x: usize) -> Option<(usize, [usize; 2])> {
        let (sample, [row, column]) = match self.tiles {
            false => (lane, [y, x]),
            true => (
                0,
                [lane / 4 * self.tile[0] + y, lane % 4 * self.tile[1] + x],
            ),
        };
        let inside = sample < self.samples && row < self.size[0] && column < self.size[1];
        inside.then_some((sample, [row, column]))
    }

    fn frame(&self) -> Frame {
        let lane = |lane: usize| {
            let (sample, origin) = self.place(lane, 0, 0)?;
            let part = |axis: usize| (self.size[axis] - origin[axis]).min(self.tile[axis]);
            Some((self.at(sample, 0, origin), (part(0), part(1))))
        };
        Frame {
            channels: self.channels,
            sample: self.channels * self.size[0] * self.size[1],
            channel: self.size[0] * self.size[1],
            row: self.size[1],
            lanes: (0..VectorBlock::LANES).map(lane).collect(),
            rows: self.tile[0],
            columns: self.tile[1],
            pitch: self.plane.pitch,
            first: self.plane.first,
            plane: self.plane.blocks,
        }
    }

    // Every lane, channel of the groups, row and column of the tiles, and the number that lies there.
    fn each(&self, channels: Range<usize>, mut see: impl FnMut([usize; 4], Option<usize>)) {
        for (next, channel) in channels.enumerate() {
            for lane in 0..VectorBlock::LANES {
                for y in 0..self.tile[0] {
                    for x in 0..self.tile[1] {
                        let place = self.place(lane, y, x).filter(|_| channel < self.channels);
                        let at = place.map(|(sample, place)| self.at(sample, channel, place));
                        see([lane, next, y, x], at);
                    }
                }
            }
        }
    }
}

// Numbers among which are ties of the scale, and what lies beyond the codes.
fn numbers(noise: &mut Noise, count: usize, scale: f32) -> Vec<f32> {
    let one = |noise: &mut Noise| match noise.below(3) {
        0 => (noise.within(-300, 300) as f32 + 0.5) * scale,
        1 => 1000.0 * scale * real(noise),
        _ => 100.0 * scale * real(noise),
    };
    (0..count).map(|_| one(noise)).collect()
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn codes_are_written_and_read(samples in samples(), ends in [0..3usize, 0..3]) {
        let mut noise = Noise(samples.seed);
        let scale = noise.pick(&[0.5, 0.125, 1.0, 0.1, 0.037, 1e-35, 1e34]);
        let low = noise.within(-255, 0);
        let offset = noise.pick(&[0.0, 64.0, -7.25, 300.0]) * scale;
        let grid = InputGrid { scale, offset, low, high: noise.within(0, low + 255) };
        let bounds = (grid.low as f32, grid.high as f32);
        let values = numbers(&mut noise, samples.count(), scale);
        let values: Vec<f32> = values.iter().map(|value| value + offset).collect();
        let (frame, plane) = (samples.frame(), samples.plane);
        // There may be fewer and more groups than the channels have.
        let groups = ends[0].min(ends[1])..ends[0].max(ends[1]) + 1;

        let mut expected = marked(groups.len() * plane.blocks);
        samples.each(groups.start * 4..groups.end * 4, |[lane, next, y, x], at| {
            let code = byte(at.map_or(0.0, |at| (values[at] - offset) / scale), bounds, low);
            let block = next / 4 * plane.blocks + plane.block(y, x);
            VectorBlock::bytes_mut(&mut expected)[block * 64 + lane * 4 + next % 4] = code;
        });
        for kernels in all() {
            let mut blocks = marked(expected.len());
            let finite = frame.write(kernels, &values, Some(grid), groups.clone(), &mut blocks);
            prop_assert_eq!(finite, Ok(true));
            prop_assert!(blocks == expected, "{:?}", kernels.isa());
        }

        let blocks = marked(samples.channels.div_ceil(4) * plane.blocks);
        let mut expected = vec![None; samples.count()];
        samples.each(0..samples.channels, |[lane, channel, y, x], at| {
            let block = channel / 4 * plane.blocks + plane.block(y, x);
            let byte = VectorBlock::bytes(&blocks)[block * 64 + lane * 4 + channel % 4];
            if let Some(at) = at {
                expected[at] = Some(Element::Code(i32::from(byte) + low));
            }
        });
        let mut found = vec![None; samples.count()];
        frame.read(&blocks, Sink::Codes { low }, |at, element| {
            assert_eq!(found[at].replace(element), None, "twice at {at}");
        }).unwrap();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn floats_are_written_and_read(samples in samples(), ends in [0..8usize, 0..8]) {
        let mut noise = Noise(samples.seed);
        let values = numbers(&mut noise, samples.count(), 1.0);
        let (frame, plane) = (samples.frame(), samples.plane);
        let groups = ends[0].min(ends[1])..ends[0].max(ends[1]) + 1;

        let mut expected = marked(groups.len() * plane.blocks);
        samples.each(groups.clone(), |[lane, next, y, x], at| {
            let block = next * plane.blocks + plane.block(y, x);
            VectorBlock::floats_mut(&mut expected)[block * 16 + lane] = at.map_or(0.0, |at| values[at]);
        });
        for kernels in all() {
            let mut blocks = marked(expected.len());
            let finite = frame.write(kernels, &values, None, groups.clone(), &mut blocks);
            prop_assert_eq!(finite, Ok(true));
            prop_assert!(blocks == expected, "{:?}", kernels.isa());
        }

        let mut blocks = marked(samples.channels * plane.blocks);
        let channels = 0..samples.channels;
        frame.write(Kernels::detect(), &values, None, channels, &mut blocks).unwrap();
        let mut found = vec![None; samples.count()];
        frame.read(&blocks, Sink::Floats, |at, element| {
            assert_eq!(found[at].replace(element), None, "twice at {at}");
        }).unwrap();
        let expected: Vec<_> = values.iter().map(|&x| Some(Element::Float(x))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn lines_together_are_their_plane(
        samples in samples(),
        codes in any::<bool>(),
        ends in [0..30usize, 0..30],
    ) {
        let mut noise = Noise(samples.seed);
        let values = numbers(&mut noise, samples.count(), 1.0);
        let grid = codes.then_some(InputGrid { scale: 0.5, offset: 0.0, low: -128, high: 127 });
        let (mut frame, plane) = (samples.frame(), samples.plane);
        // Where rows begin, and how many lines there are.
        let before = plane.first.min(plane.pitch - samples.tile[1]);
        frame.first = before + ends[0] % 3 * plane.pitch;
        let lines = ends[0] % 3 + samples.tile[0] + ends[1] % 2;
        frame.plane = lines * plane.pitch;
        let cut = ends[1] % (lines + 1) * plane.pitch;
        for kernels in all() {
            let mut expected = marked(frame.plane);
            frame.write(kernels, &values, grid, 0..1, &mut expected).unwrap();
            let mut blocks = marked(frame.plane);
            let (head, tail) = blocks.split_at_mut(cut);
            let middle = cut / plane.pitch;
            let head = frame.write_lines(kernels, &values, grid, 0..middle, head);
            let tail = frame.write_lines(kernels, &values, grid, middle..lines, tail);
            prop_assert_eq!((head, tail), (Ok(true), Ok(true)));
            prop_assert!(blocks == expected, "{:?}", kernels.isa());
        }
    }

    #[test]
    fn what_is_not_finite_is_reported_by_those_who_read_it(
        samples in samples(),
        bad in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
        codes in any::<bool>(),
    ) {
        let mut noise = Noise(samples.seed);
        let mut values = numbers(&mut noise, samples.count(), 1.0);
        let place = noise.below(values.len());
        values[place] = bad;
        let grid = codes.then_some(InputGrid { scale: 0.5, offset: 0.0, low: -128, high: 127 });
        let channel = place / (samples.size[0] * samples.size[1]) % samples.channels;
        let group = if codes { channel / 4 } else { channel };
        let frame = samples.frame();
        for kernels in all() {
            let mut blocks = marked(samples.plane.blocks);
            for one in 0..samples.channels.div_ceil(if codes { 4 } else { 1 }) {
                let finite = frame.write(kernels, &values, grid, one..one + 1, &mut blocks);
                prop_assert_eq!(finite, Ok(one != group), "{:?}", kernels.isa());
            }
        }
    }
}

#[test]
fn ties_of_the_scale_go_to_the_even_code() {
    let frame = Frame {
        channels: 1,
        sample: 16,
        channel: 16,
        row: 1,
        lanes: (0..16).map(|lane| Some((lane, (1, 1)))).collect(),
        rows: 1,
        columns: 1,
        pitch: 1,
        first: 0,
        plane: 1,
    };
    let halves: Vec<f32> = (-8..8).map(|half| (half as f32 + 0.5) * 0.25).collect();
    let grid = InputGrid {
        scale: 0.25,
        offset: 0.0,
        low: -6,
        high: 5,
    };
    for kernels in all() {
        let mut blocks = marked(1);
        frame
            .write(kernels, &halves, Some(grid), 0..1, &mut blocks)
            .unwrap();
        let codes = VectorBlock::bytes(&blocks)
            .iter()
            .step_by(4)
            .map(|&byte| i32::from(byte) - 6);
        let codes: Vec<i32> = codes.collect();
        // -7.5 to 7.5 within -6 and 5.
        let expected = [-6, -6, -6, -4, -4, -2, -2, 0, 0, 2, 2, 4, 4, 5, 5, 5];
        assert_eq!(codes, expected, "{:?}", kernels.isa());
    }
}

//! Poolings: the greatest and the sum of windows, of each lane and across those of a sample.

use burn_compress::kernel::{Pooling, Sink, VectorBlock, Windows};
use proptest::prelude::*;

use super::layer::{Dims, Layer, layers};
use super::{ALL, all, byte, cases, marked, real};
use crate::noise::Noise;

// The windows of a layer, on every channel of its input.
fn windows(layer: &Layer, pooling: Pooling, bounds: (f32, f32), sink: Sink) -> Windows {
    Windows {
        pooling,
        taps: (0..layer.taps()).map(|tap| layer.tap(tap) as u32).collect(),
        positions: layer.positions(),
        planes: (layer.from.blocks, layer.to.blocks),
        divisors: vec![],
        bounds,
        sink,
    }
}

fn output(layer: &Layer) -> Dims {
    Dims {
        channels: layer.input.channels,
        size: layer.output.size,
    }
}

// What a window of a lane holds; of so many neighbouring lanes where they are parts of one sample.
fn window<T: Copy>(layer: &Layer, values: &[T], at: [usize; 4], across: usize) -> Vec<T> {
    let [lane, channel, y, x] = at;
    let first = lane / across * across;
    let taps =
        (first..first + across).flat_map(|lane| (0..layer.taps()).map(move |tap| (lane, tap)));
    let value = |(lane, tap): (usize, usize)| {
        let [row, column] = layer.reads([y, x], tap);
        values[layer.input.at(lane, channel, row, column)]
    };
    taps.map(value).collect()
}

fn check_codes(layer: &Layer, pooling: Pooling) -> Result<(), TestCaseError> {
    let mut noise = Noise(layer.seed);
    let values = (0..layer.input.count()).map(|_| noise.within(0, 255) as u8);
    let values: Vec<u8> = values.collect();
    let low = noise.within(-255, 0);
    let bounds = (low as f32, (low + noise.within(0, 255)) as f32);
    let windows = windows(layer, pooling, bounds, Sink::Codes { low });
    let dims = output(layer);
    let result = |at: [usize; 4]| match pooling {
        Pooling::Max => window(layer, &values, at, 1).into_iter().max().unwrap(),
        Pooling::Sum {
            multiplier,
            start,
            across,
        } => {
            let all = window(layer, &values, at, across).into_iter();
            let sum: i64 = all.map(i64::from).sum::<i64>() + i64::from(start);
            byte(sum as i32 as f32 * multiplier, bounds, low)
        }
    };
    let results: Vec<u8> = dims.all().map(result).collect();
    let input = layer.input.bytes(&values, &layer.from);
    let mut expected = marked(layer.input.channels / 4 * layer.to.blocks);
    dims.put_bytes(&mut expected, &layer.to, |at| results[at]);
    for kernels in all() {
        let mut output = marked(expected.len());
        windows.run(kernels, &input, &mut output).unwrap();
        prop_assert!(output == expected, "{:?} {pooling:?}", kernels.isa());

        // Position by position, in the vector blocks from its first one on.
        let mut output = marked(expected.len());
        let planes = layer.input.channels / 4;
        for (index, position) in windows.positions.iter().enumerate() {
            let first = position.output as usize;
            let to = (&mut output[first..], first);
            let part = (planes, index..index + 1);
            windows.run_part(kernels, part, &input, to).unwrap();
        }
        prop_assert!(output == expected, "{:?} in parts", kernels.isa());
    }
    Ok(())
}

fn check_floats(layer: &Layer, pooling: Pooling) -> Result<(), TestCaseError> {
    let mut noise = Noise(layer.seed);
    let values: Vec<f32> = (0..layer.input.count()).map(|_| real(&mut noise)).collect();
    let bounds = noise.pick(&[ALL, (-0.25, 0.5)]);
    let windows = windows(layer, pooling, bounds, Sink::Floats);
    let dims = output(layer);
    // The result, and how far sums may be off.
    let result = |at: [usize; 4]| match pooling {
        Pooling::Max => {
            let all = window(layer, &values, at, 1).into_iter();
            (f64::from(all.fold(f32::NEG_INFINITY, f32::max)), 0.0)
        }
        Pooling::Sum {
            multiplier, across, ..
        } => {
            let terms = window(layer, &values, at, across).into_iter();
            let terms: Vec<f64> = terms
                .map(|x| f64::from(x) * f64::from(multiplier))
                .collect();
            let sum = terms.iter().sum::<f64>();
            let sum = sum.max(f64::from(bounds.0)).min(f64::from(bounds.1));
            (sum, 1e-5 * terms.iter().map(|term| term.abs()).sum::<f64>())
        }
    };
    let results: Vec<(f64, f64)> = dims.all().map(result).collect();
    let input = layer.input.floats(&values, &layer.from);
    let before = marked(layer.input.channels * layer.to.blocks);
    for kernels in all() {
        let mut output = before.clone();
        windows.run(kernels, &input, &mut output).unwrap();
        let floats = VectorBlock::floats(&output).to_vec();
        let mut back = output.clone();
        let place = |[lane, channel, y, x]: [usize; 4]| {
            (channel * layer.to.blocks + layer.to.block(y, x)) * VectorBlock::LANES + lane
        };
        for (at, (expected, off)) in dims.all().zip(&results) {
            let found = f64::from(floats[place(at)]);
            prop_assert!(
                (found - expected).abs() <= *off,
                "{:?}: {found}, not {expected}",
                kernels.isa()
            );
            VectorBlock::floats_mut(&mut back)[place(at)] = VectorBlock::floats(&before)[place(at)];
        }
        prop_assert!(back == before, "{:?}: others were written", kernels.isa());
    }
    Ok(())
}

fn poolings() -> impl Strategy<Value = Pooling> {
    let multiplier = prop::sample::select(vec![0.5f32, 0.25, 1.0 / 9.0, -0.013, 0.001]);
    let start = prop::sample::select(vec![0, -1000, 4321, i32::MAX, i32::MIN]);
    let sum = (
        multiplier,
        start,
        prop::sample::select(vec![1usize, 2, 4, 8, 16]),
    );
    prop_oneof![
        1 => Just(Pooling::Max),
        3 => sum.prop_map(|(multiplier, start, across)| Pooling::Sum { multiplier, start, across }),
    ]
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn windows_of_codes_are_exact(layer in layers(3, 4, 2), pooling in poolings()) {
        check_codes(&layer, pooling)?;
    }

    #[test]
    fn windows_of_floats_are_close(layer in layers(3, 1, 3), pooling in poolings()) {
        check_floats(&layer, pooling)?;
    }
}

//! Kernels that take elements from elsewhere, held to plain loops on every instruction set.

use burn_compress::kernel::{
    Assembly, Convert, InputGrid, KernelError, Kernels, LaneSources, Pooling, Position, Resample,
    Sink, VectorBlock, Windows,
};

use super::byte;
use crate::noise::Noise;
use crate::runs::isas;

const LANES: usize = VectorBlock::LANES;

fn blocks(noise: &mut Noise, count: usize) -> Vec<VectorBlock> {
    let mut blocks = vec![VectorBlock::default(); count];
    let bytes = VectorBlock::bytes_mut(&mut blocks);
    bytes
        .iter_mut()
        .for_each(|byte| *byte = noise.below(256) as u8);
    blocks
}

// From one vector block, from a few or from many; in order, or not; some lanes from nowhere.
fn sources(noise: &mut Noise, sources: usize, blocks: usize) -> LaneSources {
    let of = (noise.below(sources), noise.below(blocks));
    let other = (noise.below(sources), noise.below(blocks));
    match noise.below(5) {
        0 => std::array::from_fn(|lane| Some((of.0, of.1 * LANES + lane))),
        1 => [None; LANES],
        kind => std::array::from_fn(|_| {
            let of = match kind {
                2 => of,
                3 => noise.pick(&[of, other]),
                _ => (noise.below(sources), noise.below(blocks)),
            };
            (noise.below(8) > 0).then(|| (of.0, of.1 * LANES + noise.below(LANES)))
        }),
    }
}

#[test]
fn planes_are_assembled() {
    for seed in 0..60 {
        let mut noise = Noise(seed);
        let reads = [blocks(&mut noise, 9), blocks(&mut noise, 7)];
        let reads: Vec<&[VectorBlock]> = reads.iter().map(Vec::as_slice).collect();
        let starts = [(0, 4), (1, 0), (0, 1)];
        let bytes = [3, 0, 2];
        let pushed: Vec<LaneSources> = (0..6).map(|_| sources(&mut noise, 3, 5)).collect();
        let mut assembly = Assembly::default();
        for (to, lanes) in pushed.iter().enumerate() {
            assembly.push(to as u32, lanes);
        }
        let fill = VectorBlock::of_bytes(77);
        let before = blocks(&mut noise, 6);
        let of = |(source, place): (usize, usize)| {
            let (read, start): (usize, usize) = starts[source];
            VectorBlock::integers(&reads[read][start..])[place]
        };
        let (mut whole, mut byte) = (before.clone(), before.clone());
        for (to, lanes) in pushed.iter().enumerate() {
            for (lane, source) in lanes.iter().enumerate() {
                let at = to * LANES + lane;
                let filled = VectorBlock::integers(&[fill])[0];
                VectorBlock::integers_mut(&mut whole)[at] = source.map_or(filled, of);
                if let Some((source, place)) = *source {
                    let four = of((source, place)).to_le_bytes();
                    VectorBlock::bytes_mut(&mut byte)[at * 4 + 1] = four[bytes[source] as usize];
                }
            }
        }
        for isa in isas() {
            let kernels = Kernels::of(isa).unwrap();
            let mut to = before.clone();
            assembly
                .run(kernels, &reads, &starts, &mut to, &fill)
                .unwrap();
            assert_eq!(to, whole, "{seed} {isa:?}");
            let mut to = before.clone();
            assembly
                .run_byte(kernels, &reads, (&starts, &bytes), &mut to, 1)
                .unwrap();
            assert_eq!(to, byte, "{seed} {isa:?}");
        }
    }
}

#[test]
fn planes_are_resampled() {
    for seed in 0..40 {
        let mut noise = Noise(seed);
        let mut from = vec![VectorBlock::default(); 5];
        let values = VectorBlock::floats_mut(&mut from);
        values
            .iter_mut()
            .for_each(|x| *x = noise.within(-999, 999) as f32 / 37.0);
        let mut resample = Resample::default();
        let mut expected = vec![VectorBlock::default(); 4];
        for to in 0..4 {
            let mut factors = || std::array::from_fn(|_| noise.within(-9, 9) as f32 / 7.0);
            let factors: Vec<([f32; 16], [f32; 16])> =
                (0..3).map(|_| (factors(), factors())).collect();
            let taps: Vec<_> = factors
                .into_iter()
                .map(|(column, row)| (sources(&mut noise, 1, 5), column, row))
                .collect();
            for lane in 0..LANES {
                let mut sum = -0.0;
                for (lanes, column, row) in &taps {
                    let x = lanes[lane].map_or(0.0, |(_, place)| VectorBlock::floats(&from)[place]);
                    sum += x * column[lane] * row[lane];
                }
                VectorBlock::floats_mut(&mut expected)[to * LANES + lane] = sum;
            }
            resample.push(to as u32, &taps);
        }
        for isa in isas() {
            let mut found = vec![VectorBlock::default(); 4];
            resample
                .run(Kernels::of(isa).unwrap(), &from, &mut found)
                .unwrap();
            assert_eq!(found, expected, "{seed} {isa:?}");
        }
    }
}

#[test]
fn codes_become_floats_and_back() {
    let mut noise = Noise(3);
    let codes = blocks(&mut noise, 8);
    let grid = InputGrid {
        scale: 0.37,
        offset: -1.5,
        low: -100,
        high: 155,
    };
    let table: Box<[f32; 256]> = Box::new(std::array::from_fn(|byte| (byte as f32).sqrt()));
    for isa in isas() {
        let kernels = Kernels::of(isa).unwrap();
        let mut back = blocks(&mut noise, 8);
        for byte in 0..4 {
            let of = |place: usize| VectorBlock::bytes(&codes)[place * 4 + byte];
            let mut floats = vec![VectorBlock::default(); 8];
            let to_floats = Convert::Floats {
                scale: grid.scale,
                offset: grid.offset,
                low: grid.low,
            };
            to_floats.run(kernels, byte, &codes, &mut floats).unwrap();
            for (place, &found) in VectorBlock::floats(&floats).iter().enumerate() {
                let code = i32::from(of(place)) + grid.low;
                let expected = grid.scale * code as f32 + grid.offset;
                assert_eq!(found.to_bits(), expected.to_bits(), "{isa:?}");
            }
            Convert::Codes(grid)
                .run(kernels, byte, &floats, &mut back)
                .unwrap();
            let looked_up = Convert::Table(table.clone());
            looked_up.run(kernels, byte, &codes, &mut floats).unwrap();
            for (place, &found) in VectorBlock::floats(&floats).iter().enumerate() {
                assert_eq!(found, table[usize::from(of(place))], "{isa:?}");
            }
        }
        assert_eq!(back, codes, "{isa:?}");
    }
}

#[test]
fn sums_are_divided_lane_by_lane() {
    let mut noise = Noise(5);
    let codes = blocks(&mut noise, 3);
    let mut divisors = vec![VectorBlock::default(); 2];
    let numbers = VectorBlock::floats_mut(&mut divisors);
    numbers
        .iter_mut()
        .for_each(|x| *x = noise.within(1, 9) as f32);
    let at = |place: u32| Position {
        input: place,
        output: place,
        residual: 1 - place,
    };
    let (multiplier, start, low) = (0.7, -40, -20);
    let bounds = (-20.0, 211.0);
    let mut windows = Windows {
        pooling: Pooling::Sum {
            multiplier,
            start,
            across: 1,
        },
        taps: vec![0, 1],
        positions: vec![at(0), at(1)],
        planes: (3, 2),
        divisors: divisors.clone(),
        bounds,
        sink: Sink::Codes { low },
    };
    let of = |place: usize| &VectorBlock::bytes(&codes)[place * 64..][..64];
    for isa in isas() {
        let mut to = [VectorBlock::default(); 2];
        windows
            .run(Kernels::of(isa).unwrap(), &codes, &mut to)
            .unwrap();
        for (index, &found) in VectorBlock::bytes(&to).iter().enumerate() {
            let (place, lane) = (index / 64, index % 64);
            let sum = i32::from(of(place)[lane]) + i32::from(of(place + 1)[lane]) + start;
            let divisor = VectorBlock::floats(&divisors[1 - place..])[lane / 4];
            let expected = byte(sum as f32 * multiplier / divisor, bounds, low);
            assert_eq!(found, expected, "{isa:?} at {index}");
        }
    }
    // None for one of the positions, or sums over several lanes.
    let mut to = [VectorBlock::default(); 2];
    windows.divisors.pop();
    let found = windows.run(Kernels::detect(), &codes, &mut to);
    assert_eq!(found, Err(KernelError::Epilogue));
    windows.divisors = divisors;
    windows.pooling = Pooling::Sum {
        multiplier,
        start,
        across: 4,
    };
    let found = windows.run(Kernels::detect(), &codes, &mut to);
    assert_eq!(found, Err(KernelError::Epilogue));
}

#[test]
fn what_lies_outside_is_refused() {
    let kernels = Kernels::detect();
    let block = [VectorBlock::default(); 2];
    let mut to = [VectorBlock::default(); 2];
    let lanes: LaneSources = std::array::from_fn(|lane| Some((0, LANES + lane)));
    let mut assembly = Assembly::default();
    assembly.push(1, &lanes);
    let fill = VectorBlock::default();
    let mut run = |starts: &[(usize, usize)], blocks: usize| {
        assembly.run(kernels, &[&block], starts, &mut to[..blocks], &fill)
    };
    assert_eq!(run(&[(0, 0)], 2), Ok(()));
    for (starts, blocks) in [
        (&[(0, 1)][..], 2),
        (&[(1, 0)], 2),
        (&[(0, usize::MAX)], 2),
        (&[], 2),
        (&[(0, 0)], 1),
    ] {
        assert_eq!(run(starts, blocks), Err(KernelError::Memory), "{starts:?}");
    }
    let mut byte =
        |of: &[u8], byte| assembly.run_byte(kernels, &[&block], (&[(0, 0)], of), &mut to, byte);
    assert_eq!(byte(&[3], 3), Ok(()));
    for (of, place) in [(&[4][..], 0), (&[], 0), (&[0], 4)] {
        assert_eq!(byte(of, place), Err(KernelError::Memory));
    }
    let mut resample = Resample::default();
    resample.push(1, &[(lanes, [1.0; 16], [1.0; 16])]);
    assert_eq!(resample.run(kernels, &block, &mut to), Ok(()));
    let short = resample.run(kernels, &block[..1], &mut to);
    assert_eq!(short, Err(KernelError::Memory));
    let short = resample.run(kernels, &block, &mut to[..1]);
    assert_eq!(short, Err(KernelError::Memory));
    let convert = Convert::Floats {
        scale: 1.0,
        offset: 0.0,
        low: 0,
    };
    assert_eq!(
        convert.run(kernels, 4, &block, &mut to),
        Err(KernelError::Epilogue)
    );
    assert_eq!(
        convert.run(kernels, 0, &block[..1], &mut to),
        Err(KernelError::Memory)
    );
    let wide = Convert::Codes(InputGrid {
        scale: 1.0,
        offset: 0.0,
        low: -128,
        high: 128,
    });
    assert_eq!(
        wide.run(kernels, 0, &block, &mut to),
        Err(KernelError::Epilogue)
    );
}

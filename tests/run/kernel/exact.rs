//! Products of bytes where the result is known by heart: ties, single roundings, sums that wrap, any
//! number of positions.

use burn_compress::kernel::{
    Epilogue, FILTER_BLOCK, Filter, Kernels, PackedWeights, Position, Product, Residual,
    SharedEntry, Sink, SparseEntry, TILE, VectorBlock,
};

use super::{ALL, all, at, byte, marked, weight_blocks};
use crate::noise::Noise;

// Four filters of the same sparse entries, which read vector blocks from a window's start.
fn entries(weights: &[(u32, [i8; 4])], shared: bool) -> PackedWeights {
    let count = weights.len() as u32;
    let one = |&(block, four): &(u32, [i8; 4])| SparseEntry::of_bytes(block, four);
    let four = |&(block, four): &(u32, [i8; 4])| SharedEntry::of_bytes(block, [four; FILTER_BLOCK]);
    match shared {
        false => PackedWeights::Filter {
            entries: (0..FILTER_BLOCK)
                .flat_map(|_| weights.iter().map(one))
                .collect(),
            starts: (0..=FILTER_BLOCK as u32).map(|f| f * count).collect(),
        },
        true => PackedWeights::Shared {
            entries: weights.iter().map(four).collect(),
            starts: vec![0, count],
        },
    }
}

fn end(filter: Filter, bounds: (f32, f32), sink: Sink) -> Epilogue {
    Epilogue {
        filters: vec![filter; FILTER_BLOCK],
        residual: None,
        bounds,
        sink,
    }
}

fn in_row(count: usize) -> Vec<Position> {
    (0..count as u32)
        .map(|place| at(place, place, place))
        .collect()
}

// Both forms of sparse entries under each set.
fn each(
    weights: &[(u32, [i8; 4])],
    epilogue: &Epilogue,
    positions: usize,
    mut check: impl FnMut(Kernels, &Product),
) {
    for shared in [false, true] {
        let entries = entries(weights, shared);
        let positions = in_row(positions);
        let plane = positions.len();
        let product = Product::new(entries, epilogue.clone(), positions, plane, true).unwrap();
        all().for_each(|kernels| check(kernels, &product));
    }
}

// Vector blocks whose lanes have the bytes 0 to 255 in channel 0, and 0 in others.
fn every_byte() -> Vec<VectorBlock> {
    let mut blocks = vec![VectorBlock::default(); 16];
    let bytes = VectorBlock::bytes_mut(&mut blocks).iter_mut().step_by(4);
    bytes
        .enumerate()
        .for_each(|(value, byte)| *byte = value as u8);
    blocks
}

// What one block of filters makes of them.
fn of_every_byte(kernels: Kernels, product: &Product) -> Vec<VectorBlock> {
    let mut output = marked(16);
    product
        .run(kernels, 0..1, &every_byte(), &[], &mut output)
        .unwrap();
    output
}

#[test]
fn ties_go_to_the_even_code() {
    for (multiplier, offset, low) in [
        (0.5, -0.0, 0),
        (0.5, 1.0, -3),
        (0.25, 0.25, -100),
        (-0.5, 0.0, -255),
    ] {
        let filter = Filter {
            start: 0,
            multiplier,
            offset,
        };
        let bounds = (low as f32, (low + 255) as f32);
        let epilogue = end(filter, bounds, Sink::Codes { low });
        each(&[(0, [1, 0, 0, 0])], &epilogue, 16, |kernels, product| {
            let output = of_every_byte(kernels, product);
            for (value, four) in VectorBlock::bytes(&output).chunks(4).enumerate() {
                // In halves and quarters nothing but the last step rounds.
                let t = value as f64 * f64::from(multiplier) + f64::from(offset);
                let code = t
                    .round_ties_even()
                    .clamp(f64::from(low), f64::from(low + 255));
                let expected = (code as i32 - low) as u8;
                assert_eq!(four, [expected; 4], "{:?} {value}", kernels.isa());
            }
        });
    }
}

#[test]
fn each_operation_rounds_by_itself() {
    // Three thirds are 1 after rounding; fused with the -1 that follows, 2^-25 would be left.
    let third = 1.0f32 / 3.0;
    assert!(3.0f32.mul_add(third, -1.0) > 0.0);
    let input = [VectorBlock::of_bytes(3)];
    let one = [(0, [1, 0, 0, 0])];
    let filter = Filter {
        start: 0,
        multiplier: third,
        offset: -1.0,
    };
    each(
        &one,
        &end(filter, ALL, Sink::Floats),
        1,
        |kernels, product| {
            let mut output = marked(4);
            product
                .run(kernels, 0..1, &input, &[], &mut output)
                .unwrap();
            assert_eq!(
                VectorBlock::floats(&output),
                [0.0; 64],
                "{:?}",
                kernels.isa()
            );
        },
    );

    let filter = Filter {
        start: -4,
        multiplier: 1.0,
        offset: -0.0,
    };
    let added = Residual {
        factor: third,
        low: -2,
        plane: 1,
    };
    let epilogue = Epilogue {
        residual: Some(added),
        ..end(filter, ALL, Sink::Floats)
    };
    each(&one, &epilogue, 1, |kernels, product| {
        let mut output = marked(4);
        let added = [VectorBlock::of_bytes(5)];
        product
            .run(kernels, 0..1, &input, &added, &mut output)
            .unwrap();
        assert_eq!(
            VectorBlock::floats(&output),
            [0.0; 64],
            "{:?}",
            kernels.isa()
        );
    });
}

#[test]
fn sums_next_to_22_bits() {
    // Up to there sums and multipliers of 22 bits become floats in one operation.
    const EDGE: i32 = 1 << 22;
    let starts = [
        EDGE - 256,
        EDGE - 255,
        EDGE - 128,
        EDGE,
        -EDGE,
        -EDGE - 1,
        -EDGE - 128,
    ];
    for start in starts {
        for (bits, sign) in [(0x3800_0004, 1.0), (0x37ff_fffc, -1.0), (0x37ff_fffe, 1.0)] {
            let multiplier = sign * f32::from_bits(bits);
            let offset = (-(start as f32) * multiplier).round() + 100.5;
            let filter = Filter {
                start,
                multiplier,
                offset,
            };
            let epilogue = end(filter, (0.0, 255.0), Sink::Codes { low: 0 });
            each(&[(0, [1, 0, 0, 0])], &epilogue, 16, |kernels, product| {
                let output = of_every_byte(kernels, product);
                for (value, four) in VectorBlock::bytes(&output).chunks(4).enumerate() {
                    let t = (start + value as i32) as f32 * multiplier;
                    let expected = (t + offset).round_ties_even().clamp(0.0, 255.0) as u8;
                    let what = (kernels.isa(), start, value, multiplier);
                    assert_eq!(four, [expected; 4], "{what:?}");
                }
            });
        }
    }
}

#[test]
fn sums_of_extremes_wrap() {
    let window: Vec<(u32, [i8; 4])> = (0..9).map(|block| (block, [-128; 4])).collect();
    let input = [VectorBlock::of_bytes(255); 9];
    let sum = 9 * 4 * 255 * -128;
    for start in [0, 1, i32::MIN, i32::MAX] {
        let filter = Filter {
            start,
            multiplier: 1.0,
            offset: -0.0,
        };
        each(
            &window,
            &end(filter, ALL, Sink::Floats),
            1,
            |kernels, product| {
                let mut output = marked(4);
                product
                    .run(kernels, 0..1, &input, &[], &mut output)
                    .unwrap();
                let expected = start.wrapping_add(sum) as f32;
                assert_eq!(
                    VectorBlock::floats(&output),
                    [expected; 64],
                    "{:?} {start}",
                    kernels.isa()
                );
            },
        );
    }
}

#[test]
fn any_number_of_tiles() {
    let positions: Vec<Position> = [7, 0, 3].map(|at| super::at(at, at, 0)).into();
    let filter = Filter {
        start: -5,
        multiplier: 1.0,
        offset: -0.0,
    };
    for depth in [1, 7, 15, 16] {
        for count in [1, 8, 9, 10, 18, 19, 97, 100, 145, 300] {
            let input = marked(count + 2 * depth + 8);
            let mut noise = Noise(count as u64);
            // Four filters, and what makes them sixteen.
            let weight = |noise: &mut Noise| [(); 4].map(|_| noise.within(-128, 127) as i8);
            let mut weights = vec![[0; 4]; count * TILE * depth];
            for tile in weights.chunks_exact_mut(TILE * depth) {
                tile[..FILTER_BLOCK * depth].fill_with(|| weight(&mut noise));
            }
            let of = |f: usize, tile: usize, row: usize| {
                let block = (tile + 2 * row) as u32;
                SparseEntry::of_bytes(block, weights[(tile * TILE + f) * depth + row])
            };
            let all = |f: usize| {
                let tiles = (0..count).flat_map(|tile| (0..depth).map(move |row| (tile, row)));
                tiles.map(move |(tile, row)| of(f, tile, row))
            };
            let each = (count * depth) as u32;
            let singly = PackedWeights::Filter {
                entries: (0..FILTER_BLOCK).flat_map(all).collect(),
                starts: (0..=FILTER_BLOCK as u32).map(|f| f * each).collect(),
            };
            let tiles = PackedWeights::Tiles {
                filter_blocks: 1,
                depth,
                apart: 2,
                blocks: (0..count as u32).collect(),
                weights: weight_blocks(&weights).into(),
            };
            let epilogue = end(filter, ALL, Sink::Floats);
            let run = |entries: PackedWeights, kernels: Kernels| {
                let positions = positions.clone();
                let product = Product::new(entries, epilogue.clone(), positions, 8, true).unwrap();
                let mut output = marked(32);
                product
                    .run(kernels, 0..1, &input, &[], &mut output)
                    .unwrap();
                output
            };
            for kernels in super::all() {
                let expected = run(singly.clone(), kernels);
                let found = run(tiles.clone(), kernels);
                assert!(found == expected, "{:?}: {count} of {depth}", kernels.isa());
            }
        }
    }
}

#[test]
fn a_wide_result_stays_within_its_byte() {
    // Neighbours in a vector block must not see what a clamped one had too much.
    let bounds = (-255.0, 0.0);
    for (multiplier, code) in [
        (f32::MAX, 255),
        (-f32::MAX, 0),
        (f32::NAN, 0),
        (f32::INFINITY, 255),
    ] {
        let filter = |multiplier: f32| Filter {
            start: 1,
            multiplier,
            offset: -7.0,
        };
        let wide = filter(multiplier);
        let filters = vec![wide, filter(0.0), wide, filter(0.0)];
        let epilogue = Epilogue {
            filters,
            ..end(wide, bounds, Sink::Codes { low: -255 })
        };
        each(&[(0, [1; 4])], &epilogue, 1, |kernels, product| {
            let mut output = marked(1);
            product
                .run(kernels, 0..1, &[VectorBlock::of_bytes(9)], &[], &mut output)
                .unwrap();
            for four in VectorBlock::bytes(&output).chunks(4) {
                assert_eq!(
                    four,
                    [code, 248, code, 248],
                    "{:?} {multiplier}",
                    kernels.isa()
                );
            }
        });
    }
}

#[test]
fn any_number_of_positions_and_any_blocks() {
    let weights = [(0, [1, -2, 3, -4]), (2, [127, 0, -128, 1])];
    let bounds = (-128.0, 127.0);
    let filter = Filter {
        start: 40,
        multiplier: 0.015625,
        offset: 0.5,
    };
    let epilogue = end(filter, bounds, Sink::Codes { low: -128 });
    for positions in 1..=40 {
        let input = marked(positions + 2);
        let bytes = VectorBlock::bytes(&input);
        let mut expected = marked(positions + 1);
        for (at, to) in VectorBlock::bytes_mut(&mut expected)[..positions * 64]
            .iter_mut()
            .enumerate()
        {
            let sums = weights.iter().map(|&(block, four)| {
                let from = &bytes[(at / 64 + block as usize) * 64 + at % 64 / 4 * 4..][..4];
                let products = from
                    .iter()
                    .zip(four)
                    .map(|(&x, w)| i32::from(x) * i32::from(w));
                products.sum::<i32>()
            });
            let t = (40 + sums.sum::<i32>()) as f32 * 0.015625;
            *to = byte(t + 0.5, bounds, -128);
        }
        each(&weights, &epilogue, positions, |kernels, product| {
            for block in [1, 5, 8, positions, usize::MAX, 0] {
                let product = product.clone().in_position_blocks(block);
                let mut output = marked(positions + 1);
                product
                    .run(kernels, 0..1, &input, &[], &mut output)
                    .unwrap();
                assert!(
                    output == expected,
                    "{:?}: {positions} in {block}",
                    kernels.isa()
                );
            }
        });
    }
}

#[test]
fn a_residual_of_codes_has_a_plane_for_each_filter_block_under_floats_too() {
    let filters = vec![
        Filter {
            start: 0,
            multiplier: 1.0,
            offset: -0.0
        };
        2 * FILTER_BLOCK
    ];
    let residual = Some(Residual {
        factor: 2.0,
        low: -1,
        plane: 2,
    });
    let epilogue = Epilogue {
        filters,
        residual,
        bounds: ALL,
        sink: Sink::Floats,
    };
    let entries = PackedWeights::Shared {
        entries: vec![],
        starts: vec![0, 0, 0],
    };
    let product = Product::new(entries, epilogue, in_row(1), 1, true).unwrap();
    let added = [
        VectorBlock::of_bytes(3),
        VectorBlock::of_bytes(9),
        VectorBlock::of_bytes(11),
    ];
    for kernels in all() {
        let mut output = marked(8);
        product
            .run(
                kernels,
                0..2,
                &[VectorBlock::default()],
                &added,
                &mut output,
            )
            .unwrap();
        assert_eq!(output[..4], [VectorBlock::of_floats(4.0); 4]);
        assert_eq!(output[4..], [VectorBlock::of_floats(20.0); 4]);
    }
}

//! Products of two activations, held to sums of double precision.

use burn_compress::kernel::{InputGrid, MatrixProduct, PackedRight, Planes, VectorBlock};
use proptest::prelude::*;

use super::{ALL, all, cases, marked, real};
use crate::noise::Noise;

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn products_of_activations_are_close(
        seed in any::<u64>(), groups in 1..4usize, inner in prop_oneof![3 => 1..40usize, 1 => 90..220usize],
        filters in 1..20usize, columns in 1..9usize,
        inner_is_channel in any::<bool>(), codes in any::<bool>(),
    ) {
        let mut noise = Noise(seed);
        let positions = if inner_is_channel { filters } else { inner };
        let tile = positions.div_ceil(16) + noise.below(2);
        let first = noise.below(2);
        let from = Planes { plane: first + tile, first, pitch: tile };
        let left = Planes { plane: columns | 1, first: 0, pitch: columns };
        let channels = groups * if inner_is_channel { inner } else { filters };
        let fill = |noise: &mut Noise, count: usize| {
            let mut blocks = marked(count);
            VectorBlock::floats_mut(&mut blocks).iter_mut().for_each(|x| *x = real(noise));
            blocks
        };
        let right = fill(&mut noise, channels * from.plane);
        let operand = fill(&mut noise, groups * inner * left.plane);
        let packed = PackedRight { groups, inner, filters, inner_is_channel, from, tile, source: None };
        let sink = codes.then_some(InputGrid { scale: 0.1, offset: 0.0, low: -128, high: 127 });
        let product = MatrixProduct {
            groups, inner, filters, columns, left, to: left, multiplier: 0.5, bounds: ALL, sink,
        };
        let blocks = product.blocks();
        let mut weights = marked(blocks * packed.block());
        packed.pack(0..blocks, &right, &mut weights).unwrap();
        let element = |channel: usize, position: usize| {
            let at = (channel * from.plane + first + position % tile) * 16 + position / tile;
            f64::from(VectorBlock::floats(&right)[at])
        };
        for kernels in all() {
            let planes = if codes { 1 } else { 4 };
            let mut output = marked(blocks * planes * left.plane);
            product.run(kernels, 0..blocks, &operand, &weights, &mut output).unwrap();
            // Blocks one by one are the same.
            for block in 0..blocks {
                let each = planes * left.plane;
                let mut part = marked(each);
                product.run(kernels, block..block + 1, &operand, &weights, &mut part).unwrap();
                let whole = &output[block * each..][..each];
                for plane in 0..planes {
                    prop_assert!(part[plane * left.plane..][..columns] == whole[plane * left.plane..][..columns]);
                }
            }
            for channel in 0..groups * filters {
                let (group, filter) = (channel / filters, channel % filters);
                for at in 0..columns * 16 {
                    let (mut sum, mut sizes) = (0.0, 0.0);
                    for k in 0..inner {
                        let x = VectorBlock::floats(&operand)[(group * inner + k) * left.plane * 16 + at];
                        let y = match inner_is_channel {
                            true => element(group * inner + k, filter),
                            false => element(channel, k),
                        };
                        sum += f64::from(x) * y;
                        sizes += (f64::from(x) * y).abs();
                    }
                    let bound = 0.5 * sizes * (inner + 2) as f64 / (1u64 << 23) as f64;
                    let (found, bound) = match sink {
                        None => (VectorBlock::floats(&output)[channel * left.plane * 16 + at], bound),
                        Some(grid) => {
                            let at = (channel / 4 * left.plane * 16 + at) * 4 + channel % 4;
                            let code = i32::from(VectorBlock::bytes(&output)[at]) + grid.low;
                            (code as f32 * grid.scale, bound + 0.0501)
                        }
                    };
                    prop_assert!((f64::from(found) - 0.5 * sum).abs() <= bound, "{found}, not {}", 0.5 * sum);
                }
            }
        }
    }
}

#[test]
fn products_of_activations_lie_in_their_blocks() {
    let planes = Planes {
        plane: 2,
        first: 0,
        pitch: 2,
    };
    let packed = PackedRight {
        groups: 2,
        inner: 3,
        filters: 20,
        inner_is_channel: true,
        from: planes,
        tile: 2,
        source: None,
    };
    let pack = |packed: &PackedRight, input: usize, output: usize| {
        packed.pack(0..10, &marked(input), &mut marked(output))
    };
    assert!(pack(&packed, 12, 10).is_ok());
    assert!(pack(&packed, 11, 10).is_err());
    assert!(pack(&packed, 12, 9).is_err());
    let beyond = PackedRight {
        filters: 33,
        ..packed
    };
    assert!(pack(&beyond, 12, 10).is_err());
    let product = MatrixProduct {
        groups: 2,
        inner: 3,
        filters: 20,
        columns: 2,
        left: planes,
        to: planes,
        multiplier: 1.0,
        bounds: ALL,
        sink: None,
    };
    let kernels = all().next().unwrap();
    let run = |product: &MatrixProduct, blocks: usize, left: usize, weights: usize, to: usize| {
        let (left, weights) = (marked(left), marked(weights));
        product.run(kernels, 0..blocks, &left, &weights, &mut marked(to))
    };
    assert!(run(&product, 10, 12, 10, 80).is_ok());
    assert!(run(&product, 11, 12, 11, 88).is_err());
    assert!(run(&product, 10, 11, 10, 80).is_err());
    assert!(run(&product, 10, 12, 9, 80).is_err());
    assert!(run(&product, 10, 12, 10, 79).is_err());
    let wide = MatrixProduct {
        columns: 3,
        ..product
    };
    assert!(run(&wide, 10, 12, 10, 80).is_err());
}

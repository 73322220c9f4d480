//! Samples whose columns do not lie side by side.

use burn_compress::kernel::{Element, InputGrid, Planes, Sink, Strided, VectorBlock};
use proptest::prelude::*;

use super::{cases, marked, real};
use crate::noise::Noise;

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn tokens_go_into_vector_blocks_and_back(
        seed in any::<u64>(), tokens in 1..40usize, channels in 1..9usize, codes in any::<bool>(),
    ) {
        let mut noise = Noise(seed);
        let tile = tokens.div_ceil(16);
        let lanes = (0..16).map(|lane| {
            let first = (lane * tile).min(tokens);
            Some((first * channels, (1, (tokens - first).min(tile))))
        });
        let first = noise.below(3);
        let strided = Strided {
            sample: tokens * channels,
            channels: (0..channels).collect(),
            row: tokens * channels,
            column: channels,
            lanes: lanes.collect(),
            tile: [1, tile],
            planes: Planes { plane: first + tile, first, pitch: tile },
        };
        let samples: Vec<f32> = (0..tokens * channels).map(|_| 10.0 * real(&mut noise)).collect();
        let grid = codes.then_some(InputGrid { scale: 0.125, offset: 0.0, low: -100, high: 155 });
        let planes = if codes { channels.div_ceil(4) } else { channels };
        let mut blocks = marked(planes * strided.planes.plane);
        prop_assert!(strided.write(&samples, grid, 0..planes, &mut blocks).unwrap());
        let mut found = vec![f32::NAN; samples.len()];
        let sink = if codes { Sink::Codes { low: -100 } } else { Sink::Floats };
        strided.read(&blocks, sink, |place, element| {
            found[place] = match element {
                Element::Code(code) => code as f32 * 0.125,
                Element::Float(value) => value,
            };
        }).unwrap();
        for (found, value) in found.iter().zip(&samples) {
            let expected = if codes { (value / 0.125).round_ties_even() * 0.125 } else { *value };
            prop_assert_eq!(*found, expected);
        }
        let mut bad = samples.clone();
        let at = noise.below(bad.len());
        bad[at] = f32::INFINITY;
        prop_assert!(!strided.write(&bad, grid, 0..planes, &mut blocks).unwrap());
        prop_assert!(strided.write(&samples[1..], grid, 0..planes, &mut blocks).is_err());
        let short = blocks.len() - 1;
        prop_assert!(strided.write(&samples, grid, 0..planes, &mut blocks[..short]).is_err());
        prop_assert!(strided.read(&blocks[..short], sink, |_, _| ()).is_err());
        let torn = Strided { planes: Planes { plane: tile - 1, first: 0, pitch: tile }, ..strided };
        prop_assert!(torn.write(&samples, grid, 0..planes, &mut blocks).is_err());
        prop_assert_eq!(VectorBlock::LANES, 16);
    }
}

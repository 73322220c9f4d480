//! Halos and gathers: each lane where it belongs, and no other.

use burn_compress::kernel::{Edges, Gather, LaneMap, Move, VectorBlock};
use proptest::prelude::*;

use super::{all, cases, marked};
use crate::noise::Noise;

// A lane for each lane, or the fill.
fn map(noise: &mut Noise) -> LaneMap {
    match noise.below(4) {
        0 => std::array::from_fn(|lane| lane as i32),
        1 => [noise.pick(&[-1, i32::MIN]); 16],
        _ => std::array::from_fn(|_| noise.within(-3, 15)),
    }
}

fn lanes(block: &VectorBlock) -> [i32; 16] {
    VectorBlock::integers(std::slice::from_ref(block))
        .try_into()
        .unwrap()
}

fn block(lanes: [i32; 16]) -> VectorBlock {
    let mut block = [VectorBlock::default()];
    VectorBlock::integers_mut(&mut block).copy_from_slice(&lanes);
    block[0]
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn edges_move_in_their_order(
        seed in any::<u64>(),
        (plane, planes, rest) in (1..12usize, 0..4usize, 0..3usize),
        count in 0..8usize,
    ) {
        let mut noise = Noise(seed);
        let maps: Vec<LaneMap> = (0..3).map(|_| map(&mut noise)).collect();
        // Moves among the first vector blocks, and fills of the others.
        let moved = noise.below(plane + 1);
        let mut place = || noise.below(moved) as u32;
        let moves = (0..if moved > 0 { count } else { 0 })
            .map(|at| Move { to: place(), from: place(), map: at as u32 % 3 });
        let moves: Vec<Move> = moves.collect();
        let middle = moved + noise.below(plane - moved + 1);
        let fills = vec![moved as u32..middle as u32, middle as u32..middle as u32];
        let fill = marked(9)[noise.below(9)];
        let edges = Edges { plane, moves, maps, fills, fill };

        let mut expected = marked(plane * planes + rest.min(plane - 1));
        for blocks in expected.chunks_exact_mut(plane) {
            blocks[moved..middle].fill(fill);
            for to in &edges.moves {
                let from = lanes(&blocks[to.from as usize]);
                let map = edges.maps[to.map as usize];
                let lane = |lane: usize| match map[lane] {
                    from_lane @ 0.. => from[from_lane as usize],
                    _ => lanes(&fill)[lane],
                };
                blocks[to.to as usize] = block(std::array::from_fn(lane));
            }
        }
        for kernels in all() {
            let mut blocks = marked(expected.len());
            edges.run(kernels, &mut blocks).unwrap();
            prop_assert!(blocks == expected, "{:?}: {edges:?}", kernels.isa());
        }
    }

    #[test]
    fn gathers_take_each_lane_from_its_place(
        seed in any::<u64>(),
        (from, to) in (1..10usize, 0..10usize),
    ) {
        let mut noise = Noise(seed);
        let source = marked(from);
        let fill = block(std::array::from_fn(|lane| -1000 - lane as i32));
        let mut gather = Gather::default();
        let mut expected = marked(to);
        for (place, expected) in expected.iter_mut().enumerate() {
            let first = (noise.below(from) * 16) as i32;
            let map: LaneMap = match noise.below(5) {
                0 => continue,
                1 => std::array::from_fn(|lane| first + lane as i32),
                2 => [-1; 16],
                // Nearly a whole vector block.
                3 => std::array::from_fn(|lane| first + (lane as i32).min(14)),
                _ => std::array::from_fn(|_| noise.within(-5, from as i32 * 16 - 1)),
            };
            gather.push(place as u32, map);
            *expected = block(std::array::from_fn(|lane| match map[lane] {
                from @ 0.. => VectorBlock::integers(&source)[from as usize],
                _ => lanes(&fill)[lane],
            }));
        }
        for kernels in all() {
            let mut blocks = marked(to);
            gather.run(kernels, &source, &mut blocks, &fill).unwrap();
            prop_assert!(blocks == expected, "{:?}: {gather:?}", kernels.isa());
        }
    }
}

#[test]
fn no_edges_write_nothing() {
    assert!(Edges::none().is_empty());
    for kernels in all() {
        let mut blocks = marked(3);
        Edges::none().run(kernels, &mut blocks).unwrap();
        assert!(blocks == marked(3));
    }
}

#[test]
fn a_gather_over_others_leaves_them() {
    let (from, other) = (marked(8), marked(3));
    // A whole block, one of a few lanes of one, of lanes of two, and of many.
    let maps: [LaneMap; 4] = [
        std::array::from_fn(|lane| 32 + lane as i32),
        std::array::from_fn(|lane| if lane % 3 == 0 { lane as i32 } else { -1 }),
        std::array::from_fn(|lane| if lane < 5 { 15 + lane as i32 } else { -1 }),
        std::array::from_fn(|lane| if lane < 9 { 16 * (lane as i32 % 8) } else { -1 }),
    ];
    for map in maps {
        let mut gather = Gather::default();
        gather.push(1, map);
        gather.push(2, [-1; 16]);
        for kernels in all() {
            let mut to = other.clone();
            gather.run_over(kernels, &from, &mut to).unwrap();
            let numbers = VectorBlock::integers(&from);
            for (place, found) in VectorBlock::integers(&to).iter().enumerate() {
                let source = if place / 16 == 1 { map[place % 16] } else { -1 };
                let stays = VectorBlock::integers(&other)[place];
                let expected = if source < 0 {
                    stays
                } else {
                    numbers[source as usize]
                };
                assert_eq!(*found, expected, "{map:?} at {place}");
            }
            assert!(gather.run_over(kernels, &from, &mut to[..2]).is_err());
        }
    }
}

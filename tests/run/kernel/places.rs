//! Halos and gathers: each site where it belongs, and no other.

use burn_compress::kernel::{Cell, Edges, Gather, Move, SiteMap};
use proptest::prelude::*;

use super::{all, marked};
use crate::noise::Noise;

// A site for each site, or the fill.
fn map(noise: &mut Noise) -> SiteMap {
    match noise.below(4) {
        0 => std::array::from_fn(|site| site as i32),
        1 => [noise.pick(&[-1, i32::MIN]); 16],
        _ => std::array::from_fn(|_| noise.within(-3, 15)),
    }
}

fn sites(cell: &Cell) -> [i32; 16] {
    Cell::integers(std::slice::from_ref(cell))
        .try_into()
        .unwrap()
}

fn cell(sites: [i32; 16]) -> Cell {
    let mut cell = [Cell::default()];
    Cell::integers_mut(&mut cell).copy_from_slice(&sites);
    cell[0]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn edges_move_in_their_order(
        seed in any::<u64>(),
        (plane, planes, rest) in (1..12usize, 0..4usize, 0..3usize),
        count in 0..8usize,
    ) {
        let mut noise = Noise(seed);
        let maps: Vec<SiteMap> = (0..3).map(|_| map(&mut noise)).collect();
        // Moves among the first cells, and fills of the others.
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
        for cells in expected.chunks_exact_mut(plane) {
            cells[moved..middle].fill(fill);
            for to in &edges.moves {
                let from = sites(&cells[to.from as usize]);
                let map = edges.maps[to.map as usize];
                let site = |site: usize| match map[site] {
                    from_site @ 0.. => from[from_site as usize],
                    _ => sites(&fill)[site],
                };
                cells[to.to as usize] = cell(std::array::from_fn(site));
            }
        }
        for kernels in all() {
            let mut cells = marked(expected.len());
            edges.run(kernels, &mut cells).unwrap();
            prop_assert!(cells == expected, "{:?}: {edges:?}", kernels.isa());
        }
    }

    #[test]
    fn gathers_take_each_site_from_its_place(
        seed in any::<u64>(),
        (from, to) in (1..10usize, 0..10usize),
    ) {
        let mut noise = Noise(seed);
        let source = marked(from);
        let fill = cell(std::array::from_fn(|site| -1000 - site as i32));
        let mut gather = Gather::default();
        let mut expected = marked(to);
        for (place, expected) in expected.iter_mut().enumerate() {
            let first = (noise.below(from) * 16) as i32;
            let map: SiteMap = match noise.below(5) {
                0 => continue,
                1 => std::array::from_fn(|site| first + site as i32),
                2 => [-1; 16],
                // Nearly a whole cell.
                3 => std::array::from_fn(|site| first + (site as i32).min(14)),
                _ => std::array::from_fn(|_| noise.within(-5, from as i32 * 16 - 1)),
            };
            gather.push(place as u32, map);
            *expected = cell(std::array::from_fn(|site| match map[site] {
                from @ 0.. => Cell::integers(&source)[from as usize],
                _ => sites(&fill)[site],
            }));
        }
        for kernels in all() {
            let mut cells = marked(to);
            gather.run(kernels, &source, &mut cells, &fill).unwrap();
            prop_assert!(cells == expected, "{:?}: {gather:?}", kernels.isa());
        }
    }
}

#[test]
fn no_edges_write_nothing() {
    assert!(Edges::none().is_empty());
    for kernels in all() {
        let mut cells = marked(3);
        Edges::none().run(kernels, &mut cells).unwrap();
        assert!(cells == marked(3));
    }
}

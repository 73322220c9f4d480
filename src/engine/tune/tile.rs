//! Weights as tiles of sixteen filters, which a matrix unit multiplies.

use std::sync::Arc;

use crate::engine::layout::Layout;
use crate::engine::lower::node::{WeightValues, Weighted};
use crate::kernel::{FILTER_BLOCK, PackedWeights, TILE, VectorBlock};

/// The tiles of a filter: vector blocks that lie evenly, so many of them at a time.
struct Tiles {
    depth: usize,
    /// Vector blocks from one to the next.
    apart: usize,
    /// The first vector block of each tile, from the start of a window.
    blocks: Vec<u32>,
    /// Of every tile's vector blocks, where the weights of their four channels lie among a filter's; the place
    /// behind the last is zero.
    places: Vec<[u32; FILTER_BLOCK]>,
}

impl Tiles {
    /// Of a filter that reads all channels.
    fn of(weighted: &Weighted<'_>, layout: &Layout) -> Self {
        let [rows, columns] = weighted.window.kernel;
        let [row_step, column_step] = weighted.window.dilation;
        // Groups of channels, rows and columns of the kernel: how many there are, and how far apart.
        let axes = [
            (weighted.channels.div_ceil(FILTER_BLOCK), layout.plane()),
            (rows, row_step * layout.pitch()),
            (columns, column_step),
        ];
        // A tile takes as long however few vector blocks it has: along the axis that makes the fewest.
        let count: usize = axes.iter().map(|axis| axis.0).product();
        let parts = |axis: &usize| axes[*axis].0.div_ceil(TILE);
        let tiles = |axis: &usize| count / axes[*axis].0.max(1) * parts(axis);
        let along = (0..axes.len()).min_by_key(tiles).unwrap_or(0);
        let (length, apart) = axes[along];
        let depth = length.div_ceil(parts(&along).max(1)).max(1);

        let mut sizes = axes.map(|axis| axis.0);
        sizes[along] = parts(&along);
        let [parts, rows, columns] = sizes;
        let outer = (0..parts).flat_map(|part| (0..rows).map(move |row| [part, row]));
        let starts = outer.flat_map(|[part, row]| (0..columns).map(move |c| [part, row, c]));
        let mut of = Self {
            depth,
            apart,
            blocks: Vec::new(),
            places: Vec::new(),
        };
        let none = (weighted.channels * weighted.taps()) as u32;
        let all = weighted.places(0, layout);
        for mut at in starts {
            // The last tile starts early enough to end in time: its first vector blocks are another's too, and
            // have no weights here.
            let fresh = at[along] * depth;
            let first = fresh.min(length - depth);
            for place in first..first + depth {
                at[along] = place;
                let [group, row, column] = at;
                let block = &all[(group * axes[1].0 + row) * axes[2].0 + column];
                if place == first {
                    of.blocks.push(block.block);
                }
                of.places.push(match place >= fresh {
                    true => block.weights,
                    false => [none; FILTER_BLOCK],
                });
            }
        }
        of
    }
}

impl Weighted<'_> {
    /// Sixteen filters with all their weights; none for floats and for filters in groups.
    pub fn tiled(&self, layout: &Layout) -> Option<PackedWeights> {
        let WeightValues::Codes(codes) = &self.weights else {
            return None;
        };
        if self.groups > 1 {
            return None;
        }
        let tiles = Tiles::of(self, layout);
        let weights = self.found.tiles.get_or_init(|| {
            let mut rows = [const { Vec::new() }; TILE];
            let sixteens = self.filters().div_ceil(TILE);
            let mut blocks = vec![VectorBlock::default(); sixteens * tiles.places.len()];
            let (fours, _) = VectorBlock::bytes_mut(&mut blocks).as_chunks_mut::<FILTER_BLOCK>();
            let mut targets = fours.chunks_exact_mut(tiles.depth);
            for first in (0..self.filters()).step_by(TILE) {
                self.rows(codes, first, &mut rows);
                for places in tiles.places.chunks_exact(tiles.depth) {
                    for (row, target) in rows.iter().zip(targets.by_ref()) {
                        for (four, place) in target.iter_mut().zip(places) {
                            *four = place.map(|weight| row[weight as usize] as u8);
                        }
                    }
                }
            }
            Arc::new(blocks)
        });
        Some(PackedWeights::Tiles {
            filter_blocks: self.filters().div_ceil(FILTER_BLOCK),
            depth: tiles.depth,
            apart: tiles.apart as u32,
            blocks: tiles.blocks,
            weights: weights.clone(),
        })
    }
}

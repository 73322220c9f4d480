//! What kernels are given of layouts: places, taps, bounds and terms.

use super::Layout;
use super::lanes::LaneMapping;
use crate::engine::lower::node::{PerElement, Pool, Weighted};
use crate::engine::lower::shape::{Kind, Shape};
use crate::kernel::{Elementwise, Pooling, Position, Sink, VectorBlock, Windows};
use crate::network::Window;

/// Bytes or floats.
pub(in crate::engine) fn sink(kind: Kind) -> Sink {
    match kind {
        Kind::Codes { low } => Sink::Codes { low },
        Kind::Floats => Sink::Floats,
    }
}

// Each place of a tile of the output, with the start of its window and its residual.
pub(in crate::engine) fn positions(
    window: &Window,
    to: &Layout,
    from: &Layout,
    residual: Option<&Layout>,
) -> Vec<Position> {
    let [(top, _), (left, _)] = window.padding;
    let [row_step, column_step] = window.stride;
    let mut positions = Vec::with_capacity(to.tile[0] * to.tile[1]);
    for row in 0..to.tile[0] as isize {
        for column in 0..to.tile[1] as isize {
            let input = from.block(
                row * row_step as isize - top as isize,
                column * column_step as isize - left as isize,
            );
            positions.push(Position {
                input: input as u32,
                output: to.block(row, column) as u32,
                residual: residual.map_or(0, |layout| layout.block(row, column) as u32),
            });
        }
    }
    positions
}

pub(in crate::engine) fn windows(
    pool: &Pool,
    to: &Layout,
    from: &Layout,
    lanes: LaneMapping,
) -> Windows {
    let (taps, mut positions): (Vec<u32>, Vec<Position>) = match &pool.window {
        Some(window) => {
            let [rows, columns] = window.kernel;
            let taps = (0..rows).flat_map(|row| {
                let row = row * window.dilation[0] * from.pitch();
                (0..columns).map(move |column| (row + column * window.dilation[1]) as u32)
            });
            (taps.collect(), positions(window, to, from, None))
        }
        None => {
            let [rows, columns] = from.tile;
            let taps = (0..rows).flat_map(|row| {
                let row = row * from.pitch();
                (0..columns).map(move |column| (row + column) as u32)
            });
            let position = Position {
                input: from.block(0, 0) as u32,
                output: to.block(0, 0) as u32,
                residual: 0,
            };
            (taps.collect(), vec![position])
        }
    };
    // All rows and columns are those of all tiles.
    let across = if pool.window.is_none() {
        lanes.tiles()
    } else {
        1
    };
    let summed = taps.len() * across;
    let low = match from.shape.kind {
        Kind::Codes { low } => low,
        Kind::Floats => 0,
    };
    let divisors = match &pool.divisors {
        Some(counts) => divisors(counts, to, &mut positions),
        None => Vec::new(),
    };
    Windows {
        pooling: match pool.sum {
            None => Pooling::Max,
            Some(multiplier) => Pooling::Sum {
                multiplier,
                start: low * summed as i32,
                across,
            },
        },
        taps,
        positions,
        planes: (from.plane(), to.plane()),
        divisors,
        bounds: pool.bounds,
        sink: sink(to.shape.kind),
    }
}

// What each position's sums are divided by, lane by lane; positions are told which they have.
fn divisors(
    [rows, columns]: &[Vec<usize>; 2],
    to: &Layout,
    positions: &mut [Position],
) -> Vec<VectorBlock> {
    let places = (0..to.tile[0] as isize)
        .flat_map(|row| (0..to.tile[1] as isize).map(move |column| (row, column)));
    let mut all: Vec<VectorBlock> = Vec::new();
    for (position, (row, column)) in positions.iter_mut().zip(places) {
        let of = |lane: usize| match to.place(lane, row, column) {
            Some([row, column]) => (rows[row] * columns[column]) as f32,
            None => 1.0,
        };
        let mut block = [VectorBlock::default()];
        let lanes = VectorBlock::floats_mut(&mut block).iter_mut().enumerate();
        lanes.for_each(|(lane, divisor)| *divisor = of(lane));
        let known = all.iter().position(|known| *known == block[0]);
        let index = known.unwrap_or_else(|| {
            all.push(block[0]);
            all.len() - 1
        });
        position.residual = index as u32;
    }
    all
}

pub(in crate::engine) fn elementwise(
    step: &PerElement,
    to: &Layout,
    from: &[Layout],
) -> Elementwise {
    let low = |layout: &Layout| match layout.shape.kind {
        Kind::Codes { low } => low,
        Kind::Floats => 0,
    };
    let lows = |place: usize| from.get(place).map_or(0, low);
    let sink = sink(to.shape.kind);
    match step {
        PerElement::Add { factors, bounds } => Elementwise::Add {
            factors: *factors,
            lows: (lows(0), lows(1)),
            bounds: *bounds,
            sink,
        },
        PerElement::Multiply { factor, bounds } => Elementwise::Multiply {
            factor: *factor,
            lows: (lows(0), lows(1)),
            bounds: *bounds,
            sink,
        },
        PerElement::AddConstant(_) => Elementwise::Add {
            factors: (1.0, 1.0),
            lows: (0, 0),
            bounds: (f32::NEG_INFINITY, f32::INFINITY),
            sink,
        },
        PerElement::MultiplyConstant(_) => Elementwise::Multiply {
            factor: 1.0,
            lows: (0, 0),
            bounds: (f32::NEG_INFINITY, f32::INFINITY),
            sink,
        },
        PerElement::Function(function) => Elementwise::Function(*function),
        PerElement::Scale { factor, bounds } => Elementwise::Scale {
            factor: *factor,
            low: lows(0),
            bounds: *bounds,
            sink,
        },
        PerElement::Table(table) => {
            let byte = |from: usize| {
                let code = table.get(from).copied().unwrap_or(0);
                (code - low(to)) as u8
            };
            Elementwise::Table(Box::new(std::array::from_fn(byte)))
        }
    }
}

/// What the choice of a kernel needs of a layer, apart from its weights.
pub(in crate::engine) fn start(weighted: &Weighted, filter: usize, from: &Shape) -> i32 {
    match from.kind {
        // Byte 0 is the least code: what the sum of bytes has too much or too little.
        Kind::Codes { low: 0 } | Kind::Floats => 0,
        Kind::Codes { low } => weighted.sum(filter).wrapping_mul(low),
    }
}

//! Which kernel runs a layer: by time on this machine, or by count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::{Kept, Way};
use super::trial::{FAR, Scratch};
use super::winograd::{by_window, made_again};
use crate::engine::layout::Layout;
use crate::engine::layout::arguments::{sink, start};
use crate::engine::layout::budget::{AT_ONCE, POSITIONS};
use crate::engine::lower::node::Weighted;
use crate::engine::lower::shape::Kind;
use crate::engine::table::{DENSE, LayerRow, SPARSE, TILED, WINOGRAD};
use crate::kernel::{
    Cell, Epilogue, Filter, KernelError, Kernels, Position, Product, QUAD, Records, Residual,
};

/// Bytes of the input that a block of positions may read: half of a first-level cache.
const NEAR: usize = 24 * 1024;

/// Positions that are worked on at once, at least: of fewer, weights cost too much.
const LEAST: usize = 3;

/// Lines of a band.
const BAND: usize = 2;

/// Times the cost of a dense kernel from which a sparse one is not tried.
const HOPELESS: f64 = 1.9;

/// Bytes a microsecond that come from behind a second-level cache.
const FROM_AFAR: f64 = 20e3;

/// After which no more ways of a kernel are tried.
const TRIAL: Duration = Duration::from_millis(10);

/// How a layer's kernel is chosen.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum How {
    /// By time, and by what it takes to bring weights where they come from afar in each pass.
    Measured {
        far: bool,
    },
    Estimated,
}

/// A layer whose kernel is chosen, and where its operands and results lie.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Layer<'a> {
    pub weighted: &'a Weighted<'a>,
    pub from: &'a Layout,
    pub to: &'a Layout,
    pub residual: Option<&'a Layout>,
    /// Of a tile, line by line.
    pub positions: &'a [Position],
}

/// The product that won, its time, and those that lost.
pub(in crate::engine) struct Chosen {
    pub product: Product,
    pub kernel: &'static str,
    pub way: Way,
    /// Weights that are not zero.
    kept: usize,
    time: Option<f64>,
    others: Vec<(String, f64)>,
}

impl Chosen {
    /// Whether its kernel was timed.
    pub fn is_timed(&self) -> bool {
        self.time.is_some()
    }

    /// Whether a matrix unit may run it.
    pub fn is_tiled(&self) -> bool {
        self.kernel == TILED
    }

    /// Where times are known, `peak` is what one thread can do at most, a second.
    pub fn row(
        &self,
        layer: &str,
        weighted: &Weighted,
        operands: &[Layout],
        to: &Layout,
        peak: f64,
    ) -> LayerRow {
        let cells = operands.iter().chain([to]).map(Layout::cells);
        let bytes = self.product.records().bytes() + cells.sum::<usize>() * Cell::BYTES;
        let places = to.shape.rows * to.shape.columns * to.sites.images();
        let multiply_adds = (self.kept * places) as u64;
        LayerRow {
            multiply_adds,
            bytes: bytes as u64,
            kept_share: self.kept as f64 / weighted.weights().max(1) as f64,
            limit: self.time.map(|_| multiply_adds as f64 / peak * 1e6),
            tried: self.time,
            others: self.others.clone(),
            in_float: operands.iter().all(|of| of.shape.kind == Kind::Floats),
            ..LayerRow::named(layer, self.kernel)
        }
    }
}

impl Layer<'_> {
    fn product(&self, records: Arc<Records>) -> Result<Product, KernelError> {
        let Self {
            weighted,
            from,
            to,
            positions,
            ..
        } = *self;
        let codes = matches!(from.shape.kind, Kind::Codes { .. });
        let positions = match *records {
            Records::Winograd { side, .. } => {
                by_window(side, weighted.window.dilation, positions, to)
            }
            Records::Tiles { .. } => positions.to_vec(),
            _ => by_band(band(weighted, to), positions, to),
        };
        let epilogue = epilogue(weighted, from, to, self.residual);
        Product::new(records, epilogue, positions, to.plane(), codes)
    }

    // None for a kernel that is unknown, or not one for this layer.
    fn records(&self, kernel: &str) -> Option<(&'static str, Arc<Records>)> {
        let Self { weighted, from, .. } = *self;
        let (kernel, records) = match kernel {
            SPARSE => (SPARSE, Some(weighted.by_filter(from))),
            DENSE => (DENSE, weighted.shared(from)),
            TILED => (TILED, weighted.tiled(from).map(Arc::new)),
            other => {
                let (name, side) = WINOGRAD.into_iter().find(|(name, _)| *name == other)?;
                (name, weighted.winograd(side, from, self.to).map(Arc::new))
            }
        };
        Some((kernel, records?))
    }
}

/// The kernel of another time; none where the layer has no such kernel: it was another layer, lay otherwise,
/// or was compiled by another version.
pub(in crate::engine) fn again(
    layer: Layer<'_>,
    kept: &Kept,
) -> Result<Option<Chosen>, KernelError> {
    let Some((kernel, records)) = layer.records(&kept.kernel) else {
        return Ok(None);
    };
    Ok(Some(Chosen {
        product: kept.way.of(layer.product(records)?),
        kernel,
        way: kept.way,
        kept: layer.weighted.kept(),
        time: None,
        others: Vec::new(),
    }))
}

pub(in crate::engine) fn choose(
    layer: Layer<'_>,
    kernels: Kernels,
    how: How,
) -> Result<Chosen, KernelError> {
    let Layer {
        weighted,
        from,
        to,
        residual,
        ..
    } = layer;
    let kept = weighted.kept();
    let mut candidates = vec![(SPARSE, weighted.by_filter(from))];
    for (name, side) in WINOGRAD {
        let records = weighted.winograd(side, from, to);
        candidates.extend(records.map(|records| (name, Arc::new(records))));
    }
    candidates.extend(weighted.shared(from).map(|records| (DENSE, records)));
    if kernels.has_matrix_unit() {
        candidates.extend(
            weighted
                .tiled(from)
                .map(|records| (TILED, Arc::new(records))),
        );
    }
    // A place of four filters costs about twice what one of one filter does. The likely best first.
    let cost = |records: &Records| {
        let all: usize = (0..records.quads()).map(|quad| records.cost(quad)).sum();
        match records {
            Records::Winograd { side, .. } => {
                (all as f64 * made_again(*side, weighted.window.dilation, to.tile)) as usize
            }
            _ => all,
        }
    };
    candidates.sort_by_cached_key(|(_, records)| cost(records));
    // Where nearly all weights are there, those that each filter has for itself cannot win.
    let shared = candidates.iter().find(|(name, _)| *name == DENSE);
    if let Some(most) = shared.map(|(_, records)| HOPELESS * cost(records) as f64) {
        candidates.retain(|(name, records)| *name != SPARSE || (cost(records) as f64) < most);
    }
    if matches!(how, How::Estimated) {
        candidates.truncate(1);
    }
    let mut timed = Vec::new();
    let mut scratch = None;
    let mut least = f64::INFINITY;
    let started = Instant::now();
    for (name, records) in candidates {
        let mut product = layer.product(records)?;
        let ways = match product.records() {
            Records::Tiles { .. } => tiled_ways(to),
            Records::Winograd { .. } => vec![Way::Blocks(to.tile[0] * to.tile[1])],
            records => ways(weighted, from, to, records),
        };
        let mut best = (None, ways[0]);
        if matches!(how, How::Measured { .. }) {
            let scratch = scratch.get_or_insert_with(|| Scratch::new(from, to, residual));
            for way in &ways {
                product = way.of(product);
                let time = scratch.time(&product, kernels, FAR * least)?;
                if best.0.is_none_or(|best| time < best) {
                    best = (Some(time), *way);
                }
                least = least.min(time);
                if time > FAR * least || started.elapsed() > TRIAL {
                    break;
                }
            }
        }
        timed.push((name, best.1, best.1.of(product), best.0));
    }
    // Tried again and again, a kernel has its weights near.
    let far = matches!(how, How::Measured { far: true });
    let brought = |product: &Product| match far {
        true => product.records().bytes() as f64 / FROM_AFAR,
        false => 0.0,
    };
    let within = |(.., product, time): &(_, _, Product, Option<f64>)| {
        time.map(|time| time + brought(product))
    };
    timed.sort_by(|a, b| {
        let order = within(a).partial_cmp(&within(b));
        order.unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut timed = timed.into_iter();
    let (kernel, way, product, time) = timed.next().ok_or(KernelError::Records)?;
    let others = timed.filter_map(|(name, .., time)| Some((name.to_string(), time?)));
    Ok(Chosen {
        product,
        kernel,
        way,
        kept,
        time,
        others: others.collect(),
    })
}

// Lines that are worked through together, column by column: positions side by side share more of their
// windows than as many in a line. Of threads that share out lines, each has lines of its own.
fn band(weighted: &Weighted, to: &Layout) -> usize {
    match weighted.window.kernel[0] > 1 && to.by_line.is_none() {
        true => BAND.min(to.tile[0]).max(1),
        false => 1,
    }
}

fn by_band(band: usize, positions: &[Position], to: &Layout) -> Vec<Position> {
    let [lines, columns] = to.tile;
    let places = (0..lines).step_by(band).flat_map(|first| {
        let lines = first..(first + band).min(lines);
        (0..columns).flat_map(move |column| lines.clone().map(move |line| line * columns + column))
    });
    places.map(|at| positions[at]).collect()
}

fn epilogue(
    weighted: &Weighted,
    from: &Layout,
    to: &Layout,
    residual: Option<&Layout>,
) -> Epilogue {
    let ends = weighted.filters.iter().enumerate();
    let mut filters: Vec<Filter> = ends
        .map(|(filter, &(multiplier, offset))| Filter {
            start: start(weighted, filter, &from.shape),
            multiplier,
            offset,
        })
        .collect();
    let none = Filter {
        start: 0,
        multiplier: 0.0,
        offset: 0.0,
    };
    filters.resize(filters.len().next_multiple_of(QUAD), none);
    let residual = weighted
        .residual
        .zip(residual)
        .map(|(factor, layout)| Residual {
            factor,
            low: match layout.shape.kind {
                Kind::Codes { low } => low,
                Kind::Floats => 0,
            },
            plane: layout.plane(),
        });
    Epilogue {
        filters,
        residual,
        bounds: weighted.bounds,
        sink: sink(to.shape.kind),
    }
}

// What to try, the likely best first.
fn ways(weighted: &Weighted, from: &Layout, to: &Layout, records: &Records) -> Vec<Way> {
    let planes = from.planes() / weighted.groups.min(from.planes()).max(1);
    let step = weighted.window.stride;
    let row = planes * from.width() * step[0] * Cell::BYTES;
    let all = (to.tile[0] * to.tile[1]).max(1);
    // Cells of a plane that the positions of a register's worth read.
    let [rows, columns] = weighted.window.kernel;
    let band = band(weighted, to);
    let window = (rows + (band - 1) * step[0]) * (POSITIONS / band * step[1] + columns - 1);
    let window = window.min(from.lines() * from.width()).max(1);
    let near = match NEAR / row.max(1) {
        0 => NEAR / (planes * step[1] * rows * Cell::BYTES).max(1),
        rows => rows * to.tile[1].max(1),
    };
    // Whole registers' worth, for any number of positions that registers hold.
    let whole = |positions: usize| positions.next_multiple_of(24).min(all);
    let mut ways = Vec::new();
    let by_filter = matches!(records, Records::Filter { .. });
    let few = (AT_ONCE / (planes * Cell::BYTES).max(1)).max(LEAST);
    if by_filter && [rows, columns] == [1, 1] && few < POSITIONS {
        ways.push(Way::Blocks(few));
    }
    let near_planes = (NEAR / Cell::BYTES / window).max(1);
    let sliced = by_filter || matches!(from.shape.kind, Kind::Codes { .. });
    // Of few weights, each filter reads a small part of a slice, which is longer then.
    let longer: &[usize] = if by_filter { &[2, 4] } else { &[1] };
    for slice in longer.iter().map(|longer| near_planes * longer) {
        if sliced && slice < planes && weighted.groups == 1 {
            ways.push(Way::Slices(slice * from.plane()));
        }
    }
    ways.extend([
        Way::Blocks(whole(near)),
        Way::Blocks(all),
        Way::Blocks(near.next_multiple_of(POSITIONS).min(all)),
    ]);
    ways.dedup();
    ways
}

// For tiles, which take two positions at a time.
fn tiled_ways(to: &Layout) -> Vec<Way> {
    let all = (to.tile[0] * to.tile[1]).max(1);
    let mut ways: Vec<_> = [32, 16, 8, 4]
        .map(|positions| Way::Blocks(positions.min(all)))
        .into();
    ways.dedup();
    ways
}

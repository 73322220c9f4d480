//! Which kernel runs a layer: by time on this machine, or by count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::{Blocking, TunedKernel};
use super::trial::{Scratch, TRIAL_BOUND};
use super::winograd::{by_window, made_again};
use crate::engine::layout::Layout;
use crate::engine::layout::arguments::{sink, start};
use crate::engine::layout::budget::{L1_BYTES, POSITIONS};
use crate::engine::lower::node::Weighted;
use crate::engine::lower::shape::Kind;
use crate::engine::table::{DENSE, DEPTHWISE, LayerProfile, SPARSE, TILED, WINOGRAD};
use crate::kernel::{
    Epilogue, FILTER_BLOCK, Filter, KernelError, Kernels, PackedWeights, Position, Product,
    Residual, VectorBlock,
};

/// The L1 budget: bytes of the input that a block of positions may read, half of an L1 cache.
const L1_BUDGET: usize = 24 * 1024;

/// Positions that are worked on at once, at least: of fewer, weights cost too much.
const LEAST: usize = 3;

/// Lines of a band.
const BAND: usize = 2;

/// The pruning bound of the search: times the cost of a dense kernel from which a sparse one is not tried.
const PRUNING_BOUND: f64 = 1.9;

/// The cold-weight penalty: bytes a microsecond that come from behind an L2 cache.
const COLD_BYTES_PER_MICROSECOND: f64 = 20e3;

/// After which no further blocking of a kernel is tried.
const TRIAL: Duration = Duration::from_millis(10);

/// How a layer's kernel is chosen.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum TuningMode {
    /// By time, with a penalty where weights are cold in each pass.
    Measured {
        cold: bool,
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
pub(in crate::engine) struct TunedProduct {
    pub product: Product,
    pub kernel: &'static str,
    pub blocking: Blocking,
    /// Weights that are not zero.
    kept: usize,
    time: Option<f64>,
    others: Vec<(String, f64)>,
}

impl TunedProduct {
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
    ) -> LayerProfile {
        let blocks = operands.iter().chain([to]).map(Layout::blocks);
        let bytes = self.product.entries().bytes() + blocks.sum::<usize>() * VectorBlock::BYTES;
        let places = to.shape.rows * to.shape.columns * to.lanes.samples();
        let multiply_adds = (self.kept * places) as u64;
        LayerProfile {
            multiply_adds,
            bytes: bytes as u64,
            kept_share: self.kept as f64 / weighted.weights().max(1) as f64,
            limit: self.time.map(|_| multiply_adds as f64 / peak * 1e6),
            tried: self.time,
            others: self.others.clone(),
            in_float: operands.iter().all(|of| of.shape.kind == Kind::Floats),
            ..LayerProfile::named(layer, self.kernel)
        }
    }
}

impl Layer<'_> {
    fn product(&self, entries: Arc<PackedWeights>) -> Result<Product, KernelError> {
        let Self {
            weighted,
            from,
            to,
            positions,
            ..
        } = *self;
        let codes = matches!(from.shape.kind, Kind::Codes { .. });
        let positions = match *entries {
            PackedWeights::Winograd { side, .. } => {
                by_window(side, weighted.window.dilation, positions, to)
            }
            PackedWeights::Tiles { .. } => positions.to_vec(),
            _ => by_band(band(weighted, to), positions, to),
        };
        let epilogue = epilogue(weighted, from, to, self.residual);
        Product::new(entries, epilogue, positions, to.plane(), codes)
    }

    // None for a kernel that is unknown, or not one for this layer.
    fn entries(&self, kernel: &str) -> Option<(&'static str, Arc<PackedWeights>)> {
        let Self { weighted, from, .. } = *self;
        let (kernel, entries) = match kernel {
            SPARSE => (SPARSE, Some(weighted.by_filter(from))),
            DENSE => (DENSE, weighted.shared(from)),
            DEPTHWISE => (DEPTHWISE, weighted.depthwise(from)),
            TILED => (TILED, weighted.tiled(from).map(Arc::new)),
            other => {
                let (name, side) = WINOGRAD.into_iter().find(|(name, _)| *name == other)?;
                (name, weighted.winograd(side, from, self.to).map(Arc::new))
            }
        };
        Some((kernel, entries?))
    }
}

/// The kernel of another time; none where the layer has no such kernel: it was another layer, lay otherwise,
/// or was compiled by another version.
pub(in crate::engine) fn again(
    layer: Layer<'_>,
    tuned: &TunedKernel,
) -> Result<Option<TunedProduct>, KernelError> {
    let Some((kernel, entries)) = layer.entries(&tuned.kernel) else {
        return Ok(None);
    };
    Ok(Some(TunedProduct {
        product: tuned.blocking.of(layer.product(entries)?),
        kernel,
        blocking: tuned.blocking,
        kept: layer.weighted.kept(),
        time: None,
        others: Vec::new(),
    }))
}

pub(in crate::engine) fn choose(
    layer: Layer<'_>,
    kernels: Kernels,
    mode: TuningMode,
) -> Result<TunedProduct, KernelError> {
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
        let entries = weighted.winograd(side, from, to);
        candidates.extend(entries.map(|entries| (name, Arc::new(entries))));
    }
    candidates.extend(weighted.shared(from).map(|entries| (DENSE, entries)));
    if kernels.has_depthwise() {
        let entries = weighted.depthwise(from);
        candidates.extend(entries.map(|entries| (DEPTHWISE, entries)));
    }
    if kernels.has_matrix_unit() {
        candidates.extend(
            weighted
                .tiled(from)
                .map(|entries| (TILED, Arc::new(entries))),
        );
    }
    // A place of four filters costs about twice what one of one filter does. The likely best first.
    let cost = |entries: &PackedWeights| {
        let all: usize = (0..entries.filter_blocks())
            .map(|filter_block| entries.cost(filter_block))
            .sum();
        match entries {
            PackedWeights::Winograd { side, .. } => {
                (all as f64 * made_again(*side, weighted.window.dilation, to.tile)) as usize
            }
            _ => all,
        }
    };
    candidates.sort_by_cached_key(|(_, entries)| cost(entries));
    // Where nearly all weights are there, those that each filter has for itself cannot win.
    let shared = candidates.iter().find(|(name, _)| *name == DENSE);
    if let Some(most) = shared.map(|(_, entries)| PRUNING_BOUND * cost(entries) as f64) {
        candidates.retain(|(name, entries)| *name != SPARSE || (cost(entries) as f64) < most);
    }
    if matches!(mode, TuningMode::Estimated) {
        candidates.truncate(1);
    }
    let mut timed = Vec::new();
    let mut scratch = None;
    let mut least = f64::INFINITY;
    // Some machines have no clock.
    let is_measured = matches!(mode, TuningMode::Measured { .. });
    let started = is_measured.then(Instant::now);
    for (name, entries) in candidates {
        let mut product = layer.product(entries)?;
        let blockings = match product.entries() {
            PackedWeights::Tiles { .. } => tiled_blockings(to),
            PackedWeights::Winograd { .. } => vec![Blocking::Positions(to.tile[0] * to.tile[1])],
            entries => blockings(weighted, from, to, entries),
        };
        let mut best = (None, blockings[0]);
        if let Some(started) = started {
            let scratch = scratch.get_or_insert_with(|| Scratch::new(from, to, residual));
            for blocking in &blockings {
                product = blocking.of(product);
                let time = scratch.time(&product, kernels, TRIAL_BOUND * least)?;
                if best.0.is_none_or(|best| time < best) {
                    best = (Some(time), *blocking);
                }
                least = least.min(time);
                if time > TRIAL_BOUND * least || started.elapsed() > TRIAL {
                    break;
                }
            }
        }
        timed.push((name, best.1, best.1.of(product), best.0));
    }
    // Tried again and again, a kernel has its weights in the L1 or L2 cache.
    let cold = matches!(mode, TuningMode::Measured { cold: true });
    let cold_penalty = |product: &Product| match cold {
        true => product.entries().bytes() as f64 / COLD_BYTES_PER_MICROSECOND,
        false => 0.0,
    };
    let within = |(.., product, time): &(_, _, Product, Option<f64>)| {
        time.map(|time| time + cold_penalty(product))
    };
    timed.sort_by(|a, b| {
        let order = within(a).partial_cmp(&within(b));
        order.unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut timed = timed.into_iter();
    let (kernel, blocking, product, time) = timed.next().ok_or(KernelError::Weights)?;
    let others = timed.filter_map(|(name, .., time)| Some((name.to_string(), time?)));
    Ok(TunedProduct {
        product,
        kernel,
        blocking,
        kept,
        time,
        others: others.collect(),
    })
}

// Lines that are worked through together, column by column: positions side by side share more of their
// windows than as many in a line. Of threads that share out lines, each has lines of its own.
fn band(weighted: &Weighted, to: &Layout) -> usize {
    match weighted.window.kernel[0] > 1 && to.interleaved.is_none() {
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
    let all = weighted.filters.iter().enumerate();
    let mut filters: Vec<Filter> = all
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
    filters.resize(filters.len().next_multiple_of(FILTER_BLOCK), none);
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
fn blockings(
    weighted: &Weighted,
    from: &Layout,
    to: &Layout,
    entries: &PackedWeights,
) -> Vec<Blocking> {
    let planes = from.planes() / weighted.groups.min(from.planes()).max(1);
    let step = weighted.window.stride;
    let row = planes * from.width() * step[0] * VectorBlock::BYTES;
    let all = (to.tile[0] * to.tile[1]).max(1);
    // Vector blocks of a plane that the positions of a register's worth read.
    let [rows, columns] = weighted.window.kernel;
    let band = band(weighted, to);
    let window = (rows + (band - 1) * step[0]) * (POSITIONS / band * step[1] + columns - 1);
    let window = window.min(from.lines() * from.width()).max(1);
    let near = match L1_BUDGET / row.max(1) {
        0 => L1_BUDGET / (planes * step[1] * rows * VectorBlock::BYTES).max(1),
        rows => rows * to.tile[1].max(1),
    };
    // Whole registers' worth, for any number of positions that registers hold.
    let whole = |positions: usize| positions.next_multiple_of(24).min(all);
    let mut blockings = Vec::new();
    let by_filter = matches!(entries, PackedWeights::Filter { .. });
    let few = (L1_BYTES / (planes * VectorBlock::BYTES).max(1)).max(LEAST);
    if by_filter && [rows, columns] == [1, 1] && few < POSITIONS {
        blockings.push(Blocking::Positions(few));
    }
    let near_planes = (L1_BUDGET / VectorBlock::BYTES / window).max(1);
    // Of few weights, each filter reads a small part of a slice, which is longer then; of floats that filters
    // share, registers hold fewer positions.
    let longer: &[usize] = match (by_filter, from.shape.kind) {
        (true, _) => &[2, 4],
        (false, Kind::Floats) => &[2, 1],
        (false, Kind::Codes { .. }) => &[1],
    };
    for slice in longer.iter().map(|longer| near_planes * longer) {
        if slice < planes && weighted.groups == 1 {
            blockings.push(Blocking::Channels(slice * from.plane()));
        }
    }
    blockings.extend([
        Blocking::Positions(whole(near)),
        Blocking::Positions(all),
        Blocking::Positions(near.next_multiple_of(POSITIONS).min(all)),
    ]);
    blockings.dedup();
    blockings
}

// For tiles, which take two positions at a time.
fn tiled_blockings(to: &Layout) -> Vec<Blocking> {
    let all = (to.tile[0] * to.tile[1]).max(1);
    let mut blockings: Vec<_> = [32, 16, 8, 4]
        .map(|positions| Blocking::Positions(positions.min(all)))
        .into();
    blockings.dedup();
    blockings
}

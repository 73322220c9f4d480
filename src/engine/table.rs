#[cfg(feature = "compress")]
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

/// The kernels of a product: each filter with its own sparse entries, four that share them, sixteen in tiles,
/// and windows that are transformed.
pub(super) const SPARSE: &str = "sparse";
pub(super) const DENSE: &str = "dense";
pub(super) const TILED: &str = "tiled";
pub(super) const DEPTHWISE: &str = "depthwise";
/// What the name of an operation follows that the reference's own code runs.
pub(super) const PLAIN: &str = "plain ";
/// Tensors of fewer samples become one of more.
pub(super) const LAYOUT_CONVERSION: &str = "layout conversion";
/// With their results in a line of a window.
pub(super) const WINOGRAD: [(&str, usize); 2] = [("winograd 2x2", 2), ("winograd 4x4", 4)];

/// What was chosen for a layer, and what it costs, for one pass: of several samples, or one.
///
/// ```
/// use burn_compress::engine::LayerProfile;
/// let row = LayerProfile {
///     layer: "conv1".into(),
///     kernel: "sparse".into(),
///     in_float: false,
///     samples: 1,
///     multiply_adds: 1000,
///     bytes: 400,
///     kept_share: 0.1,
///     microseconds: Some(2.5),
///     limit: Some(1.0),
///     tried: Some(2.0),
///     others: vec![("dense".into(), 5.0)],
/// };
/// assert_eq!(row.gain(), Some(2.5));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerProfile {
    /// Path of the layer.
    pub layer: String,
    /// What runs it: `sparse` (each filter its own places), `dense` (four filters share them), `tiled`
    /// (sixteen, in a matrix unit), `depthwise` (each its own channel), `winograd 2x2` and `winograd 4x4` (windows and filters of floats
    /// transformed, for so many results each), the name of an operation on vector blocks, or `plain NAME` for
    /// the reference's own code.
    pub kernel: String,
    /// Whether it computes in floats.
    pub in_float: bool,
    /// Samples of the pass: of large ones the first layers may run one by one, later ones several together.
    pub samples: usize,
    /// Multiply-adds of a pass with weights that are not zero; 0 for other operations.
    pub multiply_adds: u64,
    /// Bytes of its sparse entries, operands and result in a pass; 0 for other operations.
    pub bytes: u64,
    /// Share of the weights that are not zero; 1 for other operations.
    pub kept_share: f64,
    /// Its time within a pass on one thread, where kernels were tried.
    pub microseconds: Option<f64>,
    /// The least time that its multiply-adds could take on this machine, in microseconds: what they are
    /// divided by what one thread can do at most. (`winograd` does with fewer, and may take less.)
    pub limit: Option<f64>,
    /// The time of the kernel that was chosen when it was tried, alone and again and again.
    pub tried: Option<f64>,
    /// The kernels that were not chosen, with their times then: slower, or with more cold weights in a
    /// pass.
    pub others: Vec<(String, f64)>,
}

impl LayerProfile {
    // An operation without weights.
    pub(super) fn named(layer: &str, kernel: &str) -> Self {
        Self {
            layer: layer.to_string(),
            kernel: kernel.to_string(),
            in_float: false,
            samples: 1,
            multiply_adds: 0,
            bytes: 0,
            kept_share: 1.0,
            microseconds: None,
            limit: None,
            tried: None,
            others: Vec::new(),
        }
    }

    /// The operation of one that the reference's own code runs.
    pub(super) fn plain(&self) -> Option<&str> {
        self.kernel.strip_prefix(PLAIN)
    }

    // Its time for one sample, where it was taken.
    pub(super) fn of_one(&self) -> Option<f64> {
        let samples = self.samples.max(1) as f64;
        self.microseconds.map(|time| time / samples)
    }

    /// How many times faster it is than the fastest of its kernels that take all weights (`dense`, `tiled`,
    /// `winograd`), where both were tried: 1 where compression gained nothing, less where what it
    /// gains is fewer cold weights.
    pub fn gain(&self) -> Option<f64> {
        let full = |kernel: &str| {
            matches!(kernel, DENSE | TILED | DEPTHWISE)
                || WINOGRAD.iter().any(|(name, _)| *name == kernel)
        };
        let chosen = self.tried?;
        if full(&self.kernel) {
            return Some(1.0);
        }
        let others = self.others.iter().filter(|(kernel, _)| full(kernel));
        let best = others.map(|(_, time)| *time).min_by(f64::total_cmp);
        best.map(|best| best / chosen)
    }
}

/// Rows as text, one line each.
#[cfg(feature = "compress")]
pub(super) fn table(rows: &[LayerProfile]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "layer",
        "runs as",
        "samples",
        "kept, %",
        "us",
        "GMAC/s",
        "of limit, %",
        "gain",
        "tried",
    ]);
    for row in rows {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or(String::new(), |value| format!("{value:.digits$}"))
        };
        let kept = (row.multiply_adds > 0).then_some(100.0 * row.kept_share);
        let speed = row.microseconds.filter(|_| row.multiply_adds > 0);
        let speed = speed.map(|time| row.multiply_adds as f64 / time / 1e3);
        let share = row.limit.zip(row.microseconds);
        let share = share.map(|(limit, time)| 100.0 * limit / time);
        let tried = row.tried.filter(|_| !row.others.is_empty());
        let tried = tried.map(|time| (&row.kernel, time)).into_iter();
        let others = row.others.iter().map(|(kernel, time)| (kernel, *time));
        let others = tried
            .chain(others)
            .map(|(kernel, time)| format!("{kernel} {time:.1}"));
        table.add_row([
            row.layer.clone(),
            row.kernel.clone(),
            row.samples.to_string(),
            number(kept, 1),
            number(row.microseconds, 1),
            number(speed, 1),
            number(share, 0),
            number(row.gain(), 2),
            others.collect::<Vec<_>>().join(", "),
        ]);
    }
    for column in table.column_iter_mut().skip(2).take(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

use std::fmt;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};

use super::super::activations::ActivationQuantizer;

/// A quantized activation and the range that its codes cover.
///
/// ```
/// # fn show(row: &burn_compress::graph::QuantizerRow) -> f32 {
/// row.high - row.low // what the codes reach over
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuantizerRow {
    /// Its place, codes and zero point.
    pub quantizer: ActivationQuantizer,
    /// The real value of one step between codes.
    pub scale: f32,
    /// The real value of the least code.
    pub low: f32,
    /// The real value of the greatest code.
    pub high: f32,
}

impl QuantizerRow {
    pub(super) fn of((quantizer, scale): (ActivationQuantizer, f32)) -> Self {
        let (low, high) = quantizer.centred_range();
        Self {
            low: low as f32 * scale + quantizer.offset,
            high: high as f32 * scale + quantizer.offset,
            quantizer,
            scale,
        }
    }
}

/// All quantized activations of a model, in the order of its graph; prints as a table.
///
/// ```
/// # fn show<M: burn::module::Module>(quantized: &burn_compress::graph::Quantized<M>)
/// # -> Result<(), burn_compress::graph::GraphError> {
/// let table = quantized.table()?;
/// println!("{table}");
/// let widest = table.0.iter().map(|row| row.high).fold(0.0, f32::max);
/// # let _ = widest;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizerTable(pub Vec<QuantizerRow>);

impl fmt::Display for QuantizerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        let header = [
            "Layer",
            "Operation",
            "Bits",
            "Zero",
            "Scale",
            "Offset",
            "From",
            "To",
        ];
        table.set_header(header);
        for row in &self.0 {
            table.add_row([
                row.quantizer.layer.clone(),
                row.quantizer.op.clone(),
                row.quantizer.scheme.bits().to_string(),
                row.quantizer.zero_point.to_string(),
                format!("{:.3e}", row.scale),
                match row.quantizer.offset {
                    0.0 => "0".to_string(),
                    offset => format!("{offset:.4}"),
                },
                format!("{:.4}", row.low),
                format!("{:.4}", row.high),
            ]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        f.write_str(&table.trim_fmt())
    }
}

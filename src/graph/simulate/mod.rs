//! Runs a quantized graph on any Burn device, with gradients, as integers will compute it: sums of
//! integer-valued floats are exact up to 24 bits.

mod channels;
mod config;
mod epilogue;
mod float;
mod forms;
mod model;
mod packed;
mod packed_codes;
mod pass;
mod quantizer_table;
mod reads;
mod requantization;
mod round;
mod statistics;
mod sums;
mod trace;
mod walk;
mod weights;

pub(crate) use config::QuantizationConfig;
pub(crate) use float::any;
pub use model::Quantized;
pub use packed::Packed;
pub(crate) use pass::Pass;
pub use quantizer_table::{QuantizerRow, QuantizerTable};
pub(crate) use reads::Reads;
pub(crate) use requantization::{Requantization, RequantizationSource};
pub(crate) use walk::Walk;
pub(crate) use weights::{Weight, weights};

use super::activations::ActivationQuantizer;
use crate::network::Unary;

/// The code, less the zero point, of a function's value for each code of its operand.
pub(crate) fn table(
    unary: Unary,
    from: &ActivationQuantizer,
    from_scale: f32,
    to: &ActivationQuantizer,
    to_scale: f32,
) -> Vec<f32> {
    let (low, high) = from.centred_range();
    let (least, most) = to.centred_range();
    let code = |centred: i32| {
        let value = unary.value(centred as f32 * from_scale + from.offset);
        let units = (value - to.offset) / to_scale;
        match units.is_nan() {
            true => 0.0,
            // Integers have no negative zero.
            false => units.round_ties_even().clamp(least as f32, most as f32) + 0.0,
        }
    };
    (low..=high).map(code).collect()
}

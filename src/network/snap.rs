//! Weights in floats that stand for whole numbers.

use super::multiples::{Channels, about, axes};
use super::{Constant, Network, NetworkError};

impl Network {
    /// The same network, with each large constant whose values are whole multiples of a scale, but for
    /// rounding, made of exact products: its file holds the whole numbers then. A scale for each index
    /// of the first or second axis, or one for all; whole numbers up to `greatest`.
    ///
    /// Norms that were multiplied into quantized weights are what rounded them.
    pub(crate) fn snapped(self, greatest: i32) -> Result<Self, NetworkError> {
        let mut constants = self.constants;
        for constant in &mut constants {
            let snapped = axes(&constant.dims).find_map(|axis| snapped(constant, axis, greatest));
            if let Some(values) = snapped {
                constant.values = values;
            }
        }
        Self::new(self.input, constants, self.steps, self.output)
    }
}

fn snapped(constant: &Constant, axis: Option<usize>, greatest: i32) -> Option<Vec<f32>> {
    let values = &constant.values;
    let channels = Channels::of(&constant.dims, axis);
    let mut result = vec![0.0; values.len()];
    for channel in 0..channels.count {
        let of_channel = channels.places(channel).map(|at| values[at]);
        let scale = about(of_channel, greatest)? as f32;
        for at in channels.places(channel) {
            result[at] = (values[at] / scale).round() * scale;
        }
    }
    Some(result)
}

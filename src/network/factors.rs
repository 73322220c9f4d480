//! Factors in fewer bits.

use super::Network;
use super::model::Unchecked;
use super::step_op::Stored;
use crate::network::NetworkError;

/// Significant bits of an f32, its first one included.
const ALL: u32 = 24;

impl Network {
    /// The same model, its multipliers and offsets rounded to so many significant bits, 1 to 24 (half to
    /// even). They are a tenth of a small pruned network's file, nearly all of it noise: each bit less
    /// saves one for each of them.
    ///
    /// Results move by about `255 / 2^bits` of a code, so that with 12 bits or more few codes change; what
    /// training simulated is then no longer what is computed, to the last bit: score the model again.
    ///
    /// ```
    /// use burn_compress::network::Network;
    /// # fn smaller(model: Network) -> Result<(), Box<dyn std::error::Error>> {
    /// let shorter = model.with_factor_bits(12)?;
    /// assert!(shorter.to_bytes()?.len() <= model.to_bytes()?.len());
    /// assert_eq!(shorter.with_factor_bits(12)?, shorter);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Fails with [`NetworkError::FactorBits`] for another number of bits.
    pub fn with_factor_bits(&self, bits: u32) -> Result<Self, NetworkError> {
        if !(1..=ALL).contains(&bits) {
            return Err(NetworkError::FactorBits { bits });
        }
        let mut model = Unchecked::from(self.clone());
        for step in &mut model.steps {
            for (_, tensor) in step.op.stored() {
                if let Stored::Floats(numbers) = tensor {
                    for number in numbers {
                        *number = rounded(*number, ALL - bits);
                    }
                }
            }
        }
        Self::try_from(model)
    }
}

// To fewer bits of the mantissa, half to even; what would become infinite stays.
fn rounded(number: f32, dropped: u32) -> f32 {
    if dropped == 0 {
        return number;
    }
    let bits = number.to_bits();
    let below_half = (1 << (dropped - 1)) - 1 + (bits >> dropped & 1);
    let bits = bits.wrapping_add(below_half) & !((1 << dropped) - 1);
    match f32::from_bits(bits) {
        rounded if rounded.is_finite() => rounded,
        _ => number,
    }
}

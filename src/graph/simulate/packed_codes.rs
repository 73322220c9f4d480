//! Whole numbers on a device in as many bits as they take.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::super::tensor::{AnyTensor, map_rank};
use super::super::{GraphError, Parameter};
use super::channels::as_read;
use crate::compress::scaled;
use crate::format::WeightView;

/// The codes of a weight less their zero point, several to a word of 32 bits: the first words' lowest
/// bits hold the first codes, the next bits the codes after those.
#[derive(Debug, Clone)]
pub(super) struct PackedCodes {
    words: Tensor<1, Int>,
    bits: u32,
    /// The least code.
    low: f32,
    view: WeightView,
    /// Whether the pass reads it with its axes swapped.
    transposed: bool,
}

impl PackedCodes {
    /// Of codes in a parameter's own layout. Reads them from the device.
    pub fn new(
        codes: AnyTensor,
        view: WeightView,
        parameter: &Parameter,
    ) -> Result<Self, GraphError> {
        let device = codes.device();
        let codes = codes.read(&parameter.path)?;
        let low = codes.iter().copied().fold(f32::INFINITY, f32::min);
        let high = codes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if !(low.is_finite() && high.is_finite()) {
            return Err(GraphError::Parameter {
                path: parameter.path.clone(),
                what: "a code is no number".into(),
            });
        }
        let bits = (u32::BITS - ((high - low) as u32).leading_zeros()).max(1);
        let count = codes.len().div_ceil(per_word(bits));
        let mut words = vec![0u32; count];
        for (part, codes) in codes.chunks(count.max(1)).enumerate() {
            for (word, code) in words.iter_mut().zip(codes) {
                *word |= ((code - low) as u32) << (part as u32 * bits);
            }
        }
        let words: Vec<i32> = words.into_iter().map(|word| word as i32).collect();
        Ok(Self {
            words: Tensor::from_data(TensorData::new(words, [count]), (&device, DType::I32)),
            bits,
            low,
            view,
            transposed: parameter.transposed,
        })
    }

    /// The codes, as the pass reads them.
    pub fn codes(&self) -> AnyTensor {
        as_read(self.unpacked(), self.transposed)
    }

    /// The values that they stand for, as the pass reads them.
    pub fn values(&self, scale: &Tensor<1>) -> AnyTensor {
        let codes = self.unpacked();
        let values = map_rank!(codes, codes => scaled(codes, &self.view, scale));
        as_read(values, self.transposed)
    }

    // In the parameter's own layout.
    fn unpacked(&self) -> AnyTensor {
        let mask = ((1u64 << self.bits) - 1) as i32;
        // A shift repeats the sign; the mask takes that away.
        let part = |part: usize| match part {
            0 => self.words.clone().bitwise_and_scalar(mask),
            part => {
                let shift = (part as u32 * self.bits) as i32;
                let shifted = self.words.clone().bitwise_right_shift_scalar(shift);
                shifted.bitwise_and_scalar(mask)
            }
        };
        let parts = (0..per_word(self.bits)).map(|place| part(place).float());
        let all = Tensor::cat(parts.collect(), 0).narrow(0, 0, self.view.len());
        AnyTensor::from(all + self.low).reshape(self.view.dims())
    }

    pub fn device(&self) -> Device {
        self.words.device()
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        4 * self.words.dims()[0]
    }

    pub fn moved(self, device: &Device) -> Self {
        Self {
            words: self.words.to_device(device),
            ..self
        }
    }
}

// Codes of a word: no code lies in two.
fn per_word(bits: u32) -> usize {
    (u32::BITS / bits) as usize
}

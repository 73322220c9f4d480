use serde::{Deserialize, Serialize};

use crate::format::{FormatError, Granularity, Mapping, Scheme};

/// How the range of an activation is found from the batches that a calibration sees.
///
/// ```
/// use burn_compress::graph::Calibrator;
/// let calibrator: Calibrator = serde_json::from_str(r#"{"percentile":{"outside":0.001}}"#)?;
/// assert_eq!(calibrator, Calibrator::Percentile { outside: 0.001 });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Calibrator {
    /// From the least to the greatest value seen.
    MinMax,
    /// The mean of the batches' least and greatest values, later batches weighing more (Jacob et al.
    /// 2018).
    MovingAverage {
        /// Weight of what was seen before, 0 to below 1.
        momentum: f64,
    },
    /// Leaves out this share of the values at each end.
    Percentile {
        /// 0 to below 0.5.
        outside: f64,
    },
    /// The range whose codes tell least wrong about the values' distribution: least Kullback-Leibler
    /// divergence (Migacz 2017, "8-bit Inference with TensorRT").
    Entropy,
    /// The range whose codes lie closest to the values.
    #[default]
    LeastSquares,
}

/// How activations are quantized.
///
/// ```
/// use burn_compress::graph::Activations;
/// let activations = Activations::bits(4)?; // the graph's input keeps 8 bits
/// assert_eq!((activations.scheme.bits(), activations.input_bits), (4, 8));
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activations {
    /// Bits and mapping; a scale for each tensor.
    pub scheme: Scheme,
    /// Bits of the graph's input, 2 to 16: an image of few bits loses what no layer can bring back.
    pub input_bits: u32,
    /// How ranges are found.
    pub calibrator: Calibrator,
    /// Whether training moves the scales too: learned step size (Esser et al. 2020, "Learned Step Size
    /// Quantization"). Otherwise they stay as calibrated.
    pub learned: bool,
}

impl Activations {
    /// Affine codes of this many bits, their scales learned where the model trains. Fails with
    /// [`FormatError::Bits`] outside 2 to 16.
    pub fn bits(bits: u32) -> Result<Self, FormatError> {
        Ok(Self {
            scheme: Scheme::new(bits, Mapping::Affine, Granularity::Tensor)?,
            input_bits: bits.max(8),
            calibrator: Calibrator::default(),
            learned: true,
        })
    }

    // The scheme of the input's codes.
    pub(crate) fn input_scheme(&self) -> Result<Scheme, FormatError> {
        self.scheme.with_bits(self.input_bits)
    }
}

//! Makes a trained model bear quantization better, without training it: what rounding does to the mean
//! of each channel is taken out again ([`correct_bias`]), and channels of unlike range are made alike
//! before they share a scale ([`equalize`]). Both are of Nagel et al. 2019, "Data-Free Quantization
//! Through Weight Equalization and Bias Correction".

mod bias;
mod equalize;
mod pairs;
mod scaling;

pub use bias::correct_bias;
pub use equalize::{Equalized, Pair, equalize};
pub(super) use scaling::{channels, layout};

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::network::Op;
use crate::network::bound;

use super::Codes;
use super::step_op::Stored;

/// Whole-number weights of a layer, centred: zero is a weight of zero.
///
/// ```
/// use burn_compress::network::Weights;
/// let weights = Weights { dims: vec![2, 3], codes: vec![1, 0, -7, 3, 0, 2].into() };
/// # let _ = weights;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Weights {
    /// Dimensions, as [`Op`] gives them for the layer.
    pub dims: Vec<usize>,
    /// The codes less their zero point, the last axis fastest.
    pub codes: Codes,
}

/// What bounds a result, in units of the output's scale.
///
/// ```
/// use burn_compress::network::Activation;
/// assert_eq!(Activation::Relu.apply(-1.0), 0.0);
/// assert_eq!(Activation::Clamp { min: 0.0, max: 6.0 }.apply(7.0), 6.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// `max(t, 0)`.
    Relu,
    /// Between two bounds, which may be infinite.
    Clamp {
        /// The lower bound.
        #[serde(with = "bound")]
        min: f32,
        /// The upper bound.
        #[serde(with = "bound")]
        max: f32,
    },
}

impl Activation {
    /// The bounded number.
    pub fn apply(self, t: f32) -> f32 {
        match self {
            Self::Relu => t.max(0.0),
            Self::Clamp { min, max } => t.max(min).min(max),
        }
    }
}

/// From a sum of whole numbers to units of the output's scale, in single operations on `f32`, in this
/// order and never fused: `t = sum * multiplier`, `t = t + offset`, `t = t + code * residual`, then the
/// activation.
///
/// ```
/// use burn_compress::network::{Activation, Rescale};
/// let rescale = Rescale {
///     multiplier: vec![0.5, 0.25],
///     offset: Some(vec![1.0, 0.0]),
///     activation: Some(Activation::Relu),
///     ..Rescale::default()
/// };
/// assert_eq!(rescale.apply(6, 0, 0), 4.0);
/// assert_eq!(rescale.apply(-6, 1, 0), 0.0);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rescale {
    /// A factor for each output channel, or one for all.
    pub multiplier: Vec<f32>,
    /// A term for each output channel, or one for all.
    pub offset: Option<Vec<f32>>,
    /// The factor of the step's last input, which is then added: a residual of the same dimensions.
    pub residual: Option<f32>,
    /// Bounds.
    pub activation: Option<Activation>,
}

impl Rescale {
    /// By one factor.
    ///
    /// ```
    /// use burn_compress::network::Rescale;
    /// assert_eq!(Rescale::by(0.5).apply(3, 7, 0), 1.5);
    /// ```
    pub fn by(multiplier: f32) -> Self {
        Self {
            multiplier: vec![multiplier],
            ..Self::default()
        }
    }

    /// The result for a sum of a channel and a residual's centred code. Of a channel that has no
    /// factor, 0: there is none in a model that passed its check.
    #[inline]
    pub fn apply(&self, sum: i32, channel: usize, residual: i32) -> f32 {
        let of = |factors: &[f32]| match factors {
            [one] => *one,
            factors => factors.get(channel).copied().unwrap_or(0.0),
        };
        let mut t = sum as f32 * of(&self.multiplier);
        if let Some(offset) = &self.offset {
            t += of(offset);
        }
        if let Some(factor) = self.residual {
            let scaled = residual as f32 * factor;
            t += scaled;
        }
        match self.activation {
            Some(activation) => activation.apply(t),
            None => t,
        }
    }
}

/// What a sum over a window is divided by after it was multiplied.
///
/// ```
/// use burn_compress::network::Divide;
/// assert_ne!(Divide::None, Divide::Elements);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Divide {
    /// Nothing: the multiplier says it all.
    None,
    /// The elements of the window that are no padding.
    Elements,
    /// The elements of the window, padding included, but not what lies beyond the padding (where a
    /// last window only partly fits).
    Padded,
}

impl Rescale {
    /// The tensors it holds, by name.
    pub(super) fn stored(&mut self) -> Vec<(&'static str, Stored<'_>)> {
        let mut stored = vec![("multiplier", Stored::Floats(&mut self.multiplier))];
        if let Some(offset) = &mut self.offset {
            stored.push(("offset", Stored::Floats(offset)));
        }
        stored
    }
}

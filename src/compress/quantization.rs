use std::fmt;
use std::sync::Arc;

use super::Selection;
use crate::format::Scheme;
use crate::quantize::{MinMax, Quantizer};

/// How weights become codes.
///
/// ```
/// use burn_compress::{compress::Quantization, format::Scheme, quantize::LeastSquares};
/// let quantization = Quantization::to(Scheme::symmetric(4)?).by(LeastSquares).every(10);
/// # let _ = quantization;
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Clone)]
pub struct Quantization {
    pub(super) quantizer: Arc<dyn Quantizer>,
    pub(super) scheme: Scheme,
    pub(super) every: usize,
    pub(super) selection: Option<Selection>,
}

impl Quantization {
    /// Codes of this scheme, over the whole range of the weights.
    pub fn to(scheme: Scheme) -> Self {
        Self {
            quantizer: Arc::new(MinMax),
            scheme,
            every: 1,
            selection: None,
        }
    }

    /// Of these layers, whatever [`Plan::select`](super::Plan::select) says: for a plan of several
    /// quantizations. One that selects none holds for what is left.
    ///
    /// ```
    /// use burn_compress::compress::{Plan, Quantization, Selection};
    /// use burn_compress::format::Scheme;
    /// let first = Quantization::to(Scheme::symmetric(8)?).select(Selection::only(["conv1"]));
    /// let plan = Plan::new().quantize(first).quantize(Quantization::to(Scheme::symmetric(4)?));
    /// # let _ = plan;
    /// # Ok::<(), burn_compress::format::FormatError>(())
    /// ```
    pub fn select(mut self, selection: Selection) -> Self {
        self.selection = Some(selection);
        self
    }

    /// With ranges picked by this quantizer.
    pub fn by(self, quantizer: impl Quantizer + 'static) -> Self {
        self.by_shared(Arc::new(quantizer))
    }

    /// [`by`](Self::by) a quantizer that is held elsewhere too.
    pub fn by_shared(mut self, quantizer: Arc<dyn Quantizer>) -> Self {
        self.quantizer = quantizer;
        self
    }

    /// Lets the scales follow the weights only at every n-th step (at least 1). Scales that are learned
    /// ([`LearnedStep`](crate::quantize::LearnedStep)) are the optimizer's at every step.
    pub fn every(mut self, steps: usize) -> Self {
        self.every = steps.max(1);
        self
    }
}

impl fmt::Debug for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quantization")
            .field("quantizer", &self.quantizer.name())
            .field("scheme", &self.scheme)
            .field("every", &self.every)
            .field("selection", &self.selection)
            .finish()
    }
}

/// What ends the sums of a filter: `t = sum * multiplier`, `t = t + offset`, `t = t + residual *
/// factor`, then bounds, each a single operation on f32.
///
/// ```
/// use burn_compress_kernel::Filter;
/// let filter = Filter { start: 0, multiplier: 0.5, offset: -0.0 };
/// # let _ = filter;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filter {
    /// What the sum starts at: of codes, what makes up for their zero point.
    pub start: i32,
    /// The factor; in floats 1.
    pub multiplier: f32,
    /// The term; -0 adds nothing. In floats, what the sum starts at.
    pub offset: f32,
}

/// The tensor that is added, of the input's kind: of codes a plane for each block of filters, of floats one
/// for each filter.
///
/// ```
/// use burn_compress_kernel::Residual;
/// let residual = Residual { factor: 0.5, low: -10, plane: 64 };
/// # let _ = residual;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Residual {
    /// Its factor.
    pub factor: f32,
    /// The centred code of byte 0.
    pub low: i32,
    /// Vector blocks from a plane to the next.
    pub plane: usize,
}

/// How results are written.
///
/// ```
/// use burn_compress_kernel::Sink;
/// let sink = Sink::Codes { low: -10 };
/// assert_ne!(sink, Sink::Floats);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// Rounded half to even, less the least centred code, as bytes: a plane for each block of filters.
    Codes {
        /// The centred code of byte 0.
        low: i32,
    },
    /// As floats: a plane for each filter.
    Floats,
}

impl Sink {
    // Whether all within these bounds can be written so.
    pub(super) fn holds(self, (least, most): (f32, f32)) -> bool {
        match self {
            Self::Codes { low } => {
                let byte = |bound: f32| (0.0..=255.0).contains(&(bound - low as f32));
                let whole = least.fract() == 0.0 && most.fract() == 0.0;
                byte(least) && byte(most) && whole && low.unsigned_abs() < 1 << 14
            }
            Self::Floats => !least.is_nan() && !most.is_nan(),
        }
    }
}

/// What follows the sums.
///
/// ```
/// use burn_compress_kernel::{Epilogue, Filter, Sink};
/// let epilogue = Epilogue {
///     filters: vec![Filter { start: 0, multiplier: 0.5, offset: 0.0 }; 4],
///     residual: None,
///     bounds: (0.0, 255.0),
///     sink: Sink::Codes { low: 0 },
/// };
/// # let _ = epilogue;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Epilogue {
    /// By filter, four for each block of filters.
    pub filters: Vec<Filter>,
    /// What is added.
    pub residual: Option<Residual>,
    /// Bounds of the result; of codes, whole numbers within 16 bits.
    pub bounds: (f32, f32),
    /// How it is written.
    pub sink: Sink,
}

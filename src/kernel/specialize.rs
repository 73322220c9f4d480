//! The epilogue as a loop runs it: sums of bytes become floats with their factor in one operation, where
//! that changes no bit; and the specializations that loops are compiled for.

use super::{Epilogue, Filter, PackedWeights, Residual, Sink};

/// 1.5 * 2^23. From 2^23 to 2^24 floats are the whole numbers: so adding this to what lies within 2^22
/// of zero rounds it, half to even as it is even itself, and to subtract it again is exact.
pub const SHIFT: f32 = 12_582_912.0;
/// Its bits: a whole number of at most 22 bits added to them makes the float that is greater by so much.
const SHIFT_BITS: i32 = 0x4b40_0000;
/// What may be shifted lies from its negative up to below it.
pub(super) const SHIFTED: f32 = 4_194_304.0;

/// An epilogue that a loop is compiled for: without branches at every filter, and without registers for
/// other epilogues.
pub(super) trait Specialization {
    /// Whether sums are shifted, results are codes, and nothing is compared with bounds: the short epilogue.
    const SPECIALIZED: bool;
    /// Whether there is a residual, where the epilogue is specialized.
    const RESIDUAL: bool = false;
}

/// Any epilogue.
pub(super) struct General;

/// What most layers of a network have.
pub(super) struct ToCodes;

/// The same, with a residual whose products are exact.
pub(super) struct WithResidual;

impl Specialization for General {
    const SPECIALIZED: bool = false;
}

impl Specialization for ToCodes {
    const SPECIALIZED: bool = true;
}

impl Specialization for WithResidual {
    const SPECIALIZED: bool = true;
    const RESIDUAL: bool = true;
}

/// Runs an expression with the specialization of a task's epilogue as a type; with the general one where it
/// need not be compiled for more.
macro_rules! specialized {
    ($task:expr, $usual:expr, $lanes:ident, $specialization:ident => $call:expr) => {
        match (
            $usual && $task.is_specialized::<$lanes>(),
            $task.epilogue.residual.is_some(),
        ) {
            (true, false) => {
                type $specialization = $crate::specialize::ToCodes;
                $call
            }
            (true, true) => {
                type $specialization = $crate::specialize::WithResidual;
                $call
            }
            _ => {
                type $specialization = $crate::specialize::General;
                $call
            }
        }
    };
}

pub(super) use specialized;

/// The epilogue of one filter, prepared for its loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PreparedFilter {
    pub filter: Filter,
    /// What a shifted sum starts at, and what takes the shift from its product.
    pub shifted_start: i32,
    pub unshift: f32,
    /// What sums of bytes less 128 lack, for sets of instructions that take bytes with signs; elsewhere 0.
    pub lacking: i32,
}

/// The epilogue of a layer, prepared for its loops.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PreparedEpilogue {
    pub filters: Vec<PreparedFilter>,
    /// Whether `(SHIFT + sum) * multiplier - SHIFT * multiplier`, rounded once, is the product of each sum
    /// and its multiplier, rounded: the last term must be exact.
    pub shifted: bool,
    /// Times zero where there is none.
    pub residual: Residual,
    /// Whether the residual's products are exact: then to add one rounds once, fused or not.
    pub exact_residual: bool,
}

impl PreparedEpilogue {
    pub fn new(entries: &PackedWeights, epilogue: &Epilogue, codes: bool) -> Self {
        let prepare = |(index, filter): (usize, &Filter)| PreparedFilter {
            filter: *filter,
            shifted_start: filter.start.wrapping_add(SHIFT_BITS),
            unshift: -SHIFT * filter.multiplier,
            lacking: match cfg!(target_arch = "aarch64") && codes {
                true => lacking(entries, index),
                false => 0,
            },
        };
        let filters: Vec<PreparedFilter> =
            epilogue.filters.iter().enumerate().map(prepare).collect();
        // Of floats zero has a sign, which the shift loses.
        let to_codes = codes && matches!(epilogue.sink, Sink::Codes { .. });
        let shifts = |(index, prepared): (usize, &PreparedFilter)| {
            let multiplier = f64::from(prepared.filter.multiplier);
            let exact = f64::from(prepared.unshift) == -f64::from(SHIFT) * multiplier;
            exact && multiplier.is_finite() && stays_small(entries, index, prepared.filter.start)
        };
        Self {
            shifted: to_codes && filters.iter().enumerate().all(shifts),
            residual: epilogue.residual.unwrap_or(Residual {
                factor: 0.0,
                low: 0,
                plane: 0,
            }),
            exact_residual: epilogue.residual.is_none_or(is_exact),
            filters,
        }
    }
}

// The sum of the weights, 128 times; it wraps as sums do.
fn lacking(entries: &PackedWeights, filter: usize) -> i32 {
    let (below, above) = entries.weights_of_signs(filter);
    (below + above).wrapping_mul(128) as i32
}

fn stays_small(entries: &PackedWeights, filter: usize, start: i32) -> bool {
    let start = f64::from(start);
    let shifted = f64::from(SHIFTED);
    let within = |(least, most): (f64, f64)| least + start >= -shifted && most + start < shifted;
    // If all weights were the greatest, which takes no look at them.
    let greatest = (entries.of_filter(filter) * 4 * 128 * 255) as f64;
    within((-greatest, greatest)) || within(entries.span(filter))
}

// Of no more bits than a float has, and not too small for them.
fn is_exact(residual: Residual) -> bool {
    let codes = [residual.low, residual.low.saturating_add(255)];
    let greatest = codes.map(i32::unsigned_abs).into_iter().max().unwrap_or(0);
    let mantissa = residual.factor.to_bits() & 0x7f_ffff | 0x80_0000;
    let bits = 24 - mantissa.trailing_zeros() + (32 - greatest.leading_zeros());
    residual.factor == 0.0 || (residual.factor.abs() > 1e-30 && bits <= 24)
}

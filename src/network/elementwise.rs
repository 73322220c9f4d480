//! Steps on each element, and sums over windows and axes.

use super::movement::expand;
use super::sink::{Operand, Sink, View};
use super::window::{Seen, Windows, pool};
use super::{Activation, Divide, Rescale};

fn bounded(t: f32, activation: Option<Activation>) -> f32 {
    activation.map_or(t, |activation| activation.apply(t))
}

/// Each channel by its own factor.
pub(super) fn rescale(
    sink: &mut Sink,
    rescale: &Rescale,
    codes: &[i32],
    residual: Option<&[i32]>,
    dims: &[usize],
) {
    let inner: usize = dims.iter().skip(2).product();
    let channels = dims.get(1).copied().unwrap_or(1);
    for (index, &code) in codes.iter().enumerate() {
        let channel = index / inner % channels;
        let residual = residual.map_or(0, |codes| codes[index]);
        sink.push(rescale.apply(code, channel, residual));
    }
}

/// Each pair of elements of two operands that broadcast to `dims`; the second is codes or floats.
pub(super) fn pairs(
    sink: &mut Sink,
    operands: &[Operand],
    dims: &[usize],
    activation: Option<Activation>,
    of_codes: impl Fn(&mut Sink, i32, i32) -> f32,
    of_constant: impl Fn(i32, f32) -> f32,
) -> Result<(), String> {
    let [left, right] = operands else {
        return Err("not two operands".to_string());
    };
    let a = expand(left.codes()?, &left.dims, dims)?;
    match right.elements {
        View::Codes(codes) => {
            let b = expand(codes, &right.dims, dims)?;
            for (&a, &b) in a.iter().zip(b.iter()) {
                let t = of_codes(sink, a, b);
                sink.push(bounded(t, activation));
            }
        }
        View::Values(values) => {
            let b = expand(values, &right.dims, dims)?;
            for (&a, &b) in a.iter().zip(b.iter()) {
                sink.push(bounded(of_constant(a, b), activation));
            }
        }
    }
    Ok(())
}

/// The sum of each window.
pub(super) fn sums_of_windows(
    sink: &mut Sink,
    windows: Windows,
    codes: &[i32],
    [size, output]: [[usize; 2]; 2],
    (multiplier, divide): (f32, Divide),
    activation: Option<Activation>,
) {
    pool(windows, codes, size, output, |seen: Seen<i32>| {
        let sum = sink.sum(seen.values().sum());
        let t = sum as f32 * multiplier;
        let t = match divide {
            Divide::None => t,
            // As Burn has it, a window that sees nothing is 0.
            Divide::Elements => t / seen.count().max(1) as f32,
            Divide::Padded => t / seen.padded.max(1) as f32,
        };
        sink.push(bounded(t, activation));
    });
}

/// The sum over axes.
pub(super) fn sums_over_axes(
    sink: &mut Sink,
    codes: &[i32],
    (from, to): (&[usize], &[usize]),
    multiplier: f32,
    activation: Option<Activation>,
) -> Result<(), String> {
    for sum in over_axes::<i32, i32>(codes, from, to)? {
        let sum = sink.sum(sum);
        sink.push(bounded(sum as f32 * multiplier, activation));
    }
    Ok(())
}

/// The sum, of another type, of all elements that an axis of length 1 in `to` holds.
pub(super) fn over_axes<T: Copy + Into<S>, S: Copy + Default + std::ops::AddAssign>(
    source: &[T],
    from: &[usize],
    to: &[usize],
) -> Result<Vec<S>, String> {
    let numbers: Vec<usize> = (0..to.iter().product()).collect();
    let mut sums = super::sink::filled(numbers.len(), S::default())?;
    // Each element's place in the result.
    for (&x, &place) in source.iter().zip(expand(&numbers, to, from)?.iter()) {
        sums[place] += x.into();
    }
    Ok(sums)
}
